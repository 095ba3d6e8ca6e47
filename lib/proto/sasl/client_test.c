/* client_test - the RFCs' own examples, and servers that do not do their part */
#include "proto/sasl/client.h"
#include "proto/sasl/dovecot_auth.h"
#include "proto/sasl/security.h"
#include <assert.h>

enum { STEPS = 4 };
/* first "-": the server speaks first. A step: challenge, response; response NULL: refused. */
static const struct {
    const char *mech, *user, *password, *authzid, *nonce, *first;
    const char *step[STEPS][2];
    bool end;
} cases[] = {
    { "PLAIN", "tim", "tanstaaftanstaaf", "", "x", "|tim|tanstaaftanstaaf", { { NULL } }, true },
    { "PLAIN", "Kurt", "xipj3plmq", "Ursel", "x", "Ursel|Kurt|xipj3plmq", { { "more", NULL } }, true },
    { "LOGIN",
      "ann",
      "secret",
      "",
      "x",
      "-",
      { { "User Name", "ann" }, { "Password", "secret" }, { "?", NULL } },
      true },
    { "CRAM-MD5",
      "tim",
      "tanstaaftanstaaf",
      "",
      "x",
      "-",
      { { "<1896.697170952@postoffice.reston.mci.net>", "tim b913a602c7eda7a495b4e6e7334d3890" }, { "?", NULL } },
      true },
    { "DIGEST-MD5",
      "chris",
      "secret",
      "",
      "OA6MHXh6VqTrRk",
      "-",
      { { "realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",algorithm=md5-sess,charset=utf-8",
          "charset=utf-8,nc=00000001,username=\"chris\",realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\","
          "cnonce=\"OA6MHXh6VqTrRk\",digest-uri=\"imap/elwood.innosoft.com\",qop=auth,"
          "response=d388dad90d4bbd760a152321f2143af7" },
        { "rspauth=ea40f60335c427b5527b84dbabcdfffd", "" } },
      true },
    { "DIGEST-MD5",
      "chris",
      "secret",
      "",
      "OA6MHXh6VqTrRk",
      "-",
      { { " nonce = \"a\\\"b\" , , algorithm=md5-sess,qop=\"auth-int, auth\"",
          "nc=00000001,username=\"chris\",nonce=\"a\\\"b\",cnonce=\"OA6MHXh6VqTrRk\","
          "digest-uri=\"imap/elwood.innosoft.com\",qop=auth,response=4513cd94906a5aa3dc78acc430ce227a" },
        { "rspauth=ea40f60335c427b5527b84dbabcdfffd", NULL } },
      false },
    { "DIGEST-MD5", "u", "p", "", "n", "-", { { "nonce=\"a\",qop=\"auth-conf\",algorithm=md5-sess", NULL } }, false },
    { "DIGEST-MD5", "u", "p", "", "n", "-", { { "nonce=\"a\",nonce=\"b\",algorithm=md5-sess", NULL } }, false },
    { "DIGEST-MD5", "u", "p", "", "n", "-", { { "nonce=\"a", NULL } }, false },
    { "DIGEST-MD5", "u", "p", "", "n", "-", { { "nonce=\"a\\", NULL } }, false },
    { "DIGEST-MD5", "u", "p", "", "n", "-", { { "", NULL } }, false },
    { "DIGEST-MD5",
      "u",
      "p",
      "",
      "n",
      "-",
      { { "nonce=\"a\"", NULL } },
      false }, /* no algorithm: not this mechanism */
    { "SCRAM-SHA-1",
      "user",
      "pencil",
      "",
      "fyko+d2lbbFgONRv9qkxdawL",
      "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
      { { "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
          "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" },
        { "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", "" } },
      true },
    { "SCRAM-SHA-256",
      "user",
      "pencil",
      "",
      "rOprNGfwEbeRWgbNEkqO",
      "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
      { { "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
          "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+"
          "Ute9ytag9zjfMHgsqmmiz7AndVQ=" },
        { "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "" } },
      true },
    { "SCRAM-SHA-1", "a,b=c", "p", "x,y", "abc", "n,a=x=2Cy,n=a=2Cb=3Dc,r=abc", { { NULL } }, false },
    { "SCRAM-SHA-1",
      "user",
      "pencil",
      "",
      "abc",
      "n,,n=user,r=abc",
      { { "r=abc,s=QSXC,i=4096", NULL } },
      false }, /* ours alone */
    { "SCRAM-SHA-1", "user", "pencil", "", "abc", "n,,n=user,r=abc", { { "r=xyz1,s=QSXC,i=4096", NULL } }, false },
    { "SCRAM-SHA-1", "user", "pencil", "", "abc", "n,,n=user,r=abc", { { "r=abcd,s=QSXC,i=0", NULL } }, false },
    { "SCRAM-SHA-1", "user", "pencil", "", "abc", "n,,n=user,r=abc", { { "r=abcd,s=QSXC,i=100001", NULL } }, false },
    { "SCRAM-SHA-1", "user", "pencil", "", "abc", "n,,n=user,r=abc", { { "r=abcd,s=,i=1", NULL } }, false },
    { "SCRAM-SHA-1", "user", "pencil", "", "abc", "n,,n=user,r=abc", { { "m=ext,r=abcd,s=QSXC,i=1", NULL } }, false },
    { "SCRAM-SHA-1", "user", "pencil", "", "abc", "n,,n=user,r=abc", { { "", NULL } }, false },
    { "SCRAM-SHA-1",
      "user",
      "pencil",
      "",
      "fyko+d2lbbFgONRv9qkxdawL",
      "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
      { { "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
          "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" },
        { "v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", NULL } },
      false },
};

static const struct sasl_client_mech *mech_of(const char *name)
{
    const struct sasl_client_mech *m;

    for (size_t n = 0; (m = sasl_client_at(n)) != NULL; n++)
        if (strcmp(sasl_client_name(m), name) == 0)
            return m;
    return NULL;
}

static bool same(const struct str *out, const char *text)
{
    for (size_t i = 0; i < out->len; i++)
        if (out->p[i] == '\0')
            out->p[i] = '|';
    return strcmp(out->p, text) == 0;
}

static void run(size_t n)
{
    struct sasl_client_login login = { .user = cases[n].user,
                                       .password = cases[n].password,
                                       .authzid = cases[n].authzid,
                                       .service = "imap",
                                       .host = "elwood.innosoft.com",
                                       .nonce = cases[n].nonce };
    struct sasl_client *c = sasl_client_new(mech_of(cases[n].mech), &login);
    struct str out;
    struct err err;

    str_init(&out, SASL_CLIENT_BYTES);
    assert(sasl_client_first(c, &out) == (cases[n].first[0] != '-'));
    assert(same(&out, cases[n].first[0] == '-' ? "" : cases[n].first));
    for (size_t i = 0; i < STEPS && cases[n].step[i][0]; i++) {
        str_reset(&out);
        int rc = sasl_client_next(c, slice_of(cases[n].step[i][0]), &out, &err);
        assert(rc == (cases[n].step[i][1] ? 0 : -1));
        assert(rc != 0 || same(&out, cases[n].step[i][1]));
    }
    assert((sasl_client_end(c, &err) == 0) == cases[n].end);
    sasl_client_free(&c);
    assert(c == NULL);
    str_free(&out);
}

static void options(void)
{
    struct sasl_security s;
    struct slice word;

    assert(sasl_security_parse("noplaintext, noanonymous", &s, &word) == 0);
    assert(!sasl_security_allows(&s, sasl_client_flags(mech_of("PLAIN"))));
    assert(sasl_security_allows(&s, sasl_client_flags(mech_of("CRAM-MD5"))));
    assert(sasl_security_parse("mutual_auth noactive", &s, &word) == 0);
    assert(sasl_security_allows(&s, sasl_client_flags(mech_of("SCRAM-SHA-256"))));
    assert(!sasl_security_allows(&s, sasl_client_flags(mech_of("DIGEST-MD5"))));
    assert(!sasl_security_allows(&s, sasl_client_flags(mech_of("CRAM-MD5"))));
    assert(sasl_security_parse("", &s, &word) == 0 && sasl_security_allows(&s, DOVECOT_AUTH_ANONYMOUS));
    assert(sasl_security_parse("noanonymous nopassword", &s, &word) == -1 && slice_eq(word, "nopassword"));
}

int main(void)
{
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++)
        run(n);
    options();
    return 0;
}
