/*
 * postsuper - the two passes that look at every file
 *
 * Callers     tools/postsuper/postsuper.c
 */
#ifndef TOOLS_POSTSUPER_H
#define TOOLS_POSTSUPER_H

#include <stddef.h>

/* A long id is never used again, so it need not hold the inode number of its file; POSTSUPER_REPAIR_LONG wants that too. */
enum postsuper_repair { POSTSUPER_LEAVE, POSTSUPER_REPAIR, POSTSUPER_REPAIR_LONG };

int postsuper_purge(void); /* -p: unfinished files that nobody writes any more. -1 after a warning */
/* -s, -S: files in the directory of their name, names of the form that enable_long_queue_ids wants, short names that
 * hold their inode number. -1 after a warning */
int postsuper_repair(enum postsuper_repair);
void postsuper_total(const char *what, size_t count);
#endif
