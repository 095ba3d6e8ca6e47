/*
 * index_message - one message's record in the index, and the checksum
 *
 * Callers     store/index.c, store/message.c, lib/deliver
 * Invariants  a record that does not fit INDEX_RECORD_BYTES is not made (empty payload)
 */
#include "proto/mime/imap.h"
#include "store/index.h"

#include <endian.h>

/* What mail programs list, thread and sort by. */
static const char *const kept[] = {
    "Date",
    "Subject",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "In-Reply-To",
    "Message-ID",
    "References",
    "X-Priority",
    "Priority",
    "Importance",
    "Delivered-To",
    "Content-Type",
    "List-Id",
    "List-Post",
    "List-Unsubscribe",
    "Newsgroups",
    "MIME-Version",
    "X-Spam-Flag",
    "X-Spam-Status",
    "Disposition-Notification-To",
    "Mail-Followup-To",
    "Thread-Topic",
    "User-Agent",
};

bool index_has_field(struct slice name)
{
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (slice_caseeq(name, kept[i]))
            return true;
    return false;
}

bool index_message_get(struct slice payload, struct index_message *out)
{
    struct index_reader r = { (const unsigned char *) payload.p, (const unsigned char *) payload.p + payload.len,
                              false };

    out->base = index_get_str(&r);
    out->physical = index_get(&r, 8);
    out->virtual = index_get(&r, 8);
    out->envelope = index_get_str(&r);
    out->structure = index_get_str(&r);
    out->parts = index_get_str(&r);
    out->fields = index_get_str(&r);
    return !r.bad && r.p == r.end;
}

void index_message_put(struct str *out, const struct index_message *m)
{
    index_put_str(out, m->base);
    index_put(out, m->physical, 8);
    index_put(out, m->virtual, 8);
    index_put_str(out, m->envelope);
    index_put_str(out, m->structure);
    index_put_str(out, m->parts);
    index_put_str(out, m->fields);
}

/* Appends lines with CRLF ends. */
static void add_crlf(struct str *out, struct slice s)
{
    while (s.len) {
        const char *lf = memchr(s.p, '\n', s.len);
        size_t len = lf ? (size_t) (lf - s.p) : s.len;
        str_add(out, s.p, len - (lf && len && lf[-1] == '\r'));
        str_adds(out, "\r\n");
        s = slice_sub(s, len + 1, s.len);
    }
}

/* A string whose length is not known yet: what is added from *at on. */
static size_t open_string(struct str *out)
{
    index_put(out, 0, 4);
    return out->len;
}

static void close_string(struct str *out, size_t at)
{
    uint32_t len = htole32((uint32_t) (out->len - at));

    if (!str_over(out))
        memcpy(out->p + at - sizeof len, &len, sizeof len);
}

void index_message_make(struct str *out, struct slice base, const struct mime_part *root, struct slice header)
{
    struct mime_field f;
    size_t at;

    str_reserve(out, 1024);
    index_put_str(out, base);
    index_put(out, root->header.physical + root->body.physical, 8);
    index_put(out, root->header.virtual + root->body.virtual, 8);
    at = open_string(out);
    mime_imap_envelope(root->envelope, out);
    close_string(out, at);
    at = open_string(out);
    mime_imap_structure(root, true, out);
    close_string(out, at);
    at = open_string(out);
    mime_part_pack(root, out);
    close_string(out, at);
    at = open_string(out);
    while (mime_field_next(&header, &f))
        if (index_has_field(f.name))
            add_crlf(out, f.whole);
    close_string(out, at);
    if (str_over(out))
        str_reset(out);
}

static uint32_t crc_table(const unsigned char *p, size_t len, uint32_t crc)
{
    static uint32_t table[256]; /* made at the first use */

    if (table[1] == 0)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++)
                c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
            table[i] = c;
        }
    for (size_t i = 0; i < len; i++)
        crc = table[(crc ^ p[i]) & 0xff] ^ crc >> 8;
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_hardware(const unsigned char *p, size_t len, uint32_t crc)
{
    uint64_t word, c = crc;

    for (; len >= 8; len -= 8, p += 8) {
        memcpy(&word, p, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    for (; len; len--, p++)
        c = __builtin_ia32_crc32qi((uint32_t) c, *p);
    return (uint32_t) c;
}
#endif

uint32_t index_crc32c(const void *p, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_hardware(p, len, ~0u);
#endif
    return ~crc_table(p, len, ~0u);
}
