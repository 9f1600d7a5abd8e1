// Reads a file as a training program does when it begins: rows checked, decoded into columns, and
// hashed. For each line of standard input it reads the file once and prints the processor time in
// seconds, and what of it the hash took.
//
// Usage: table_read FILE ett|digits|adult|lines [THREADS]

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aml/columns.h"
#include "runtime/data/source.h"

enum { ADULT_TEXTS = 9, ADULT_NUMBERS = 6 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void fail(const aml_error *error)
{
    fprintf(stderr, "%s\n", error->text);
    exit(1);
}

// The fields of the census data: six numbers, nine categories with the vocabulary of the file.
static int adult_fields(const char *path, const aml_source *source, aml_field field[])
{
    static const int number[ADULT_NUMBERS] = {0, 2, 4, 10, 11, 12},
                     text[ADULT_TEXTS] = {1, 3, 5, 6, 7, 8, 9, 13, 14};
    static aml_cell_rule rule[ADULT_TEXTS];
    static int32_t order[256];
    aml_columns *columns;
    aml_error error;
    aml_source form = *source;
    form.header = AML_HEADER_NO;
    if (aml_columns_open(&form, path, &columns, &error))
        fail(&error);
    for (int i = 0; i < 256; i++)
        order[i] = i;
    for (int i = 0; i < ADULT_NUMBERS; i++)
        field[i] = (aml_field){
            .tensor = {.name = "number", .dtype = AML_F32}, .first = number[i], .count = 1};
    for (int i = 0; i < ADULT_TEXTS; i++) {
        aml_field *of = &field[ADULT_NUMBERS + i];
        int64_t count;
        const char *const *names;
        *of =
            (aml_field){.tensor = {.name = "text", .dtype = AML_I32}, .first = text[i], .count = 1};
        if (aml_columns_texts(columns, of, 256, &names, &count, &error))
            fail(&error);
        char **kept = calloc((size_t)count, sizeof *kept);
        for (int64_t k = 0; k < count; k++)
            kept[k] = strdup(names[k]);
        rule[i] =
            (aml_cell_rule){.kind = AML_CELL_CATEGORY, .order = order, .read = amli_read_by_rule};
        of->rule = &rule[i];
        of->tensor.classes = count;
        of->tensor.class_name = (const char *const *)kept;
    }
    aml_columns_close(columns);
    return ADULT_NUMBERS + ADULT_TEXTS;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    static const aml_text_part part = {"file", -1};
    const char *path = argv[1], *kind = argv[2];
    bool lines = strcmp(kind, "lines") == 0, is_digits = strcmp(kind, "digits") == 0;
    aml_source source = {.kind = lines ? AML_SOURCE_JSONL : AML_SOURCE_CSV,
                         .reader = lines ? &amli_source_jsonl : &amli_source_csv,
                         .place = "bench",
                         .file = {{1, &part}},
                         .header = AML_HEADER_YES,
                         .separator = ','};
    aml_field field[ADULT_NUMBERS + ADULT_TEXTS] = {
        {.tensor = {.name = "x", .dtype = AML_F32, .shape = {1, {is_digits ? 64 : 7}}},
         .first = is_digits ? 0 : 1,
         .count = is_digits ? 64 : 7,
         .key = "x"}};
    int fields = 1;
    if (strcmp(kind, "adult") == 0) {
        source.header = AML_HEADER_NO;
        fields = adult_fields(path, &source, field);
    }
    const aml_dataset dataset = {
        .name = "bench", .place = "bench", .source = source, .fields = fields, .field = field};
    const amli_load load = {
        .source_dir = ".", .file = {{path}}, .threads = argc > 3 ? atoi(argv[3]) : 1};
    char line[16], *text, hash[AMLI_HASH_TEXT];
    size_t length;
    aml_error error;
    if (amli_read_file(path, &text, &length, &error))
        fail(&error);
    while (fgets(line, sizeof line, stdin)) {
        double start = now(), end;
        amli_table *table;
        if (amli_table_load(&dataset, &load, &table, &error))
            fail(&error);
        end = now();
        amli_hash(text, length, hash);
        printf("%.6f %.6f\n", end - start, now() - end);
        fflush(stdout);
        amli_table_free(table);
    }
    free(text);
    return 0;
}
