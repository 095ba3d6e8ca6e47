/* err_test - what does not fit is cut, never written past the end; NULL is nobody who wants to know */
#include "base/err.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int code;
    const char *dsn, *text, *dsn_out;
} rows[] = {
    { 451, "4.3.0", "queue file write error", "4.3.0" },
    { 0, NULL, "", "" },
    { 550, "5.1.1", "100% of <x>", "5.1.1" },
    { 599, "5.999.999999", "too long a status", "5.999.99999" },
};

int main(void)
{
    struct {
        struct err err;
        char behind[16];
    } room;
    char big[2 * ERR_TEXT_BYTES];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memset(&room, 'x', sizeof room);
        assert(err_set(&room.err, rows[i].code, rows[i].dsn, "%s", rows[i].text) == -1);
        assert(room.err.code == rows[i].code && strcmp(room.err.dsn, rows[i].dsn_out) == 0);
        assert(strcmp(room.err.text, rows[i].text) == 0 && memchr(room.behind, 0, sizeof room.behind) == NULL);
    }
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    memset(&room, 'x', sizeof room);
    assert(err_set(&room.err, 1, big, "%s", big) == -1);
    assert(strlen(room.err.dsn) == ERR_DSN_BYTES - 1 && strlen(room.err.text) == ERR_TEXT_BYTES - 1);
    assert(memchr(room.behind, 0, sizeof room.behind) == NULL);
    assert(err_set(NULL, 1, "4.0.0", "%d", 5) == -1);
    return 0;
}
