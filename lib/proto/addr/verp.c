/* verp - a sender that names the recipient, so that what bounces says who it was; contract in addr.h */
#include "proto/addr/addr.h"

void addr_verp(struct str *out, struct slice sender, const char *delimiters, struct slice rcpt)
{
    struct slice local, domain, rcpt_local, rcpt_domain;
    bool has_domain = addr_split(sender, &local, &domain),
         rcpt_has_domain = addr_split(rcpt, &rcpt_local, &rcpt_domain);

    str_addslice(out, local);
    str_addc(out, delimiters[0]);
    str_addslice(out, rcpt_local);
    if (rcpt_has_domain) {
        str_addc(out, delimiters[1]);
        str_addslice(out, rcpt_domain);
    }
    if (has_domain) {
        str_addc(out, '@');
        str_addslice(out, domain);
    }
}

bool addr_verp_delimiters(struct slice delimiters, const char *allowed)
{
    return delimiters.len == 2 && slice_find(slice_of(allowed), delimiters.p[0]) >= 0 &&
           slice_find(slice_of(allowed), delimiters.p[1]) >= 0;
}
