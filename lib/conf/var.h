/*
 * var - %variables of Dovecot 2.3: %u, %Ld, %2.3Lu, %{rip}, %{if;%d;eq;;a;b}, %{sha256;salt=x:user}
 *
 * [-][offset.][0][-]width, modifiers (L U E X R H N M D T), then a letter or {name}; "%%" is "%". Functions: if, env,
 * userdb:name:default, passdb:name:default, and the hashes md4 md5 sha1 sha256 sha384 sha512 sha3-256 sha3-512 pkcs5.
 *
 * Callers     authd (fields, paths, file names), lib/table/sql/dovecot.c (queries), whoever writes by a format of
 *             Dovecot's
 * Invariants  letters and aliases are asked for by their long names: %u, %r, %{remote_ip} are "user", "rip", "rip"
 *             "username", "domain", "domain_first", "domain_last" and those behind a prefix ("orig_username") are made
 *             from "user" ("orig_user") where the scope does not know them
 *             `put` sees what is to be written, after modifiers and truncation; text of the format goes around it. A
 *             branch of "if" is format text: its variables go through `put` one by one, unless modifiers or a width
 *             apply to the whole
 * Errors      -1 with the first reason in Dovecot's words: an unknown variable, a malformed function, a value over
 *             VAR_VALUE_BYTES, *out over its limit. *out then holds the rest all the same, UNSUPPORTED_VARIABLE_name in
 *             place of what is unknown: fit for a log line, never for a query
 */
#ifndef CONF_VAR_H
#define CONF_VAR_H
#include "base/err.h"
#include "base/str.h"

enum { VAR_VALUE_BYTES = 1 << 20, VAR_DEPTH = 10, VAR_WIDTH_MAX = 65535 };
struct var_scope {
    /* The value of a long name; NULL: unknown. Also asked "userdb:name" and "passdb:name", where NULL means that there
     * is no such field. */
    const char *(*get)(void *ctx, struct slice name);
    void (*put)(void *ctx, struct str *out, struct slice value); /* how a value is written; NULL: as it is */
    void *ctx;
};
int var_expand(const char *text, const struct var_scope *, struct str *out, struct err *);
/* The long names that expanding the text may ask for, of each branch of an "if": what an answer depends on. "user" for
 * what is made from it. A name may come more than once. */
void var_names(const char *text, void (*fn)(void *ctx, struct slice name), void *ctx);
#endif
