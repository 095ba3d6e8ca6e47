/*
 * time - clocks and the dates of mail
 *
 * Units       names say them; deadlines are milliseconds of CLOCK_MONOTONIC
 */
#ifndef BASE_TIME_H
#define BASE_TIME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

int64_t time_mono_ms(void); /* CLOCK_MONOTONIC */
int64_t time_mono_us(void);
int64_t time_now_us(void); /* CLOCK_REALTIME, microseconds since 1970 */
/* Nanoseconds of the clock that a local file system stamps changes with: behind the above, by a tick or more. */
int64_t time_stamp_ns(void);
static inline time_t time_now(void) { return (time_t) (time_now_us() / 1000000); }

enum { TIME_TEXT_BYTES = 64 };
void time_rfc5322(time_t,
                  char out[TIME_TEXT_BYTES]); /* "Sun, 22 Nov 2026 01:36:00 +0700 (+07)"; local zone, RFC 5322 3.3 */
void time_log(time_t, char out[TIME_TEXT_BYTES]); /* "Nov 22 01:36:00", the day padded with a blank */
void time_imap(time_t, int zone_minutes,
               char out[TIME_TEXT_BYTES]); /* "22-Nov-2026 01:36:00 +0700", RFC 3501 date-time */
int time_local_zone_minutes(time_t);       /* offset of the local zone at that moment */
/* UTC of a civil date in a zone; -1 for an impossible date. */
int time_from_civil(int year, int month, int day, int hour, int minute, int second, int zone_minutes,
                    int64_t *seconds);
#endif
