/*
 * filename - see filename.h
 *
 * Callers     lib/store, lib/deliver
 * Invariants  a name made here has no "/", no ":" and is shorter than FILE_NAME_BYTES
 * Source      see filename.h
 */
#include "store/filename.h"
#include "base/time.h"
#include "store/mailbox.h"

#include <unistd.h>

static const struct {
    char letter;
    uint8_t flag;
} letters[] = {
    { 'D', MAIL_DRAFT }, { 'F', MAIL_FLAGGED }, { 'R', MAIL_ANSWERED }, { 'S', MAIL_SEEN }, { 'T', MAIL_DELETED }
};

static uint64_t size_tag(struct slice base, const char *tag)
{
    struct slice rest = base, part;
    uint64_t n;

    (void) slice_split(&rest, ',', &part);
    while (slice_split(&rest, ',', &part))
        if (slice_starts(part, tag) && slice_u64(slice_sub(part, 2, part.len), INT64_MAX, &n) == 0)
            return n;
    return FILE_SIZE_UNKNOWN;
}

static uint64_t leading_number(const char *p)
{
    uint64_t n = 0;

    while (ascii_isdigit(*p) && n < UINT64_MAX / 10 - 1)
        n = n * 10 + (uint64_t) (*p++ - '0');
    return n;
}

void file_name_arrival(const char *name, uint64_t *seconds, uint64_t *micros)
{
    const char *m = strstr(name, ".M");

    *seconds = leading_number(name);
    *micros = m ? leading_number(m + 2) : 0;
}

bool file_name_parse(const char *name, struct file_name *out)
{
    size_t len = strlen(name);
    const char *colon = strchr(name, ':');

    *out = (struct file_name){ 0 };
    if (name[0] == '.' || len > FILE_NAME_BYTES || memchr(name, '\n', len) || memchr(name, '\r', len))
        return false;
    out->base = slice_make(name, colon ? (size_t) (colon - name) : len);
    if (out->base.len == 0)
        return false;
    out->physical = size_tag(out->base, "S=");
    out->virtual = size_tag(out->base, "W=");
    if (colon == NULL || strncmp(colon, ":2,", 3) != 0)
        return true;
    out->info = slice_of(colon + 3);
    for (size_t i = 0; i < out->info.len && out->info.p[i] != ','; i++) {
        char c = out->info.p[i];
        if (c >= 'a' && c <= 'z')
            out->keywords |= 1u << (c - 'a');
        for (size_t k = 0; k < sizeof letters / sizeof *letters; k++)
            if (letters[k].letter == c)
                out->flags |= letters[k].flag;
    }
    return true;
}

static bool is_ours(char c)
{
    for (size_t k = 0; k < sizeof letters / sizeof *letters; k++)
        if (letters[k].letter == c)
            return true;
    return c >= 'a' && c <= 'z';
}

void file_name_build(struct str *out, struct slice base, uint8_t flags, uint32_t keywords, struct slice old)
{
    bool set[256] = { false };
    size_t more = 0;

    for (; more < old.len && old.p[more] != ','; more++)
        if (!is_ours(old.p[more]))
            set[(unsigned char) old.p[more]] = true;
    for (size_t k = 0; k < sizeof letters / sizeof *letters; k++)
        if (flags & letters[k].flag)
            set[(unsigned char) letters[k].letter] = true;
    for (unsigned k = 0; k < FILE_KEYWORDS; k++)
        if (keywords & 1u << k)
            set['a' + k] = true;
    str_addslice(out, base);
    str_adds(out, ":2,");
    for (unsigned c = 1; c < 256; c++)
        if (set[c])
            str_addc(out, (char) c);
    if (more < old.len)
        str_add(out, old.p + more, old.len - more);
}

void file_name_new(struct str *out, uint64_t physical, uint64_t virtual)
{
    static int64_t last_us; /* what the name before had: a clock that stands still must not repeat one */
    static char host[200];
    int64_t now = time_now_us();

    if (now <= last_us)
        now = last_us + 1;
    last_us = now;
    if (host[0] == '\0') {
        char name[64] = "";
        size_t n = 0;
        (void) gethostname(name, sizeof name - 1);
        for (const char *p = *name ? name : "localhost"; *p; p++) {
            if (*p == '/' || *p == ':' || *p == ',' || !ascii_isprint(*p) || *p == ' ') {
                static const char digits[] = "01234567";
                unsigned char c = (unsigned char) *p;
                host[n++] = '\\';
                host[n++] = digits[c >> 6];
                host[n++] = digits[c >> 3 & 7];
                host[n++] = digits[c & 7];
            } else {
                host[n++] = *p;
            }
        }
    }
    str_printf(out, "%lld.M%lldP%ld.%s", (long long) (now / 1000000), (long long) (now % 1000000), (long) getpid(),
               host);
    if (physical != FILE_SIZE_UNKNOWN)
        str_printf(out, ",S=%llu", (unsigned long long) physical);
    if (virtual != FILE_SIZE_UNKNOWN)
        str_printf(out, ",W=%llu", (unsigned long long) virtual);
}
