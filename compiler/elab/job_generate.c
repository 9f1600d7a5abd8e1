// job_generate.c: `generate` blocks: the function that gives the scores of the next token.
//
// The model is traced once over a whole context. What is compiled is the function of one more token
// that decode.c derives from it; if there is none, the whole context is computed for each token.

#include "elab/decode.h"
#include "elab/internal.h"
#include "elab/job.h"

#include <string.h>

#include "aml/utf8.h"

// The prompt's characters have to be in the vocabulary. Where none was written: a new line, or the
// vocabulary's first character.
static bool read_prompt(Jobs *jobs, Node *node, const DataBlock *data,
                        const aml_tokenizer *tokenizer, const char **out)
{
    Setting setting = setting_of(jobs, node, "prompt");
    Value value = setting_eval(jobs, &setting, "prompt");
    *out = value_is(value, VALUE_NONE) ? "\n" : value_plain_text(value);
    if (!*out || !**out) {
        if (*out)
            report(jobs->cx, setting.span, setting_range, "prompt", "at least one character",
                   "an empty text");
        else
            setting_wrong(jobs, &setting, "prompt", "a text", value);
        return false;
    }
    if (tokenizer->kind != AML_TOKENIZER_CHARACTERS)
        return true;
    size_t length = strlen(*out);
    for (size_t at = 0, step; at < length; at += step) {
        uint32_t code = 0;
        bool known = false;
        step = aml_utf8_read((const unsigned char *)*out + at, length - at, &code);
        for (int i = 0; i < tokenizer->vocab; i++)
            known |= tokenizer->code[i] == code;
        if (known)
            continue;
        if (value_is(value, VALUE_NONE)) {
            char first[5] = "";
            aml_utf8_write(tokenizer->code[0], first);
            *out = sym_of(jobs->cx, first);
            return true;
        }
        report(jobs->cx, setting.span, foreign_prompt, data->node->as.job.name,
               arena_printf(jobs->arena, "it holds U+%04X", (unsigned)code));
        return false;
    }
    return true;
}

static bool range(Jobs *jobs, const Setting *setting, const char *name, bool good,
                  const char *expected)
{
    if (good)
        return true;
    report(jobs->cx, setting->span, setting_range, name, expected, span_text(jobs, setting->span));
    return false;
}

static bool read_settings(Jobs *jobs, Node *node, ProgramJob *job)
{
    aml_generation *out = &job->table.generation;
    Setting temperature = setting_of(jobs, node, "temperature");
    Setting top_k = setting_of(jobs, node, "top_k"), top_p = setting_of(jobs, node, "top_p");
    Setting seed = setting_of(jobs, node, "seed");
    bool good = setting_whole(jobs, node, "length", 1, &out->length);
    good = setting_number(jobs, &temperature, "temperature", &out->temperature) && good;
    good = setting_number(jobs, &top_p, "top_p", &out->top_p) && good;
    good = good &&
           range(jobs, &temperature, "temperature",
                 out->temperature >= 0 && out->temperature <= 1e6, "a number that is not negative");
    good = good && range(jobs, &top_p, "top_p", out->top_p > 0 && out->top_p <= 1,
                         "above 0% and at most 100%");
    if (top_k.value && top_k.value->kind != NODE_None)
        good = setting_whole(jobs, node, "top_k", 1, &out->top_k) && good;
    Value value = setting_eval(jobs, &seed, "seed");
    if (value_is(value, VALUE_INT)) {
        job->table.seed = value.as.whole;
        return good;
    }
    setting_wrong(jobs, &seed, "seed", "a whole number", value);
    return false;
}

// The scores that the model gives for a context of tokens. NULL after a report.
static IrFunction *trace_context(Jobs *jobs, ProgramJob *job, Value model,
                                 const aml_tokenizer *tokenizer, Span span)
{
    Elab *e = jobs->e;
    int64_t context = job->table.generation.context, vocab = tokenizer->vocab;
    Type type = type_make(DTYPE_I32, 2, (int64_t[]){1, context});
    e->training = false;
    Tracing tracing = entry_begin(jobs, &job->decode, job->table.name, "context", span);
    Value tokens = entry_input(&tracing, type, vocab, job_word(jobs, "tokens"), span);
    Value scores = elab_call(e, model, &tokens, NULL, 1, span);
    Inst *inst = value_is(scores, VALUE_TENSOR) ? scores.as.tensor.inst : NULL;
    bool fits = inst && inst->type.rank == 3 && inst->type.dim[0] == 1 &&
                inst->type.dim[1] == context && inst->type.dim[2] == vocab &&
                dtype_info[inst->type.dtype].kind == KIND_FLOAT;
    if (!fits && !value_is(scores, VALUE_POISON))
        report(jobs->cx, span, generate_model, job->table.name,
               arena_printf(jobs->arena, "scores float[b, t, %lld] for tokens class(%lld)[b, t]",
                            (long long)vocab, (long long)vocab),
               value_what(e, scores));
    if (!fits) {
        entry_drop(&tracing);
        return NULL;
    }
    entry_output(&tracing, elab_cast(e, inst, DTYPE_F32, span), 0, "scores");
    return entry_end(&tracing) ? job->decode.ir : NULL;
}

static void add_position(Jobs *jobs, Entry *entry)
{
    aml_scalar_info position = {AML_SCALAR_POSITION, 0, AML_I64};
    vec_push(jobs->arena, &entry->scalar, position);
}

// Of the scores of a whole context those at the position.
static void take_position(Jobs *jobs, IrFunction *fn, int scalars)
{
    Inst *scores = fn->result.at[0].value;
    Inst *position = ir_param(fn, type_scalar(DTYPE_I64), (Slot){SLOT_SCALAR, scalars},
                              sym_of(jobs->cx, "position"), fn->span);
    Attr attr = {.whole = 1};
    Inst *in[] = {scores, position};
    Inst *row = ir_append(fn, OP_gather, in, 2, &attr, scores->type, fn->span);
    Type type = type_make(scores->type.dtype, 1, &scores->type.dim[2]);
    Inst *flat = ir_reshape(fn, row, type, fn->span);
    fn->result.at[0].value = flat;
    flat->uses++;
    scores->uses--;
}

static void drop_function(IrModule *module, const IrFunction *fn)
{
    int kept = 0;
    for (int i = 0; i < module->function.count; i++)
        if (module->function.at[i] != fn)
            module->function.at[kept++] = module->function.at[i];
    module->function.count = kept;
}

// The same for a part of a prompt, if the function fills the same caches. A part is an eighth of a
// context or more, so that what is left of a prompt is short.
static void derive_prompt(Jobs *jobs, ProgramJob *job, const IrFunction *context,
                          const Decode *decode, int first_row)
{
    enum { MOST = 64, LEAST = 4 };
    int64_t width = MOST;
    while (width > LEAST && 4 * width > job->table.generation.context)
        width /= 2;
    if (4 * width > job->table.generation.context)
        return;
    Sym name = sym_printf(jobs->cx, "%s_prompt", job->table.name);
    Decode parts = decode_derive(jobs->cx, jobs->program->module, context, name, first_row, width);
    bool same = parts.fn && parts.cache.count == decode->cache.count;
    for (int i = 0; same && i < parts.cache.count; i++)
        same = type_equal(parts.cache.at[i].type, decode->cache.at[i].type);
    if (!same) {
        drop_function(jobs->program->module, parts.fn);
        return;
    }
    Entry *entry = &job->prompt;
    *entry =
        (Entry){.ir = parts.fn, .symbol = sym_printf(jobs->cx, "aml_%s_prompt", job->table.name)};
    for (int i = 0; i < job->decode.input.count; i++)
        vec_push(jobs->arena, &entry->input, job->decode.input.at[i]);
    for (int i = 0; i < job->decode.output.count; i++)
        vec_push(jobs->arena, &entry->output, job->decode.output.at[i]);
    for (int i = 0; i < job->decode.scalar.count; i++)
        vec_push(jobs->arena, &entry->scalar, job->decode.scalar.at[i]);
    entry->input.at[0].shape.dim[1] = width;
    job->table.generation.exact = parts.exact;
}

// Replaces the function of a context by that of one token, or tells why that cannot be.
static void derive(Jobs *jobs, Node *node, ProgramJob *job)
{
    Entry *entry = &job->decode;
    IrFunction *context = entry->ir;
    int first_row = job->state.count;
    entry->symbol = sym_printf(jobs->cx, "aml_%s_decode", job->table.name);
    Sym name = sym_printf(jobs->cx, "%s_decode", job->table.name);
    Decode decode = decode_derive(jobs->cx, jobs->program->module, context, name, first_row, 1);
    job->table.generation.cached = decode.fn != NULL;
    add_position(jobs, entry);
    if (!decode.fn) {
        take_position(jobs, context, entry->scalar.count - 1);
        context->name = name;
        report(jobs->cx, node->as.job.name_span, no_cache, node->as.job.name, decode.why);
        note(jobs->cx, decode.where, "it is here");
    } else {
        drop_function(jobs->program->module, context);
        entry->ir = decode.fn;
        decode.fn->mixed = context->mixed;
        entry->input.at[0].shape.dim[1] = 1;
        for (int i = 0; i < decode.cache.count; i++) {
            const DecodeCache *cache = &decode.cache.at[i];
            ProgramState state = {.span = cache->span};
            state.info.tensor = tensor_info(jobs, cache->type, 0, cache->name);
            state.info.role = AML_ROLE_CACHE;
            vec_push(jobs->arena, &job->state, state);
        }
    }
    aml_shape *shape = &entry->output.at[0].shape;
    *shape = (aml_shape){1, {shape->dim[2]}};
    if (decode.fn)
        derive_prompt(jobs, job, context, &decode, first_row);
}

bool job_generate(Jobs *jobs, Node *node)
{
    Elab *e = jobs->e;
    ProgramJob job = new_job(jobs, node, AML_JOB_GENERATE);
    Setting model = setting_of(jobs, node, "model"), data = setting_of(jobs, node, "data");
    aml_part part;
    settings_record(jobs, node);
    TrainBlock *train = checkpoint_setting(jobs, &model, "model", &job.table.which);
    DataBlock *block = data_setting(jobs, &data, "data", false, &part);
    bool good = read_settings(jobs, node, &job);
    if (!train || !block)
        return false;
    int errors = diag_errors(jobs->cx);
    const aml_tokenizer *tokenizer = text_tokenizer(jobs, block->node);
    if (!tokenizer && diag_errors(jobs->cx) == errors)
        report(jobs->cx, data.span, no_vocab, block->node->as.job.name);
    if (!tokenizer || !read_prompt(jobs, node, block, tokenizer, &job.table.generation.prompt) ||
        !good)
        return false;
    const Column *x = NULL;
    for (int i = 0; i < train->data->prepared.count; i++)
        if (strcmp(train->data->prepared.at[i].name, "x") == 0)
            x = &train->data->prepared.at[i];
    if (!x || x->type.rank != 1 || x->classes != tokenizer->vocab || x->type.dim[0] < 2) {
        report(jobs->cx, model.span, generate_model, node->as.job.name,
               arena_printf(jobs->arena, "a model that is trained on tokens class(%d)[t]",
                            tokenizer->vocab),
               x ? arena_printf(jobs->arena, "one that is trained on %s%s",
                                type_text(jobs->arena, x->type),
                                x->classes ? " of other classes" : "")
                 : "one without an input");
        return false;
    }
    job.table.generation.context = x->type.dim[0];
    job.table.data = block->index;
    job.table.model_job = train->index;
    // An instance of its own, made as the training made its own: states belong to one job.
    StateTable *table = NEW(jobs->arena, StateTable);
    e->table = table;
    Setting made = setting_of(jobs, train->node, "model");
    Value instance = setting_eval(jobs, &made, "model");
    good = value_is(instance, VALUE_INSTANCE);
    if (good) {
        Precision before = precision_begin(jobs, train);
        elab_instance_name(e, instance, NULL, NULL);
        good = trace_context(jobs, &job, instance, tokenizer, model.span) &&
               register_cells(jobs, instance);
        precision_end(jobs, before);
    }
    e->table = NULL;
    if (!good)
        return false;
    state_rows(jobs, table, &job);
    derive(jobs, node, &job);
    vec_push(jobs->arena, &jobs->program->job, job);
    return true;
}
