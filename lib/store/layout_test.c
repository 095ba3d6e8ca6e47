/*
 * layout_test - names and directories: Maildir++, LAYOUT=fs, and parts of the mail that lie elsewhere
 */
#include "base/mem.h"
#include "store/internal.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char root[200];

static void shell(const char *fmt, const char *what)
{
    struct str cmd;

    str_init(&cmd, 4096);
    str_printf(&cmd, "mkdir -p '%s' && cd '%s' && ", root, root);
    str_adds(&cmd, fmt);
    str_adds(&cmd, what);
    assert(system(cmd.p) == 0);
    str_free(&cmd);
}

static int place(const char *name)
{
    char path[300];

    shell("mkdir -p ", name);
    snprintf(path, sizeof path, "%s/%s", root, name);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    assert(fd >= 0);
    return fd;
}

static struct store *fresh(char separator, const struct store_places *places)
{
    struct store *st;
    char mail[300];
    struct store_config c = { .root = mail, .separator = separator, .create = true, .places = places };

    snprintf(mail, sizeof mail, "%s/mail", root);
    shell("rm -rf mail && mkdir ", "mail");
    assert(store_open(&c, &st) == STORE_OK);
    return st;
}

static bool there(const char *path)
{
    char full[900];

    snprintf(full, sizeof full, "%s/%s", root, path);
    return access(full, F_OK) == 0;
}

static const struct {
    char separator;
    bool fs;
    const char *name, *path; /* NULL: not a name */
} names[] = {
    { '/', false, "a/b", ".a.b" },
    { '.', false, "a.b", ".a.b" },
    { '/', true, "a/b", "a/b" },
    { '.', true, "a.b", "a/b" },
    { '/', false, "a.b", NULL },
    { '/', true, "a.b", "a.b" },
    { '.', true, "a/b", NULL },
    { '/', false, "inBox", "." },
    { '/', true, "inBox", "." },
    { '/', false, "inBox/x", ".INBOX.x" },
    { '/', true, "inBox/x", "INBOX/x" },
    { '/', true, "..", NULL },
    { '/', true, "a/../b", NULL },
    { '/', true, "a/.", NULL },
    { '/', true, "cur", NULL },
    { '/', true, "a/tmp", NULL },
    { '/', false, "cur", ".cur" },
    { '/', true, "a//b", NULL },
    { '/', true, "/a", NULL },
    { '/', true, "a/", NULL },
    { '/', true, "~a", NULL },
    { '/', true, "a/~b", "a/~b" },
    { '/', true, ".a", ".a" },
    { '/', true, "..DOVECOT-TRASHED.1", NULL },
    { '/', false, "a*%", ".a*%" },
    { '/', true, "\xc3\xa9", NULL },
    { '/', true, "", NULL },
};

static void test_names(void)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct store st = { .separator = names[i].separator, .places.fs = names[i].fs };
        char *path = store_path(&st, names[i].name);
        if ((path == NULL) != (names[i].path == NULL) || (path && strcmp(path, names[i].path) != 0)) {
            fprintf(stderr, "%s: %s\n", names[i].name, path ? path : "-");
            abort();
        }
        free(path);
    }
}

static const char *list(struct store *st, struct arena *a)
{
    struct store_list l;
    struct str out;

    assert(store_list(st, false, false, a, &l) == STORE_OK);
    str_init(&out, 4096);
    for (size_t i = 0; i < l.count; i++)
        str_printf(&out, "%s%s%s ", l.entries[i].name, l.entries[i].attributes & STORE_NOSELECT_ATTR ? "-" : "",
                   l.entries[i].attributes & STORE_CHILDREN ? "+" : "");
    const char *text = arena_strndup(a, out.p, out.len);
    str_free(&out);
    return text;
}

static void test_fs(void)
{
    struct store_places places = { .fs = true };
    struct store *st = fresh('/', &places);
    struct arena *a = arena_new();

    assert(store_create(st, "a/b/c") == STORE_OK && store_create(st, "a") == STORE_OK);
    assert(strcmp(list(st, a), "INBOX a+ a/b-+ a/b/c ") == 0);
    assert(store_create(st, "a/b/c") == STORE_EXISTS && store_create(st, "only/below/") == STORE_OK);
    assert(strcmp(list(st, a), "INBOX a+ a/b-+ a/b/c only-+ only/below- ") == 0);
    assert(store_exists(st, "a/b") == STORE_NOSELECT && store_exists(st, "a/x") == STORE_NONEXISTENT);
    assert(store_delete(st, "a/b") == STORE_HAS_CHILDREN && store_delete(st, "a") == STORE_OK);
    assert(strcmp(list(st, a), "INBOX a-+ a/b-+ a/b/c only-+ only/below- ") == 0);
    assert(store_rename(st, "a/b", "a/b/c/d") == STORE_BAD_NAME && store_rename(st, "a/b/c", "z/y") == STORE_OK);
    assert(strcmp(list(st, a), "INBOX only-+ only/below- z-+ z/y ") == 0);
    assert(store_delete(st, "only/below") == STORE_OK && store_delete(st, "only") == STORE_OK);
    assert(store_rename(st, "z", "INBOX/z") == STORE_OK);
    assert(strcmp(list(st, a), "INBOX+ INBOX/z-+ INBOX/z/y ") == 0);
    assert(there("mail/INBOX/z/y/cur") && !there("mail/INBOX/z/y/maildirfolder") && there("mail/cur"));
    arena_free(&a);
    store_close(&st);
}

/* Links: one that leads to a mailbox is one, and goes alone; one that leads in a circle ends somewhere. */
static void test_links(void)
{
    struct arena *a = arena_new();

    for (int fs = 0; fs < 2; fs++) {
        struct store_places places = { .fs = fs };
        struct store *st = fresh('/', &places);
        shell("mkdir -p other/cur && cd mail && for to in ../other:link nowhere:gone .:circle; "
              "do ln -s ${to%:*} ${to#*:}; done; for f in link gone circle; do mv $f ",
              fs ? "$f.x && mv $f.x $f; done" : ".$f; done");
        assert(strcmp(list(st, a), "INBOX circle link ") == 0);
        assert(fs || store_delete(st, "link") == STORE_OK);
        assert(there("other/cur") && (fs || !there("mail/.link")));
        store_close(&st);
    }
    arena_free(&a);
}

static void test_elsewhere(void)
{
    for (int fs = 0; fs < 2; fs++) {
        struct store_places places = { .fs = fs };
        struct store *st;
        struct mailbox *box;

        shell("rm -rf inbox control index; ", "true");
        places.inbox_fd = place("inbox");
        places.control_fd = place("control");
        places.index_fd = place("index");
        st = fresh('/', &places);
        assert(store_create(st, "a/b") == STORE_OK && store_subscribe(st, "a/b", true) == STORE_OK);
        assert(mailbox_open(st, "a/b", false, &box) == STORE_OK);
        uint32_t validity = mailbox_uid_validity(box);
        mailbox_close(&box);
        assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
        mailbox_close(&box);
        assert(there("inbox/cur") && !there("mail/cur") && there("control/subscriptions"));
        assert(there(fs ? "control/INBOX/dovecot-uidlist" : "control/.INBOX/dovecot-uidlist"));
        assert(there(fs ? "index/a/b/posthorn.index" : "index/.a.b/posthorn.index"));
        assert(!there("inbox/dovecot-uidlist") && !there("inbox/posthorn.index"));
        assert(store_rename(st, "a/b", "c") == STORE_OK && mailbox_open(st, "c", false, &box) == STORE_OK);
        assert(mailbox_uid_validity(box) == validity);
        mailbox_close(&box);
        assert(store_delete(st, "c") == STORE_OK);
        assert(!there(fs ? "control/c" : "control/.c") && !there(fs ? "index/c" : "index/.c"));
        store_close(&st);
        close(places.inbox_fd);
        close(places.control_fd);
        close(places.index_fd);
    }
}

int main(void)
{
    char cmd[300];

    snprintf(root, sizeof root, "%s/layout-test-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int) getpid());
    test_names();
    test_fs();
    test_links();
    test_elsewhere();
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
    return system(cmd) != 0;
}
