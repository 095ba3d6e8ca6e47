/*
 * addr delimiter - user+extension
 *
 * Callers     lib/table (lookup keys), rewrite, cleanup, local, virtual, lmtpd
 * Invariants  pure; base is never empty where the answer is true
 */
#include "proto/addr/addr.h"

bool addr_split_extension(struct slice local, const char *delimiters, bool owner_request_special, struct slice *base,
                          struct slice *extension)
{
    static const char *const whole[] = { "postmaster", "mailer-daemon", "double-bounce" };
    size_t at = 1;

    *base = local;
    *extension = slice_make("", 0);
    if (delimiters == NULL || *delimiters == 0)
        return false;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (slice_caseeq(local, whole[i]))
            return false;
    if (owner_request_special && strchr(delimiters, '-') != NULL &&
        (slice_casestarts(local, "owner-") || slice_caseends(local, "-request")))
        return false;
    while (at < local.len && (local.p[at] == 0 || strchr(delimiters, local.p[at]) == NULL))
        at++;
    if (at >= local.len || strchr(delimiters, local.p[0]) != NULL)
        return false;
    *base = slice_sub(local, 0, at);
    *extension = slice_sub(local, at + 1, local.len);
    return true;
}
