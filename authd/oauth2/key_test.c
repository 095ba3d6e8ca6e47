#include "key.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/posthorn-key.XXXXXX";

static void put(const char *below, const char *text)
{
    char *path = mem_printf("%s/%s", directory, below);
    FILE *f;

    for (char *slash = path + sizeof directory; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void) mkdir(path, 0700);
        *slash = '/';
    }
    f = fopen(path, "w");
    assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
    free(path);
}

static enum lookup get(const char *base, const char *party, const char *key_id, const char *text)
{
    struct err err;
    struct str out;
    enum lookup found;

    str_init(&out, KEY_FILE_BYTES);
    found = key_read(base, party, "HS256", key_id, &out, &err);
    assert(found != LOOKUP_FOUND || strcmp(out.p, text) == 0);
    str_free(&out);
    return found;
}

int main(void)
{
    char *keys, *command;

    assert(mkdtemp(directory));
    keys = mem_printf("%s/keys//", directory);
    put("secret/HS256/default", "no");
    put("keys/default/HS256/default", "a");
    put("keys/default/HS256/100%25%2f..", "b");
    put("keys/default/HS256/sub/x", "c");
    assert(get(keys, "default", "default", "a") == LOOKUP_FOUND);
    assert(get(keys, "default", "100%/..", "b") == LOOKUP_FOUND);
    assert(get(keys, "default", "other", "") == LOOKUP_NONE);
    assert(get(keys, "other", "default", "") == LOOKUP_NONE);
    assert(get(keys, "../secret", "default", "") == LOOKUP_NONE);
    assert(get(keys, "..", "default", "") == LOOKUP_NONE);
    assert(get(keys, "default", "../../../secret/HS256/default", "") == LOOKUP_NONE);
    assert(get(keys, "default", "sub/x", "") == LOOKUP_NONE);
    assert(get(keys, "default", "sub", "") == LOOKUP_NONE); /* a directory */
    assert(get(keys, "default", "", "") == LOOKUP_NONE);
    char *long_name = mem_new(5000);
    memset(long_name, 'x', 4999);
    assert(get(keys, "default", long_name, "") == LOOKUP_NONE);
    free(long_name);
    put("keys/default/HS256/loop", "");
    char *loop = mem_printf("%s/keys/default/HS256/loop", directory);
    assert(unlink(loop) == 0 && symlink("loop", loop) == 0);
    assert(get(keys, "default", "loop", "") == LOOKUP_RETRY); /* a fault, not an absence */
    free(loop);
    command = mem_printf("rm -rf %s", directory);
    assert(system(command) == 0);
    free(command);
    free(keys);
}
