/*
 * builtin - the services that exist though master.cf does not name them
 */
#include "conf/builtin.h"

const char conf_builtin_services[] = "# service type private unpriv chroot wakeup maxproc command\n"
                                     "postlog unix-dgram n - n - 1 postlogd\n"
                                     "resolver unix - - y - 1 resolver\n"
                                     "proxymap unix - - n - 1 proxymap\n"
                                     "oauth2 unix - - n - 1 oauth2\n"
                                     "auth,auth-login,auth-master,auth-userdb unix - - n - 1 authd\n"
                                     "saslauth unix - - n - 1 saslauth\n"
                                     "auth-worker unix - n n - 1 auth-worker\n"
                                     "dispatcher unix - - y - 1 dispatcher\n"
                                     "keeper unix - - y - 0 keeper\n"
                                     "imapd unix - n n - 1 imapd\n"
                                     "pop3d unix - n n - 1 pop3d\n"
                                     "mailboxd unix - n n - 1 mailboxd\n"
                                     "dovecot-lmtp unix - - n - - lmtpd\n"
                                     "143 inet n - y - - login -o login_protocol=imap\n"
                                     "993 inet n - y - - login -o login_protocol=imap -o login_tls_wrappermode=yes\n"
                                     "110 inet n - y - - login -o login_protocol=pop3\n"
                                     "995 inet n - y - - login -o login_protocol=pop3 -o login_tls_wrappermode=yes\n";
