/* security - words of security options; contract in security.h */
#include "proto/sasl/security.h"
#include "proto/sasl/dovecot_auth.h"

int sasl_security_parse(const char *options, struct sasl_security *out, struct slice *word)
{
    static const struct {
        const char *name;
        unsigned refused, needed;
    } words[] = {
        { "noplaintext", DOVECOT_AUTH_PLAINTEXT, 0 },           { "noactive", DOVECOT_AUTH_ACTIVE, 0 },
        { "nodictionary", DOVECOT_AUTH_DICTIONARY, 0 },         { "noanonymous", DOVECOT_AUTH_ANONYMOUS, 0 },
        { "forward_secrecy", 0, DOVECOT_AUTH_FORWARD_SECRECY }, { "mutual_auth", 0, DOVECOT_AUTH_MUTUAL }
    };
    struct slice rest = slice_of(options);

    *out = (struct sasl_security){ 0 };
    while (slice_word(&rest, ", \t\r\n", word)) {
        size_t i = 0;

        while (i < sizeof words / sizeof *words && !slice_caseeq(*word, words[i].name))
            i++;
        if (i == sizeof words / sizeof *words)
            return -1;
        out->refused |= words[i].refused;
        out->needed |= words[i].needed;
    }
    return 0;
}

bool sasl_security_allows(const struct sasl_security *s, unsigned flags)
{
    return !(flags & s->refused) && (flags & s->needed) == s->needed;
}
