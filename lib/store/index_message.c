/*
 * index_message - one message's record in the index, and the checksum
 *
 * Callers     store/index.c, store/message.c, lib/deliver
 * Invariants  a record that does not fit INDEX_RECORD_BYTES is not made (empty payload)
 */
#include "proto/mime/imap.h"
#include "store/index.h"

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
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
            str_addc(out, '\r');
        str_addc(out, s.p[i]);
    }
    if (s.len && s.p[s.len - 1] != '\n')
        str_adds(out, "\r\n");
}

void index_message_make(struct str *out, struct slice base, const struct mime_part *root, struct slice header)
{
    struct index_message m = { .base = base,
                               .physical = root->header.physical + root->body.physical,
                               .virtual = root->header.virtual + root->body.virtual };
    struct str envelope, structure, parts, fields;
    struct mime_field f;

    str_init(&envelope, INDEX_RECORD_BYTES);
    str_init(&structure, INDEX_RECORD_BYTES);
    str_init(&parts, INDEX_RECORD_BYTES);
    str_init(&fields, INDEX_RECORD_BYTES);
    mime_imap_envelope(root->envelope, &envelope);
    mime_imap_structure(root, true, &structure);
    mime_part_pack(root, &parts);
    while (mime_field_next(&header, &f))
        if (index_has_field(f.name))
            add_crlf(&fields, f.whole);
    m.envelope = str_slice(&envelope);
    m.structure = str_slice(&structure);
    m.parts = str_slice(&parts);
    m.fields = str_slice(&fields);
    if (!str_over(&envelope) && !str_over(&structure) && !str_over(&parts) && !str_over(&fields) &&
        envelope.len + structure.len + parts.len + fields.len + base.len + 64 < INDEX_RECORD_BYTES)
        index_message_put(out, &m);
    str_free(&envelope);
    str_free(&structure);
    str_free(&parts);
    str_free(&fields);
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
