/* location_test - mail_location: what is understood, and what is named as not understood */
#include "conf/location.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *text, *home;
    const char *root, *inbox, *control, *index;
    bool no_index, fs;
} rows[] = {
    { "maildir:~/Maildir", "/home/u", "/home/u/Maildir", "", "", "", false, false },
    { "maildir:~", "/home/u", "/home/u", "", "", "", false, false },
    { "MAILDIR:/var/mail/u//", "", "/var/mail/u", "", "", "", false, false },
    { "maildir:/m/u:LAYOUT=fs", "", "/m/u", "", "", "", false, true },
    { "maildir:/m/u:LAYOUT=Maildir++:", "", "/m/u", "", "", "", false, false },
    { "maildir:~/m:INBOX=/var/mail/u:CONTROL=~/c/:INDEX=/i/u", "/h", "/h/m", "/var/mail/u", "/h/c", "/i/u", false,
      false },
    { "maildir:~/m:INBOX=~/m/", "/h", "/h/m", "", "", "", false, false },
    { "maildir:/m:INDEX=MEMORY", "", "/m", "", "", "", true, false },
    { "maildir:/a::b:INDEX=/c::", "", "/a:b", "", "", "/c:", false, false },
};

static const struct {
    const char *text, *home, *says;
} errors[] = {
    { "mbox:~/mail", "/h", "only maildir:" },
    { "", "/h", "only maildir:" },
    { "maildir:~/m", "", "no home" },
    { "maildir:m", "/h", "not an absolute path" },
    { "maildir:~user/m", "/h", "not an absolute path" },
    { "maildir:/m:INDEX=i", "/h", "not an absolute path" },
    { "maildir:/m/../x", "/h", "not an absolute path" },
    { "maildir:/m/..", "/h", "not an absolute path" },
    { "maildir:/m:LAYOUT=index", "/h", "LAYOUT=index is not supported" },
    { "maildir:/m:ALT=/x", "/h", "ALT=/x is not supported" },
    { "maildir:/m:UTF-8", "/h", "UTF-8 is not supported" },
};

int main(void)
{
    struct arena *a = arena_new();
    struct err err = { 0 };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mail_location l;
        int rc = mail_location_parse(rows[i].text, rows[i].home, a, &l, &err);
        bool good = rc == 0 && strcmp(l.root, rows[i].root) == 0 && strcmp(l.inbox, rows[i].inbox) == 0 &&
                    strcmp(l.control, rows[i].control) == 0 && strcmp(l.index, rows[i].index) == 0 &&
                    l.no_index == rows[i].no_index && l.fs == rows[i].fs;
        if (!good) {
            fprintf(stderr, "%s: %d %s\n", rows[i].text, rc, rc ? err.text : l.root);
            abort();
        }
    }
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct mail_location l;
        if (mail_location_parse(errors[i].text, errors[i].home, a, &l, &err) == 0 ||
            strstr(err.text, errors[i].says) == NULL) {
            fprintf(stderr, "%s: %s\n", errors[i].text, err.text);
            abort();
        }
    }
    assert(mail_location_check("maildir:%h/m:INDEX=/i/%u", &err) == 0 && mail_location_check("", &err) == 0);
    assert(mail_location_check("maildir:%h/m:NO-NOSELECT", &err) < 0 && strstr(err.text, "NO-NOSELECT"));
    assert(mail_location_index_elsewhere("maildir:~/m:INDEX=/x") && !mail_location_index_elsewhere("maildir:INDEX"));
    arena_free(&a);
    return 0;
}
