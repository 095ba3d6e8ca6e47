#include "config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define URL "introspection_url = http://127.0.0.1:81/x\n"
static const struct {
    const char *text, *why; /* NULL: it is good */
} cases[] = {
    { URL, NULL },
    { "# nothing\n", "o.ext: Password grant, tokeninfo, introspection URL or validation key" },
    { URL "nosuch = 1\n", "o.ext line 2: Unknown setting: nosuch" },
    { URL "introspection_mode = post\n", NULL },
    { URL "introspection_mode = head\n", "o.ext line 2: introspection_mode" },
    { URL "introspection_mode = local\n", "local_validation_key_dict is required" },
    { "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix=/k/\n", NULL },
    { "local_validation_key_dict = fs:posix:prefix=/k/\n", "neither tokeninfo_url nor introspection_url" },
    { URL "local_validation_key_dict = redis:host=h\n", "o.ext line 2: local_validation_key_dict" },
    { URL "local_validation_key_dict = fs:posix:prefix=k\n", "o.ext line 2: local_validation_key_dict" },
    { URL "local_validation_key_dict = fs:posix:mode=0600:prefix=/k\n", "o.ext line 2: local_validation_key_dict" },
    { "tokeninfo_url = https://id.example/?t=\n", NULL },
    { "tokeninfo_url = ftp://id.example/\n", "o.ext line 1: tokeninfo_url" },
    { "tokeninfo_url = file:///etc/passwd\n", "o.ext line 1: tokeninfo_url" },
    { "tokeninfo_url = id.example/t\n", "o.ext line 1: tokeninfo_url" },
    { "tokeninfo_url = http://id.example:99999/\n", "o.ext line 1: tokeninfo_url" },
    { "grant_url = http://h/g\nclient_id = c\nuse_grant_password = yes\n", NULL },
    { "grant_url = http://h/g\nuse_grant_password = yes\n" URL, "use_grant_password needs" },
    { URL "active_value = x\n", "Cannot have empty active_attribute" },
    { URL "username_attribute =\n", "username_attribute may not be empty" },
    { URL "tls_cert_file = /c\n", "need each other" },
    { URL "timeout_msecs = 1s\n", "o.ext line 2: timeout_msecs" },
    { URL "max_parallel_connections = 0\n", "max_parallel_connections" },
    { URL "force_introspection = perhaps\n", "o.ext line 2: force_introspection" },
    { URL "openid_configuration_url = javascript:x\n", "openid_configuration_url" },
    { URL "rawlog_dir = /tmp\nmax_pipelined_requests = 5\n", NULL },
    { URL "client_secret\n", "o.ext line 2: Expecting '='" },
};

static void test_cases(void)
{
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct oauth2_config c;
        struct err err = { .text = "" };
        int rc = oauth2_config_parse("o.ext", slice_of(cases[n].text), &c, &err);

        if ((rc == 0) != (cases[n].why == NULL) || (rc != 0 && strstr(err.text, cases[n].why) == NULL)) {
            fprintf(stderr, "%s: %s\n", cases[n].text, err.text);
            abort();
        }
        if (rc == 0)
            oauth2_config_free(&c);
    }
}

static void test_values(void)
{
    struct oauth2_config c;
    struct err err;

    assert(
        oauth2_config_parse("o.ext",
                            SLICE("tokeninfo_url = https://[::1]/t?x=\nintrospection_url = http://me:pw@h:8080/i\n"
                                  "client_secret = \"a # b\" # not this\nscope = a \\\n  b\ntimeout_msecs = 500\n"),
                            &c, &err) == 0);
    assert(strcmp(c.tokeninfo.host, "::1") == 0 && c.tokeninfo.port == 443 && c.tokeninfo.tls);
    assert(strcmp(c.introspection.host, "h") == 0 && c.introspection.port == 8080 && !c.introspection.tls);
    assert(strcmp(c.client_secret, "a # b") == 0 && strcmp(c.scope, "a b") == 0 && c.timeout_ms == 500);
    assert(strcmp(c.username_format, "%Lu") == 0 && strcmp(c.username_attribute, "email") == 0 &&
           c.mode == OAUTH2_AUTH);
    oauth2_config_free(&c);
}

int main(void)
{
    test_cases();
    test_values();
}
