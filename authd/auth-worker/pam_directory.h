/*
 * pam_directory - where pam.d is, for tests
 *
 * Callers     authd/auth-worker/pam.c, pam_test.c
 */
#ifndef AUTH_WORKER_PAM_DIRECTORY_H
#define AUTH_WORKER_PAM_DIRECTORY_H
extern const char *pam_directory; /* NULL: the system's */
#endif
