// table_cell.c: names of classes, and rules of cells, as tables.

#include "link/link.h"

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

TableRef table_class_names(TableWriter *writer, const aml_tensor_info *of)
{
    if (!of->class_name)
        return (TableRef){0};
    for (int i = 0; i < writer->named.count; i++)
        if (writer->named.at[i].key == of->class_name)
            return *writer->named.at[i].ref;
    TableRef *ref = NEW(writer->cx->arena, TableRef);
    *ref = table_texts(writer, table_name(writer, "class", "names"), of->class_name, of->classes);
    TableNames names = {of->class_name, ref};
    vec_push(writer->cx->arena, &writer->named, names);
    return *ref;
}

TableRef table_cell_rule(TableWriter *writer, const aml_field *field)
{
    const aml_cell_rule *rule = field->rule;
    if (!rule)
        return (TableRef){0};
    TableRef missing = table_texts(writer, table_name(writer, "cell", "missing"), rule->missing,
                                   rule->missings),
             order = {0}, text = table_text_rule(writer, rule->text);
    if (rule->kind == AML_CELL_CATEGORY)
        order = table_values(writer, table_name(writer, "cell", "order"), TABLE_INT32, rule->order,
                             field->tensor.classes - rule->unknown);
    TableArray array = TABLE_ARRAY(writer, table_name(writer, "cell", "rule"), aml_cell_rule, 1);
    TableRow *row = table_next(&array);
    WHOLE(row, aml_cell_rule, kind, rule->kind);
    WHOLE(row, aml_cell_rule, missings, rule->missings);
    POINT(row, aml_cell_rule, missing, missing);
    TEXT(row, aml_cell_rule, fill, rule->fill);
    POINT(row, aml_cell_rule, order, order);
    WHOLE(row, aml_cell_rule, unknown, rule->unknown);
    TEXT(row, aml_cell_rule, ending, rule->ending);
    TEXT(row, aml_cell_rule, format, rule->format);
    if (rule->text) {
        if (!writer->image)
            TOP("extern const struct amli_cell_decoder amli_text_cells;\n");
        SYMBOL(row, aml_cell_rule, decoder, "&amli_text_cells");
    }
    POINT(row, aml_cell_rule, text, text);
    if (rule->kind != AML_CELL_TEXT)
        SYMBOL(row, aml_cell_rule, read, "amli_read_by_rule");
    return table_end_array(&array);
}
