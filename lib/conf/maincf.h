/*
 * maincf - main.cf as it is written: names, values, lines; nothing is expanded
 *
 * Callers     lib/conf/param.c, tools/postconf
 * Invariants  the last of several settings of one name wins; the earlier ones are told to `duplicate`
 * Ownership   all strings live in the struct maincf
 * Errors      -1 with *err in Postfix's words: "FILE, line N: missing '=' after attribute name: "x""
 */
#ifndef CONF_MAINCF_H
#define CONF_MAINCF_H
#include "base/err.h"
#include "base/str.h"

struct maincf_setting {
    const char *name, *value;
    int line;
};
struct maincf {
    const char *file;
    struct arena *arena;
    struct map *by_name;             /* struct maincf_setting */
    struct maincf_setting **setting; /* in the order of their first line; later duplicates replace the value */
    size_t count, room;
};
enum { MAINCF_BYTES = 64 << 20 };
/* duplicate (may be NULL) hears of each setting that a later line overrides. */
int maincf_parse(struct maincf *, const char *file, struct slice text,
                 void (*duplicate)(const char *file, int line, const struct maincf_setting *earlier), struct err *);
int maincf_read(struct maincf *, const char *file,
                void (*duplicate)(const char *file, int line, const struct maincf_setting *earlier), struct err *);
const struct maincf_setting *maincf_get(const struct maincf *, const char *name);
void maincf_free(struct maincf *);
#endif
