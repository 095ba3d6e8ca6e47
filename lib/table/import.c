/*
 * import - what a FILE.db holds that Postfix built
 *
 * No daemon is linked with Berkeley DB, and a damaged file must not bring one down: postmap reads it, in a process of its
 * own that runs as the file's owner, and hands its pairs over as "+klen,dlen:key->value" lines, ended by an empty one.
 *
 * Invariants  called where tables are opened: before the jail, with one thread
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"
#include "table/build.h"
#include "table/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void exec_reader(const char *file, int out)
{
    char *tool = mem_printf("%s/postmap", conf_command_directory);

    if (dup2(out, STDOUT_FILENO) >= 0)
        execl(tool, "postmap", "-c", conf_dir(), "--pairs", file, (char *) NULL);
    log_error("cannot run %s: %s", tool, strerror(errno));
    _exit(1);
}

static bool take_number(struct slice *in, char ends, size_t *out)
{
    struct slice digits;
    uint64_t n;

    if (!slice_split(in, ends, &digits) || slice_u64(digits, TABLE_SOURCE_BYTES, &n) < 0)
        return false;
    *out = (size_t) n;
    return true;
}

static bool take(struct slice *in, size_t len, const char *behind, struct slice *out)
{
    size_t more = strlen(behind);

    if (in->len < len + more || memcmp(in->p + len, behind, more) != 0)
        return false;
    *out = slice_make(in->p, len);
    *in = slice_sub(*in, len + more, in->len);
    return true;
}

int build_add_pairs(struct build *b, struct slice text)
{
    while (text.len > 1 && text.p[0] == '+') {
        struct slice key, value;
        size_t key_len, value_len;

        text = slice_sub(text, 1, text.len);
        if (!take_number(&text, ',', &key_len) || !take_number(&text, ':', &value_len) ||
            !take(&text, key_len, "->", &key) || !take(&text, value_len, "\n", &value))
            return -1;
        build_put(b, key, value);
    }
    return text.len == 1 && text.p[0] == '\n' ? 0 : -1;
}

int build_import(struct build *b, const char *file, struct err *err)
{
    int pipes[2], status = -1, rc = -1;
    struct str text;
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC) < 0)
        return err_set(err, 0, NULL, "pipe: %s", strerror(errno));
    pid = fork();
    if (pid == 0)
        exec_reader(file, pipes[1]);
    close(pipes[1]);
    str_init(&text, TABLE_SOURCE_BYTES);
    if (pid > 0)
        rc = file_read_str(pipes[0], &text);
    close(pipes[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (rc < 0 || status != 0 || build_add_pairs(b, str_slice(&text)) < 0)
        rc = err_set(err, 0, NULL, "%s.db could not be read by \"postmap --pairs %s\"", file, file);
    str_free(&text);
    return rc;
}

static bool newer(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec > b->st_mtim.tv_sec ||
           (a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec > b->st_mtim.tv_nsec);
}

enum build_state build_state(const char *file)
{
    char *index = mem_printf("%s.cdb", file), *db = mem_printf("%s.db", file);
    struct stat i, d;
    bool has_index = stat(index, &i) == 0, has_db = stat(db, &d) == 0;

    free(index);
    free(db);
    return has_index && !(has_db && newer(&d, &i)) ? BUILD_CURRENT
           : has_db                                ? BUILD_OVERTAKEN
           : access(file, F_OK) == 0               ? BUILD_MISSING
                                                   : BUILD_NOTHING;
}
