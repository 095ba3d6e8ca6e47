/* library - OpenSSL as the generator has it; contract in library.h */
#include "library.h"

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <stdbool.h>
#include <string.h>

enum { DECODERS_MAX = 16 };
static OSSL_PROVIDER *whole;
static OSSL_ALGORITHM decoders[DECODERS_MAX + 1];

static bool shown_by_servers(const OSSL_ALGORITHM *decoder)
{
    static const char *const names[] = { "DER", "RSA", "RSA-PSS", "EC", "ED25519", "ED448" };
    bool found = false;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        found = found || strcmp(decoder->algorithm_names, names[i]) == 0;
    return found && strstr(decoder->property_definition, "input=der") &&
           strstr(decoder->property_definition, "structure=SubjectPublicKeyInfo");
}

static const OSSL_ALGORITHM *of_certificates(const OSSL_ALGORITHM *all)
{
    size_t n = 0;

    for (; all && all->algorithm_names && n < DECODERS_MAX; all++)
        if (shown_by_servers(all))
            decoders[n++] = *all;
    decoders[n] = (OSSL_ALGORITHM){ .algorithm_names = NULL };
    return decoders;
}

static const OSSL_ALGORITHM *query(void *ctx, int operation, int *no_cache)
{
    const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(whole, operation, no_cache);

    (void) ctx;
    return operation == OSSL_OP_DECODER ? of_certificates(all) : all;
}

static int capabilities(void *ctx, const char *capability, OSSL_CALLBACK *each, void *arg)
{
    (void) ctx;
    return OSSL_PROVIDER_get_capabilities(whole, capability, each, arg);
}

static int begin(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **ctx)
{
    static const OSSL_DISPATCH functions[] = {
        { OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void)) query },
        { OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void)) capabilities },
        { 0, NULL },
    };

    (void) handle;
    (void) in;
    *out = functions;
    *ctx = OSSL_PROVIDER_get0_provider_ctx(whole); /* what the functions of its algorithms want */
    return 1;
}

OSSL_LIB_CTX *library_of_a_client(void)
{
    OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();

    whole = OSSL_PROVIDER_load(NULL, "default");
    if (library && whole && OSSL_PROVIDER_add_builtin(library, "client", begin) == 1 &&
        OSSL_PROVIDER_load(library, "client"))
        return library;
    OSSL_LIB_CTX_free(library);
    return NULL;
}
