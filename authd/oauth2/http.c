/*
 * http - see http.h
 *
 * All clients' sockets stand in one epoll descriptor of their own, which one fiber waits for; what it finds is handed to
 * libcurl, on the loop's own stack.
 */
#include "http.h"
#include "base/file.h"
#include "base/log.h"
#include "base/time.h"
#include "client/dns.h"
#include "event/event.h"
#include "hosts.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    HASH_CHARACTERS = 8,
    EVENTS = 64,
    CLIENTS = 64,
    RESOLVED_BYTES = 4096,
    HEADER_BYTES = 20000,
    HOSTS_BYTES = 1 << 20,
    LATE_MS = 1000
};
#define AGENT      "posthorn-oauth2"
#define HOSTS_FILE "/etc/hosts"

struct http_client {
    uint32_t number;
    const struct oauth2_config *config;
    CURLM *multi;
    SSL_CTX *tls; /* certificates and keys that each connection takes over */
    int64_t due;  /* when libcurl wants to be called; EVENT_NEVER */
};
struct ask {
    struct http_client *client;
    CURL *easy;
    CURLMcode added;
    struct str *body;
    size_t header_bytes;
    bool done, too_long;
    CURLcode result;
    struct event_cond ended;
};
static struct http_client *clients[CLIENTS]; /* set before the jail */
static uint32_t client_count;
static int sockets = -1; /* epoll */
static struct str hosts; /* the text of /etc/hosts */

/* --- what libcurl calls --- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *client, void *known)
{
    struct http_client *c = client;
    struct epoll_event e = { .data.u64 = (uint64_t) c->number << 32 | (uint32_t) fd };

    (void) easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(sockets, EPOLL_CTL_DEL, fd, &e);
        return 0;
    }
    if (what != CURL_POLL_OUT)
        e.events |= EPOLLIN;
    if (what != CURL_POLL_IN)
        e.events |= EPOLLOUT;
    if (epoll_ctl(sockets, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) != 0)
        log_warn("a connection cannot be watched: %s", strerror(errno));
    curl_multi_assign(c->multi, fd, c);
    return 0;
}

static int on_timer(CURLM *multi, long milliseconds, void *client)
{
    struct http_client *c = client;

    (void) multi;
    c->due = milliseconds < 0 ? EVENT_NEVER : time_mono_ms() + milliseconds;
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ask)
{
    struct ask *a = ask;
    size_t len = size * count;

    a->too_long |= a->body->len + len > HTTP_BODY_BYTES;
    if (a->too_long)
        return 0; /* ends the transfer */
    str_add(a->body, bytes, len);
    return len;
}

/* Also of what comes before the answer ("100 Continue") and behind a chunked one; libcurl keeps them all. */
static size_t on_header(char *bytes, size_t size, size_t count, void *ask)
{
    struct ask *a = ask;

    (void) bytes;
    a->header_bytes += size * count;
    a->too_long |= a->header_bytes > HTTP_BODY_BYTES;
    return a->too_long ? 0 : size * count;
}

static CURLcode on_tls(CURL *easy, void *made, void *client)
{
    const struct http_client *c = client;
    SSL_CTX *to = made;
    X509 *cert = SSL_CTX_get0_certificate(c->tls);

    (void) easy;
    SSL_CTX_set1_cert_store(to, SSL_CTX_get_cert_store(c->tls));
    if (cert &&
        (SSL_CTX_use_certificate(to, cert) != 1 || SSL_CTX_use_PrivateKey(to, SSL_CTX_get0_privatekey(c->tls)) != 1))
        return CURLE_SSL_CERTPROBLEM;
    return CURLE_OK;
}

/* --- the fiber --- */

static void finish(const struct http_client *c)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
        char *mine = NULL;
        if (m->msg != CURLMSG_DONE || curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &mine) != CURLE_OK)
            continue;
        struct ask *a = (struct ask *) (void *) mine;
        a->result = m->data.result;
        a->done = true;
        event_cond_broadcast(&a->ended);
    }
}

static void turn(void *unused)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(sockets, events, EVENTS, 0), running;
    int64_t now = time_mono_ms();

    (void) unused;
    for (int n = 0; n < count; n++) {
        unsigned seen = events[n].events;
        int what = (seen & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (seen & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (seen & EPOLLERR ? CURL_CSELECT_ERR : 0);
        const struct http_client *c = clients[events[n].data.u64 >> 32];
        curl_multi_socket_action(c->multi, (curl_socket_t) (uint32_t) events[n].data.u64, what, &running);
    }
    for (uint32_t n = 0; n < client_count; n++) {
        struct http_client *c = clients[n];
        if (c->due <= now) {
            c->due = EVENT_NEVER;
            curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        finish(c);
    }
}

static void serve(void *unused)
{
    (void) unused;
    while (!fiber_cancelled()) {
        int64_t due = EVENT_NEVER;
        for (uint32_t n = 0; n < client_count; n++)
            if (clients[n]->due < due)
                due = clients[n]->due;
        event_wait_fd(sockets, EVENT_READ, due); /* or event_forget_fd: look again */
        fiber_on_large_stack(turn, NULL);
    }
}

/* --- before the jail --- */

int http_start(void)
{
    str_init(&hosts, HOSTS_BYTES);
    if (file_read(HOSTS_FILE, &hosts) != 0 && errno != ENOENT)
        log_warn("%s: %s", HOSTS_FILE, strerror(errno));
    sockets = epoll_create1(EPOLL_CLOEXEC);
    if (sockets >= 0 && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        return 0;
    log_error("libcurl cannot be used");
    return -1;
}

int http_run(void)
{
    fiber_go("http", serve, NULL);
    return 0;
}

/* All that c_rehash has named ("HASH.0"): OpenSSL would look there when it needs one, in the jail. */
static int load_directory(SSL_CTX *tls, const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *d;

    if (dir == NULL)
        return -1;
    while ((d = readdir(dir)) != NULL) {
        const char *dot = strrchr(d->d_name, '.');
        if (dot && dot - d->d_name == HASH_CHARACTERS && ascii_isdigit(dot[1])) {
            char *file = mem_printf("%s/%s", path, d->d_name);
            if (SSL_CTX_load_verify_file(tls, file) != 1)
                log_warn("%s: no certificate", file);
            free(file);
        }
    }
    closedir(dir);
    return 0;
}

static int load_tls(struct http_client *c, struct err *err)
{
    const struct oauth2_config *g = c->config;
    const char *ca = g->tls_ca_file[0] ? g->tls_ca_file : NULL, *dir = g->tls_ca_dir[0] ? g->tls_ca_dir : NULL;

    c->tls = SSL_CTX_new(TLS_client_method());
    if (c->tls == NULL)
        return err_set(err, 0, NULL, "%s: OpenSSL cannot be used", g->file);
    if (ca && SSL_CTX_load_verify_file(c->tls, ca) != 1)
        return err_set(err, 0, NULL, "%s: tls_ca_cert_file: %s cannot be read, or holds no certificate", g->file, ca);
    if (dir && load_directory(c->tls, dir) != 0)
        return err_set(err, 0, NULL, "%s: tls_ca_cert_dir: %s: %s", g->file, dir, strerror(errno));
    if (!ca && !dir && !g->tls_allow_invalid_cert && (g->tokeninfo.tls || g->introspection.tls || g->grant.tls) &&
        SSL_CTX_load_verify_file(c->tls, X509_get_default_cert_file()) != 1 &&
        load_directory(c->tls, X509_get_default_cert_dir()) != 0)
        log_warn("%s: no tls_ca_cert_file, and the system has no certificates", g->file);
    ERR_clear_error();
    if (g->tls_cert_file[0] && (SSL_CTX_use_certificate_file(c->tls, g->tls_cert_file, SSL_FILETYPE_PEM) != 1 ||
                                SSL_CTX_use_PrivateKey_file(c->tls, g->tls_key_file, SSL_FILETYPE_PEM) != 1))
        return err_set(err, 0, NULL, "%s: tls_cert_file, tls_key_file: no certificate and its key", g->file);
    return 0;
}

struct http_client *http_open(const struct oauth2_config *config, struct err *err)
{
    struct http_client *c;

    if (client_count == CLIENTS) {
        err_set(err, 0, NULL, "more than %d files", CLIENTS);
        return NULL;
    }
    c = mem_new(sizeof *c);
    *c = (struct http_client){ .number = client_count, .config = config, .due = EVENT_NEVER };
    c->multi = curl_multi_init();
    if (c->multi == NULL || load_tls(c, err) != 0) {
        if (c->multi == NULL)
            err_set(err, 0, NULL, "libcurl cannot be used");
        SSL_CTX_free(c->tls);
        curl_multi_cleanup(c->multi);
        free(c);
        return NULL;
    }
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) config->connections);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long) config->connections);
    clients[client_count++] = c;
    return c;
}

/* --- one question --- */

static enum lookup ask_resolver(const char *host, struct str *out, struct err *err)
{
    char address[INET6_ADDRSTRLEN];
    struct dns_reply reply;
    enum lookup found = dns_addresses(host, DNS_IPV4 | DNS_IPV6, &reply);

    for (size_t n = 0; found == LOOKUP_FOUND && n < reply.count; n++) {
        bool v4 = reply.records[n].data.len == 4;
        if (inet_ntop(v4 ? AF_INET : AF_INET6, reply.records[n].data.p, address, sizeof address))
            str_printf(out, v4 ? "%s%s" : "%s[%s]", n > 0 ? "," : "", address);
    }
    if (found != LOOKUP_FOUND)
        err_set(err, 0, NULL, "%s: %s", host, found == LOOKUP_NONE ? "it has no address" : reply.why);
    dns_reply_free(&reply);
    return found;
}

/* "+host:port:address,address", so that libcurl asks nobody. NULL with words. */
static struct curl_slist *resolve(const struct oauth2_url *place, struct err *err)
{
    struct curl_slist *list = NULL;
    struct str entry;

    str_init(&entry, RESOLVED_BYTES);
    str_printf(&entry, "+%s:%u:", place->host, place->port);
    if (hosts_find(str_slice(&hosts), place->host, &entry) > 0 ||
        ask_resolver(place->host, &entry, err) == LOOKUP_FOUND)
        list = curl_slist_append(NULL, entry.p);
    if (list && str_over(&entry)) {
        err_set(err, 0, NULL, "%s: it has too many addresses", place->host);
        curl_slist_free_all(list);
        list = NULL;
    }
    str_free(&entry);
    return list;
}

static bool literal(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static struct curl_slist *headers_of(const struct http_question *q)
{
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");
    struct str bearer;

    for (size_t n = 0; n < HTTP_HEADERS; n++)
        if (q->header[n])
            list = curl_slist_append(list, q->header[n]);
    if (q->bearer == NULL)
        return list;
    str_init(&bearer, HEADER_BYTES);
    str_printf(&bearer, "Authorization: Bearer %s", q->bearer);
    list = curl_slist_append(list, bearer.p);
    mem_wipe(bearer.p, bearer.len);
    str_free(&bearer);
    return list;
}

static void set_options(struct ask *a, const struct http_question *q)
{
    const struct oauth2_config *g = a->client->config;
    long check = g->tls_allow_invalid_cert ? 0 : 1;
    CURL *e = a->easy;

    curl_easy_setopt(e, CURLOPT_URL, q->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_USERAGENT, AGENT);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long) g->timeout_ms);
    curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long) ((g->idle_ms + 999) / 1000));
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, check);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2 * check);
    curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, a->client);
    if (g->tls_ciphers[0])
        curl_easy_setopt(e, CURLOPT_SSL_CIPHER_LIST, g->tls_ciphers);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(e, CURLOPT_PRIVATE, a);
    if (q->post) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, q->post);
    }
}

static void add(void *ask)
{
    struct ask *a = ask;

    a->added = curl_multi_add_handle(a->client->multi, a->easy);
}

static void take_back(void *ask)
{
    struct ask *a = ask;

    curl_multi_remove_handle(a->client->multi, a->easy);
    curl_easy_cleanup(a->easy);
}

static int transfer(struct ask *a, const struct http_question *q, long *status, struct err *err)
{
    int64_t until = time_mono_ms() + a->client->config->timeout_ms + LATE_MS;
    int rc = 0;

    fiber_on_large_stack(add, a);
    if (a->added != CURLM_OK)
        rc = err_set(err, 0, NULL, "%s", curl_multi_strerror(a->added));
    event_forget_fd(sockets);
    while (rc == 0 && !a->done)
        if (event_cond_wait(&a->ended, until) != 0)
            rc = err_set(err, 0, NULL, "%s port %u: no answer in time", q->place->host, q->place->port);
    if (rc == 0 && a->too_long)
        rc = err_set(err, 0, NULL, "%s port %u: the answer is longer than %d bytes", q->place->host, q->place->port,
                     HTTP_BODY_BYTES);
    else if (rc == 0 && a->result != CURLE_OK)
        rc = err_set(err, 0, NULL, "%s port %u: %s", q->place->host, q->place->port, curl_easy_strerror(a->result));
    else if (rc == 0)
        curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, status);
    return rc;
}

int http_ask(struct http_client *c, const struct http_question *q, long *status, struct str *body, struct err *err)
{
    struct ask a = { .client = c, .body = body, .easy = curl_easy_init() };
    struct curl_slist *addresses = NULL, *headers;
    int rc = -1;

    if (a.easy == NULL)
        return err_set(err, 0, NULL, "libcurl cannot be used");
    headers = headers_of(q);
    if (literal(q->place->host) || (addresses = resolve(q->place, err)) != NULL) {
        set_options(&a, q);
        curl_easy_setopt(a.easy, CURLOPT_RESOLVE, addresses);
        curl_easy_setopt(a.easy, CURLOPT_HTTPHEADER, headers);
        rc = transfer(&a, q, status, err);
    }
    fiber_on_large_stack(take_back, &a);
    event_forget_fd(sockets);
    for (struct curl_slist *l = headers; l; l = l->next) /* the token is in one */
        mem_wipe(l->data, strlen(l->data));
    curl_slist_free_all(headers);
    curl_slist_free_all(addresses);
    return rc;
}
