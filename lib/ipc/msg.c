/*
 * msg - values in memory, and their form on the wire; msg_io.c moves frames
 *
 * A message keeps its bytes in one buffer and an index of the values beside it. A value is followed by a NUL there
 * (not on the wire), so that text can be borrowed as it is.
 */
#include "ipc/msg.h"

#include "base/log.h"
#include "base/mem.h"
#include "ipc/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NUM_BYTES = 20 };

static bool name_ok(const char *p, size_t len)
{
    if (len == 0 || len > MSG_NAME_BYTES)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!(p[i] >= 'a' && p[i] <= 'z') && !ascii_isdigit(p[i]) && p[i] != '_')
            return false;
    return true;
}

struct msg *msg_new(const char *name)
{
    struct msg *m = mem_new(sizeof *m);
    size_t len = strlen(name);

    if (!name_ok(name, len))
        log_panic("msg_new: not a message name: %s", name);
    memcpy(m->name, name, len + 1);
    str_init(&m->body, STR_UNLIMITED);
    return m;
}

void msg_free(struct msg **mp)
{
    struct msg *m = *mp;

    if (m == NULL)
        return;
    *mp = NULL;
    for (size_t i = m->fds_taken; i < m->fds_count; i++)
        if (!(m->lent & 1u << i))
            close(m->fds[i]);
    str_free(&m->body);
    free(m->values);
    free(m);
}

const char *msg_name(const struct msg *m) { return m->name; }
uint32_t msg_id(const struct msg *m) { return m->id; }
size_t msg_fds(const struct msg *m) { return m->fds_count - m->fds_taken; }

static struct msg_value *value_add(struct msg *m)
{
    if (m->count == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->values = mem_grow(m->values, m->cap, sizeof *m->values);
    }
    return &m->values[m->count++];
}

void msg_put(struct msg *m, const char *name, struct slice value)
{
    size_t len = strlen(name);
    struct msg_value *v;

    if (!name_ok(name, len))
        log_panic("msg_put: not a value name: %s", name);
    if (value.len > MSG_BYTES || m->body.len + value.len > 2 * (size_t) MSG_BYTES || m->count >= MSG_VALUES) {
        m->bad = true; /* sending it will fail with EMSGSIZE */
        return;
    }
    v = value_add(m);
    *v = (struct msg_value){ .name = (uint32_t) m->body.len,
                             .name_len = (uint8_t) len,
                             .value = (uint32_t) (m->body.len + len),
                             .value_len = (uint32_t) value.len };
    str_add(&m->body, name, len);
    str_addslice(&m->body, value);
    str_addc(&m->body, '\0');
}

void msg_put_str(struct msg *m, const char *name, const char *value)
{
    msg_put(m, name, slice_of(value ? value : ""));
}

void msg_put_num(struct msg *m, const char *name, int64_t value)
{
    char text[NUM_BYTES], *p = text + sizeof text;
    uint64_t rest = value < 0 ? 0 - (uint64_t) value : (uint64_t) value;

    do
        *--p = (char) ('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        *--p = '-';
    msg_put(m, name, slice_make(p, (size_t) (text + sizeof text - p)));
}

void msg_put_fd(struct msg *m, int fd)
{
    int copy = -1;

    if (m->fds_count < MSG_FDS)
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        m->bad = true;
        return;
    }
    m->fds[m->fds_count++] = copy;
}

void msg_lend_fd(struct msg *m, int fd)
{
    if (m->fds_count == MSG_FDS || fd < 0) {
        m->bad = true;
        return;
    }
    m->lent |= 1u << m->fds_count;
    m->fds[m->fds_count++] = fd;
}

static bool value_is(const struct msg *m, const struct msg_value *v, const char *name, size_t len)
{
    return !v->taken && v->name_len == len && memcmp(m->body.p + v->name, name, len) == 0;
}

/* Values are mostly taken in the order they were put: the search begins behind the last one taken. */
static struct msg_value *value_find(const struct msg *m, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = m->cursor; i < m->count; i++)
        if (value_is(m, &m->values[i], name, len))
            return &m->values[i];
    for (size_t i = 0; i < m->cursor && i < m->count; i++)
        if (value_is(m, &m->values[i], name, len))
            return &m->values[i];
    return NULL;
}

bool msg_has(const struct msg *m, const char *name) { return value_find(m, name) != NULL; }

static struct msg_value *value_take(struct msg *m, const char *name)
{
    struct msg_value *v = value_find(m, name);

    if (v == NULL)
        return NULL;
    v->taken = true;
    m->taken++;
    m->cursor = (size_t) (v - m->values) + 1;
    return v;
}

struct slice msg_get(struct msg *m, const char *name, size_t max)
{
    struct msg_value *v = value_take(m, name);

    if (v == NULL || v->value_len > max) {
        m->bad = true;
        return (struct slice){ "", 0 };
    }
    return (struct slice){ m->body.p + v->value, v->value_len };
}

const char *msg_get_str(struct msg *m, const char *name, size_t max)
{
    struct slice s = msg_get(m, name, max);

    if (memchr(s.p, '\0', s.len) != NULL) {
        m->bad = true;
        return "";
    }
    return s.p;
}

int64_t msg_get_num(struct msg *m, const char *name, int64_t min, int64_t max)
{
    struct slice s = msg_get(m, name, NUM_BYTES);
    int64_t n = min > 0 || max < 0 ? min : 0;

    if (slice_i64(s, min, max, &n) < 0)
        m->bad = true;
    return n;
}

bool msg_next(struct msg *m, const char *name, size_t max, struct slice *out)
{
    if (!msg_has(m, name))
        return false;
    *out = msg_get(m, name, max);
    return true;
}

int msg_take_fd(struct msg *m)
{
    if (m->fds_taken == m->fds_count) {
        m->bad = true;
        return -1;
    }
    if (m->lent & 1u << m->fds_taken)
        return fcntl(m->fds[m->fds_taken++], F_DUPFD_CLOEXEC, 0);
    return m->fds[m->fds_taken++];
}

bool msg_done(struct msg *m) { return !m->bad && m->taken == m->count && m->fds_taken == m->fds_count; }

static void add_u32(struct str *out, uint32_t n)
{
    char b[4] = { (char) (n >> 24), (char) (n >> 16), (char) (n >> 8), (char) n };

    str_add(out, b, sizeof b);
}

void msg_encode(const struct msg *m, uint32_t id, struct str *out)
{
    size_t name_len = strlen(m->name), total = 1 + name_len + 4 + 1;

    for (size_t i = 0; i < m->count; i++)
        total += 1 + (size_t) m->values[i].name_len + 4 + m->values[i].value_len;
    str_reserve(out, total + 4);
    add_u32(out, (uint32_t) total);
    str_addc(out, (char) name_len);
    str_add(out, m->name, name_len);
    add_u32(out, id);
    str_addc(out, (char) (m->fds_count - m->fds_taken));
    for (size_t i = 0; i < m->count; i++) {
        const struct msg_value *v = &m->values[i];
        str_addc(out, (char) v->name_len);
        str_add(out, m->body.p + v->name, v->name_len);
        add_u32(out, v->value_len);
        str_add(out, m->body.p + v->value, v->value_len);
    }
}

struct cursor {
    const unsigned char *p;
    size_t at, len;
};
static bool take_u8(struct cursor *c, size_t *n)
{
    if (c->len - c->at < 1)
        return false;
    *n = c->p[c->at++];
    return true;
}
static bool take_u32(struct cursor *c, size_t *n)
{
    if (c->len - c->at < 4)
        return false;
    *n = (size_t) c->p[c->at] << 24 | (size_t) c->p[c->at + 1] << 16 | (size_t) c->p[c->at + 2] << 8 |
         (size_t) c->p[c->at + 3];
    c->at += 4;
    return true;
}
static bool take_bytes(struct cursor *c, size_t n, size_t *from)
{
    if (c->len - c->at < n)
        return false;
    *from = c->at;
    c->at += n;
    return true;
}

static bool parse_head(struct msg *m, struct cursor *c)
{
    size_t len, from, id, fds;

    if (!take_u8(c, &len) || !take_bytes(c, len, &from) || !name_ok((const char *) c->p + from, len))
        return false;
    memcpy(m->name, c->p + from, len);
    m->name[len] = '\0';
    if (!take_u32(c, &id) || !take_u8(c, &fds) || fds > MSG_FDS)
        return false;
    m->id = (uint32_t) id;
    m->fds_promised = fds;
    return true;
}

static bool parse_value(struct msg *m, struct cursor *c)
{
    size_t name_len, name, value_len, value;

    if (m->count >= MSG_VALUES || !take_u8(c, &name_len) || !take_bytes(c, name_len, &name) ||
        !name_ok((const char *) c->p + name, name_len) || !take_u32(c, &value_len) ||
        !take_bytes(c, value_len, &value))
        return false;
    *value_add(m) = (struct msg_value){ .name = (uint32_t) name,
                                        .name_len = (uint8_t) name_len,
                                        .value = (uint32_t) value,
                                        .value_len = (uint32_t) value_len };
    return true;
}

/* *frame is moved into the message. The NUL behind a value falls on the length byte of the next name, which has been
 * read by then, or on the NUL that ends the str. */
int msg_parse(struct str *frame, struct msg **out)
{
    struct msg *m = mem_new(sizeof *m);
    struct cursor c = { (const unsigned char *) frame->p, 0, frame->len };
    bool ok = frame->len <= MSG_BYTES && parse_head(m, &c);

    while (ok && c.at < c.len)
        ok = parse_value(m, &c);
    m->body = *frame;
    str_init(frame, frame->max);
    if (!ok) {
        msg_free(&m);
        errno = EPROTO;
        return -1;
    }
    for (size_t i = 0; i < m->count; i++)
        m->body.p[m->values[i].value + m->values[i].value_len] = '\0';
    *out = m;
    return 0;
}

int msg_decode(struct slice frame, struct msg **out)
{
    struct str copy;

    str_init(&copy, STR_UNLIMITED);
    str_addslice(&copy, frame);
    if (copy.cap == 0)
        str_reserve(&copy, 1);
    return msg_parse(&copy, out);
}
