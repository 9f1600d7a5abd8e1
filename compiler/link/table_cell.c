// table_cell.c: names of classes, and rules of cells, as tables.

#include "link/link.h"

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

static const char *texts(TableWriter *writer, const char *const at[], int64_t count)
{
    const char *name = arena_printf(writer->cx->arena, "texts_%d", writer->arrays++);
    TOP("static const char *const %s[] = {", name);
    for (int64_t i = 0; i < count; i++)
        TOP("%s%s", i ? ", " : "", table_text(writer, at[i]));
    TOP("};\n");
    return name;
}

const char *table_class_names(TableWriter *writer, const aml_tensor_info *of)
{
    if (!of->class_name)
        return NULL;
    for (int i = 0; i < writer->named.count; i++)
        if (writer->named.at[i].key == of->class_name)
            return writer->named.at[i].name;
    TableNames names = {of->class_name, texts(writer, of->class_name, of->classes)};
    vec_push(writer->cx->arena, &writer->named, names);
    return names.name;
}

const char *table_cell_rule(TableWriter *writer, const aml_field *field)
{
    const aml_cell_rule *rule = field->rule;
    if (!rule)
        return "0";
    const char *missing = rule->missings ? texts(writer, rule->missing, rule->missings) : "0",
               *order = "0",
               *name = arena_printf(writer->cx->arena, "cell_rule_%d", writer->arrays++);
    if (rule->kind == AML_CELL_CATEGORY) {
        order = arena_printf(writer->cx->arena, "order_%d", writer->arrays++);
        TOP("static const int32_t %s[] = {", order);
        for (int64_t i = 0; i < field->tensor.classes - rule->unknown; i++)
            TOP("%s%d", i ? ", " : "", rule->order[i]);
        TOP("};\n");
    }
    const char *text = table_text_rule(writer, rule->text);
    TOP("static const aml_cell_rule %s = {.kind = (aml_cell_kind)%d, .missings = %d, .missing = "
        "%s, .fill = %s, .order = %s, .unknown = %d, .ending = %s, .format = %s%s, .read = %s};\n",
        name, rule->kind, rule->missings, missing, table_text(writer, rule->fill), order,
        rule->unknown, table_text(writer, rule->ending), table_text(writer, rule->format), text,
        rule->kind == AML_CELL_TEXT ? "0" : "amli_read_by_rule");
    return arena_printf(writer->cx->arena, "&%s", name);
}
