/*
 * postsuper - the two passes that look at every file
 *
 * Callers     tools/postsuper/postsuper.c
 */
#ifndef TOOLS_POSTSUPER_H
#define TOOLS_POSTSUPER_H

int postsuper_purge(void);  /* -p: unfinished files that nobody writes any more. -1 after a warning */
int postsuper_repair(void); /* -s: files in the directory of their name, names that hold their inode number */
#endif
