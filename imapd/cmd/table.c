/*
 * imapd/cmd/table - every command: where it is allowed and which changes its answer may carry
 *
 * Source      RFC 3501 section 6, 2177 (IDLE), 2342 (NAMESPACE), 2971 (ID), 3691 (UNSELECT), 4315 (UIDPLUS),
 *             5161 (ENABLE), 6851 (MOVE)
 */
#include "cmd/cmd.h"

enum { ANY = IMAPD_AUTHENTICATED | IMAPD_SELECTED };

static const struct imapd_cmd table[] = {
    { "CAPABILITY", ANY, IMAPD_SYNC_NO, imapd_cmd_capability },
    { "NOOP", ANY, IMAPD_SYNC_ALL, imapd_cmd_noop },
    { "LOGOUT", ANY, IMAPD_SYNC_NO, imapd_cmd_logout },
    { "ID", ANY, IMAPD_SYNC_NO, imapd_cmd_id },
    { "ENABLE", ANY, IMAPD_SYNC_NO, imapd_cmd_enable },
    { "NAMESPACE", ANY, IMAPD_SYNC_NO, imapd_cmd_namespace },
    { "SELECT", ANY, IMAPD_SYNC_NO, imapd_cmd_select },
    { "EXAMINE", ANY, IMAPD_SYNC_NO, imapd_cmd_examine },
    { "CREATE", ANY, IMAPD_SYNC_ALL, imapd_cmd_create },
    { "DELETE", ANY, IMAPD_SYNC_ALL, imapd_cmd_delete },
    { "RENAME", ANY, IMAPD_SYNC_ALL, imapd_cmd_rename },
    { "SUBSCRIBE", ANY, IMAPD_SYNC_ALL, imapd_cmd_subscribe },
    { "UNSUBSCRIBE", ANY, IMAPD_SYNC_ALL, imapd_cmd_unsubscribe },
    { "LIST", ANY, IMAPD_SYNC_ALL, imapd_cmd_list },
    { "LSUB", ANY, IMAPD_SYNC_ALL, imapd_cmd_lsub },
    { "STATUS", ANY, IMAPD_SYNC_ALL, imapd_cmd_status },
    { "APPEND", ANY, IMAPD_SYNC_ALL, imapd_cmd_append },
    { "IDLE", ANY, IMAPD_SYNC_ALL, imapd_cmd_idle },
    { "CHECK", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_check },
    { "CLOSE", IMAPD_SELECTED, IMAPD_SYNC_NO, imapd_cmd_close },
    { "UNSELECT", IMAPD_SELECTED, IMAPD_SYNC_NO, imapd_cmd_unselect },
    { "EXPUNGE", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_expunge },
    { "SEARCH", IMAPD_SELECTED, IMAPD_SYNC_KEEP, imapd_cmd_search },
    { "FETCH", IMAPD_SELECTED, IMAPD_SYNC_KEEP, imapd_cmd_fetch },
    { "STORE", IMAPD_SELECTED, IMAPD_SYNC_KEEP, imapd_cmd_store },
    { "COPY", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_copy },
    { "MOVE", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_move },
    { "UID SEARCH", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_search },
    { "UID FETCH", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_fetch },
    { "UID STORE", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_store },
    { "UID COPY", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_copy },
    { "UID MOVE", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_move },
    { "UID EXPUNGE", IMAPD_SELECTED, IMAPD_SYNC_ALL, imapd_cmd_uid_expunge },
};

const struct imapd_cmd *imapd_cmd_find(struct slice name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (slice_caseeq(name, table[i].name))
            return &table[i];
    }
    return NULL;
}
