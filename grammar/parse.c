// parse.c: what is checked before scanning, the messages, and nodes for the grammar's actions.

#include "parse.h"

#include <ctype.h>
#include <string.h>

#define LARGEST_FILE_MIB 16

// ---- nodes

Span parse_span(ParseState *ps, Loc loc)
{
    return SPAN(loc);
}

Node *make_node(ParseState *ps, NodeKind kind, Loc loc)
{
    return node_new(ps->cx, kind, SPAN(loc));
}

Node *make_schema(ParseState *ps, Loc loc, NodeList entries)
{
    Node *node = node_new(ps->cx, NODE_Schema, SPAN(loc));
    node->as.schema.doc = loc.doc;
    for (int i = 0; i < entries.count; i++) {
        bool is_function = entries.at[i]->kind == NODE_Fn;
        vec_push(ps->cx->arena,
                 is_function ? &node->as.schema.functions : &node->as.schema.settings,
                 entries.at[i]);
    }
    return node;
}

Node *make_error(ParseState *ps, Loc loc)
{
    return make_node(ps, NODE_Error, loc);
}

NodeList list_of(ParseState *ps, Node *node)
{
    NodeList list = {0};
    return node ? list_add(ps, list, node) : list;
}

NodeList list_add(ParseState *ps, NodeList list, Node *node)
{
    vec_push(ps->cx->arena, &list, node);
    return list;
}

Node *make_number(ParseState *ps, Loc loc, NumberToken number)
{
    if (number.is_bad)
        return make_error(ps, loc);
    if (number.unit) {
        Node *node = node_new(ps->cx, NODE_Quantity, SPAN(loc));
        node->as.quantity.value = number.real;
        node->as.quantity.unit = number.unit;
        uint32_t length = (uint32_t)strlen(number.unit);
        node->as.quantity.unit_span = (Span){ps->file, loc.end - length, loc.end};
        node->as.quantity.is_whole = number.is_whole;
        return node;
    }
    Node *node = node_new(ps->cx, number.is_whole ? NODE_Integer : NODE_Real, SPAN(loc));
    if (number.is_whole)
        node->as.integer.value = number.whole;
    else
        node->as.real.value = number.real;
    return node;
}

Node *make_binary(ParseState *ps, Loc loc, Oper op, Node *left, Node *right)
{
    Node *node = node_new(ps->cx, NODE_Binary, SPAN(loc));
    node->as.binary.op = op;
    node->as.binary.left = left;
    node->as.binary.right = right;
    return node;
}

static bool is_comparison(const Node *node)
{
    return node->kind == NODE_Binary && node->as.binary.op >= OPER_EQ &&
           node->as.binary.op <= OPER_GE;
}

// The grammar accepts `a < b < c`, so that this can say what is wrong with it. Parentheses leave no
// node behind, so a left side that ends with `)` was meant.
Node *make_compare(ParseState *ps, Loc loc, Oper op, Node *left, Node *right)
{
    if (is_comparison(left) && left->span.end == left->as.binary.right->span.end &&
        left->span.start == left->as.binary.left->span.start) {
        report(ps->cx, SPAN(loc), chained_comparison, oper_text[left->as.binary.op], oper_text[op]);
        parse_mistake(ps);
        return make_error(ps, loc);
    }
    return make_binary(ps, loc, op, left, right);
}

Node *make_call(ParseState *ps, Loc loc, Node *callee, NodeList args)
{
    bool named = false;
    for (int i = 0; i < args.count; i++) {
        if (args.at[i]->kind != NODE_Arg)
            continue;
        if (args.at[i]->as.arg.name)
            named = true;
        else if (named) {
            report(ps->cx, args.at[i]->span, positional_after_named);
            parse_mistake(ps);
            break;
        }
    }
    Node *node = node_new(ps->cx, NODE_Call, SPAN(loc));
    node->as.call.callee = callee;
    node->as.call.args = args;
    return node;
}

Node *make_access(ParseState *ps, Loc loc, Node *object, Sym name, Loc name_loc)
{
    Node *node = node_new(ps->cx, NODE_Access, SPAN(loc));
    node->as.access.object = object;
    node->as.access.name = name;
    node->as.access.name_span = SPAN(name_loc);
    return node;
}

Sym member_number(ParseState *ps, NumberToken number)
{
    return sym_printf(ps->cx, "%lld", (long long)number.whole);
}

Node *make_assign(ParseState *ps, Loc loc, Node *target, Node *value)
{
    if (target->kind != NODE_Name && target->kind != NODE_Access && target->kind != NODE_Error) {
        report(ps->cx, target->span, bad_target,
               target->kind == NODE_Index ? "an element; update the whole value" : "an expression");
        parse_mistake(ps);
    }
    Node *node = node_new(ps->cx, NODE_Assign, SPAN(loc));
    node->as.assign.target = target;
    node->as.assign.value = value;
    return node;
}

Node *make_type_choice(ParseState *ps, Loc loc, Node *left, Node *right)
{
    if (left->kind != NODE_OneOf) {
        Node *node = node_new(ps->cx, NODE_OneOf, left->span);
        vec_push(ps->cx->arena, &node->as.oneof.choices, left);
        left = node;
    }
    vec_push(ps->cx->arena, &left->as.oneof.choices, right);
    left->span = SPAN(loc);
    return left;
}

void lose_names(ParseState *ps, Loc loc)
{
    const char *text = ps->source->text;
    for (uint32_t at = loc.start; ps->lost && at < loc.end; at++) {
        uint32_t start = at;
        while (at < loc.end && (isalnum((unsigned char)text[at]) || text[at] == '_'))
            at++;
        if (at > start)
            map_put(ps->cx->arena, ps->lost, sym_intern(ps->cx, text + start, at - start), ps->cx);
    }
}

Sym join_path(ParseState *ps, Sym left, Sym right)
{
    return sym_printf(ps->cx, "%s.%s", left, right);
}

// ---- what is checked before scanning

static bool is_acpi(const char *text, size_t length)
{
    static const char *const signature[] = {"DSDT", "SSDT", "PSDT", "OEMX",
                                            "FACP", "APIC", "XSDT", "RSDT"};
    if (length < 8)
        return false;
    for (size_t i = 0; i < COUNT_OF(signature); i++)
        if (memcmp(text, signature[i], 4) == 0) {
            const unsigned char *size =
                (const unsigned char *)text + 4; // little-endian, of the whole table
            size_t stated =
                size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
            return stated == length || memchr(text, 0, length < 36 ? length : 36) != NULL;
        }
    return false;
}

static size_t utf8_sequence(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80)
        return 1;
    size_t length = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    if (at[0] < 0xC2 || at[0] > 0xF4 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F) ||
        (at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F))
        return 0;
    return length;
}

// False after a report: then the bytes are not worth scanning.
static bool check_bytes(ParseState *ps)
{
    const char *text = ps->source->text;
    size_t length = ps->source->length;
    Span top = {ps->file, 0, 0};
    if (is_acpi(text, length)) {
        report(ps->cx, top, acpi_file, arena_text(ps->cx->scratch, text, 4));
        help(ps->cx, "the file name extension .aml is also used by ACPI firmware tables; `iasl -d` "
                     "reads those");
        return false;
    }
    if (length > (size_t)LARGEST_FILE_MIB << 20) {
        report(ps->cx, top, file_too_large, LARGEST_FILE_MIB);
        return false;
    }
    for (size_t i = 0; i < length;) {
        Span span = {ps->file, (uint32_t)i, (uint32_t)i + 1};
        if (text[i] == 0) {
            report(ps->cx, span, nul_byte);
            return false;
        }
        size_t step = utf8_sequence((const unsigned char *)text + i, length - i);
        if (step == 0) {
            report(ps->cx, span, invalid_utf8, (unsigned)(unsigned char)text[i]);
            if (i == 0)
                help(ps->cx, "save the file as UTF-8");
            return false;
        }
        i += step;
    }
    return true;
}

// The first token must be `aml`, the second `1`. Both are taken out; whatever else comes first goes
// to the parser.
static void check_edition(ParseState *ps)
{
    Token token = {0};
    int kind = aml_scan_raw(&token, ps);
    if (kind != 0 && !(kind == IDENT && strcmp(token.value.sym, "aml") == 0)) {
        report(ps->cx, SPAN(token.loc), missing_edition, token_found(ps, &token));
        help(ps->cx, "write `aml 1` above this line");
        parse_mistake(ps);
        ps->held = token;
        ps->has_held = true;
        return;
    }
    if (kind == 0) {
        Span span = {ps->file, (uint32_t)ps->source->length, (uint32_t)ps->source->length};
        report(ps->cx, span, missing_edition, "the end of the file");
        return;
    }
    ps->result->as.file.doc = token.loc.doc;
    uint32_t end = token.loc.end;
    Token edition = {0};
    kind = aml_scan_raw(&edition, ps);
    if (kind == 0 || edition.first) {
        Span span = {ps->file, end, end};
        report(ps->cx, span, missing_edition, "`aml` without a number");
        help(ps->cx, "write `aml 1`");
        parse_mistake(ps);
        ps->held = edition;
        ps->has_held = kind != 0;
        return;
    }
    if (kind != NUMBER || !edition.value.number.is_whole || edition.value.number.whole != 1 ||
        edition.value.number.unit) {
        report(ps->cx, SPAN(edition.loc), unknown_edition, token_found(ps, &edition));
        help(ps->cx, "write `aml 1`");
        parse_mistake(ps);
    }
}

// The `{` that the text never closes is the place to show, not where that was noticed.
bool report_unclosed(ParseState *ps, const Token *token, int depth)
{
    if (depth == 0 || (token->kind != AML_EOF && !(token->first && token->column == 0)))
        return false;
    if (token->kind == ')' || token->kind == ']' || token->kind == '}')
        return false;
    const Bracket *bracket = &ps->bracket.at[depth - 1];
    char open[2] = {bracket->open, 0}, close[2] = {bracket->open == '('   ? ')'
                                                   : bracket->open == '[' ? ']'
                                                                          : '}',
                                                   0};
    report(ps->cx, SPAN(bracket->loc), unclosed, open, close, token_found(ps, token));
    if (token->kind != AML_EOF)
        note(ps->cx, SPAN(token->loc), "this begins in the first column, outside of everything");
    return true;
}

// A mistake noticed at the beginning of a line was made on a line before.
static void explain_line_begin(ParseState *ps, const Token *token)
{
    int block = ps->frame.count > 0 ? ps->frame.at[ps->frame.count - 1].depth : 0;
    if (!token->first)
        return;
    if (ps->last_depth > block) {
        const Bracket *bracket = &ps->bracket.at[ps->last_depth - 1];
        note(ps->cx, SPAN(bracket->loc), "this `%c` is still open", bracket->open);
    } else if (ps->before_last.end > 0) {
        note(ps->cx, SPAN(ps->before_last), "it would have to follow this");
    }
}

void report_expected(ParseState *ps, const char *expected)
{
    const Token *token = &ps->last;
    lex_recover(ps);
    if (report_unclosed(ps, token, ps->last_depth)) {
        parse_mistake(ps);
        return;
    }
    if (token->kind == '%')
        report(ps->cx, SPAN(token->loc), no_percent_operator);
    else
        report(ps->cx, SPAN(token->loc), unexpected_text, expected, token_found(ps, token));
    if (token->kind >= FN && token->kind <= HOLE && strstr(expected, "a name"))
        help(ps->cx, "`%s` is a word of the language and cannot be used as a name here",
             token->value.sym);
    else if (token->kind == '=' && strstr(expected, "`:`"))
        help(ps->cx, "a setting is written `name: value`");
    else if (token->kind == '=' && ps->frame.count > 0 && !strstr(expected, "an expression"))
        help(ps->cx,
             "`let name = value` defines a name, `name <- value` updates state, `==` compares");
    else if (token->kind == ':' && strstr(expected, "`=`"))
        help(ps->cx, "a definition is written `name = value`");
    else if (token->first && (token->kind == '(' || token->kind == '['))
        help(ps->cx, "a bracket that begins a line does not continue the line before");
    explain_line_begin(ps, token);
    parse_mistake(ps);
}

void parse_mistake(ParseState *ps)
{
    ps->mistakes++;
    if (ps->mistakes == MOST_MISTAKES) {
        report(ps->cx, SPAN(ps->last.loc), too_many_errors, MOST_MISTAKES);
        ps->gave_up = true;
    }
}

// ---- after parsing

typedef struct DeepWalk {
    int depth;
    Node *found; // the last node that is too deep; what is below is not looked at
} DeepWalk;

static void look_deeper(Node *node, void *data)
{
    DeepWalk *walk = data;
    if (++walk->depth > DEEPEST_TREE)
        walk->found = node;
    else
        node_each_child(node, look_deeper, walk);
    walk->depth--;
}

// `a + a + a + ...` needs no stack to parse but would to walk: what is nested too deeply is refused
// here, once and for all stages.
static bool too_deep(ParseState *ps, Node *root)
{
    DeepWalk walk = {0};
    look_deeper(root, &walk);
    if (walk.found)
        report(ps->cx, walk.found->span, nested_too_deeply, DEEPEST_TREE);
    return walk.found != NULL;
}

Node *parse_file_lost(Cx *cx, uint32_t file, CommentList *comments, Map *lost)
{
    ParseState state = {.cx = cx,
                        .file = file,
                        .source = source_file(cx, file),
                        .comments = comments,
                        .lost = lost},
               *ps = &state;
    ps->synced_at = UINT32_MAX;
    Span whole = {file, 0, (uint32_t)ps->source->length};
    ps->result = node_new(cx, NODE_File, whole);
    if (!check_bytes(ps))
        return ps->result;
    Span text = whole;
    if (ps->source->length >= 3 && memcmp(ps->source->text, "\xEF\xBB\xBF", 3) == 0)
        text.start = 3;
    if (!scan_begin(ps, text))
        bug(cx, whole, "the scanner could not be started");
    check_edition(ps);
    if (!ps->gave_up)
        aml_parse(ps);
    scan_end(ps);
    Node *result = ps->result;
    for (int i = 0; i < result->as.file.decls.count; i++)
        if (too_deep(ps, result->as.file.decls.at[i]))
            result->as.file.decls.at[i] =
                node_new(cx, NODE_Error, result->as.file.decls.at[i]->span);
    return result;
}

Node *parse_file(Cx *cx, uint32_t file, CommentList *comments)
{
    return parse_file_lost(cx, file, comments, NULL);
}

Node *parse_declaration(Cx *cx, Span part)
{
    ParseState state = {.cx = cx, .file = part.file, .source = source_file(cx, part.file)},
               *ps = &state;
    ps->synced_at = UINT32_MAX;
    ps->result = node_new(cx, NODE_File, part);
    if (!scan_begin(ps, part))
        bug(cx, part, "the scanner could not be started");
    aml_parse(ps);
    scan_end(ps);
    if (ps->mistakes > 0 || ps->result->as.file.decls.count != 1)
        bug(cx, part, "this part of the library is not one declaration");
    return ps->result->as.file.decls.at[0];
}

void tokens_dump(Cx *cx, uint32_t file, Buffer *out)
{
    ParseState state = {.cx = cx, .file = file, .source = source_file(cx, file)}, *ps = &state;
    Span whole = {file, 0, (uint32_t)ps->source->length};
    ps->result = node_new(cx, NODE_File, whole);
    if (!check_bytes(ps))
        return;
    if (!scan_begin(ps, whole))
        bug(cx, whole, "the scanner could not be started");
    AML_STYPE value;
    AML_LTYPE loc;
    while (aml_lex(&value, &loc, ps) != AML_EOF) {
        Place place = source_place(cx, SPAN(loc));
        buffer_printf(out, "%d:%d%s %.*s\n", place.line, place.column,
                      ps->last.first ? " first" : "", (int)(loc.end - loc.start),
                      ps->source->text + loc.start);
    }
    scan_end(ps);
}
