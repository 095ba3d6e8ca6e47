/* %variables: expected values are what Debian's Dovecot 2.3.19 answers for the same text and user. */
#include "conf/var.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const char *user;

static const char *get(void *ctx, struct slice name)
{
    (void) ctx;
    if (slice_eq(name, "user") || slice_eq(name, "orig_user") || slice_eq(name, "auth_user"))
        return user;
    if (slice_eq(name, "rip"))
        return "10.1.2.3";
    if (slice_eq(name, "lip"))
        return "10.9.9.9";
    if (slice_eq(name, "rport"))
        return "4567";
    if (slice_eq(name, "service"))
        return "imap";
    if (slice_eq(name, "login_user"))
        return "";
    if (slice_eq(name, "userdb:home"))
        return "/h";
    return NULL;
}

static void put(void *ctx, struct str *out, struct slice value)
{
    (void) ctx;
    str_printf(out, "<%.*s>", (int) value.len, value.p);
}

#define MIXED "AbCd.ef@Mail.Example.Org"
static const struct {
    const char *user, *in, *out; /* out "!reason": an error */
} cases[] = {
    { MIXED, "plain", "plain" },
    { MIXED, "", "" },
    { MIXED, "%u|%n|%d|%s|%r|%l|%b", MIXED "|AbCd.ef|Mail.Example.Org|imap|10.1.2.3|10.9.9.9|4567" },
    { MIXED, "%{user}%{username}%{domain}", MIXED "AbCd.efMail.Example.Org" },
    { MIXED, "%{remote_ip} %{local_ip} %{remote_port}", "10.1.2.3 10.9.9.9 4567" },
    { MIXED, "%{original_user} %{orig_domain} %{auth_username}", MIXED " Mail.Example.Org AbCd.ef" },
    { MIXED, "%{login_domain}%{login_user}", "" },
    { MIXED, "%Un %Ld %Rn %LUn", "ABCD.EF mail.example.org fe.dCbA ABCD.EF" },
    { MIXED, "%U{user}", "ABCD.EF@MAIL.EXAMPLE.ORG" },
    { MIXED, "%Xb", "11d7" },
    { MIXED, "%Hn %2.256Hn", "76974f6 f6" },
    { MIXED, "%Nn %2.256Nn", "688d0678 78" },
    { MIXED, "%Mn", "5a1b7d20688d0678f39377986098ec04" },
    { MIXED, "%Dd", "Mail,dc=Example,dc=Org" },
    { MIXED, "%1n %2n %1.1n %-1n %-2n", "A Ab b A Ab" },
    { MIXED, "%-2.1n %-3.2n %0.3n", "e .e AbC" },
    { MIXED, "%05n %010n %1.05n", "AbCd.ef 000AbCd.ef bCd.ef" },
    { MIXED, "%1.-2n %2.-1n %-2.-1n", "bCd. Cd.e e" },
    { MIXED, "%40.3n|%-40.3n|%5.n|%.n|%-n|%0n|%99999n", "|AbC|ef|AbCd.ef|AbCd.ef|AbCd.ef|AbCd.ef" },
    { MIXED, "%1Un%2{user}", "AAb" },
    { MIXED, "%U1n", "!Unknown variable '%1'" },
    { MIXED, "%% %%u%%%n", "% %u%AbCd.ef" },
    { MIXED, "%u%", MIXED },
    { MIXED, "%LL", "" },
    { MIXED, "%{L:user}", "!Unknown variable '%L:user'" },
    { MIXED, "%{user", "!Unknown variable '%{'" },
    { MIXED, "%{}", "!Unknown variable '%'" },
    { MIXED, "%Q", "!Unknown variable '%Q'" },
    { MIXED, "%{User}", "!Unknown variable '%User'" },
    { MIXED,
      "%{userdb:home} %{userdb:home:def} %{passdb:nope:def}%{passdb:nope}%{userdb:nope:a:b}%{userdb}%{userdb:}",
      "/h /h defa:b" },
    { MIXED, "%{env:VAR_TEST}%{env:VAR_TEST_NONE}%{env}%{env:}", "envval" },
    { MIXED, "%{md5:user}", "5d1098b01cdf393740362ac1d788014c" },
    { MIXED, "%{md4:user}", "7507a30ab16e42a730118b639e18a2b4" },
    { MIXED, "%{sha1:user}", "9b8136e63e22bdcf136bdec896dd7423b19fe8af" },
    { MIXED, "%{sha256:user}", "ff85085af083f5369c77651a1ac1fc87f5bc0d661b2daed3e90dcf560ea77cc6" },
    { MIXED, "%{sha384:username}",
      "cc8c7e96ffab8b46965acb3107002f460e49c4987f43247db5cbcee11711b1cdc94df1da9c99447c33e6249f51c88a17" },
    { MIXED, "%8{sha512:username}", "1b473e7f" },
    { MIXED, "%{sha3-256:user}", "9d0a44eb1b2a8843c6c37ab80870c71d410a28de343543a55130888aa74920f9" },
    { MIXED, "%{md5;rounds=2:user}", "8480e41a204a4307d794b0b6be7c1258" },
    { MIXED, "%{md5;salt=abc:user}", "d4a87b3f4a3061b92d9185f5ded71dad" },
    { MIXED, "%{md5;salt=abc,rounds=3:user}", "d4a87b3f4a3061b92d9185f5ded71dad" },
    { MIXED, "%{md5;salt=%{domain}:user}", "cc898f141d46bd5f000ed408fc45e439" },
    { MIXED, "%{md5;truncate=32:user} %{md5;truncate=33:user} %{md5;truncate=3:user}", "5d1098b0 00ba213160 02" },
    { MIXED, "%{md5;truncate=32,format=base64:user}", "XRCYsA==" },
    { MIXED, "%{md5;format=hexuc:user}", "5d1098b01cdf393740362ac1d788014c" },
    { MIXED, "%{md5;format=hex,foo=bar:user}", "5d1098b01cdf393740362ac1d788014c" },
    { MIXED, "%{md5;format=foo:user}", "!Cannot parse hash arguments:'foo' is not supported format" },
    { MIXED, "%{md5;rounds=0:user}", "!Cannot parse hash arguments:rounds must be at least 1" },
    { MIXED, "%U{md5:user} %4{md5:user}", "5D1098B01CDF393740362AC1D788014C 5d10" },
    { MIXED, "%{md5:unknownvar}", "!Unknown variable '%unknownvar'" },
    { MIXED, "%20{pkcs5;rounds=3:user}", "1952df01c153e29a0f48" },
    { MIXED, "%20{pkcs5;rounds=3,salt=abc:user}", "bf74e3d3e71e2178a942" },
    { MIXED, "%20{pkcs5;salt=abc:user}", "fb20232f4a2667b78f2b" },
    { "a:b;c@x", "%{pkcs5;rounds=1,truncate=64,salt=abc:user}", "f9b32ad04d135046" },
    { "a:b;c@x", "%{pkcs5;rounds=1,format=base64,truncate=64,salt=abc:user}", "+bMq0E0TUEY=" },
    { "a:b;c@x", "%{md5;rounds=2,salt=abc:user}", "80e8c6c5d811585ab2be33a06609ef3a" },
    { "a:b;c@x", "%{md5;salt=%{if;1;eq;1;a;b}:user}", "efd3e76b593147d53200849e310d8f85" },
    { MIXED, "%{if;%u;eq;x;yes;no}%{if;1;<;2;yes;no}%{if;%n;eq;AbCd.ef;%U{user};no}",
      "noyesABCD.EF@MAIL.EXAMPLE.ORG" },
    { MIXED, "%{if;10;>=;9;%n;%d}", "AbCd.ef" },
    { MIXED, "%{if;%n;*;Ab*;1;0}%{if;%n;!*;Ab*;1;0}%{if;%n;*;?bCd.*;1;0}%{if;%n;*;ab*;1;0}", "1010" },
    { MIXED, "%{if;%n;~;^Ab;1;0}%{if;%n;~;^(AB|ab);1;0}%{if;%n;!~;^Ab;1;0}", "100" },
    { MIXED, "%{if;%n;~;(;1;0}", "!if: Unmatched ( or \\(" },
    { MIXED, "%{if;a\\;b;eq;a\\;b;ye\\;s;n\\:o}%{if;a\\:b;eq;a\\:b;y\\:es;no}", "ye;sy:es" },
    { MIXED, "%{if;x;eq;x;%{if;1;==;1;in;un};no}%{if;%{if;1;==;1;in;un};eq;in;a;b}", "ina" },
    { MIXED, "%{if;a;lt;b;1;0}%{if;b;ge;b;1;0}%{if;-1;<;1;1;0}%{if;;eq;;e;no}", "111e" },
    { MIXED, "%{if;1;==;1;yes}%{if;1;==;1;;no}", "yes" },
    { MIXED, "%{if;abc;==;1;yes;no}", "!if: abc (lhs) is not a number" },
    { MIXED, "%{if;1.5;<;2;yes;no}", "!if: 1.5 (lhs) is not a number" },
    { MIXED, "%{if;1;==;1}", "!if: requires four or five parameters, got 3" },
    { MIXED, "%{if;1;eq;1;a;b;c}", "!if: requires four or five parameters, got 6" },
    { MIXED, "%{if;1;foo;1;yes;no}", "!if: Unsupported comparator 'foo'" },
    { MIXED, "%{if}", "!if: missing parameter(s)" },
    { MIXED, "%U{if;1;==;1;yes;no}%2{if;1;==;1;yes;no}%{if;1;eq;1;{x};no}%{if;1;eq;1;%%u;no}", "YESye{x}%u" },
    { "a:b;c@x", "%{if;%u;eq;%u;y\\:es;no}%{if;%n;*;*;y;no}%{if;1;eq;1;%Uu;no}", "y:esyA:B;C@X" },
    { "a\"b'c\\d@x", "%Eu %Dn %Xn %Hu %1.3Hu %3.4Nu", "a\\\"b\\'c\\\\d@x a\"b'c\\d 0 4d94bf8 1 000" },
    { "123", "%Dd|%Xn|%d|%Hu|%3.4Nu|%{domain_first}", "|7b||3453|003|" },
    { "123@1844674407370955161599", "%Xn %Xu %Xd %Hu %1.3Hu", "7b 0 0 ca4b49 2" },
    { "\303\244\303\226@ex\303\244mple.org", "%Ln|%Un|%Hu|%Dd",
      "\303\244\303\226|\303\244\303\226|13ea167|ex\303\244mple,dc=org" },
    { "a@b@c.d", "%n %d %Dd %{domain_first} %{domain_last}", "a b@c.d b@c,dc=d b c.d" },
    { " x @y", "|%Tn|%n|", "| x| x |" },
};

static void tables(void)
{
    const struct var_scope scope = { .get = get };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str out;
        struct err err = { .text = "" };
        int rc;

        user = cases[i].user;
        str_init(&out, STR_UNLIMITED);
        rc = var_expand(cases[i].in, &scope, &out, &err);
        if (cases[i].out[0] == '!' ? rc == 0 || strcmp(err.text, cases[i].out + 1) != 0
                                   : rc < 0 || strcmp(out.p, cases[i].out) != 0) {
            fprintf(stderr, "%s: %d \"%s\" (%s), expected \"%s\"\n", cases[i].in, rc, out.p, err.text, cases[i].out);
            abort();
        }
        str_free(&out);
    }
}

/* What is written goes through put, once and last; format text and conditions do not. */
static void written(void)
{
    const struct var_scope scope = { .get = get, .put = put };
    struct str out;
    struct err err;

    user = "a'b@c";
    str_init(&out, STR_UNLIMITED);
    assert(var_expand("x %u '%Un' %1.1u %{if;%d;eq;c;no '%n';%u} %U{if;%d;eq;c;%n;} %{md5;truncate=8,salt=%n:user} "
                      "%{env:NONE}%03{domain}",
                      &scope, &out, &err) == 0);
    assert(strcmp(out.p, "x <a'b@c> '<A'B>' <'> no '<a'b>' <A'B> <dc> <><00c>") == 0 ||
           (fprintf(stderr, "%s\n", out.p), 0));
    str_free(&out);
}

/* An unknown variable leaves a mark, and the rest is still there. */
static void bounded(void)
{
    const struct var_scope scope = { .get = get };
    struct str out;
    struct err err;
    char deep[20 * 20] = "";

    user = "u@d";
    str_init(&out, STR_UNLIMITED);
    assert(var_expand("a %{nope} %u %Q", &scope, &out, &err) < 0);
    assert(strcmp(out.p, "a UNSUPPORTED_VARIABLE_nope u@d UNSUPPORTED_VARIABLE_Q") == 0);
    assert(strcmp(err.text, "Unknown variable '%nope'") == 0);
    str_free(&out);
    str_init(&out, 4);
    assert(var_expand("%u%u", &scope, &out, &err) < 0 && out.len <= 4);
    str_free(&out);
    for (int i = 0; i < 20; i++)
        strcat(deep, "%{if;1;eq;1;");
    str_init(&out, STR_UNLIMITED);
    assert(var_expand(deep, &scope, &out, &err) < 0);
    str_reset(&out);
    assert(var_expand("%0999999999999999999999n", &scope, &out, &err) == 0 && out.len == VAR_WIDTH_MAX);
    str_free(&out);
}

static void add_name(void *ctx, struct slice name) { str_printf(ctx, "%.*s ", (int) name.len, name.p); }

static void names(void)
{
    struct str out;

    str_init(&out, STR_UNLIMITED);
    var_names("%n %{if;%s;eq;x;%{rip};%Lw} %{sha1;salt=%l:orig_domain} %{userdb:a:b} %{hostname}", add_name, &out);
    assert(strcmp(out.p, "user service rip password lip orig_user userdb:a ") == 0);
    str_free(&out);
}

int main(void)
{
    setenv("VAR_TEST", "envval", 1);
    tables();
    written();
    bounded();
    names();
    return 0;
}
