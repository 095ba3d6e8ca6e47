/* dates of mail, in zones east and west and across midnight */
#include "base/time.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int year, month, day, hour, minute, second, zone;
    int rc;
    int64_t seconds;
} civil[] = {
    { 1970, 1, 1, 0, 0, 0, 0, 0, 0 },           { 2026, 11, 22, 1, 36, 0, 420, 0, 1795286160 },
    { 2000, 2, 29, 12, 0, 0, 0, 0, 951825600 }, { 1900, 2, 29, 12, 0, 0, 0, -1, 0 }, /* no leap year */
    { 2023, 2, 29, 0, 0, 0, 0, -1, 0 },         { 2024, 12, 31, 23, 59, 60, 0, 0, 1735689600 },
    { 2024, 13, 1, 0, 0, 0, 0, -1, 0 },         { 2024, 0, 1, 0, 0, 0, 0, -1, 0 },
    { 2024, 4, 31, 0, 0, 0, 0, -1, 0 },         { 2024, 1, 1, 24, 0, 0, 0, -1, 0 },
    { 2024, 1, 1, 0, 60, 0, 0, -1, 0 },         { 2024, 1, 1, 0, 0, 61, 0, -1, 0 },
    { 2024, 1, 1, 0, 0, 0, 1440, -1, 0 },       { 2024, 1, 1, 0, 0, 0, -600, 0, 1704103200 },
};

int main(void)
{
    char out[TIME_TEXT_BYTES];
    int64_t before, seconds;

    for (size_t i = 0; i < sizeof civil / sizeof *civil; i++) {
        seconds = 0;
        assert(time_from_civil(civil[i].year, civil[i].month, civil[i].day, civil[i].hour, civil[i].minute,
                               civil[i].second, civil[i].zone, &seconds) == civil[i].rc);
        assert(seconds == civil[i].seconds);
    }
    setenv("TZ", "XXX-7", 1);
    tzset();
    time_rfc5322(1795286160, out);
    assert(strcmp(out, "Sun, 22 Nov 2026 01:36:00 +0700 (XXX)") == 0);
    time_log(1795286160 + 10 * 86400, out);
    assert(strcmp(out, "Dec  2 01:36:00") == 0);
    assert(time_local_zone_minutes(1795286160) == 420);
    time_imap(1795286160, 420, out);
    assert(strcmp(out, "22-Nov-2026 01:36:00 +0700") == 0);
    time_imap(1795286160, -210, out);
    assert(strcmp(out, "21-Nov-2026 15:06:00 -0330") == 0);
    setenv("TZ", "YYY+3:30", 1);
    tzset();
    time_rfc5322(1795286160, out);
    assert(strcmp(out, "Sat, 21 Nov 2026 15:06:00 -0330 (YYY)") == 0);
    before = time_mono_us();
    assert(time_mono_us() >= before && time_mono_ms() >= before / 1000 && time_now_us() > 1700000000000000);
    return 0;
}
