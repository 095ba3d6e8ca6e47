/*
 * service - the skeleton every daemon runs in
 *
 * The order is fixed: command line and main.cf, parameters, pre_jail (tables, keys and sockets that need privilege;
 * outside a fiber, so nothing there may wait), jail (chroot, uid, no_new_privs, Landlock, seccomp), post_jail (in a
 * fiber), loop. SIGTERM or an order of master stops accepting, waits until `drained`, calls `stop`, exits. Reload:
 * parameters are read again by a new process; the old one serves its sessions to their end.
 *
 * Callers     main() of each daemon: return service_main(&svc, argc, argv)
 * Invariants  master's status channel is fd 3, listeners follow from fd 4 (see service/channel.h); argv as Postfix's
 *             master gives it: -n name -t type -u -c -l -z -s sockets -i max_idle -m max_use -o name=value -S quota
 *             --params --help; for tests and people, not started by master (service_alone, no jail):
 *             --listen unix:/path or --listen inet:host:port serves there; nothing: one session on standard input
 *             quota: an explicit maxproc of master.cf; a service with `exclusive` accepts at most that many
 *             connections at a time, all its processes together
 *             the working directory is the queue directory, in the jail or not: names relative to it always work
 * Privilege   the struct says what the jail leaves; default is nothing but the descriptors the process holds. No
 *             thread may run before the jail; no library may be loaded after it
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H
#include "conf/param.h"
#include "ipc/client.h"
#include "ipc/msg.h"
#include <sys/socket.h>

enum service_jail {
    JAIL_CHROOT = 1,  /* chroot to the queue directory and mail_owner (or `user`); always, whatever master.cf says */
    JAIL_USER = 2,    /* mail_owner (or `user`), no chroot */
    JAIL_SPAWNED = 3, /* the spawner has chosen uid, root and Landlock rules; only seccomp is left to do */
    JAIL_NONE = 4,    /* master, spawner, runner */
};
/* What seccomp allows beyond the base set (read, write, epoll, futex, clock, memory, sendmsg and recvmsg on held
 * sockets, exit). */
enum service_may {
    MAY_OPEN = 1,        /* open, stat, readdir: Landlock `paths` says where */
    MAY_WRITE_FILES = 2, /* create, rename, link, unlink, ftruncate, futimens and fchmod by fd; implies threads.
                            (read, write, fsync, flock on descriptors at hand need nothing) */
    MAY_INET = 4,        /* socket(AF_INET/AF_INET6), connect, bind */
    MAY_THREADS = 8,     /* offload */
    MAY_FORK = 16,       /* fork without exec */
    MAY_EXEC = 32,
    MAY_UNIX = 64, /* socket(AF_UNIX) + connect; sendto for syslog */
    MAY_INOTIFY = 128,
    MAY_CHOWN = 256,
};
struct service_path {
    const char *path; /* relative to the queue directory, or absolute; "$name" is a parameter; for chroot: seen before
                         the chroot */
    bool write;
    bool optional; /* absent is no error */
};
enum { SERVICE_DATAGRAM_BYTES = 8192 };
struct service;
struct service_peer;
struct service_conn; /* one accepted connection of a request table, for conversations of frames */

struct service_request {
    const char *name;
    void (*run)(struct service_conn *,
                struct msg *in); /* in a fiber; each request has its own fiber: they run side by side */
    bool in_order; /* runs in the connection's own fiber instead: the next frame is read after it has returned. Needed
                      for frames whose order matters, and to use service_conn_stream */
};
/* Whom a spawned process serves. */
enum { SERVICE_PLACES = 3, SERVICE_HINT_BYTES = 64 };
struct service_user {
    uid_t uid;
    gid_t gid;
    const char *directory; /* the user's directory as this process sees it: "/" in a chroot; also the working one */
    int place_fd[SERVICE_PLACES]; /* directories elsewhere that it may use too, in the order of the order; 0: none */
    const char *hint;             /* a word of who ordered it; "" */
};
struct service {
    const char *name;    /* "smtpd": log tag and README */
    const char *summary; /* one line for --help */
    enum service_jail jail;
    unsigned may;                      /* enum service_may */
    const char *user;                  /* NULL: $mail_owner; see jail_user */
    const struct service_path *paths;  /* ends with path NULL; may be NULL */
    const struct param *const *params; /* NULL-terminated list of tables; conf_global_params is always added */
    /* Exactly one way to serve: */
    void (*session)(struct stream *, const struct service_peer *); /* one fiber a connection; text protocols */
    const char *protocol;                                          /* greeting name when `requests` is used */
    int version;
    const struct service_request *requests; /* frames of named values; ends with name NULL */
    /* unix-dgram services, which do nothing else (the process naps between two batches): one, cut at
     * SERVICE_DATAGRAM_BYTES */
    void (*datagram)(const void *, size_t);
    void (*datagrams_end)(void); /* after those that had arrived together; may be NULL */
    void (*wakeup)(void);        /* master's wakeup timer or a one-byte trigger 'W'; may be NULL. In a fiber */
    void (*trigger)(const char *bytes,
                    size_t len); /* Postfix's one-byte triggers on a unix or fifo endpoint; NULL: no triggers */

    /* jail == JAIL_SPAWNED: started with -t spawner, the process is a spawner, and each child it forks runs this in a
     * fiber, confined to one user's directory. The child ends when it returns. */
    void (*spawned)(int control_fd, const struct service_user *);

    bool mail_groups; /* it belongs to mail_access_groups too; a spawned process always does */
    bool exclusive;   /* a connection is a session or delivery: maxproc counts connections */
    const int64_t
        *sessions_max; /* connections a process takes at a time (parameter); NULL: no limit but descriptors */
    bool use_each;     /* max_use is of each place that a process has for sessions: as many as the processes which
                              Postfix would run for them take in their lives */
    bool introduced;   /* serves only whom master introduces (and root): another process of mail_owner that gets
                              through to the socket is turned away */
    bool rests;        /* its sessions call service_rest: clients keep connections for what comes next */
    bool prompt;       /* woken, it runs at once, though another has not ended its turn: a person waits, for little */
    bool solitary;     /* one process for all clients; it never ends for idleness or use */
    bool overlaps;     /* after a reload its successor starts at once, while sessions of this one go on */
    int (*pre_jail)(void); /* 0, or -1 after logging why not to start */
    int (*post_jail)(void);
    bool (*stale)(void);   /* asked between sessions: true (a table has changed) restarts the process gracefully */
    bool (*drained)(void); /* NULL: drained when no session is left */
    void (*stop)(void);
};
struct service_peer {
    const struct sockaddr *addr; /* of the client; NULL for a unix socket */
    unsigned addr_len;
    const struct sockaddr *server_addr;
    unsigned server_addr_len;
    const char *endpoint; /* path of the unix socket as it was bound; "" for others */
};
int service_main(const struct service *, int argc, char **argv);

/* In a request: answer at most once (not at all where the protocol has no answer). The reply carries the id of the
 * request; the service_conn is the request's own and ends when its function returns. A second answer is a panic. */
void service_reply(struct service_conn *, struct msg **reply);
struct msg *service_status(const char *status); /* msg_new(status), for one-word replies */
void *service_conn_ctx(struct service_conn *);  /* per connection state; set by service_conn_set */
void service_conn_set(struct service_conn *, void *ctx, void (*free_ctx)(void *));
struct stream *service_conn_stream(struct service_conn *); /* in_order requests only: to read or send more frames */

/* In pre_jail: keys and certificates that were or would be read there. Once one has been exchanged, behind any
 * symbolic links, rewritten, or has come into being, the process restarts gracefully, as for `stale`. */
struct tls_config;
void service_watch_tls(const struct tls_config *);

const char *service_name(void); /* -n: name in master.cf, "submission" */
const char *service_type(void);
int service_quota(void);     /* 0: unlimited */
bool service_stopping(void); /* no new work: by a reload, idleness or a stop */
/* A session begins to wait for a next piece of work, or has got one. Where .rests is set, a process whose sessions all
 * rest is idle, and what ends a resting session is no work. */
void service_rest(bool begins);
bool service_stopped(void); /* by a stop, or master is gone: sessions that do not end soon are cancelled */
bool service_alone(void);   /* not started by master: unit tests, "sendmail -bs" */
/* Ask master (rights are checked there): */
int service_connect(const char *service, int64_t deadline); /* what ipc_connect calls; a connected fd or -1 */
/* dispatcher, lmtpd, virtual: a process of `program` ("imapd") for that user; fd becomes its control descriptor (the caller keeps and
 * closes its own). directory: what the process may see. 0 and *pid, or -1 with errno: EPERM when uid, gid or
 * directory are out of range. */
struct service_spawn {
    const char *program, *directory;
    const char *place[SERVICE_PLACES]; /* absolute; NULL or "": none */
    const char *hint;                  /* NULL: "" */
    uid_t uid;
    gid_t gid;
};
int service_spawn(const struct service_spawn *, int fd, int64_t deadline, pid_t *pid);
#endif
