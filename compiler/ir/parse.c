// parse.c: reads the textual form of print.c back.
//
// Written by hand, because the form has no expressions: a line is `%number = op operands attributes
// : types`. The first mistake ends the reading; nothing in the text is trusted.

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "diag/diag.h"
#include "ir/ir.h"

enum { MOST_NESTED = 64, MOST_OPERANDS = 4096 };

typedef enum {
    TOKEN_END,
    TOKEN_VALUE,
    TOKEN_FUNCTION,
    TOKEN_WORD,
    TOKEN_NUMBER,
    TOKEN_TEXT,
    TOKEN_SIGN
} TokenKind;

typedef struct Token {
    TokenKind kind;
    const char *at; // in the file's text
    size_t length;
    const char *text; // FUNCTION, TEXT: the name without marks and quotes
} Token;

typedef struct Defined {
    Inst *inst;
    int function; // which outermost function defined it
} Defined;

typedef struct Parser {
    Cx *cx;
    IrModule *module;
    uint32_t file;
    const char *text, *end, *at; // `at`: behind the current token
    Token token;
    Defined *defined; // by the number in the text
    int64_t numbers;  // how many of them
    int function;
    bool failed;
} Parser;

static Span span_of(const Parser *p, const char *at, size_t length)
{
    return (Span){p->file, (uint32_t)(at - p->text), (uint32_t)(at - p->text) + (uint32_t)length};
}

static Span here(const Parser *p)
{
    return span_of(p, p->token.at, p->token.length);
}

#define FAIL(p, span, name, ...)                                                                   \
    ((p)->failed ? false : ((p)->failed = true, report((p)->cx, (span), name, __VA_ARGS__), false))

// ---- tokens ------------------------------------------------------------------------------------

static bool word_letter(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '$';
}

static bool read_quoted(Parser *p, const char *from, const char **after, const char **text)
{
    Buffer out = {.arena = p->cx->arena};
    buffer_text(&out, "");
    const char *at = from + 1;
    for (; at < p->end && *at != '"' && *at != '\n'; at++) {
        char c = *at;
        if (c == '\\' && at + 1 < p->end && (at[1] == '"' || at[1] == '\\')) {
            c = *++at;
        } else if (c == '\\' && at + 3 < p->end && at[1] == 'x' && isxdigit((unsigned char)at[2]) &&
                   isxdigit((unsigned char)at[3])) {
            char hex[3] = {at[2], at[3], 0};
            c = (char)strtol(hex, NULL, 16);
            at += 3;
        } else if (c == '\\') {
            break;
        }
        if (!c)
            break;
        buffer_append(&out, &c, 1);
    }
    if (at >= p->end || *at != '"')
        return FAIL(p, span_of(p, from, (size_t)(at - from)), ir_syntax, "a closed text",
                    "one that does not end or a bad escape");
    *after = at + 1;
    *text = out.text;
    return true;
}

static void next_token(Parser *p)
{
    const char *at = p->at;
    while (at < p->end &&
           (isspace((unsigned char)*at) || (*at == '/' && at + 1 < p->end && at[1] == '/'))) {
        if (*at == '/')
            while (at < p->end && *at != '\n')
                at++;
        else
            at++;
    }
    Token token = {.kind = TOKEN_SIGN, .at = at, .length = 1};
    const char *after = at + 1;
    if (at >= p->end) {
        token.kind = TOKEN_END;
        token.length = 0;
        after = at;
    } else if (*at == '%') {
        token.kind = TOKEN_VALUE;
        while (after < p->end && isdigit((unsigned char)*after))
            after++;
    } else if (*at == '@') {
        token.kind = TOKEN_FUNCTION;
        if (after < p->end && *after == '"') {
            if (!read_quoted(p, after, &after, &token.text))
                after = p->end;
        } else {
            while (after < p->end && word_letter(*after))
                after++;
            token.text = arena_text(p->cx->arena, at + 1, (size_t)(after - at - 1));
        }
    } else if (*at == '"') {
        token.kind = TOKEN_TEXT;
        if (!read_quoted(p, at, &after, &token.text))
            after = p->end;
    } else if (isdigit((unsigned char)*at) || *at == '-' || *at == '+') {
        token.kind = TOKEN_NUMBER;
        while (after < p->end &&
               (word_letter(*after) || ((*after == '-' || *after == '+') && after[-1] == 'e')))
            after++;
    } else if (word_letter(*at)) {
        token.kind = TOKEN_WORD;
        while (after < p->end && word_letter(*after))
            after++;
    }
    token.length = (size_t)(after - at);
    p->at = after;
    p->token = token;
}

static bool is(const Parser *p, const char *text)
{
    return !p->failed && (p->token.kind == TOKEN_SIGN || p->token.kind == TOKEN_WORD) &&
           strlen(text) == p->token.length && memcmp(text, p->token.at, p->token.length) == 0;
}

static const char *found(const Parser *p)
{
    if (p->token.kind == TOKEN_END)
        return "the end of the file";
    return arena_printf(p->cx->arena, "'%.*s'", (int)(p->token.length > 40 ? 40 : p->token.length),
                        p->token.at);
}

static bool wanted(Parser *p, const char *what)
{
    return FAIL(p, here(p), ir_syntax, what, found(p));
}

static bool take(Parser *p, const char *text)
{
    if (!is(p, text))
        return false;
    next_token(p);
    return true;
}

static bool expect(Parser *p, const char *text)
{
    return take(p, text) || wanted(p, arena_printf(p->cx->arena, "'%s'", text));
}

static bool whole_number(Parser *p, int64_t *value)
{
    if (p->failed || p->token.kind != TOKEN_NUMBER)
        return wanted(p, "a whole number");
    char *after;
    const char *text = arena_text(p->cx->arena, p->token.at, p->token.length);
    errno = 0;
    *value = strtoll(text, &after, 10);
    if (errno || *after)
        return FAIL(p, here(p), ir_number, found(p), "a whole number of 64 bits");
    next_token(p);
    return true;
}

static bool small_number(Parser *p, int64_t most, int64_t *value)
{
    Span span = here(p);
    if (!whole_number(p, value))
        return false;
    if (*value < 0 || *value > most)
        return FAIL(p, span, ir_number, arena_printf(p->cx->arena, "%" PRId64, *value),
                    arena_printf(p->cx->arena, "between 0 and %" PRId64, most));
    return true;
}

// ---- pieces of a line --------------------------------------------------------------------------

static bool parse_list(Parser *p, IntList *list)
{
    *list = (IntList){0};
    if (!expect(p, "["))
        return false;
    while (!is(p, "]")) {
        if (list->count == IR_MAX_RANK)
            return wanted(p, "at most 8 numbers");
        if (!whole_number(p, &list->at[list->count++]))
            return false;
        if (!is(p, "]") && !expect(p, ","))
            return false;
    }
    return expect(p, "]");
}

static bool parse_type(Parser *p, Type *type)
{
    *type = (Type){0};
    Span span = here(p);
    int dtype = 0;
    while (dtype < DTYPE_COUNT && !is(p, dtype_info[dtype].name))
        dtype++;
    if (dtype == DTYPE_COUNT)
        return wanted(p, "a type like f32[2, 3]");
    next_token(p);
    IntList list;
    if (!parse_list(p, &list))
        return false;
    *type = type_make((DType)dtype, list.count, list.at);
    if (!type_valid(*type))
        return FAIL(p, span, ir_number, type_text(p->cx->arena, *type),
                    "a type whose sizes are at least 1 and not huge");
    return true;
}

static bool parse_element(Parser *p, DType dtype, void *base, int64_t index)
{
    if (dtype == DTYPE_BOOL) {
        bool yes = is(p, "true");
        if (!yes && !is(p, "false"))
            return wanted(p, "true or false");
        element_set_whole(dtype, base, index, yes);
        next_token(p);
        return true;
    }
    if (dtype_info[dtype].kind == KIND_INT) {
        int64_t value;
        Span span = here(p);
        if (!whole_number(p, &value))
            return false;
        element_set_whole(dtype, base, index, value);
        if (element_whole(dtype, base, index) != value)
            return FAIL(p, span, ir_number, arena_printf(p->cx->arena, "%" PRId64, value),
                        dtype_info[dtype].name);
        return true;
    }
    if (is(p, "bits")) {
        next_token(p);
        if (!is(p, ":"))
            return wanted(p, "':'");
        next_token(p);
        size_t size = (size_t)dtype_info[dtype].bytes;
        if ((p->token.kind != TOKEN_NUMBER && p->token.kind != TOKEN_WORD) ||
            p->token.length > 2 * size)
            return wanted(p, "the element's bits in hexadecimal");
        char *after;
        uint64_t bits =
            strtoull(arena_text(p->cx->arena, p->token.at, p->token.length), &after, 16);
        if (*after)
            return wanted(p, "the element's bits in hexadecimal");
        memcpy((char *)base + (size_t)index * size, &bits, size);
        next_token(p);
        return true;
    }
    bool named = is(p, "inf") || is(p, "nan");
    if (p->failed || (p->token.kind != TOKEN_NUMBER && !named))
        return wanted(p, "a number");
    char *after;
    double value = strtod(arena_text(p->cx->arena, p->token.at, p->token.length), &after);
    if (*after)
        return FAIL(p, here(p), ir_number, found(p), "a number");
    element_set_real(dtype, base, index, value);
    next_token(p);
    return true;
}

// `splat(1)` or `dense(1, 2, 3)`; the type is known by now.
static bool parse_data(Parser *p, Type type, IrData *data)
{
    data->splat = is(p, "splat");
    if (!data->splat && !is(p, "dense"))
        return wanted(p, "splat(...) or dense(...)");
    next_token(p);
    int64_t count = data->splat ? 1 : type_elements(type);
    if (count > p->end - p->text)
        return FAIL(p, here(p), ir_number, type_text(p->cx->arena, type),
                    "as many elements as are written");
    data->bytes = (size_t)count * (size_t)dtype_info[type.dtype].bytes;
    void *base = arena_alloc(p->cx->arena, data->bytes);
    data->at = base;
    if (!expect(p, "("))
        return false;
    for (int64_t i = 0; i < count; i++)
        if ((i && !expect(p, ",")) || !parse_element(p, type.dtype, base, i))
            return false;
    return expect(p, ")");
}

static bool skip_data(Parser *p)
{
    while (!is(p, ")")) {
        if (p->failed || p->token.kind == TOKEN_END)
            return wanted(p, "')'");
        next_token(p);
    }
    next_token(p);
    return !p->failed;
}

static bool parse_at(Parser *p, Span *span)
{
    int64_t number[3] = {0};
    *span = (Span){0};
    if (!take(p, "at"))
        return !p->failed;
    for (int i = 0; i < 3; i++)
        if ((i && !expect(p, ":")) || !small_number(p, UINT32_MAX, &number[i]))
            return false;
    // A dump may be read without the sources that it speaks of; places in them are then dropped.
    const SourceFile *file =
        number[0] > 0 && number[0] < p->cx->source.count ? p->cx->source.at[number[0]] : NULL;
    if (file && number[1] <= number[2] && (uint64_t)number[2] <= file->length)
        *span = (Span){(uint32_t)number[0], (uint32_t)number[1], (uint32_t)number[2]};
    return true;
}

static bool parse_slot(Parser *p, Slot *slot)
{
    static const struct {
        const char *name;
        SlotKind kind;
    } kinds[] = {{"state", SLOT_STATE},
                 {"input", SLOT_INPUT},
                 {"scalar", SLOT_SCALAR},
                 {"output", SLOT_OUTPUT},
                 {"rows", SLOT_ROWS}};
    *slot = (Slot){0};
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (take(p, kinds[i].name)) {
            int64_t index;
            slot->kind = kinds[i].kind;
            if (!expect(p, "(") || !small_number(p, INT32_MAX, &index) || !expect(p, ")"))
                return false;
            slot->index = (int)index;
            return true;
        }
    return !p->failed;
}

static bool parse_name(Parser *p, Sym *name)
{
    *name = NULL;
    if (!p->failed && p->token.kind == TOKEN_TEXT) {
        *name = sym_of(p->cx, p->token.text);
        next_token(p);
    }
    return !p->failed;
}

static bool value_number(Parser *p, int64_t *number)
{
    if (p->failed || p->token.kind != TOKEN_VALUE || p->token.length < 2)
        return wanted(p, "a value like %1");
    *number = 0;
    for (size_t i = 1; i < p->token.length && *number < p->numbers; i++)
        *number = *number * 10 + (p->token.at[i] - '0');
    if (*number >= p->numbers)
        return FAIL(p, here(p), ir_number, found(p),
                    "a value's number: it is too large for this text");
    return true;
}

static Inst *parse_value(Parser *p, const IrFunction *fn)
{
    int64_t number;
    if (!value_number(p, &number))
        return NULL;
    Defined *defined = &p->defined[number];
    if (!defined->inst || defined->function != p->function || defined->inst->function != fn) {
        FAIL(p, here(p), ir_unknown_value, found(p));
        return NULL;
    }
    next_token(p);
    return defined->inst;
}

// ---- lines -------------------------------------------------------------------------------------

static bool parse_body(Parser *p, IrFunction *fn, int depth);

typedef struct Line {
    Op op;
    Span op_span;
    Vec(Inst *) in;
    Attr attr[IR_MAX_ATTRS];
    Token data; // where the constant's elements begin
    Vec(Type) type;
} Line;

static bool parse_attr(Parser *p, AttrKind kind, Attr *attr, Line *line, int depth)
{
    switch (kind) {
    case ATTR_Axes:
    case ATTR_Shape:
        return parse_list(p, &attr->list);
    case ATTR_Int:
    case ATTR_Site:
    case ATTR_Flag:
        return whole_number(p, &attr->whole);
    case ATTR_Real:
        return parse_element(p, DTYPE_F64, &attr->real, 0);
    case ATTR_Reducer:
        for (int i = 0; i < REDUCER_COUNT; i++)
            if (take(p, reducer_name[i])) {
                attr->reducer = (Reducer)i;
                return true;
            }
        return wanted(p, "sum, prod, max, min, any or all");
    case ATTR_Callee:
        if (p->failed || p->token.kind != TOKEN_FUNCTION)
            return wanted(p, "a function like @name");
        attr->function = ir_function_find(p->module, sym_of(p->cx, p->token.text));
        if (!attr->function ||
            attr->function == p->module->function.at[p->module->function.count - 1])
            return FAIL(p, here(p), ir_unknown_function, p->token.text);
        next_token(p);
        return true;
    case ATTR_Data:
        line->data = p->token;
        return skip_data(p);
    case ATTR_Body:
        attr->function = ir_function_new(p->cx, NULL, NULL, here(p));
        if (depth == MOST_NESTED)
            return wanted(p, "at most 64 nested bodies");
        if (!expect(p, "{") || !parse_body(p, attr->function, depth + 1))
            return false;
        return expect(p, "}");
    }
    return false;
}

static bool parse_line(Parser *p, const IrFunction *fn, Line *line, int depth)
{
    const OpInfo *info = &op_info[line->op];
    while (!p->failed && p->token.kind == TOKEN_VALUE) {
        if (line->in.count == MOST_OPERANDS)
            return wanted(p, "at most 4096 operands");
        Inst *value = parse_value(p, fn);
        if (!value)
            return false;
        vec_push(p->cx->arena, &line->in, value);
        if (!take(p, ","))
            break;
        if (p->token.kind != TOKEN_VALUE)
            return wanted(p, "a value like %1");
    }
    for (int i = 0; i < info->attrs; i++) {
        if (info->attr[i].kind == ATTR_Flag && !is(p, info->attr[i].name))
            continue;
        if (!expect(p, info->attr[i].name) || !expect(p, "=") ||
            !parse_attr(p, info->attr[i].kind, &line->attr[i], line, depth))
            return false;
    }
    if (!expect(p, ":"))
        return false;
    do {
        Type type;
        if (line->type.count == MOST_OPERANDS)
            return wanted(p, "at most 4096 results");
        if (!parse_type(p, &type))
            return false;
        vec_push(p->cx->arena, &line->type, type);
    } while (take(p, ","));
    if (line->op == OP_constant) {
        const char *at = p->at;
        Token token = p->token;
        p->token = line->data;
        p->at = line->data.at + line->data.length;
        if (!parse_data(p, line->type.at[0], &line->attr[0].data))
            return false;
        p->at = at;
        p->token = token;
    }
    return !p->failed;
}

static Inst *finish_line(Parser *p, IrFunction *fn, const Line *line)
{
    Cx *cx = p->cx;
    Type *types = NEW_ARRAY(cx->arena, Type, line->type.count);
    const char *why = "";
    int results = op_result_types(cx->arena, line->op, line->in.at, line->in.count, line->attr,
                                  line->type.at[0], types, line->type.count, &why);
    const char *name = op_info[line->op].name;
    if (results < 0) {
        FAIL(p, line->op_span, ir_ill_formed, arena_printf(cx->arena, "'%s': %s", name, why));
        return NULL;
    }
    for (int i = 0; i < line->type.count; i++)
        if (i >= results || !type_equal(types[i], line->type.at[i])) {
            FAIL(p, line->op_span, ir_type_mismatch, name,
                 i < results ? type_text(cx->arena, types[i]) : "nothing",
                 type_text(cx->arena, line->type.at[i]), i);
            return NULL;
        }
    if (results > line->type.count) {
        FAIL(p, line->op_span, ir_type_mismatch, name,
             type_text(cx->arena, types[line->type.count]), "nothing", line->type.count);
        return NULL;
    }
    return ir_append(fn, line->op, line->in.at, line->in.count, line->attr, line->type.at[0],
                     (Span){0});
}

static bool parse_inst(Parser *p, IrFunction *fn, int depth)
{
    int64_t number;
    if (!value_number(p, &number))
        return false;
    Span number_span = here(p);
    if (p->defined[number].inst && p->defined[number].function == p->function)
        return FAIL(p, number_span, ir_duplicate, found(p));
    next_token(p);
    if (!expect(p, "="))
        return false;
    Line line = {.op = OP_COUNT, .op_span = here(p)};
    for (int op = 0; op < OP_COUNT; op++)
        if (is(p, op_info[op].name))
            line.op = (Op)op;
    if (line.op == OP_COUNT)
        return p->token.kind == TOKEN_WORD ? FAIL(p, here(p), ir_unknown_op, found(p))
                                           : wanted(p, "an operation");
    next_token(p);
    Inst *inst = NULL;
    Slot slot = {0};
    Sym name;
    Span span;
    if (line.op == OP_parameter) {
        Type type;
        if (fn->first)
            return FAIL(p, line.op_span, ir_ill_formed, "parameters come before the instructions");
        if (!expect(p, ":") || !parse_type(p, &type) || !parse_slot(p, &slot))
            return false;
        inst = ir_param(fn, type, slot, NULL, (Span){0});
    } else {
        if (!parse_line(p, fn, &line, depth))
            return false;
        inst = finish_line(p, fn, &line);
        if (!inst)
            return false;
    }
    if (p->defined[number].inst && p->defined[number].function == p->function)
        return FAIL(p, number_span, ir_duplicate, "its number"); // its own body took it
    p->defined[number] = (Defined){inst, p->function};
    if (!parse_name(p, &name) || !parse_at(p, &span))
        return false;
    inst->name = name;
    inst->span = span;
    return true;
}

// Up to the closing brace, which is left to the caller.
static bool parse_body(Parser *p, IrFunction *fn, int depth)
{
    while (!p->failed && !is(p, "}")) {
        if (take(p, "result")) {
            Slot slot;
            Sym name;
            Span span = here(p);
            Inst *value = parse_value(p, fn);
            if (!value || !parse_slot(p, &slot) || !parse_name(p, &name))
                return false;
            if (value->results != 1)
                return FAIL(p, span, ir_ill_formed, "a result has to be one of several results");
            ir_result(fn, value, slot, name);
        } else if (fn->result.count) {
            return wanted(p, "'result' or '}'");
        } else if (!parse_inst(p, fn, depth)) {
            return false;
        }
    }
    return !p->failed;
}

static bool parse_function(Parser *p)
{
    Span span, start = here(p);
    if (!expect(p, "function"))
        return false;
    if (p->token.kind != TOKEN_FUNCTION || !p->token.text || !*p->token.text)
        return wanted(p, "a function's name like @name");
    Sym name = sym_of(p->cx, p->token.text);
    if (ir_function_find(p->module, name))
        return FAIL(p, here(p), ir_duplicate, found(p));
    next_token(p);
    if (!parse_at(p, &span))
        return false;
    IrFunction *fn = ir_function_new(p->cx, p->module, name, span);
    fn->mixed = take(p, "mixed_f16") ? DTYPE_F16 : take(p, "mixed") ? DTYPE_BF16 : DTYPE_F32;
    if (take(p, "memory")) {
        if (!expect(p, "=") || !whole_number(p, &fn->memory))
            return false;
        fn->budget = fn->memory;
    }
    fn->scattered = take(p, "scattered");
    p->function++;
    if (!expect(p, "{") || !parse_body(p, fn, 0) || !expect(p, "}"))
        return false;
    const char *why = ir_verify_function(p->cx->arena, fn);
    return why ? FAIL(p, start, ir_ill_formed, why) : true;
}

IrModule *ir_parse(Cx *cx, uint32_t file)
{
    const SourceFile *source = source_file(cx, file);
    Parser parser = {.cx = cx,
                     .module = ir_module_new(cx),
                     .file = file,
                     .text = source->text,
                     .end = source->text + source->length,
                     .at = source->text};
    parser.numbers = (int64_t)source->length + 10000;
    parser.defined = NEW_ARRAY(cx->arena, Defined, parser.numbers);
    next_token(&parser);
    while (!parser.failed && parser.token.kind != TOKEN_END)
        parse_function(&parser);
    return parser.failed ? NULL : parser.module;
}
