/*
 * builtin - the services that exist though master.cf does not name them
 *
 * Callers     master, tools/postconf -M
 * Invariants  written as lines of master.cf. A line of master.cf with the same name and type replaces one; for a
 *             service with several endpoints ("auth,auth-login") the first name is enough. Program "none" switches it
 *             off
 */
#ifndef CONF_BUILTIN_H
#define CONF_BUILTIN_H

extern const char conf_builtin_services[];
#define CONF_BUILTIN_FILE "built-in services" /* stands where a file's name stands */
#endif
