/*
 * codec - base64, hex
 *
 * Errors      decoders answer -1 and leave what they appended out again (the str is cut back)
 * Source      RFC 4648; base64_decode accepts no white space and wants the padding, as RFC 4954 and RFC 3501 do
 */
#ifndef BASE_CODEC_H
#define BASE_CODEC_H
#include "base/str.h"

void base64_encode(struct str *out, struct slice in);
int base64_value(char c); /* 0..63, or -1 for what is not in the alphabet */
int base64_decode(struct str *out, struct slice in);
void hex_encode(struct str *out, struct slice in); /* lower case */
int hex_decode(struct str *out, struct slice in);
#endif
