/* aml.y: tokens to nodes. The whole language; an action makes one node and looks nothing up.

   `error RESYNC` stands wherever items are listed: after a mistake lex.c skips to the next item and says RESYNC. */

%code requires {
#include "token.h"
}

%define api.pure full
%define api.prefix {aml_}
%define api.location.type {Loc}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param {ParseState *ps}

%union {
    Sym sym;
    NumberToken number;
    Oper oper;
    Node *node;
    NodeList list;
}

%code {
#include "parse.h"
#include <string.h>

#define YYLLOC_DEFAULT(current, rhs, count)                                                                            \
    do {                                                                                                               \
        if (count)                                                                                                     \
            (current) = (Loc){YYRHSLOC(rhs, 1).start, YYRHSLOC(rhs, count).end, YYRHSLOC(rhs, 1).doc};                 \
        else                                                                                                           \
            (current) = (Loc){YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end, NULL};                                       \
    } while (0)
// A node from its fields: MAKE(Let, let, @$, .value = $4)
#define MAKE(kind, field_, loc, ...)                                                                                   \
    ({                                                                                                                 \
        Node *made_ = make_node(ps, NODE_##kind, (loc));                                                               \
        made_->as.field_ = (Ast##kind){__VA_ARGS__};                                                                   \
        made_;                                                                                                         \
    })
#define AT(loc) parse_span(ps, (loc))
#define ADD(list, node) list_add(ps, (list), (node))
#define ONE(node) list_of(ps, (node))
#define NO_NODES ((NodeList){0})
static void aml_error(const Loc *loc, ParseState *ps, const char *message);
}

%token <sym> IDENT "a name" STRING "a string"
%token <number> NUMBER "a number"
%token RESYNC "the next item"
%token POWER "**" EQUAL "==" NOT_EQUAL "!=" LESS_EQUAL "<=" GREATER_EQUAL ">=" PIPE "|>" RANGE ".." REST "..."
%token ARROW "->" UPDATE "<-" LINE_PAREN "( on a new line" LINE_BRACKET "[ on a new line"
%token <sym> FN "fn" LET "let" RETURN "return" IF "if" THEN "then" ELSE "else" FOR "for" IN "in" AND "and" OR "or" NOT "not"
%token <sym> TRUE "true" FALSE "false" NONE "none" HOLE "_"
%token <sym> USE "use" CONST "const" OPTION "option" MODEL "model" LOSS "loss" METRIC "metric" OPTIMIZER "optimizer"
%token <sym> GRAD "grad" SCHEMA "schema" FIELD "field" WEIGHT "weight" STATE "state"

%type <sym> name module
%type <node> decl use const option fn model loss metric optimizer grad schema job entry item member param type type_atom
%type <node> block stmt target if_stmt let_name expr pipe range or and not comparison sum term unary power postfix primary
%type <node> arg index setting dim type_opt value_opt body result_opt weight state field body_opt slice_part
%type <list> decls entries items members params params_opt param_list fields field_list types exprs exprs_opt args arg_list
%type <list> indices dims dim_list stmts let_names settings
%type <oper> compare

%%

file:
    decls                       { ps->result->as.file.decls = $decls; }
;
decls:
    %empty                      { $$ = NO_NODES; }
|   decls decl                  { $$ = ADD($1, $decl); }
|   decls error RESYNC          { $$ = $1; lose_names(ps, @2); yyerrok; }
;
decl:
    use | const | option | fn | model | loss | metric | optimizer | grad | schema | job
;

use:
    "use" module                { $$ = MAKE(Use, use, @$, .path = $module, .path_span = AT(@module));
                                  if (!ps->result->as.file.doc) ps->result->as.file.doc = @$.doc; }
|   "use" STRING                { $$ = MAKE(Use, use, @$, .file = $STRING, .path_span = AT(@STRING));
                                  if (!ps->result->as.file.doc) ps->result->as.file.doc = @$.doc; }
;
module:
    name
|   module '.' name             { $$ = join_path(ps, $1, $name); }
;

const:
    "const" name type_opt '=' expr
        { $$ = MAKE(Const, constant, @$, .name = $name, .name_span = AT(@name), .type = $type_opt, .value = $expr, .doc = @$.doc); }
;
option:
    "option" name type_opt '=' expr
        { $$ = MAKE(Option, option, @$, .name = $name, .name_span = AT(@name), .type = $type_opt, .value = $expr, .doc = @$.doc); }
;
type_opt:
    %empty                      { $$ = NULL; }
|   ':' type                    { $$ = $type; }
;
value_opt:
    %empty                      { $$ = NULL; }
|   '=' expr                    { $$ = $expr; }
;

fn:
    "fn" name params result_opt body_opt
        { $$ = MAKE(Fn, fn, @$, .name = $name, .name_span = AT(@name), .params = $params, .result = $result_opt, .body = $body_opt, .doc = @$.doc); }
;
result_opt:
    %empty                      { $$ = NULL; }
|   "->" type                   { $$ = $type; }
;
body_opt:
    %empty                      { $$ = NULL; }
|   body
;
body:
    block
|   '=' expr                    { $$ = $expr; }
;
loss:
    "loss" name params result_opt body
        { $$ = MAKE(Loss, loss, @$, .name = $name, .name_span = AT(@name), .params = $params, .result = $result_opt, .body = $body, .doc = @$.doc); }
;
grad:
    "grad" name params body
        { $$ = MAKE(Grad, grad, @$, .name = $name, .name_span = AT(@name), .params = $params, .body = $body, .doc = @$.doc); }
;

model:
    "model" name params_opt open members '}'
        { $$ = MAKE(Model, model, @$, .name = $name, .name_span = AT(@name), .params = $params_opt, .members = $members, .doc = @$.doc); }
;
metric:
    "metric" name params_opt open members '}'
        { $$ = MAKE(Metric, metric, @$, .name = $name, .name_span = AT(@name), .params = $params_opt, .members = $members, .doc = @$.doc); }
;
optimizer:
    "optimizer" name params_opt open members '}'
        { $$ = MAKE(Optimizer, optimizer, @$, .name = $name, .name_span = AT(@name), .params = $params_opt, .members = $members, .doc = @$.doc); }
;
members:
    %empty                      { $$ = NO_NODES; }
|   members member              { $$ = ADD($1, $member); }
|   members error RESYNC        { $$ = $1; lose_names(ps, @2); yyerrok; }
;
member:
    fn | weight | state
|   name '=' expr               { $$ = MAKE(Member, member, @$, .name = $name, .name_span = AT(@name), .value = $expr, .doc = @$.doc); }
;
weight:
    "weight" name ':' type '=' expr
        { $$ = MAKE(Weight, weight, @$, .name = $name, .name_span = AT(@name), .type = $type, .value = $expr, .doc = @$.doc); }
;
state:
    "state" name type_opt value_opt
        { $$ = MAKE(State, state, @$, .name = $name, .name_span = AT(@name), .type = $type_opt, .value = $value_opt, .doc = @$.doc); }
;

schema:
    "schema" name open entries '}'
        { $$ = make_schema(ps, @$, $entries);
          $$->as.schema.name = $name;
          $$->as.schema.name_span = AT(@name); }
;
entries:
    %empty                      { $$ = NO_NODES; }
|   entries entry               { $$ = ADD($1, $entry); }
|   entries ','                 { $$ = $1; }
|   entries error RESYNC        { $$ = $1; lose_names(ps, @2); yyerrok; }
;
entry:
    fn
|   name ':' type value_opt     { $$ = MAKE(Entry, entry, @$, .name = $name, .name_span = AT(@name), .type = $type, .value = $value_opt, .doc = @$.doc); }
;

job:
    IDENT name open items '}'
        { $$ = MAKE(Job, job, @$, .kind = $IDENT, .kind_span = AT(@IDENT), .name = $name, .name_span = AT(@name), .items = $items, .doc = @$.doc); }
;
items:
    %empty                      { $$ = NO_NODES; }
|   items item                  { $$ = ADD($1, $item); }
|   items ','                   { $$ = $1; }
|   items error RESYNC          { $$ = $1; lose_names(ps, @2); yyerrok; }
;
item:
    fn | field
|   name ':' expr               { $$ = MAKE(Setting, setting, @$, .name = $name, .name_span = AT(@name), .value = $expr, .doc = @$.doc); }
;
field:
    "field" name ':' type value_opt
        { $$ = MAKE(Field, data, @$, .name = $name, .name_span = AT(@name), .type = $type, .value = $value_opt, .doc = @$.doc); }
;

params_opt:
    %empty                      { $$ = NO_NODES; }
|   params
;
params:
    '(' ')'                     { $$ = NO_NODES; }
|   '(' param_list comma_opt ')' { $$ = $param_list; }
;
param_list:
    param                       { $$ = ONE($1); }
|   param_list ',' param        { $$ = ADD($1, $param); }
;
param:
    name type_opt value_opt     { $$ = MAKE(Param, param, @$, .name = $name, .name_span = AT(@name), .type = $type_opt, .value = $value_opt); }
;
comma_opt:
    %empty
|   ','
;
open:
    '{'                         { lex_open_frame(ps); }
;

/* types */

type:
    type_atom
|   type '|' type_atom          { $$ = make_type_choice(ps, @$, $1, $3); }
;
type_atom:
    name                        { $$ = MAKE(Type, type, @$, .name = $name, .name_span = AT(@name)); }
|   name '(' exprs_opt ')'      { $$ = MAKE(Type, type, @$, .name = $name, .name_span = AT(@name), .args = $exprs_opt); }
|   name '[' dims ']'           { $$ = MAKE(Type, type, @$, .name = $name, .name_span = AT(@name), .dims = $dims, .has_dims = true); }
|   name '(' exprs_opt ')' '[' dims ']'
        { $$ = MAKE(Type, type, @$, .name = $name, .name_span = AT(@name), .args = $exprs_opt, .dims = $dims, .has_dims = true); }
|   "none"                      { $$ = MAKE(Type, type, @$, .name = $1, .name_span = AT(@1)); }
|   "fn"                        { $$ = MAKE(Type, type, @$, .name = $1, .name_span = AT(@1)); }
|   '(' types comma_opt ')'     { $$ = $types.count == 1 ? $types.at[0] : MAKE(TupleType, tuptype, @$, .types = $types); }
|   '[' type ']'                { $$ = MAKE(ListType, listtype, @$, .item = $type); }
|   '{' fields '}'              { $$ = MAKE(RecordType, rectype, @$, .params = $fields); }
;
types:
    type                        { $$ = ONE($1); }
|   types ',' type              { $$ = ADD($1, $type); }
;
fields:
    %empty                      { $$ = NO_NODES; }
|   field_list comma_opt        { $$ = $field_list; }
;
field_list:
    name ':' type value_opt
        { $$ = ONE(MAKE(Param, param, @$, .name = $name, .name_span = AT(@name), .type = $type, .value = $value_opt)); }
|   field_list ',' name ':' type value_opt
        { Loc loc = {@name.start, @value_opt.end, NULL};
          $$ = ADD($1, MAKE(Param, param, loc, .name = $name, .name_span = AT(@name), .type = $type, .value = $value_opt)); }
;
dims:
    %empty                      { $$ = NO_NODES; }
|   dim_list comma_opt          { $$ = $dim_list; }
;
dim_list:
    dim                         { $$ = ONE($1); }
|   dim_list ',' dim            { $$ = ADD($1, $dim); }
;
dim:
    expr
|   "..."                       { $$ = MAKE(Rest, rest, @$, .unused = 0); }
;

/* statements */

block:
    open stmts '}'              { $$ = MAKE(Block, block, @$, .body = $stmts); }
;
stmts:
    %empty                      { $$ = NO_NODES; }
|   stmts stmt                  { $$ = ADD($1, $stmt); }
|   stmts error RESYNC          { $$ = ADD($1, make_error(ps, @2)); lose_names(ps, @2); yyerrok; }
;
stmt:
    "let" let_name '=' expr     { $$ = MAKE(Let, let, @$, .names = ONE($let_name), .value = $expr); }
|   "let" left_paren let_names comma_opt ')' '=' expr
        { $$ = MAKE(Let, let, @$, .names = $let_names, .value = $expr, .tuple = true); }
|   "return" expr               { $$ = MAKE(Return, ret, @$, .value = $expr); }
|   "for" let_name "in" expr block { $$ = MAKE(For, loop, @$, .name = $let_name, .items = $expr, .body = $block); }
|   target "<-" expr            { $$ = make_assign(ps, @$, $target, $expr); }
|   target
|   if_stmt
;
target:     /* what a statement may begin with, besides a word of the language: `state <- value`, `error("...")` */
    name                        { $$ = MAKE(Name, name, @$, .name = $name, .name_span = AT(@name)); }
|   target '(' args ')'         { $$ = make_call(ps, @$, $1, $args); }
|   target '[' indices comma_opt ']' { $$ = MAKE(Index, index, @$, .object = $1, .items = $indices); }
|   target '.' name             { $$ = make_access(ps, @$, $1, $name, @name); }
|   target '.' NUMBER           { $$ = make_access(ps, @$, $1, member_number(ps, $NUMBER), @NUMBER); }
;
if_stmt:
    "if" expr block             { $$ = MAKE(IfStmt, ifstmt, @$, .condition = $expr, .then = $block); }
|   "if" expr block "else" block[other]
        { $$ = MAKE(IfStmt, ifstmt, @$, .condition = $expr, .then = $3, .otherwise = $other); }
|   "if" expr block "else" if_stmt[other]
        { $$ = MAKE(IfStmt, ifstmt, @$, .condition = $expr, .then = $3, .otherwise = $other); }
;
let_names:
    let_name                    { $$ = ONE($1); }
|   let_names ',' let_name      { $$ = ADD($1, $let_name); }
;
let_name:
    name                        { $$ = MAKE(Name, name, @$, .name = $name, .name_span = AT(@name)); }
|   "_"                         { $$ = MAKE(Name, name, @$, .name = $1, .name_span = AT(@1)); }
;

/* expressions, weakest first */

expr:
    pipe
|   "if" expr[c] "then" expr[a] "else" expr[b]
        { $$ = MAKE(If, choose, @$, .condition = $c, .then = $a, .otherwise = $b); }
|   "fn" params '=' expr[value] { $$ = MAKE(Lambda, lambda, @$, .params = $params, .body = $value); }
|   "fn" params block           { $$ = MAKE(Lambda, lambda, @$, .params = $params, .body = $block); }
;
pipe:
    range
|   pipe "|>" range             { $$ = make_binary(ps, @$, OPER_PIPE, $1, $3); }
;
range:
    or
|   or ".." or                  { $$ = make_binary(ps, @$, OPER_RANGE, $1, $3); }
;
or:
    and
|   or "or" and                 { $$ = make_binary(ps, @$, OPER_OR, $1, $3); }
;
and:
    not
|   and "and" not               { $$ = make_binary(ps, @$, OPER_AND, $1, $3); }
;
not:
    comparison
|   "not" not                   { $$ = MAKE(Unary, unary, @$, .op = OPER_NOT, .value = $2); }
;
comparison:
    sum
|   comparison compare sum      { $$ = make_compare(ps, @$, $compare, $1, $sum); }
;
compare:
    "==" { $$ = OPER_EQ; } | "!=" { $$ = OPER_NE; } | '<' { $$ = OPER_LT; } | "<=" { $$ = OPER_LE; } | '>' { $$ = OPER_GT; } | ">=" { $$ = OPER_GE; }
;
sum:
    term
|   sum '+' term                { $$ = make_binary(ps, @$, OPER_ADD, $1, $3); }
|   sum '-' term                { $$ = make_binary(ps, @$, OPER_SUB, $1, $3); }
;
term:
    unary
|   term '*' unary              { $$ = make_binary(ps, @$, OPER_MUL, $1, $3); }
|   term '/' unary              { $$ = make_binary(ps, @$, OPER_DIV, $1, $3); }
|   term '@' unary              { $$ = make_binary(ps, @$, OPER_MATMUL, $1, $3); }
;
unary:
    power
|   '-' unary                   { $$ = MAKE(Unary, unary, @$, .op = OPER_NEG, .value = $2); }
;
power:
    postfix
|   postfix "**" unary          { $$ = make_binary(ps, @$, OPER_POW, $1, $3); }
;
postfix:
    primary
|   postfix '(' args ')'        { $$ = make_call(ps, @$, $1, $args); }
|   postfix '[' indices comma_opt ']' { $$ = MAKE(Index, index, @$, .object = $1, .items = $indices); }
|   postfix '.' name            { $$ = make_access(ps, @$, $1, $name, @name); }
|   postfix '.' NUMBER          { $$ = make_access(ps, @$, $1, member_number(ps, $NUMBER), @NUMBER); }
;
primary:
    name                        { $$ = MAKE(Name, name, @$, .name = $name, .name_span = AT(@name)); }
|   NUMBER                      { $$ = make_number(ps, @$, $1); }
|   STRING                      { $$ = MAKE(String, string, @$, .value = $1); }
|   "true"                      { $$ = MAKE(Bool, boolean, @$, .value = true); }
|   "false"                     { $$ = MAKE(Bool, boolean, @$, .value = false); }
|   "none"                      { $$ = MAKE(None, none, @$, .unused = 0); }
|   "_"                         { $$ = MAKE(Hole, hole, @$, .unused = 0); }
|   left_paren expr ')'         { $$ = $expr; $$->span = AT(@$); }
|   left_paren expr ',' exprs comma_opt ')'
        { NodeList items = ONE($expr);
          for (int i = 0; i < $exprs.count; i++)
              items = ADD(items, $exprs.at[i]);
          $$ = MAKE(Tuple, tuple, @$, .items = items); }
|   left_bracket ']'            { $$ = MAKE(List, list, @$, .items = NO_NODES); }
|   left_bracket exprs comma_opt ']' { $$ = MAKE(List, list, @$, .items = $exprs); }
|   left_bracket expr[value] "for" let_name "in" expr[from] ']'
        { $$ = MAKE(Comprehension, comprehension, @$, .value = $value, .name = $let_name, .items = $from); }
|   left_bracket expr[value] "for" let_name "in" expr[from] "if" expr[test] ']'
        { $$ = MAKE(Comprehension, comprehension, @$, .value = $value, .name = $let_name, .items = $from, .condition = $test); }
|   '{' '}'                     { $$ = MAKE(Record, record, @$, .items = NO_NODES); }
|   '{' settings comma_opt '}'  { $$ = MAKE(Record, record, @$, .items = $settings); }
;
left_paren: '(' | LINE_PAREN ;
left_bracket: '[' | LINE_BRACKET ;
exprs_opt:
    %empty                      { $$ = NO_NODES; }
|   exprs comma_opt             { $$ = $exprs; }
;
exprs:
    expr                        { $$ = ONE($1); }
|   exprs ',' expr              { $$ = ADD($1, $expr); }
;
args:
    %empty                      { $$ = NO_NODES; }
|   arg_list comma_opt          { $$ = $arg_list; }
;
arg_list:
    arg                         { $$ = ONE($1); }
|   arg_list ',' arg            { $$ = ADD($1, $arg); }
;
arg:
    expr                        { $$ = MAKE(Arg, arg, @$, .value = $1); }
|   name ':' expr               { $$ = MAKE(Arg, arg, @$, .name = $name, .name_span = AT(@name), .value = $expr); }
;
indices:
    index                       { $$ = ONE($1); }
|   indices ',' index           { $$ = ADD($1, $index); }
;
index:
    expr
|   "..."                       { $$ = MAKE(Rest, rest, @$, .unused = 0); }
|   slice_part[a] ':' slice_part[b] { $$ = MAKE(Slice, slice, @$, .start = $a, .stop = $b); }
|   slice_part[a] ':' slice_part[b] ':' slice_part[c] { $$ = MAKE(Slice, slice, @$, .start = $a, .stop = $b, .step = $c); }
;
slice_part:
    %empty                      { $$ = NULL; }
|   expr
;
settings:
    setting                     { $$ = ONE($1); }
|   settings ',' setting        { $$ = ADD($1, $setting); }
;
setting:
    name ':' expr               { $$ = MAKE(Setting, setting, @$, .name = $name, .name_span = AT(@name), .value = $expr, .doc = @$.doc); }
|   STRING ':' expr             { $$ = MAKE(Setting, setting, @$, .name = $STRING, .name_span = AT(@STRING), .value = $expr, .doc = @$.doc); }
;

/* lex.c makes a name of every word before `:` and after `.`, and of the words of declarations where nothing is declared */

name: IDENT ;

%%

/* The parser's own complaint: its stack is full. */
static void aml_error(const Loc *loc, ParseState *ps, const char *message)
{
    (void)message;
    report(ps->cx, SPAN(*loc), nested_too_deeply, DEEPEST_TREE);
    ps->gave_up = true;
}

/* What is expected, in few words: an expression counts as one thing, and operators are named only if nothing else fits. */
typedef enum { GROUP_NONE, GROUP_EXPRESSION, GROUP_NAME, GROUP_OPERATOR, GROUP_OTHER } Group;

static Group group_of(yysymbol_kind_t symbol, bool any_expression, bool any_name)
{
    if (symbol == YYSYMBOL_RESYNC || symbol == YYSYMBOL_YYerror)
        return GROUP_NONE;
    switch ((int)symbol) {
    case YYSYMBOL_NUMBER: case YYSYMBOL_STRING: case YYSYMBOL_TRUE: case YYSYMBOL_FALSE: case YYSYMBOL_NONE: case YYSYMBOL_HOLE:
    case YYSYMBOL_LINE_PAREN: case YYSYMBOL_LINE_BRACKET: case YYSYMBOL_NOT: case YYSYMBOL_IF: case YYSYMBOL_FN:
        return any_expression ? GROUP_EXPRESSION : GROUP_OTHER;
    case YYSYMBOL_IDENT:
        return any_expression ? GROUP_EXPRESSION : GROUP_NAME;
    case YYSYMBOL_AND: case YYSYMBOL_OR:
    case YYSYMBOL_POWER: case YYSYMBOL_EQUAL: case YYSYMBOL_NOT_EQUAL: case YYSYMBOL_LESS_EQUAL: case YYSYMBOL_GREATER_EQUAL:
    case YYSYMBOL_PIPE: case YYSYMBOL_RANGE: case YYSYMBOL_UPDATE:
        return GROUP_OPERATOR;
    default:
        break;
    }
    const char *text = yysymbol_name(symbol);
    if (strchr("+-*/@<>.|([{", text[1]) && text[0] == '\'') {
        if (any_expression && strchr("-([{", text[1]))
            return GROUP_EXPRESSION;
        return GROUP_OPERATOR;
    }
    return GROUP_OTHER;
}

static int yyreport_syntax_error(const yypcontext_t *context, ParseState *ps)
{
    enum { MOST = 80, SHOWN = 6 };
    if (ps->gave_up)
        return 0;
    yysymbol_kind_t expected[MOST];
    int count = yypcontext_expected_tokens(context, expected, MOST);
    bool any_expression = false, any_name = false;
    for (int i = 0; i < count; i++) {
        any_expression = any_expression || expected[i] == YYSYMBOL_NUMBER;
        any_name = any_name || expected[i] == YYSYMBOL_IDENT;
    }
    const char *shown[SHOWN], *operator = NULL;
    int others = 0, operators = 0;
    bool says[GROUP_OTHER + 1] = {false};
    for (int i = 0; i < count; i++) {
        Group group = group_of(expected[i], any_expression, any_name);
        says[group] = true;
        if (group != GROUP_OTHER && group != GROUP_OPERATOR)
            continue;
        const char *text = expected[i] == YYSYMBOL_YYEOF ? "the end of the file" : yysymbol_name(expected[i]);
        if (text[0] == '\'')
            text = arena_printf(ps->cx->scratch, "`%c`", text[1]);
        else if (expected[i] != YYSYMBOL_YYEOF)
            text = arena_printf(ps->cx->scratch, "`%s`", text);
        if (group == GROUP_OPERATOR) {
            operator = text;
            operators++;
            continue;
        }
        if (others < SHOWN)
            shown[others] = text;
        others++;
    }
    const char *item[SHOWN + 3];
    int items = 0;
    if (says[GROUP_EXPRESSION])
        item[items++] = "an expression";
    if (says[GROUP_NAME])
        item[items++] = ps->frame.count == 0 && others > 3 ? "a declaration" : "a name";
    for (int i = 0; i < others && others <= SHOWN; i++)
        item[items++] = shown[i];
    if (items == 0)
        item[items++] = operators == 1 ? operator : operators > 0 && others == 0 ? "an operator" : "something else";
    Buffer text = {.arena = ps->cx->scratch};
    for (int i = 0; i < items; i++)
        buffer_printf(&text, "%s%s", i == 0 ? "" : i + 1 == items ? " or " : ", ", item[i]);
    report_expected(ps, text.text);
    return 0;
}
