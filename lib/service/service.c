/*
 * service - command line, parameters, and the order of a start
 */
#include "base/boot.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "service/channel.h"
#include "service/internal.h"
#include "service/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEPT_BYTES = 1 << 20, TABLES_MAX = 62, OPTION_LISTEN = 1000, OPTION_PARAMS, OPTION_HELP };

struct service_state service_state;
int64_t service_landlock_abi_max;
const char *service_mail_access_groups;
const struct param service_params[] = {
    { .name = "landlock_abi_max",
      .type = PARAM_INT,
      .num = &service_landlock_abi_max,
      .def = "0",
      .doc = "Highest Landlock ABI a daemon makes use of; 0: what the kernel offers. Lowered to test what an older "
             "kernel would hold back." },
    { .name = "mail_access_groups",
      .type = PARAM_STRING,
      .str = &service_mail_access_groups,
      .def = "",
      .doc = "Groups, by name or number, that the processes which work as mail users (imapd, pop3d, lmtpd, virtual, "
             "mailboxd) belong to beside the mailbox's own: for shared mailboxes." },
    { .type = PARAM_END },
};

const char *service_name(void) { return service_state.name; }
const char *service_type(void) { return service_state.type; }
int service_quota(void) { return (int) service_state.quota; }
bool service_alone(void) { return service_state.alone; }
bool service_stopping(void) { return serve_draining(); }
bool service_stopped(void) { return serve_stopped(); }

#ifdef __SANITIZE_ADDRESS__
/* The leak check at exit needs ptrace, which the jail kills for. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return service_state.svc && service_state.svc->jail != JAIL_NONE; }
#endif

static const struct param *const *all_tables(const struct service *svc)
{
    static const struct param *tables[TABLES_MAX + 1];
    size_t n = 0;

    tables[n++] = conf_global_params;
    tables[n++] = service_params;
    for (const struct param *const *t = svc->params; t && *t && n < TABLES_MAX; t++)
        tables[n++] = *t;
    tables[n] = NULL;
    return tables;
}

static void help(const struct service *svc)
{
    printf("%s - %s\n\n"
           "Started by master; see master.cf. Options that help people:\n"
           "  --params          print the parameters of main.cf that this program uses\n"
           "  --listen ENDPOINT serve without master: unix:/path, inet:host:port; may be repeated\n"
           "  -c DIR            configuration directory (default: $MAIL_CONFIG, else /etc/postfix)\n"
           "  -o NAME=VALUE     override a parameter\n"
           "  -n NAME -t TYPE   service name and type as in master.cf\n"
           "  -v                log more\n",
           svc->name, svc->summary ? svc->summary : "");
}

struct options {
    const char *overrides[256];
    size_t override_count;
    const char *endpoints[SERVICE_LISTENERS_MAX];
    size_t endpoint_count;
    const char *config;
    int sockets, verbose;
    int64_t idle, use;
};

static int64_t number_option(const char *text, int letter)
{
    int64_t n;

    if (slice_i64(slice_of(text), 0, INT32_MAX, &n) < 0)
        log_fatal("option -%c: not a number: %s", letter, text);
    return n;
}

/* -c is a flag to Postfix's daemons ("chroot"); a directory behind it is ours, for people. */
static void take_option(struct options *o, int letter, int argc, char **argv)
{
    switch (letter) {
    case 'n': service_state.name = optarg; break;
    case 't': service_state.type = optarg; break;
    case 's': o->sockets = (int) number_option(optarg, letter); break;
    case 'i': o->idle = number_option(optarg, letter); break;
    case 'm': o->use = number_option(optarg, letter); break;
    case 'S': service_state.quota = number_option(optarg, letter); break;
    case 'v': o->verbose++; break;
    case 'o':
        if (o->override_count < sizeof o->overrides / sizeof *o->overrides)
            o->overrides[o->override_count++] = optarg;
        else
            log_fatal("too many -o options");
        break;
    case 'c':
        if (optind < argc && argv[optind][0] == '/')
            o->config = argv[optind++];
        break;
    case OPTION_LISTEN:
        if (o->endpoint_count < SERVICE_LISTENERS_MAX)
            o->endpoints[o->endpoint_count++] = optarg;
        break;
    case OPTION_HELP: help(service_state.svc); exit(0);
    case OPTION_PARAMS: conf_print(stdout, all_tables(service_state.svc)); exit(fflush(stdout) == 0 ? 0 : 1);
    case 'u':
    case 'l':
    case 'z':
    case 'd':
    case 'D':
    case 'V': break;
    default: exit(64);
    }
}

static void parse_options(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = { { "params", no_argument, NULL, OPTION_PARAMS },
                                           { "help", no_argument, NULL, OPTION_HELP },
                                           { "listen", required_argument, NULL, OPTION_LISTEN },
                                           { NULL, 0, NULL, 0 } };

    for (int letter; (letter = getopt_long(argc, argv, "+cdDi:lm:n:o:s:S:t:uvVz", longs, NULL)) != -1;)
        take_option(o, letter, argc, argv);
}

static void override_all(const struct options *o)
{
    char pid[24];

    snprintf(pid, sizeof pid, "%ld", (long) getpid());
    conf_override("service_name", service_state.name);
    conf_override("process_name", service_state.svc->name);
    conf_override("process_id", pid);
    for (size_t i = 0; i < o->override_count; i++) {
        const char *eq = strchr(o->overrides[i], '=');
        struct slice name = slice_trim(slice_make(o->overrides[i], eq ? (size_t) (eq - o->overrides[i]) : 0));
        if (eq == NULL || name.len == 0)
            log_fatal("-o wants name=value, not \"%s\"", o->overrides[i]);
        struct slice value = slice_trim(slice_of(eq + 1));
        char *n = mem_strndup(name.p, name.len), *v = mem_strndup(value.p, value.len);
        conf_override(n, v);
        free(n);
        free(v);
    }
}

static enum service_kind kind_of(const char *type)
{
    static const struct {
        const char *name;
        enum service_kind kind;
    } kinds[] = { { "inet", KIND_INET }, { "unix", KIND_UNIX },        { "fifo", KIND_FIFO },
                  { "pass", KIND_PASS }, { "unix-dgram", KIND_DGRAM }, { "spawner", KIND_SPAWNER } };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(type, kinds[i].name) == 0)
            return kinds[i].kind;
    log_fatal("unknown service type: %s", type);
}

/* Signals as the parent left them are not trusted: a program may have been started with some ignored. */
static void set_signals(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
}

static void find_listeners(const struct options *o)
{
    service_state.alone = !channel_present();
    if (service_state.alone) {
        for (size_t i = 0; i < o->endpoint_count; i++) {
            service_state.listeners[service_state.listener_count++] = serve_listen(o->endpoints[i]);
            service_state.kind = strncmp(o->endpoints[i], "inet:", 5) == 0 ? KIND_INET : KIND_UNIX;
        }
        if (o->endpoint_count == 0)
            service_state.kind = KIND_STDIO;
        else if (service_state.svc->datagram)
            service_state.kind = KIND_DGRAM;
        return;
    }
    if (o->sockets > SERVICE_LISTENERS_MAX)
        log_fatal("too many listening sockets: %d", o->sockets);
    for (int i = 0; i < o->sockets; i++)
        service_state.listeners[service_state.listener_count++] = CHANNEL_FIRST_LISTENER + i;
    for (int fd = CHANNEL_FD; fd < CHANNEL_FIRST_LISTENER + o->sockets; fd++)
        file_set_cloexec(fd, true);
}

static int run(const struct service *svc)
{
    if (svc->pre_jail && svc->pre_jail() < 0)
        return 1;
    if (!service_state.alone)
        jail_close(svc, (int) service_landlock_abi_max);
    event_run(serve, NULL);
    return 0;
}

/* A message goes through many daemons, and each wakes the next. Where the processors are busy, one that is woken lets
 * the running one finish its turn instead of taking its processor: more work is found at each turn, and fewer switches
 * are paid for it. An idle processor runs it at once, as ever. Not those that are `prompt`. */
static void wait_for_turn(void)
{
    struct sched_param none = { 0 };

    (void) sched_setscheduler(0, SCHED_BATCH, &none); /* where it fails all is as it was */
}

int service_main(const struct service *svc, int argc, char **argv)
{
    struct options o = { .idle = -1, .use = -1 };
    const char *base = strrchr(argv[0], '/');

    (void) boot_id(); /* the jail shows none */
    mallopt(M_TRIM_THRESHOLD,
            KEPT_BYTES); /* between two messages memory stays; after a quiet second lib/event trims */
    mallopt(M_MMAP_THRESHOLD, KEPT_BYTES); /* else each buffer over 128 KiB is mapped, touched and unmapped anew */
    mallopt(M_TOP_PAD, KEPT_BYTES / 4);
    service_state.svc = svc;
    service_state.argv = argv;
    service_state.name = base ? base + 1 : argv[0];
    service_state.type = "unix";
    log_tag(service_state.name);
    set_signals();
    if (!svc->prompt)
        wait_for_turn();
    parse_options(&o, argc, argv);
    log_verbose(o.verbose);
    service_state.kind = kind_of(service_state.type);
    find_listeners(&o);
    if (conf_open(o.config) < 0)
        return 1;
    override_all(&o); /* conf_open forgets them */
    if (conf_load(all_tables(svc)) < 0)
        return 1;
    service_state.max_idle = o.idle >= 0 ? o.idle : conf_max_idle;
    service_state.max_use = o.use >= 0 ? o.use : conf_max_use;
    sink_open(base ? base + 1 : argv[0]);
    ipc_set_queue_directory(conf_queue_directory);
    if (!service_state.alone) {
        if (chdir(conf_queue_directory) < 0)
            log_fatal("cannot enter the queue directory %s: %s", conf_queue_directory, strerror(errno));
        ipc_set_connector(service_connect);
        umask(077);
    }
    return service_state.kind == KIND_SPAWNER ? spawner_main() : run(svc);
}
