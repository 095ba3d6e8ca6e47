/* pattern - where a pattern between delimiters ends */
#include "table/pattern.h"

int pattern_split(struct slice *rest, struct slice *pattern, struct slice *flags, struct err *err)
{
    size_t n, end;

    if (rest->len == 0 || ascii_isalnum(rest->p[0]))
        return err_set(err, 0, NULL, "expected a pattern between delimiters, like /text/");
    for (n = 1; n < rest->len && rest->p[n] != rest->p[0]; n++)
        if (rest->p[n] == '\\' && n + 1 < rest->len)
            n++;
    if (n >= rest->len)
        return err_set(err, 0, NULL, "no closing delimiter \"%c\"", rest->p[0]);
    for (end = n + 1; end < rest->len && !ascii_isspace(rest->p[end]); end++)
        continue;
    *pattern = slice_sub(*rest, 1, n - 1);
    *flags = slice_sub(*rest, n + 1, end - n - 1);
    *rest = slice_sub(*rest, end, rest->len);
    return 0;
}
