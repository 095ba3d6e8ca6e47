/*
 * mastercf - the services of master.cf
 *
 * Callers     master, tools/postconf, tools/postfix (check)
 * Invariants  pure but for reading the file: no parameter is looked at; "-" fields become the defaults of 3.0 and
 *             later
 *             the last of several lines with the same name and type wins
 * Ownership   everything lives in the struct mastercf and goes with mastercf_free
 * Errors      -1 with *err: "FILE, line N: reason"; nothing is half read
 */
#ifndef CONF_MASTERCF_H
#define CONF_MASTERCF_H
#include "base/err.h"
#include "base/str.h"

enum mastercf_type {
    MASTERCF_INET,
    MASTERCF_UNIX,
    MASTERCF_FIFO,
    MASTERCF_PASS,
    MASTERCF_UNIX_DGRAM,
    MASTERCF_TYPES
};
extern const char *const mastercf_type_name[MASTERCF_TYPES]; /* "inet", ... */
enum { MASTERCF_PROC_DEFAULT = -1, MASTERCF_FIELDS = 8 };

struct mastercf_option {
    const char *name, *value;
};
struct mastercf_service {
    const char *file; /* as given to mastercf_read */
    int line;
    const char *field[MASTERCF_FIELDS]; /* as written, the last is the program; "-" stays "-" */
    const char *name;                   /* "smtp", "127.0.0.1:2525", "rewrite"; without scheme */
    enum mastercf_type type;
    bool private, unpriv, chroot;
    int wakeup;          /* seconds; 0: never */
    bool wakeup_if_used; /* "60?": only once the service has been used */
    int max_proc;        /* MASTERCF_PROC_DEFAULT: default_process_limit; 0: no limit */
    const char *program; /* base name in daemon_directory; "none" switches a built-in service off */
    size_t argc;         /* all arguments behind the program, unbraced, -o and its value included */
    const char *const *argv;
    const char *const *raw_argv; /* as written, braces kept: for printing */
    size_t option_count;         /* the -o ones among them, in order */
    const struct mastercf_option *options;
    int verbose; /* number of -v */
    bool debug;  /* -D */
};
struct mastercf {
    struct mastercf_service *service; /* in the order of the file */
    size_t count;
    struct arena *arena;
};
int mastercf_read(const char *path, struct mastercf *out, struct err *);
/* Reads text instead of a file; name is used in messages. Adds to what *out holds: master's built-in services first,
 * then the file. Zero-initialised is empty. */
int mastercf_parse(struct mastercf *out, const char *name, struct slice text, struct err *);
void mastercf_free(struct mastercf *);
struct mastercf_service *mastercf_find(const struct mastercf *, const char *name, const char *type_name);
#endif
