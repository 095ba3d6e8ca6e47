/* set - sequence sets, kept as ranges. Contract: set.h */
#include "proto/imap/set.h"

#include <stdlib.h>

static int number(struct imap_arg *a, uint32_t *out)
{
    uint64_t n;

    if (imap_arg_char(a, '*')) {
        *out = IMAP_SET_STAR;
        return 0;
    }
    if (imap_arg_number(a, UINT32_MAX, &n) != 0 || n == 0) {
        a->error = "Invalid messageset.";
        return -1;
    }
    *out = (uint32_t) n;
    return 0;
}

int imap_set_parse(struct imap_arg *a, struct imap_set *out)
{
    size_t room = 1;
    const char *p = a->p;

    for (; p < a->end && (ascii_isdigit(*p) || *p == '*' || *p == ':' || *p == ','); p++)
        room += *p == ',';
    *out = (struct imap_set){ .ranges = arena_alloc(a->arena, room * sizeof *out->ranges) };
    do {
        struct imap_range r;

        if (number(a, &r.first) != 0)
            return -1;
        r.last = r.first;
        if (imap_arg_char(a, ':') && number(a, &r.last) != 0)
            return -1;
        out->ranges[out->count++] = r;
    } while (imap_arg_char(a, ','));
    return 0;
}

static int by_first(const void *a, const void *b)
{
    const struct imap_range *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

void imap_set_resolve(struct imap_set *set, uint32_t star)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->count; i++) {
        struct imap_range r = set->ranges[i];

        if ((r.first == IMAP_SET_STAR || r.last == IMAP_SET_STAR) && star == 0)
            continue;
        if (r.first == IMAP_SET_STAR)
            r.first = star;
        if (r.last == IMAP_SET_STAR)
            r.last = star;
        if (r.first > r.last)
            r = (struct imap_range){ r.last, r.first };
        set->ranges[kept++] = r;
    }
    set->count = kept;
    if (kept == 0)
        return;
    qsort(set->ranges, kept, sizeof *set->ranges, by_first);
    kept = 0;
    for (size_t i = 1; i < set->count; i++) {
        struct imap_range *last = &set->ranges[kept], *r = &set->ranges[i];

        if (last->last == UINT32_MAX || r->first <= last->last + 1) {
            if (r->last > last->last)
                last->last = r->last;
        } else {
            set->ranges[++kept] = *r;
        }
    }
    set->count = kept + 1;
}

bool imap_set_has(const struct imap_set *set, uint32_t n)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (n < set->ranges[mid].first)
            high = mid;
        else if (n > set->ranges[mid].last)
            low = mid + 1;
        else
            return true;
    }
    return false;
}

uint32_t imap_set_last(const struct imap_set *set) { return set->count ? set->ranges[set->count - 1].last : 0; }

void imap_set_print(struct str *out, const uint32_t *numbers, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t to = i;

        while (to + 1 < count && numbers[to + 1] == numbers[to] + 1)
            to++;
        str_printf(out, to > i ? "%s%u:%u" : "%s%u", i ? "," : "", numbers[i], numbers[to]);
        i = to + 1;
    }
}
