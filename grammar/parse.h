// grammar/: from text to tree. Private to this folder; the way in is parse_file (ast/ast.h).
//
//   aml.l      characters to raw tokens
//   lex.c      raw tokens to tokens: numbers get their units, brackets are tracked, after a mistake
//   the text is skipped to
//              the next item
//   aml.y      tokens to nodes
//   parse.c    what is checked before scanning, the messages, nodes for the grammar's actions

#ifndef AML_PARSE_H
#define AML_PARSE_H

#include "aml.tab.h"
#include "ast/ast.h"
#include "base/base.h"
#include "diag/diag.h"

#define DEEPEST_BRACKETS 200
#define DEEPEST_TREE 500
#define MOST_MISTAKES 100
#define LONGEST_NAME 255

typedef struct Token {
    int kind; // of the grammar, AML_EOF at the end
    AML_STYPE value;
    Loc loc;
    bool first; // on its line
    int column; // in bytes, from 0; -1 at the end of the file
} Token;

typedef struct Bracket {
    char open;
    Loc loc;
} Bracket;

// An open `{` of declarations, settings or statements: where the parser can begin anew after a
// mistake.
typedef struct Frame {
    int depth;       // brackets open inside it
    int column;      // of the first token of the line that opened it
    int item_column; // of its first item, -1 before it and if that follows `{` on the line
    bool begun;
} Frame;

struct ParseState {
    Cx *cx;
    uint32_t file;
    const SourceFile *source;
    CommentList *comments;
    void *scanner;
    Node *result;

    // aml.l
    uint32_t at, start;  // byte offsets: behind and of the current raw token
    uint32_t end;        // byte offset at which the text ends
    uint32_t line_start; // byte offset of the current line
    bool newline;        // seen since the last token
    bool after_dot;      // the last token was `.`: digits are a member name
    Buffer doc;          // of the comment lines since the last token
    bool has_doc;

    // lex.c
    Vec(Bracket) bracket; // `depth` of them are open
    int depth;
    Vec(Frame) frame;
    int line_column; // of the first token of the line of the last token
    Token last;      // the last token that was given to the parser
    Loc before_last; // the token before it
    int last_depth;  // brackets before it
    int last_line_column;
    Token held; // to be given next, if has_held
    bool has_held;
    bool recovering;
    Map *lost;          // names in skipped text
    uint32_t synced_at; // where the last skipping ended
    int closers;        // `}` to be made up before `held`
    bool gave_up;       // nothing more is reported or read
    int mistakes;
};

#define SPAN(loc) ((Span){ps->file, (loc).start, (loc).end})

// lex.c
int aml_lex(AML_STYPE *value, AML_LTYPE *loc, ParseState *ps);
void lex_open_frame(ParseState *ps); // the last `{` holds items
void lex_recover(ParseState *ps);    // a mistake was reported at the last token
void report_unknown_unit(ParseState *ps, Loc loc, Sym word);
bool unit_known(const char *text, size_t length);
const char *token_found(const ParseState *ps, const Token *token);

// aml.l
int aml_scan_raw(Token *token, ParseState *ps); // 0 at the end
bool scan_begin(ParseState *ps, Span part);
void scan_end(ParseState *ps);

// parse.c
Span parse_span(ParseState *ps, Loc loc);
Node *make_node(ParseState *ps, NodeKind kind, Loc loc);
Node *make_number(ParseState *ps, Loc loc, NumberToken number);
Node *make_binary(ParseState *ps, Loc loc, Oper op, Node *left, Node *right);
Node *make_compare(ParseState *ps, Loc loc, Oper op, Node *left, Node *right);
Node *make_schema(ParseState *ps, Loc loc, NodeList entries);
Node *make_error(ParseState *ps, Loc loc);
NodeList list_of(ParseState *ps, Node *node); // node may be NULL: an empty list
NodeList list_add(ParseState *ps, NodeList list, Node *node);
Node *make_call(ParseState *ps, Loc loc, Node *callee, NodeList args);
Node *make_access(ParseState *ps, Loc loc, Node *object, Sym name, Loc name_loc);
Sym member_number(ParseState *ps, NumberToken number); // `.0`
Node *make_assign(ParseState *ps, Loc loc, Node *target, Node *value);
Node *make_type_choice(ParseState *ps, Loc loc, Node *left, Node *right);
void lose_names(ParseState *ps, Loc loc); // what is skipped may have declared any name in it
Sym join_path(ParseState *ps, Sym left, Sym right);
void report_expected(ParseState *ps,
                     const char *expected); // a syntax error at the last token; recovery begins
bool report_unclosed(ParseState *ps, const Token *token,
                     int depth);    // false: `token` says nothing about brackets
void parse_mistake(ParseState *ps); // counts one; gives up after MOST_MISTAKES

#endif
