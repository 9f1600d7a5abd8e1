// artifact.c: the C text of a deployed program: its table and the main function.

#include "link/link.h"

#include <string.h>

#include "aml/packed.h"

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

const char *table_layers(TableWriter *writer, const Artifact *artifact)
{
    if (artifact->layer.count == 0)
        return "0";
    TOP("static const aml_layer_report layers[] = {\n");
    for (int i = 0; i < artifact->layer.count; i++) {
        const aml_layer_report *layer = &artifact->layer.at[i];
        TOP("    {%s, %s, %s, %s, %s, %.1f, %.1f, %lld, %lld},\n", table_text(writer, layer->name),
            table_text(writer, layer->kept), table_text(writer, layer->form),
            table_real(writer, layer->low), table_real(writer, layer->high), layer->weights_db,
            layer->result_db, (long long)layer->bytes_before, (long long)layer->bytes_after);
    }
    TOP("};\n");
    return "layers";
}

const char *table_weights(TableWriter *writer, const Artifact *artifact, bool is_program)
{
    if (!artifact->weights_file)
        return "0";
    TOP("static const aml_weights_file weights = {%s, %zuu, %s, %s, %s, aml_weights_check, %s};\n",
        table_text(writer, artifact->weights_file), artifact->weights_file_bytes,
        table_text(writer, artifact->weights_file_hash), table_text(writer, artifact->name),
        table_text(writer, artifact->weights_levels), is_program ? "aml_weights_map" : "0");
    return "&weights";
}

// Where NaN is a missing value that prepare knows about.
static unsigned missing_fields(const Artifact *artifact)
{
    unsigned mask = 0;
    for (int i = 0; i < artifact->fields && i < 32; i++) {
        const aml_cell_rule *rule = artifact->field[i].rule;
        bool fills =
            rule && rule->kind == AML_CELL_NUMBER && rule->fill && strcmp(rule->fill, "nan") == 0;
        mask |= (unsigned)(fills || artifact->source->keeps_nan) << i;
    }
    return mask;
}

// A library is given numbers, so it needs no rules for texts, nor places for messages about files.
static const aml_field *bare_fields(Cx *cx, const Artifact *artifact)
{
    aml_field *field = NEW_ARRAY(cx->arena, aml_field, artifact->fields + 1);
    for (int i = 0; i < artifact->fields; i++) {
        field[i] = (aml_field){.tensor = artifact->field[i].tensor};
        field[i].tensor.class_name = NULL;
    }
    return field;
}

static void write_levels(TableWriter *writer, const Artifact *artifact)
{
    Buffer rows = {.arena = writer->cx->arena};
    for (int l = 0; l < artifact->level.count; l++) {
        const ArtifactLevel *level = &artifact->level.at[l];
        const char *prefix = arena_printf(writer->cx->arena, "l%d", l);
        const char *prepare = table_function(writer, &level->prepare, prefix);
        Buffer predict = {.arena = writer->cx->arena}, given = predict;
        for (int i = 0; i < level->prepare.output.count; i++)
            buffer_printf(&given, "%d, ", level->given[i]);
        for (int i = 0; i < level->predict.count; i++)
            buffer_printf(&predict, "    %s,\n",
                          table_function(writer, &level->predict.at[i],
                                         arena_printf(writer->cx->arena, "l%dp%d", l, i)));
        TOP("static const aml_function predict%d[] = {\n%s};\n", l, predict.text);
        TOP("static const signed char given%d[] = {%s-1};\n", l, given.text ? given.text : "");
        if (level->stored)
            TOP("extern const char %s[];\n", level->stored);
        if (level->expand)
            TOP("void %s(const void *stored, void *to, const void *weights);\n", level->expand);
        buffer_printf(&rows,
                      "    {.cpu_level = %s, .cpu_features = %s, .prepare = %s, .given = given%d, "
                      ".predict = predict%d, .stored = %s, .expand = %s, .stored_bytes = %zuu},\n",
                      table_text(writer, level->cpu_level), table_text(writer, level->cpu_features),
                      prepare, l, l, level->stored ? level->stored : "0",
                      level->expand ? level->expand : "0", level->stored_bytes);
    }
    TOP("static const aml_level levels[] = {\n%s};\n", rows.text);
}

// Whether its samples are pictures; those of an archive may be texts.
static bool has_pictures(const Artifact *artifact)
{
    for (int i = 0; i < artifact->fields; i++)
        if (artifact->field[i].rule && artifact->field[i].rule->text)
            return false;
    return artifact->source->most_pixels > 0;
}

// The kinds of files that an executable reads besides csv: only these are linked.
static const char *readers(const Artifact *artifact)
{
    const aml_source *source = artifact->source;
    if (has_pictures(artifact))
        return "&amli_picture_files, ";
    if (source->kind == AML_SOURCE_AUDIO)
        return "&amli_sound_files, ";
    bool numbers = artifact->fields == 1 && !artifact->field[0].rule;
    return numbers ? "&amli_npy_files, " : NULL;
}

static void write_readers(TableWriter *writer, const Artifact *artifact)
{
    const aml_source *source = artifact->source;
    TOP("    .readers = %d, .reader = %s,\n", readers(artifact) ? 1 : 0,
        readers(artifact) ? "readers" : "0");
    if (has_pictures(artifact))
        TOP("    .resize = (aml_resize)%d, .background = %d, .most_pixels = %lld,\n",
            source->resize, source->background, (long long)source->most_pixels);
    if (source->kind == AML_SOURCE_AUDIO)
        TOP("    .rate = %lld, .middle = %d,\n", (long long)source->files->rate,
            source->files->middle);
}

void write_artifact(TableWriter *writer, const Artifact *artifact, bool is_program)
{
    TableRef fields =
        table_field_array(writer, is_program ? artifact->field : bare_fields(writer->cx, artifact),
                          artifact->fields, "raw");
    const char *field = fields.name ? fields.name : "0";
    write_levels(writer, artifact);
    if (is_program && readers(artifact))
        TOP("static const struct amli_file_reader *const readers[] = {%s};\n", readers(artifact));
    const char *layers = table_layers(writer, artifact);
    const char *weights = table_weights(writer, artifact, is_program);
    TOP("static const int64_t predict_batch[] = {");
    for (int i = 0; i < artifact->batch.count; i++)
        TOP("%s%lld", i ? ", " : "", (long long)artifact->batch.at[i]);
    TOP("};\nstatic const aml_artifact artifact = {\n    .abi = AML_PROGRAM_ABI, .name = %s, .doc "
        "= %s,\n",
        table_text(writer, artifact->name), table_text(writer, artifact->doc));
    TOP("    .source_hash = %s,\n    .weights_hash = %s,\n    .data_fingerprint = %s,\n    "
        ".compiler = \"amlc " AML_VERSION_TEXT "\",\n",
        table_text(writer, artifact->source_hash), table_text(writer, artifact->weights_hash),
        table_text(writer, artifact->data_fingerprint));
    TOP("    .levels = %d, .level = levels,\n    .fields = %d, .missing = %#xu, .field = %s, "
        ".separator = %d, .header = (aml_header)%d, .comment = %d, .literal_quotes = %d,\n",
        artifact->level.count, artifact->fields, missing_fields(artifact), field,
        artifact->separator, artifact->header, artifact->source->comment,
        artifact->source->literal_quotes);
    TOP("    .predicts = %d, .predict_batch = predict_batch,\n    .weights_bytes = %zuu, "
        ".parameters = %lld,\n",
        artifact->predict.count, artifact->weights_bytes, (long long)artifact->parameters);
    TOP("    .weights = %s,\n    .layers = %d, .layer = %s,\n", weights, artifact->layer.count,
        layers);
    if (is_program)
        write_readers(writer, artifact);
    TOP("};\n");
}

Tables tables_of_artifact(Cx *cx, const Artifact *artifact)
{
    TableWriter writer_of = {.cx = cx, .top = {.arena = cx->arena}, .spells_nothing = true};
    TableWriter *writer = &writer_of;
    TOP("#include \"aml/program.h\"\n\n");
    write_artifact(writer, artifact, true);
    bool unpacks = artifact->weights_bytes < PACKED_MOST;
    TOP("\n#if !defined(AML_LAID_OUT)\n#define aml_unpack_program()\n#else\nvoid "
        "aml_unpack_program(void);\n#endif\n");
    TOP("\nint main(int argc, char **argv)\n{\n%s    return aml_artifact_main(&artifact, argc, "
        "argv);\n}\n",
        unpacks ? "    aml_unpack_program();\n" : "");
    Tables tables = table_end(writer);
    tables.unpacks = unpacks;
    return tables;
}
