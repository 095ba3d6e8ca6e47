/*
 * list - intrusive, doubly linked, circular: the head is a struct list too
 *
 * Callers     everybody
 * Invariants  a linked node is in one list; list_del leaves it unlinked (pointing at itself), so deleting twice is
 *             harmless
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};
static inline void list_init(struct list *l) { l->prev = l->next = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline void list_insert(struct list *before, struct list *n)
{
    n->prev = before->prev;
    n->next = before;
    before->prev->next = n;
    before->prev = n;
}
static inline void list_append(struct list *head, struct list *n) { list_insert(head, n); }
static inline void list_prepend(struct list *head, struct list *n) { list_insert(head->next, n); }
static inline void list_del(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
#define list_entry(ptr, type, member)  ((type *) (void *) ((char *) (ptr) -offsetof(type, member)))
#define list_first(head, type, member) (list_empty(head) ? NULL : list_entry((head)->next, type, member))
/* The body may delete the current node. */
#define list_each(it, head) \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)
#endif
