/* berkeley - FILE.db by libdb 5.3; contract in berkeley.h */
#include "berkeley.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_BERKELEY_DB
#include <db.h>

enum { CACHE_BYTES = 16 << 20 };

bool berkeley_here(void) { return true; }

static DB *open_file(const char *path, DBTYPE type, u_int32_t flags, struct err *err)
{
    DB *db;
    int error = db_create(&db, NULL, 0);

    if (error == 0) {
        db->set_errfile(db, NULL);
        error = db->set_cachesize(db, 0, CACHE_BYTES, 1);
        if (error == 0)
            error = db->open(db, NULL, path, NULL, type, flags, 0600);
        if (error == 0)
            return db;
        db->close(db, 0);
    }
    err_set(err, 0, NULL, "open database %s: %s", path, db_strerror(error));
    return NULL;
}

int berkeley_kind(const char *path, enum berkeley_kind *out)
{
    struct err ignored;
    DB *db = open_file(path, DB_UNKNOWN, DB_RDONLY, &ignored);
    DBTYPE type = DB_UNKNOWN;

    if (db == NULL)
        return -1;
    (void) db->get_type(db, &type);
    db->close(db, 0);
    *out = type == DB_BTREE ? BERKELEY_BTREE : BERKELEY_HASH;
    return type == DB_BTREE || type == DB_HASH ? 0 : -1;
}

struct writing {
    DB *db;
    struct str key, value;
    int error;
};

static int put_pair(void *ctx, struct slice key, struct slice value)
{
    struct writing *w = ctx;
    DBT k = { 0 }, v = { 0 };

    str_reset(&w->key);
    str_reset(&w->value);
    str_addslice(&w->key, key);
    str_addslice(&w->value, value);
    k.data = w->key.p;
    v.data = w->value.p;
    k.size = (u_int32_t) w->key.len + 1; /* with its NUL */
    v.size = (u_int32_t) w->value.len + 1;
    w->error = key.len > UINT32_MAX / 4 || value.len > UINT32_MAX / 4 ? EFBIG : w->db->put(w->db, NULL, &k, &v, 0);
    return w->error ? -1 : 0;
}

static int dress(const char *path, const struct stat *source)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), rc = 0;

    if (fd < 0)
        return -1;
    if (source && geteuid() == 0)
        rc = fchown(fd, source->st_uid, source->st_gid);
    if (rc == 0)
        rc = fchmod(fd, source ? source->st_mode & 0666 : 0644);
    if (rc == 0)
        rc = fsync(fd);
    close(fd);
    return rc;
}

int berkeley_write(const char *path, enum berkeley_kind kind, const struct build *b, const struct stat *source,
                   struct err *err)
{
    char *tmp = mem_printf("%s.tmp.%ld", path, (long) getpid());
    struct writing w = { .error = 0 };
    int rc = -1, closed;

    (void) unlink(tmp);
    w.db = open_file(tmp, kind == BERKELEY_BTREE ? DB_BTREE : DB_HASH, DB_CREATE | DB_EXCL, err);
    if (w.db) {
        str_init(&w.key, STR_UNLIMITED);
        str_init(&w.value, STR_UNLIMITED);
        (void) build_each(b, put_pair, &w);
        closed = w.db->close(w.db, 0);
        str_free(&w.key);
        str_free(&w.value);
        if (w.error || closed)
            err_set(err, 0, NULL, "write %s: %s", path, db_strerror(w.error ? w.error : closed));
        else if (dress(tmp, source) < 0 || rename(tmp, path) < 0)
            err_set(err, 0, NULL, "create %s: %s", path, strerror(errno));
        else
            rc = 0;
        if (rc < 0)
            (void) unlink(tmp);
    }
    free(tmp);
    return rc;
}

static int become_owner(const char *path, struct err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_set(err, 0, NULL, "open database %s: %s", path, strerror(errno));
    if (geteuid() != 0 || st.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) < 0 || setgid(st.st_gid) < 0 || setuid(st.st_uid) < 0)
        return err_set(err, 0, NULL, "become the owner of %s: %s", path, strerror(errno));
    return 0;
}

static struct slice without_nul(const DBT *d)
{
    const char *p = d->data;

    return slice_make(p, d->size && p[d->size - 1] == 0 ? d->size - 1 : d->size);
}

int berkeley_read(const char *path, int (*fn)(void *, struct slice, struct slice), void *ctx, struct err *err)
{
    DBC *cursor = NULL;
    DBT k = { 0 }, v = { 0 };
    DB *db;
    int error;

    if (become_owner(path, err) < 0 || (db = open_file(path, DB_UNKNOWN, DB_RDONLY, err)) == NULL)
        return -1;
    error = db->cursor(db, NULL, &cursor, 0);
    while (error == 0 && (error = cursor->get(cursor, &k, &v, DB_NEXT)) == 0)
        if (fn(ctx, without_nul(&k), without_nul(&v)) < 0)
            error = EIO;
    if (cursor)
        cursor->close(cursor);
    db->close(db, 0);
    return error == DB_NOTFOUND ? 0 : err_set(err, 0, NULL, "read %s: %s", path, db_strerror(error));
}

#else

static int without(const char *path, struct err *err)
{
    return err_set(err, 0, NULL, "%s: this program was built without libdb", path);
}

bool berkeley_here(void) { return false; }

int berkeley_kind(const char *path, enum berkeley_kind *out)
{
    (void) path;
    (void) out;
    return -1;
}

int berkeley_write(const char *path, enum berkeley_kind kind, const struct build *b, const struct stat *source,
                   struct err *err)
{
    (void) kind;
    (void) b;
    (void) source;
    return without(path, err);
}

int berkeley_read(const char *path, int (*fn)(void *, struct slice, struct slice), void *ctx, struct err *err)
{
    (void) fn;
    (void) ctx;
    return without(path, err);
}
#endif
