/*
 * asan - WITH_ASAN is defined where AddressSanitizer watches, which wants to see each buffer and stack by itself
 *
 * Callers     lib/event/fiber.c, lib/io/stream.c
 */
#ifndef BASE_ASAN_H
#define BASE_ASAN_H
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#endif
