// The figures of a run as a TensorBoard event file.
//
// Format (tensorflow/core/lib/io/record_writer.h and tensorflow/core/util/event.proto): records of
// {length u64, masked CRC-32C of the length, bytes, masked CRC-32C of the bytes}, little endian;
// the bytes are a protocol buffer Event {1: wall_time double, 2: step int64, 3: file_version
// string, 5: Summary {1: Value {1: tag string, 2: simple_value float, 4: Image {1: height, 2:
// width, 3: colorspace, 4: a file}, 5: HistogramProto {1: min, 2: max, 3: num, 4: sum, 5: sum of
// squares, 6: limits of buckets, 7: buckets}}}, 7: SessionLog {1: status}}. A SessionLog START says
// that steps from here on replace what an earlier session wrote.

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "runtime/log/log.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5, SESSION_START = 1 };

// CRC-32C (Castagnoli, reflected polynomial 82f63b78), masked as the format wants it.
static uint32_t masked_crc(const char *bytes, size_t length)
{
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < length; i++) {
        crc ^= (unsigned char)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (UINT32_C(0x82f63b78) & -(crc & 1));
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + UINT32_C(0xa282ead8);
}

static void put_little(amli_buffer *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        char byte = (char)(value >> 8 * i);
        amli_buffer_add(to, &byte, 1);
    }
}

static void put_varint(amli_buffer *to, uint64_t value)
{
    do {
        char byte = (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        amli_buffer_add(to, &byte, 1);
        value >>= 7;
    } while (value);
}

static void put_key(amli_buffer *to, int field, int wire)
{
    put_varint(to, (uint64_t)field << 3 | (uint64_t)wire);
}

static void put_bytes(amli_buffer *to, int field, const char *bytes, size_t length)
{
    put_key(to, field, WIRE_BYTES);
    put_varint(to, length);
    amli_buffer_add(to, bytes, length);
}

static void begin_event(amli_buffer *event, int64_t step)
{
    struct timespec now;
    double seconds;
    uint64_t bits;
    clock_gettime(CLOCK_REALTIME, &now);
    seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    memcpy(&bits, &seconds, sizeof bits);
    put_key(event, 1, WIRE_64);
    put_little(event, bits, 8);
    put_key(event, 2, WIRE_VARINT);
    put_varint(event, (uint64_t)step);
}

// Hands the record to the system at once, so that a reader sees it.
static aml_status write_event(amli_events *events, amli_buffer *event, aml_error *error)
{
    amli_buffer record = {0};
    put_little(&record, event->length, 8);
    put_little(&record, masked_crc(record.text, record.failed ? 0 : 8), 4);
    amli_buffer_add(&record, event->text, event->length);
    put_little(&record, event->failed ? 0 : masked_crc(event->text, event->length), 4);
    aml_status status =
        record.failed || event->failed
            ? amli_no_memory(error, event->length, events->path)
            : amli_write_all(events->file, events->path, record.text, record.length, error);
    amli_buffer_free(&record);
    amli_buffer_free(event);
    return status;
}

aml_status amli_events_open(amli_events *events, const char *run, int64_t step, aml_error *error)
{
    static const char version[] = "brain.Event:2";
    char host[65] = "host", name[160];
    events->file = -1;
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%ld.aml", (long long)time(NULL),
             host, (long)getpid());
    aml_status status = amli_join(events->path, sizeof events->path, run, name, error);
    if (status)
        return status;
    events->file =
        TEMP_FAILURE_RETRY(open(events->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    if (events->file < 0)
        return amli_fail(error, AML_IO, "cannot open %s: %s", events->path, strerror(errno));
    amli_buffer event = {0};
    begin_event(&event, 0);
    put_bytes(&event, 3, version, strlen(version));
    status = write_event(events, &event, error);
    return status || step == 0 ? status : amli_events_restart(events, step, error);
}

aml_status amli_events_restart(amli_events *events, int64_t step, aml_error *error)
{
    if (events->file < 0)
        return AML_OK;
    const char start[] = {1 << 3 | WIRE_VARINT, SESSION_START};
    amli_buffer event = {0};
    begin_event(&event, step + 1);
    put_bytes(&event, 7, start, sizeof start);
    return write_event(events, &event, error);
}

// The numbers of a line of metrics.jsonl.
aml_status amli_events_line(amli_events *events, const char *line, size_t length, aml_error *error)
{
    if (events->file < 0)
        return AML_OK;
    json_t *figures = json_loadb(line, length, 0, NULL);
    if (!figures)
        return amli_no_memory(error, length, events->path);
    amli_buffer summary = {0}, event = {0};
    const char *name;
    json_t *value;
    json_object_foreach(figures, name, value)
    {
        if (strcmp(name, "step") == 0 || !json_is_number(value))
            continue;
        amli_buffer entry = {0};
        float single = (float)json_number_value(value);
        uint32_t bits;
        memcpy(&bits, &single, sizeof bits);
        put_bytes(&entry, 1, name, strlen(name));
        put_key(&entry, 2, WIRE_32);
        put_little(&entry, bits, 4);
        put_bytes(&summary, 1, entry.text, entry.length);
        summary.failed = summary.failed || entry.failed;
        amli_buffer_free(&entry);
    }
    begin_event(&event, json_integer_value(json_object_get(figures, "step")));
    put_bytes(&event, 5, summary.text, summary.length);
    event.failed = event.failed || summary.failed;
    json_decref(figures);
    amli_buffer_free(&summary);
    return write_event(events, &event, error);
}

static void put_double(amli_buffer *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_little(to, bits, 8);
}

// A summary of one value: `entry`, under field `kind` of the value.
static aml_status write_summary(amli_events *events, int64_t step, const char *tag, int kind,
                                amli_buffer *entry, aml_error *error)
{
    amli_buffer value = {0}, summary = {0}, event = {0};
    put_bytes(&value, 1, tag, strlen(tag));
    put_bytes(&value, kind, entry->text, entry->failed ? 0 : entry->length);
    put_bytes(&summary, 1, value.text, value.failed ? 0 : value.length);
    begin_event(&event, step);
    put_bytes(&event, 5, summary.text, summary.failed ? 0 : summary.length);
    event.failed = event.failed || entry->failed || value.failed || summary.failed;
    amli_buffer_free(&value);
    amli_buffer_free(&summary);
    return write_event(events, &event, error);
}

aml_status amli_events_histogram(amli_events *events, int64_t step, const char *tag,
                                 const double value[], int64_t count, aml_error *error)
{
    enum { BUCKETS = 30 };
    double low = INFINITY, high = -INFINITY, finite = 0, sum = 0, squares = 0;
    double bucket[BUCKETS] = {0};
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(value[i]))
            continue;
        low = fmin(low, value[i]), high = fmax(high, value[i]);
        finite++, sum += value[i], squares += value[i] * value[i];
    }
    if (events->file < 0 || finite == 0)
        return AML_OK;
    double width = high > low ? (high - low) / BUCKETS : 1;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(value[i]))
            continue;
        int at = (int)((value[i] - low) / width);
        bucket[at < BUCKETS ? at : BUCKETS - 1]++;
    }
    amli_buffer entry = {0}, limits = {0}, counts = {0};
    const double figure[] = {low, high, finite, sum, squares};
    for (int i = 0; i < 5; i++) {
        put_key(&entry, i + 1, WIRE_64);
        put_double(&entry, figure[i]);
    }
    for (int b = 0; b < BUCKETS; b++) {
        put_double(&limits, b == BUCKETS - 1 && high > low ? high : low + (b + 1) * width);
        put_double(&counts, bucket[b]);
    }
    put_bytes(&entry, 6, limits.text, limits.failed ? 0 : limits.length);
    put_bytes(&entry, 7, counts.text, counts.failed ? 0 : counts.length);
    entry.failed = entry.failed || limits.failed || counts.failed;
    aml_status status = write_summary(events, step, tag, 5, &entry, error);
    amli_buffer_free(&entry);
    amli_buffer_free(&limits);
    amli_buffer_free(&counts);
    return status;
}

aml_status amli_events_picture(amli_events *events, int64_t step, const char *tag,
                               const amli_buffer *png, int width, int height, int channels,
                               aml_error *error)
{
    amli_buffer entry = {0};
    const int number[] = {height, width, channels}; // its colorspace is the number of channels
    for (int i = 0; i < 3; i++) {
        put_key(&entry, i + 1, WIRE_VARINT);
        put_varint(&entry, (uint64_t)number[i]);
    }
    put_bytes(&entry, 4, png->text, png->failed ? 0 : png->length);
    entry.failed = entry.failed || png->failed;
    aml_status status =
        events->file < 0 ? AML_OK : write_summary(events, step, tag, 4, &entry, error);
    amli_buffer_free(&entry);
    return status;
}

void amli_events_close(amli_events *events)
{
    if (events->file >= 0)
        close(events->file);
    events->file = -1;
}
