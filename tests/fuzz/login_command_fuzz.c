// LINK: login_core
/* login_command_fuzz - the commands of an IMAP client before it has logged in */
#include "../../authd/login/command.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice arg[COMMAND_ARGS];
    struct command command;
    size_t count, bytes;
    char *copy = malloc(len + 1);

    if (copy == NULL)
        abort();
    if (len)
        memcpy(copy, data, len);
    command_literal(slice_make(copy, len), &bytes);
    if (command_parse(slice_make(copy, len), &command) == 0 && command_args(&command, arg, &count) == 0)
        for (size_t i = 0; i < count; i++)
            if (arg[i].len > len)
                abort();
    free(copy);
    return 0;
}
