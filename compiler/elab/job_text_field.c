// job_text_field.c: fields that are the tokens of a text in a column, or how many there are.

#include "elab/job.h"

#include <string.h>

#include "aml/vocabulary.h"
#include "text/text.h"

static bool misfit(Jobs *jobs, const Node *field, const char *setting, const char *expected,
                   const char *found)
{
    const Node *node = field->as.data.value;
    report(jobs->cx, node ? node->span : field->span, cell_setting, setting, field->as.data.name,
           expected, found);
    return false;
}

bool is_text_place(Jobs *jobs, Value place)
{
    return !value_is(record_item(jobs, place, "tokenizer"), VALUE_NONE) ||
           !value_is(record_item(jobs, place, "counted"), VALUE_NONE);
}

static const aml_tokenizer *place_tokenizer(Jobs *jobs, const Node *field, Value place)
{
    Value value = record_item(jobs, place, "tokenizer");
    const Node *node = field->as.data.value;
    bool is_one, counted;
    const aml_tokenizer *words = words_known(jobs, field, &counted);
    if (counted)
        return words;
    const aml_tokenizer *found =
        tokenizer_of(jobs, node ? node->span : field->span, value, &is_one);
    if (!is_one && !value_is(value, VALUE_POISON))
        misfit(jobs, field, "tokenizer",
               "words(...), bytes(), bpe(...), wordpiece(...) or tokenizer_json(...)",
               value_what(jobs->e, value));
    return found;
}

const aml_tokenizer *field_tokenizer(Jobs *jobs, Node *dataset, bool *several)
{
    const aml_tokenizer *found = NULL;
    *several = false;
    for (int i = 0; i < dataset->as.job.items.count; i++) {
        Node *field = dataset->as.job.items.at[i];
        if (field->kind != NODE_Field || !field->as.data.value ||
            field->as.data.value->kind == NODE_Name)
            continue;
        Value place =
            elab_eval(jobs->e, env_new(jobs->e, NULL, field->span.file), field->as.data.value);
        if (value_is(record_item(jobs, place, "tokenizer"), VALUE_NONE))
            continue;
        const aml_tokenizer *one = is_words_place(jobs, place)
                                       ? words_tokenizer(jobs, dataset, field, place)
                                       : place_tokenizer(jobs, field, place);
        *several = *several || (found && one && one != found);
        found = found ? found : one;
    }
    return found;
}

static bool read_pad(Jobs *jobs, const Node *field, Value place, aml_text_rule *rule)
{
    Value pad = record_item(jobs, place, "pad");
    const aml_vocabulary *image = rule->tokenizer->image;
    Sym name = value_plain_text(pad);
    if (value_is(pad, VALUE_INT) && pad.as.whole >= 0 && pad.as.whole < rule->tokenizer->vocab) {
        rule->pad = (int32_t)pad.as.whole;
        return true;
    }
    if (rule->tokenizer == &jobs->stand_in)
        return true; // its name is a token of the file that is missing
    if (name && image) {
        const uint32_t *at = aml_vocabulary_at(image, image->token_at);
        const char *text = aml_vocabulary_at(image, image->token);
        for (int32_t i = 0; i < image->vocab; i++)
            if (at[i + 1] - at[i] == strlen(name) &&
                memcmp(text + at[i], name, strlen(name)) == 0) {
                rule->pad = i;
                return true;
            }
    }
    if (!value_is(pad, VALUE_NONE))
        return misfit(jobs, field, "pad", "a token of the vocabulary", value_show(jobs->e, pad));
    rule->pad = image ? image->role[AML_TOKEN_PAD] : 0;
    return rule->pad >= 0 ? true
                          : misfit(jobs, field, "pad",
                                   "a token to put behind shorter texts, such as "
                                   "\"<|endoftext|>\": the vocabulary has no [PAD] or <pad>",
                                   "nothing");
}

static bool read_rule(Jobs *jobs, const Node *field, Value place, aml_text_rule *rule)
{
    Value special = record_item(jobs, place, "special");
    Sym truncate = value_word(record_item(jobs, place, "truncate"));
    rule->tokenizer = place_tokenizer(jobs, field, place);
    rule->special = !value_is(special, VALUE_BOOL) || special.as.whole;
    rule->keeps_end = truncate && strcmp(truncate, "left") == 0;
    rule->must_fit = truncate && strcmp(truncate, "error") == 0;
    return rule->tokenizer && read_pad(jobs, field, place, rule);
}

static bool set_type(Jobs *jobs, const Node *field, const TypeValue *type, aml_field *out,
                     Column *column)
{
    column->name = field->as.data.name;
    column->type = type_make(type->dtype, type->rank, type->dim);
    column->classes = type->classes;
    out->tensor = tensor_info(jobs, column->type, column->classes, column->name);
    out->place = job_place(jobs, field->span);
    return true;
}

// A field that counts the tokens of another one, which stands above it.
static bool counting_field(Jobs *jobs, Node *field, Value place, const aml_field *fields, int count,
                           aml_field *out, Column *column)
{
    Sym of = value_plain_text(record_item(jobs, place, "counted"));
    Node *stated = field->as.data.type;
    TypeValue type;
    const aml_field *found = NULL;
    for (int i = 0; i < count && of; i++)
        if (strcmp(fields[i].tensor.name, of) == 0 && fields[i].rule && fields[i].rule->text)
            found = &fields[i];
    if (!found)
        return misfit(jobs, field, "token_count", "the name of a field of tokens that stands above",
                      value_show(jobs->e, record_item(jobs, place, "counted")));
    if (!elab_type(jobs->e, env_new(jobs->e, NULL, field->span.file), stated, &type))
        return false;
    if (type.rank != 0 || (type.dtype != DTYPE_I32 && type.dtype != DTYPE_I64)) {
        report(jobs->cx, stated->span, text_field, field->as.data.name, "i32 or i64",
               span_text(jobs, stated->span));
        return false;
    }
    aml_text_rule *rule = NEW(jobs->arena, aml_text_rule);
    aml_cell_rule *cell = NEW(jobs->arena, aml_cell_rule);
    *rule = *found->rule->text;
    rule->counts = true;
    *cell = *found->rule;
    cell->text = rule;
    out->rule = cell;
    out->column = found->column;
    out->key = found->key;
    out->first = found->first;
    out->count = 1;
    return set_type(jobs, field, &type, out, column);
}

bool read_text_field(Jobs *jobs, Node *field, Value place, const aml_field *fields, int count,
                     int64_t window, aml_field *out, Column *column)
{
    if (!value_is(record_item(jobs, place, "counted"), VALUE_NONE))
        return counting_field(jobs, field, place, fields, count, out, column);
    Env *env = env_new(jobs->e, NULL, field->span.file);
    Node *stated = field->as.data.type;
    aml_text_rule *rule = NEW(jobs->arena, aml_text_rule);
    aml_cell_rule *cell = NEW(jobs->arena, aml_cell_rule);
    TypeValue type;
    if (window > 0)
        return misfit(jobs, field, "window", "nothing: a text is not read in windows of rows",
                      arena_printf(jobs->arena, "%lld", (long long)window));
    if (!read_rule(jobs, field, place, rule))
        return false;
    env_bind(jobs->e, env, job_word(jobs, "vocab"), value_int(rule->tokenizer->vocab));
    if (!elab_type(jobs->e, env, stated, &type))
        return false;
    const aml_vocabulary *image = rule->tokenizer->image;
    int64_t around = rule->special && image ? image->before.count + image->after.count : 0;
    if (type.classes != rule->tokenizer->vocab || type.rank != 1 || type.dim[0] <= around) {
        report(jobs->cx, stated->span, text_field, field->as.data.name, "class(vocab)[n]",
               span_text(jobs, stated->span));
        note(jobs->cx, stated->span, "the vocabulary has %d tokens, and %lld are put around a text",
             rule->tokenizer->vocab, (long long)around);
        return false;
    }
    rule->tokens = type.dim[0];
    *cell = (aml_cell_rule){.kind = AML_CELL_TEXT, .text = rule};
    out->rule = cell;
    out->count = 1;
    return set_type(jobs, field, &type, out, column);
}
