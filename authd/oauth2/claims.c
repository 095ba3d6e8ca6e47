/*
 * claims - see claims.h
 */
#include "claims.h"
#include <json-c/json.h>
#include <json-c/json_object_iterator.h>

int claims_set(struct claims *c, const char *name, const char *value)
{
    for (size_t n = 0; n < c->count; n++)
        if (strcmp(c->claim[n].name, name) == 0) {
            c->claim[n].value = value;
            return 0;
        }
    if (c->count == CLAIMS_MAX)
        return -1;
    c->claim[c->count++] = (struct claim){ name, value };
    return 0;
}

const char *claims_get(const struct claims *c, const char *name)
{
    for (size_t n = 0; n < c->count; n++)
        if (strcmp(c->claim[n].name, name) == 0)
            return c->claim[n].value;
    return NULL;
}

int claims_seconds(const char *value, int64_t *out)
{
    struct slice text = slice_of(value);
    ptrdiff_t dot = slice_find(text, '.');

    return slice_i64(slice_sub(text, 0, dot < 0 ? text.len : (size_t) dot), 0, INT64_MAX / 2, out);
}

bool claims_list(const char *value, const char *separators, struct slice word)
{
    struct slice rest = slice_of(value ? value : ""), one;

    while (slice_word(&rest, separators, &one))
        if (slice_same(one, word))
            return true;
    return false;
}

static void add_scalar(struct json_object *o, struct str *out)
{
    str_adds(out, out->len ? "\t" : "");
    str_adds(out, json_object_get_string(o)); /* of numbers: as they were written */
}

/* NULL: nothing that a text could say. */
static const char *text_of(struct json_object *o, struct arena *a)
{
    enum json_type type = json_object_get_type(o);
    const char *text = NULL;
    struct str list;

    if (type == json_type_null || type == json_type_object)
        return NULL;
    if (type != json_type_array)
        return arena_strdup(a, json_object_get_string(o));
    str_init(&list, CLAIMS_BYTES);
    for (size_t n = 0; n < json_object_array_length(o); n++) {
        struct json_object *one = json_object_array_get_idx(o, n);
        enum json_type kind = json_object_get_type(one);
        if (kind != json_type_null && kind != json_type_object && kind != json_type_array)
            add_scalar(one, &list);
    }
    text = arena_strndup(a, list.p, list.len);
    str_free(&list);
    return text;
}

static int take(struct json_object *object, struct arena *a, struct claims *out, struct err *err)
{
    if (json_object_get_type(object) != json_type_object)
        return err_set(err, 0, NULL, "the answer is no JSON object");
    for (struct json_object_iterator at = json_object_iter_begin(object), end = json_object_iter_end(object);
         !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        const char *text = text_of(json_object_iter_peek_value(&at), a);
        if (text && claims_set(out, arena_strdup(a, json_object_iter_peek_name(&at)), text) != 0)
            return err_set(err, 0, NULL, "the JSON object has more than %d members", CLAIMS_MAX);
    }
    return 0;
}

static bool blank(struct slice s) { return slice_trim(s).len == 0; }

int claims_parse(struct slice json, struct arena *a, struct claims *out, struct err *err)
{
    struct json_tokener *t;
    struct json_object *o;
    size_t end;
    int rc = -1;

    if (json.len > CLAIMS_BYTES)
        return err_set(err, 0, NULL, "the JSON text is longer than %d bytes", CLAIMS_BYTES);
    /* A NUL written as an escape would end a text before its time. */
    if (json.len == 0 || memchr(json.p, '\0', json.len) || memmem(json.p, json.len, "\\u0000", 6))
        return err_set(err, 0, NULL, "the answer is no JSON object, or holds a NUL");
    if (!utf8_valid(json)) /* json-c lets overlong forms pass */
        return err_set(err, 0, NULL, "the answer is not valid UTF-8");
    t = json_tokener_new_ex(CLAIMS_DEPTH);
    json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    o = json_tokener_parse_ex(t, json.p, (int) json.len);
    end = json_tokener_get_parse_end(t);
    if (json_tokener_get_error(t) != json_tokener_success)
        err_set(err, 0, NULL, "the JSON text cannot be read: %s", json_tokener_error_desc(json_tokener_get_error(t)));
    else if (!blank(slice_sub(json, end, json.len)))
        err_set(err, 0, NULL, "there is something behind the JSON object");
    else
        rc = take(o, a, out, err);
    json_object_put(o);
    json_tokener_free(t);
    return rc;
}
