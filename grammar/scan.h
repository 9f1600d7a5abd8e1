// scan.h: what the rules of aml.l call (scan.c).

#ifndef AML_SCAN_H
#define AML_SCAN_H

#include "parse.h"

int scan_token(ParseState *ps, Token *token, int kind); // fills in place and line; returns kind
int scan_word(ParseState *ps, Token *token, const char *text, size_t length);
// How many bytes at the front of text are letters (of any language), digits or `_`.
size_t scan_letters(const char *text);
// `*length` bytes of text: a number, perhaps with a word behind it. Sets *length to what belongs to
// the token.
int scan_number(ParseState *ps, Token *token, const char *text, int *length);
int scan_bad_number(ParseState *ps, Token *token, const char *text);
int scan_string(ParseState *ps, Token *token, const char *text, size_t length, bool closed);
int scan_single_quotes(ParseState *ps, Token *token, const char *text, size_t length);
int scan_foreign(ParseState *ps, Token *token, int kind,
                 const char *word); // an operator of other languages
void scan_newline(ParseState *ps);
void scan_comment(ParseState *ps, const char *text, size_t length);
void scan_block_comment(ParseState *ps);
void scan_stray(ParseState *ps, const char *text, size_t length);

#endif
