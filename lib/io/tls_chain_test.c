/* tls_chain_test - a server whose own file holds its certificate alone completes the chain from smtpd_tls_CAfile */
#include "io/tls_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIPE_BYTES = 65536, STEPS_MAX = 10 };
static char dir[] = "/tmp/tls-chain-test.XXXXXX";

static void sh(const char *command)
{
    char text[1000];

    snprintf(text, sizeof text, "cd %s && (%s) 2>/dev/null", dir, command);
    assert(system(text) == 0);
}

static const char *in_dir(const char *name, char path[100])
{
    snprintf(path, 100, "%s/%s", dir, name);
    return path;
}

/* How many certificates a client is shown; *verified: they lead to the authority it knows. */
static int shown(const char *cert, bool authority, bool *verified)
{
    char cert_path[100], key_path[100], ca_path[100], root_path[100];
    const struct tls_config server = { .server = true,
                                       .cert_file = in_dir(cert, cert_path),
                                       .key_file = in_dir("key.pem", key_path),
                                       .ca_file = authority ? in_dir("ca.pem", ca_path) : NULL,
                                       .tickets = true };
    const struct tls_config client = { .ca_file = in_dir("root.pem", root_path) };
    struct tls_ctx *contexts[2];
    struct tls_why why;
    BIO *ends[2];
    SSL *ssl[2];
    int done = 0;

    contexts[0] = tls_ctx_new(&server, &why);
    contexts[1] = tls_ctx_new(&client, &why);
    assert(contexts[0] && contexts[1] && BIO_new_bio_pair(&ends[0], PIPE_BYTES, &ends[1], PIPE_BYTES) == 1);
    for (int i = 0; i < 2; i++) {
        ssl[i] = tls_ctx_session(contexts[i]);
        assert(ssl[i]);
        SSL_set_bio(ssl[i], ends[i], ends[i]);
    }
    for (int i = 0; i < STEPS_MAX && done < 2; i++)
        done = (SSL_connect(ssl[1]) == 1) + (SSL_accept(ssl[0]) == 1);
    assert(done == 2);
    int count = sk_X509_num(SSL_get_peer_cert_chain(ssl[1]));
    *verified = SSL_get_verify_result(ssl[1]) == X509_V_OK;
    for (int i = 0; i < 2; i++) {
        SSL_free(ssl[i]);
        tls_ctx_free(&contexts[i]);
    }
    return count;
}

int main(void)
{
    bool verified;

    assert(mkdtemp(dir));
    sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=root -keyout root.key "
       "-out root.pem");
    sh("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=middle -keyout middle.key -out "
       "middle.csr && "
       "printf basicConstraints=critical,CA:TRUE > ca.ext && "
       "openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -extfile ca.ext -out "
       "middle.pem");
    sh("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout key.pem -out "
       "leaf.csr && "
       "openssl x509 -req -in leaf.csr -CA middle.pem -CAkey middle.key -CAcreateserial -days 2 -out leaf.pem");
    sh("cat middle.pem root.pem > ca.pem; cat leaf.pem middle.pem > both.pem");
    assert(shown("leaf.pem", true, &verified) == 3 && verified); /* as Postfix: with the root */
    assert(shown("leaf.pem", false, &verified) == 1 && !verified);
    assert(shown("both.pem", false, &verified) == 2 && verified);
    assert(shown("both.pem", true, &verified) == 2 && verified);
    sh("rm -f *");
    assert(rmdir(dir) == 0);
    return 0;
}
