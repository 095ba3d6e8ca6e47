/* time - clocks and the dates of mail; contract in time.h */
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char month_name[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
static const char day_name[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };

static int64_t read_us(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t time_mono_us(void) { return read_us(CLOCK_MONOTONIC); }
int64_t time_mono_ms(void) { return read_us(CLOCK_MONOTONIC) / 1000; }
int64_t time_now_us(void) { return read_us(CLOCK_REALTIME); }

int64_t time_stamp_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int time_local_zone_minutes(time_t t)
{
    struct tm tm;

    return localtime_r(&t, &tm) ? (int) (tm.tm_gmtoff / 60) : 0;
}

void time_rfc5322(time_t t, char out[TIME_TEXT_BYTES])
{
    struct tm tm = { 0 };

    localtime_r(&t, &tm);
    int zone = (int) (tm.tm_gmtoff / 60);
    snprintf(out, TIME_TEXT_BYTES, "%s, %2d %s %04d %02d:%02d:%02d %c%02d%02d (%.10s)", day_name[tm.tm_wday],
             tm.tm_mday, month_name[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec,
             zone < 0 ? '-' : '+', abs(zone) / 60, abs(zone) % 60, tm.tm_zone ? tm.tm_zone : "");
}

void time_log(time_t t, char out[TIME_TEXT_BYTES])
{
    static _Thread_local char text[TIME_TEXT_BYTES]; /* of `made`: many lines are of one second */
    static _Thread_local time_t made = -1;
    struct tm tm = { 0 };

    if (t != made) {
        localtime_r(&t, &tm);
        snprintf(text, sizeof text, "%s %2d %02d:%02d:%02d", month_name[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min,
                 tm.tm_sec);
        made = t;
    }
    memcpy(out, text, sizeof text);
}

void time_imap(time_t t, int zone, char out[TIME_TEXT_BYTES])
{
    struct tm tm = { 0 };
    time_t shifted = t + (time_t) zone * 60;

    gmtime_r(&shifted, &tm);
    snprintf(out, TIME_TEXT_BYTES, "%02d-%s-%04d %02d:%02d:%02d %c%02d%02d", tm.tm_mday, month_name[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec, zone < 0 ? '-' : '+', abs(zone) / 60,
             abs(zone) % 60);
}

int time_from_civil(int year, int month, int day, int hour, int minute, int second, int zone, int64_t *seconds)
{
    static const int days_in[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (year < 1900 || year > 9999 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 60 || zone <= -24 * 60 || zone >= 24 * 60)
        return -1;
    if (day > days_in[month - 1] + (month == 2 && leap ? 1 : 0))
        return -1;
    struct tm tm = { .tm_year = year - 1900,
                     .tm_mon = month - 1,
                     .tm_mday = day,
                     .tm_hour = hour,
                     .tm_min = minute,
                     .tm_sec = second };
    *seconds = (int64_t) timegm(&tm) - (int64_t) zone * 60;
    return 0;
}
