/*
 * internal - what the files of lib/store share
 *
 * Callers     lib/store only
 * Invariants  see mailbox.h; items live in box->items (by base name) and, when their file is there, in box->view
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H
#include "base/list.h"
#include "base/map.h"
#include "event/event.h"
#include "store/dovecot_index.h"
#include "store/filename.h"
#include "store/index.h"
#include "store/mailbox.h"
#include "store/uidlist.h"
#include <sys/stat.h>

enum { STORE_MESSAGES_MAX = 16 << 20 };
#define DATE_UNKNOWN INT64_MIN

struct store {
    char *root;
    int fd;         /* of root */
    int control_fd; /* of what is beside it: subscriptions, the last UIDVALIDITY; also in places, or fd */
    struct store_places places;
    char separator;
    const struct store_special *special;
    bool told_link; /* a mailbox that is a dangling link was reported */
    char error[512];
};

struct item {         /* a message file, or a UID whose file is not there */
    struct mail mail; /* first: mailbox_mail hands it out */
    char *name;       /* file name; of an absent one the base name */
    uint16_t base_len;
    bool in_new, present, in_view;
    bool changed;                        /* a FLAGS event is due */
    bool pending;                        /* in box->pending */
    uint32_t listed;                     /* number of the reading of the uidlist that saw it last */
    bool told_gone;                      /* its UID was shown as expunged */
    bool ghost;                          /* not in box->items: stands in the view for a UID that its file lost */
    uint32_t scan;                       /* number of the scan that saw it */
    int64_t born;                        /* when its record was read; 0: before this view was opened */
    char *keys;                          /* of the uidlist record; NULL: none */
    bool in_block, name_lent, keys_lent; /* the item is in box->block; its texts are in box->texts */
    bool unchecked;                      /* the sizes are those of the name: nobody has looked at the file */
    bool odd;                            /* the directory does not say that it is a file */
    bool gathered;                       /* its record is in box->batch */
    uint64_t physical, virtual;
    int64_t date;
    uint64_t cache; /* offset of its record in the index; 0: none */
};

struct gathered { /* message_flush comes before an item is freed */
    struct item *item;
    size_t at;
};

struct dir_state { /* a directory as of the last scan */
    int64_t mtime_ns;
    bool dirty;        /* changed so shortly before the scan that a later change may carry the same time */
    bool ours;         /* dirty: by what the client did, since when it was not read */
    bool unasked;      /* of cur/: mtime_ns is not that of our last change: see in_row */
    bool summed;       /* read once: sum is that of the names that are known in it */
    uint64_t sum;      /* who doubts reads the names and compares, which is a tenth of the work of a scan */
    int64_t looked_ms; /* when the names were read last */
};

struct mailbox {
    struct store *store;
    char *name, *path;
    int fd, cur_fd, new_fd;
    int control_fd, index_fd; /* of uidlist and keywords, of indexes: fd where they lie there; index_fd -1: none */
    int lock_fd;              /* while its uidlist is locked */
    bool in_row; /* and was not given back since this view changed cur/ and uidlist last: as it left them */
    bool read_only;
    bool local;  /* its times are of time_stamp_ns, and what is synced takes the names before it along */
    bool apart;  /* control_fd is on another file system */
    bool viewed; /* not only a handle: the index may keep what it holds */
    bool shown;  /* a client may have been told of it */
    struct uidlist uids;
    struct dir_state cur, new;
    struct together *with; /* the others of this process who have it open */
    uint64_t followed;     /* number of the first change of theirs that is not known here */
    struct map *items;     /* base name -> struct item; see view_items */
    struct item **view;    /* sorted by uid */
    uint32_t count, room, told_count, told_recent;
    uint32_t recent;              /* of the view */
    bool some_gone;               /* of the view */
    bool some_changed;            /* FLAGS events are due */
    uint32_t scan, listing;       /* numbers of the scan and of the reading of the uidlist that were last */
    uint32_t in_new, seen_in_new; /* items whose file is in new/; of them, those that the last scan saw */
    uint32_t waste;               /* records that lost their file since mostly_waste looked last */
    bool to_move;                 /* files were seen in new/ */
    struct item **pending;        /* found by a scan: to get a UID or a place in the view */
    size_t pending_count, pending_room;
    struct item **awaited; /* uidlist records read since the last scan, their files not seen yet */
    size_t awaited_count, awaited_room;
    int64_t tmp_checked; /* when old files in tmp/ were removed */
    uint64_t modseq;
    char *keywords[STORE_KEYWORDS_MAX];
    uint64_t keywords_inode, keywords_size;
    int64_t keywords_mtime_ns;
    bool keywords_changed, keywords_told; /* told: that there are more than fit */
    struct dovecot_index dovecot;         /* Dovecot's log, as far as read */
    bool dovecot_told;                    /* that it cannot be used */
    struct index index;
    struct str batch;          /* records of messages that were parsed, for the index */
    struct gathered *gathered; /* whose they are, in their order */
    size_t gathered_count, gathered_room;
    bool index_stale;               /* a snapshot would tell more than the last one */
    bool index_kept;                /* there is a snapshot, of this opening or before */
    bool dormant;                   /* opened from a snapshot whose items are not read yet */
    struct mailbox_summary summary; /* what it says of them */
    uint64_t items_at;              /* where they are */
    struct item *block;             /* those that came from it */
    uint32_t block_count;
    char *texts;                      /* their names and keys */
    bool mapped;                      /* box->items has them */
    char scratch[UIDLIST_LINE_BYTES]; /* what message_guid answered */
    struct mailbox_changes changes;
    size_t changes_room;
};

/* Errors: records what happened and answers why. errno 0: fmt alone. */
enum store_why store_fail(struct store *, enum store_why, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
enum store_why store_fail_errno(struct store *, const char *what, const char *path);
int store_pause(int64_t milliseconds);     /* in the fiber where there is one */
int store_sync_fd(int fd, bool data_only); /* fsync or fdatasync, as event_sync does it */
int store_syncfs(int fd);                  /* of the file system; in a thread where there is a fiber to wait */
static inline int64_t store_mtime_ns(const struct stat *st)
{
    return (int64_t) st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* layout.c. path: "." is the INBOX. */
char *store_path(const struct store *, const char *name);        /* malloced; NULL: not a name */
char *store_canonical(const struct store *, const char *name);   /* "Inbox/a" is INBOX/a; malloced */
bool store_is_mailbox(const struct store *, const char *path);   /* not asked of the INBOX */
bool store_is_directory(const struct store *, const char *path); /* LAYOUT=fs: there, mailbox or not */
bool store_has_children(struct store *, const char *path);
/* All but the INBOX, in no order, until fn answers false. selectable: false for LAYOUT=fs's mere directories. */
typedef bool (*store_each_fn)(void *ctx, const char *name, const char *path, bool selectable);
void store_each(struct store *, store_each_fn, void *ctx);
int store_make_parents(int at, const char *path);
int store_open_mail(const struct store *, const char *path);
int store_stat_mail(const struct store *, const char *path, struct stat *);
/* Its directory in CONTROL= or INDEX=, made where it is missing. */
int store_open_elsewhere(const struct store *, int base_fd, const char *path);
bool store_subscribed_each(struct store *, void (*fn)(void *ctx, const char *name), void *ctx);

/* keywords.c */
int keywords_read(struct mailbox *); /* when the file changed */
/* Bits for names, made where new. STORE_LIMIT when the list is full. */
enum store_why keywords_bits(struct mailbox *, const char *const *names, bool create, uint64_t *bits);
/* The number of a keyword that Dovecot's log names; make: where new. -1: none. */
int keywords_extra(struct mailbox *, const char *name, bool make);

/* extra.c */
struct extra_change {
    uint32_t uid;
    uint64_t add, remove; /* bits of keywords beyond the letters */
};
void extra_sync(struct mailbox *);     /* what Dovecot's log says that is new */
bool extra_validity(struct mailbox *); /* no uidlist: UIDVALIDITY and next UID as Dovecot's index has them, if any */
/* Under the uidlist's lock: UIDs that Dovecot's index knows and its uidlist does not (a power cut) are not given. */
void extra_skip_given(struct mailbox *);
/* Under the uidlist's lock, after UIDs are in it: tells Dovecot, by its log. */
enum store_why extra_changed(struct mailbox *, const struct extra_change *, size_t n);

/* sum.c */
void sum_add(struct mailbox *, bool in_new, const char *name);                    /* a name that is read */
void sum_changed(struct mailbox *, bool in_new, const char *was, const char *is); /* as scan_changed */
bool sum_same(const struct mailbox *, bool in_new); /* reads the names: are they those that are known? */

/* together.c */
void together_join(struct mailbox *); /* its directories are open */
void together_leave(struct mailbox *);
int together_lock(struct mailbox *); /* the uidlist's, in this process by turns; scan_unlock follows; -1 errno */
void together_freed(struct mailbox *);
/* As scan_unlock, but for a moment it may stay locked, for whoever saves the next message; when the last one here closes
 * the mailbox it is given back. */
void together_unlock_later(struct mailbox *);
bool together_keeps(const struct mailbox *); /* it is locked now, since this view had the lock */
struct together_saves {                      /* new messages that share a commit of the file system: see save.c */
    struct list waiting;
    bool led;       /* one of them does the work for all */
    size_t syncing; /* so many have not synced their file yet */
    struct event_cond moved;
};
struct together_saves *together_saves(struct mailbox *); /* NULL: none */
void together_break(struct mailbox *);                   /* what was published was undone */
void together_note(struct mailbox *, const char *was,
                   const char *is); /* a name of cur/ went, came, or became another */
/* What was noted led from one mtime of cur/ to the next; undisturbed: and nobody else changed it meanwhile. */
void together_publish(struct mailbox *, int64_t from, int64_t to, bool undisturbed);
bool together_behind(const struct mailbox *);        /* others changed something */
void together_read(struct mailbox *);                /* cur/ is being read: all up to now is known */
bool together_follow(struct mailbox *, int64_t now); /* now: mtime of cur/; false: it must be read */

/* view.c: items and the numbered view */
struct map *view_items(struct mailbox *); /* box->items, with those of the snapshot */
struct item *item_new(struct mailbox *, struct slice base);
void item_free(void *item);
void item_set_name(struct item *, const char *name);
void item_place(struct mailbox *, struct item *, bool present, bool in_new);
void item_gone(struct mailbox *, struct item *);    /* its file is not there: the next sync may tell */
void item_changed(struct mailbox *, struct item *); /* a FLAGS event is due */
void item_recent(struct mailbox *, struct item *);
void item_set_keys(struct item *, struct slice keys);
void item_learn(struct mailbox *, struct item *, const struct stat *); /* what the file itself says */
void item_check(struct mailbox *, struct item *);                      /* asks it, where nobody has */
static inline struct slice item_base(const struct item *it) { return slice_make(it->name, it->base_len); }
struct item *view_item(const struct mailbox *, uint32_t seq);
void view_add(struct mailbox *, struct item *);  /* view_sort follows */
void view_sort(struct mailbox *, uint32_t from); /* from: what was added begins there */
void view_event(struct mailbox *, enum mailbox_event_type, uint32_t seq, uint32_t uid);

/* message.c: writes the records gathered so far; due before items go and before it->cache counts. */
void message_flush(struct mailbox *);
void message_gather(struct mailbox *, struct item *, struct slice record); /* the item's, to be written by and by */

/* snapshot.c */
void snapshot_open(struct mailbox *);           /* its head alone: the mailbox is dormant then */
enum store_why snapshot_load(struct mailbox *); /* and the items; nothing where it is not dormant */
void snapshot_save(struct mailbox *);
void snapshot_tail(struct mailbox *); /* records others appended since */

/* first.c: under the uidlist's lock; a mailbox that nobody has listed. Nothing happens to one that is not plain. */
enum store_why first_look(struct mailbox *);

/* assign.c: under the uidlist's lock, after catching up */
enum store_why assign_uids(struct mailbox *, struct item **items, size_t n); /* to items (uid 0) in order, durably */
int assign_rewrite(struct mailbox *);                                        /* the whole uidlist, in version 3 */

/* scan.c */
enum store_why scan_sync(struct mailbox *); /* a dormant mailbox stays so while nothing has changed */
enum store_why scan_lock(struct mailbox *); /* takes the lock and catches up with the uidlist */
void scan_unlock(struct mailbox *);
bool scan_list_unchanged(struct mailbox *);                          /* uidlist_unchanged, or known to be */
void scan_follow(struct mailbox *, const char *was, const char *is); /* as together_note had it */
void scan_found(struct mailbox *, struct item *); /* as by a scan: it gets its place in the view at the next sync */
/* Files of records that others wrote and no scan has shown: the next sync looks. */
void scan_awaited(struct mailbox *);
/* Up to it all messages that the uidlist names are in the view, or are gone. */
uint32_t scan_uid_limit(const struct mailbox *);
uint64_t mailbox_next_modseq(struct mailbox *);
/* Renames the file of an item; finds it again when somebody else renamed it. -1: gone. */
int scan_rename(struct mailbox *, struct item *, const char *name);
int scan_refind(struct mailbox *, struct item *);

/* times.c */
int64_t scan_mtime(int dir_fd);
bool scan_wanted(struct mailbox *, bool in_new); /* the directory has changed, or may have */
/* Around our own renames in a directory: without others' changes no scan is due. */
bool scan_before(struct mailbox *, bool in_new);
void scan_after(struct mailbox *, bool in_new, bool undisturbed);
/* Our own change of a directory: a name that went, came (the other NULL), or became another. */
void scan_changed(struct mailbox *, bool in_new, const char *was, const char *is);
/* Before a directory is read: fd is open on it. */
void scan_begin(struct mailbox *, bool in_new, int fd);
/* No second look follows: a directory in doubt is looked at now, and read by the next sync where it is not the same. */
void scan_doubt(struct mailbox *, bool in_new);
/* Of what was changed in a row the times are asked, before the lock is given back or somebody wants to know. */
void scan_ask(struct mailbox *);
void scan_lost(struct mailbox *); /* the lock was taken away: what was not asked is not known */

/* Descriptors only: nothing is read. -1 in fd, cur_fd or new_fd where it failed. */
struct mailbox *mailbox_handle(struct store *, const char *path, const char *name, bool read_only);
bool mailbox_is_open(const struct mailbox *);

/* save.c, commit.c: files get into a mailbox without reading it: the cost does not grow with what it holds. */
struct arrival {
    char *name; /* where it is going: in new/ or cur/ */
    char *keys; /* of its record in the uidlist; NULL: none */
    bool in_new;
    uint64_t extra; /* keywords beyond the letters */
    uint32_t uid;
};
/* A handle of the target, keywords made. STORE_NONEXISTENT ... */
enum store_why save_target(struct store *, const char *name, struct mailbox **out);
/* Under the lock: gives UIDs, durably. with_fd: a file that is synced together with them; -1: none. */
enum store_why save_assign(struct mailbox *, struct arrival *, size_t n, int with_fd);
enum store_why save_lock(struct mailbox *);
bool save_same(struct mailbox *open, const char *name); /* is the open mailbox the one that has the name now? */
/* The same lock for a mailbox that is open: what others named meanwhile is looked for before ours, with higher UIDs, may
 * be shown. Then, between scan_before and scan_after of cur/, the files, save_assign, and save_show for each. */
enum store_why save_lock_open(struct mailbox *);
/* The view learns of a new file what a scan would find. record: for the index; may be empty. */
void save_show(struct mailbox *, const struct arrival *, uint8_t flags, uint64_t keywords, struct slice record);

enum store_why mailbox_open_path(struct store *, const char *path, const char *name, bool read_only,
                                 struct mailbox **);
#endif
