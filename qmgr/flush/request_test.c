/* request_test - requests of the flush service: whole, cut anywhere, and wrong */
#include "request.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define BYTES(text)       \
    {                     \
        text, sizeof text \
    } /* the literal's own NUL ends the list */
static const struct {
    struct slice in;
    int rc;
    enum flush_what what;
    const char *id, *site;
} requests[] = {
    { BYTES("request\0send_file\0queue_id\0ABC123\0"), 1, FLUSH_SEND_FILE, "ABC123", "" },
    { BYTES("request\0send_site\0site\0d.test\0"), 1, FLUSH_SEND_SITE, "", "d.test" },
    { BYTES("site\0d.test\0request\0add\0queue_id\0A\0"), 1, FLUSH_NOTHING, "A", "d.test" },
    { BYTES("request\0reboot\0"), 1, FLUSH_UNKNOWN, "", "" },
    { BYTES(""), 1, FLUSH_UNKNOWN, "", "" },
    { BYTES("request\0send_file\0colour\0red\0"), -1, FLUSH_SEND_FILE, "", "" },
};

int main(void)
{
    static char big[FLUSH_REQUEST_BYTES + 100];
    struct flush_request r;

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        int rc = flush_request_parse(requests[i].in, &r);
        if (rc != requests[i].rc ||
            (rc == 1 && (r.what != requests[i].what || strcmp(r.queue_id, requests[i].id) != 0 ||
                         strcmp(r.site, requests[i].site) != 0))) {
            printf("request %zu: %d\n", i, rc);
            return 1;
        }
        for (size_t len = 0; rc == 1 && len < requests[i].in.len; len++)
            assert(flush_request_parse(slice_make(requests[i].in.p, len), &r) == 0);
    }
    memset(big, 'x', sizeof big);
    assert(flush_request_parse(slice_make(big, FLUSH_REQUEST_BYTES), &r) == 0);
    assert(flush_request_parse(slice_make(big, sizeof big), &r) == -1);
    memcpy(big, "queue_id", 9);
    memset(big + 9 + 300, 0, 2);
    assert(flush_request_parse(slice_make(big, 400), &r) == -1); /* a queue id that is none */
    return 0;
}
