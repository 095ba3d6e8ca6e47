/*
 * check - the directories of an instance, and what of its configuration is not obeyed
 *
 * Callers     tools/postfix/postfix.c
 * Errors      -1 after logging what makes a start impossible; the rest is a warning
 */
#ifndef TOOLS_POSTFIX_CHECK_H
#define TOOLS_POSTFIX_CHECK_H
#include <stdbool.h>

int postfix_check(bool thorough); /* thorough: "postfix check"; else what "postfix start" needs */
#endif
