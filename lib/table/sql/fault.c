/* fault - what the errors of servers and of libmariadb mean; contract in fault.h */
#include "table/sql/fault.h"

#include "base/log.h"
#include "base/time.h"

#include <stdio.h>
#include <string.h>

#include <mysql.h>
#include <errmsg.h>
#include <mysqld_error.h>

static const char no_account[] = "check user and password, and that the server lets this user in from here";
static const char no_right[] = "GRANT SELECT on it to this user";
static const char no_room[] = "raise max_connections of the server or lower sql_connection_limit";
static const char bad_query[] = "correct the query";
static const char no_tls[] = "check the tls_ settings, the server's certificate and the name it is made out to";
static const char no_plugin[] =
    "give the user one of mysql_native_password, ed25519, caching_sha2_password, sha256_password";

static const struct known {
    unsigned code;
    enum sql_kind kind;
    const char *cure;
} known[] = {
    { ER_ACCESS_DENIED_ERROR, SQL_DENIED, no_account },
    { ER_ACCESS_DENIED_NO_PASSWORD_ERROR, SQL_DENIED, no_account },
    { ER_DBACCESS_DENIED_ERROR, SQL_DENIED, "GRANT SELECT on the tables of this database to this user" },
    { ER_BAD_DB_ERROR, SQL_DENIED, "check dbname" },
    { ER_HOST_NOT_PRIVILEGED, SQL_DENIED, no_account },
    { ER_HOST_IS_BLOCKED, SQL_DENIED, "run mariadb-admin flush-hosts on the server" },
    { ER_MUST_CHANGE_PASSWORD_LOGIN, SQL_DENIED, "the password has expired: give the user a new one" },
    { ER_UNKNOWN_CHARACTER_SET, SQL_DENIED, "check charset" },
    { CR_CANT_READ_CHARSET, SQL_DENIED, "check charset" },
    { CR_SSL_CONNECTION_ERROR, SQL_DENIED, no_tls },
    { CR_AUTH_PLUGIN_CANNOT_LOAD, SQL_DENIED, no_plugin },
    { CR_AUTH_PLUGIN_ERR, SQL_DENIED, no_plugin },
    { ER_NOT_SUPPORTED_AUTH_MODE, SQL_DENIED, no_plugin },
    { CR_UNKNOWN_HOST, SQL_ABSENT, "check hosts and DNS" },
    { CR_CONNECTION_ERROR, SQL_ABSENT, "start the server or correct hosts" },
    { CR_CONN_HOST_ERROR, SQL_ABSENT, "start the server or correct hosts" },
    { ER_SERVER_SHUTDOWN, SQL_ABSENT, NULL },
    { ER_UNKNOWN_COM_ERROR, SQL_ABSENT, "this node of the cluster is not in step with the others" },
    { ER_CON_COUNT_ERROR, SQL_FULL, no_room },
    { ER_TOO_MANY_USER_CONNECTIONS, SQL_FULL, no_room },
    { ER_USER_LIMIT_REACHED, SQL_FULL, "raise the limits that GRANT gave this user" },
    { ER_NO_SUCH_TABLE, SQL_QUERY, "make the table or correct the query" },
    { ER_BAD_FIELD_ERROR, SQL_QUERY, bad_query },
    { ER_PARSE_ERROR, SQL_QUERY, bad_query },
    { ER_NO_DB_ERROR, SQL_QUERY, "set dbname" },
    { ER_TABLEACCESS_DENIED_ERROR, SQL_RIGHTS, no_right },
    { ER_COLUMNACCESS_DENIED_ERROR, SQL_RIGHTS, no_right },
    { ER_PROCACCESS_DENIED_ERROR, SQL_RIGHTS, "GRANT EXECUTE on it to this user" },
    { ER_OPTION_PREVENTS_STATEMENT, SQL_QUERY, "the server is read-only: a lookup must not write" },
    { ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, SQL_QUERY, "the server is read-only: a lookup must not write" },
    { ER_CANT_AGGREGATE_2COLLATIONS, SQL_QUERY, "let columns and charset have the same collation" },
    { ER_LOCK_WAIT_TIMEOUT, SQL_AGAIN, "look for LOCK TABLES or a long transaction" },
    { ER_LOCK_DEADLOCK, SQL_AGAIN, NULL },
    { ER_QUERY_INTERRUPTED, SQL_AGAIN, NULL },
    { ER_CONNECTION_KILLED, SQL_AGAIN, NULL },
};

static const struct known *find(unsigned code)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code)
            return &known[i];
    return NULL;
}

enum sql_kind sql_fault_kind(const struct sql_fault *f)
{
    const struct known *k = find(f->code);

    if (f->late)
        return SQL_HUNG;
    if (k)
        return k->kind;
    return f->code >= CR_MIN_ERROR && f->code <= CR_MAX_ERROR ? SQL_ABSENT : SQL_QUERY;
}

/* Quotes of an error that we know hold names of users, databases, tables, columns. Those of any other may hold a value,
 * and those of a syntax error hold the question from there on. */
void sql_fault_words(struct sql_fault *f, const char *text)
{
    bool hide = f->code < CR_MIN_ERROR && (f->code == ER_PARSE_ERROR || find(f->code) == NULL), quoted = false;
    size_t n = 0;

    for (; *text && n + 1 < sizeof f->text; text++) {
        if (*text == '\'' && f->code == ER_PARSE_ERROR)
            break;
        if (*text == '\'')
            quoted = !quoted;
        if (!hide || !quoted || *text == '\'')
            f->text[n++] = *text;
    }
    f->text[n] = '\0';
}

void sql_fault_say(struct sql_said *said, const char *source, const char *host, const struct sql_fault *f,
                   const char *tail)
{
    const struct known *k = f->late ? NULL : find(f->code);
    const char *cure = f->late ? "look at the server: overloaded, stopped, or its tables locked" : k ? k->cure : NULL;
    int64_t now = time_mono_ms();
    char code[16] = "";

    if (said->when && now - said->when < SQL_SAY_AGAIN_MS)
        return;
    said->when = now;
    said->open = true;
    if (f->code)
        snprintf(code, sizeof code, " (%u)", f->code);
    log_warn("%s: %s%s%s%s%s%s%s%s", source, host ? host : "", host ? ": " : "", f->text, code, cure ? "; " : "",
             cure ? cure : "", tail ? "; " : "", tail ? tail : "");
}

bool sql_fault_over(struct sql_said *said)
{
    bool open = said->open;

    said->open = false;
    return open;
}
