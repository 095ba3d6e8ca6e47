/*
 * boot - which boot of the machine this is
 *
 * What was written but not synced is still there after a crash of a program, and gone after one of the machine: who
 * repairs must know which of them it was.
 *
 * Callers     service_main before the jail, lib/store
 * Errors      "" where the kernel does not say; then nobody may conclude anything
 */
#ifndef BASE_BOOT_H
#define BASE_BOOT_H
enum { BOOT_ID_BYTES = 40 };
const char *boot_id(void); /* the kernel's UUID; read at the first call, which in a jail finds nothing */
#endif
