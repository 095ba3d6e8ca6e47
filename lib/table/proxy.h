/*
 * proxy - the words between proxy: tables and authd/proxymap
 *
 * Request "lookup" {table, flags, key}; answers "found" {value}, "none" {}, "retry" {}, "denied" {}: the table is in
 * no parameter with "proxy:".
 */
#ifndef TABLE_PROXY_H
#define TABLE_PROXY_H
#define PROXY_SERVICE  "private/proxymap"
#define PROXY_PROTOCOL "proxymap"
enum { PROXY_VERSION = 1, PROXY_FLAGS_MAX = 255 };
#endif
