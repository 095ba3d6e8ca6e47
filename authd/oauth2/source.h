/*
 * source - the dovecot-oauth2.conf.ext files that auth_passdb names
 *
 * Callers     oauth2.c, check.c
 * Invariants  read before the jail, as whoever starts the process (root): a file with a client_secret may be 0600
 *             a file with a wrong line answers every question with "later" and that line
 */
#ifndef OAUTH2_SOURCE_H
#define OAUTH2_SOURCE_H
#include "config.h"
#include "http.h"
#include <stdbool.h>

struct oauth2_source {
    const char *file;
    struct oauth2_config config;
    struct http_client *http;
    struct err broken; /* text "": it is not */
};
/* keys: for each directory that must stay readable. True: there are servers to be asked. */
bool source_open_all(void (*keys)(const char *directory));
const struct oauth2_source *source_find(const char *file); /* NULL: no passdb names it */
bool source_stale(const char **file);                      /* one has changed */
#endif
