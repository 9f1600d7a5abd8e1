// sort_template.h: a stable merge sort of positions. Included once for each element type.
//
// Runs of eight are sorted by insertion, then neighbouring runs are merged from one array of
// positions into the other until one run is left. `spare` holds n positions.

// Whether x comes before y for certain: a number before a NaN, equals not at all.
HELPER bool NAME(sort_before)(ELEMENT x, ELEMENT y, bool descending)
{
    if (IS_NAN(x) || IS_NAN(y))
        return !IS_NAN(x);
    return descending ? x > y : x < y;
}

HELPER void NAME(sort_run)(const ELEMENT *row, int64_t begin, int64_t end, bool descending,
                           int32_t *out)
{
    NO_UNROLL for (int64_t i = begin; i < end; i++)
    {
        int64_t place = i;
        NO_UNROLL for (;
                       place > begin && NAME(sort_before)(row[i], row[out[place - 1]], descending);
                       place--) out[place] = out[place - 1];
        out[place] = (int32_t)i;
    }
}

HELPER void NAME(sort_merge)(const ELEMENT *row, const int32_t *from, int64_t begin, int64_t middle,
                             int64_t end, bool descending, int32_t *to)
{
    int64_t left = begin, right = middle;
    NO_UNROLL for (int64_t i = begin; i < end; i++)
    {
        bool second =
            right < end &&
            (left == middle || NAME(sort_before)(row[from[right]], row[from[left]], descending));
        to[i] = second ? from[right++] : from[left++];
    }
}

TEMPLATE void NAME(aml_argsort)(const ELEMENT *row, int64_t n, bool descending, int32_t *out,
                                int32_t *spare)
{
    int64_t run = 8;
    int32_t *from = out, *to = spare;
    NO_UNROLL for (int64_t begin = 0; begin < n; begin += run)
        NAME(sort_run)(row, begin, begin + run < n ? begin + run : n, descending, out);
    NO_UNROLL for (; run < n; run *= 2)
    {
        NO_UNROLL for (int64_t begin = 0; begin < n; begin += 2 * run)
        {
            int64_t middle = begin + run < n ? begin + run : n;
            NAME(sort_merge)
            (row, from, begin, middle, middle + run < n ? middle + run : n, descending, to);
        }
        int32_t *other = from;
        from = to;
        to = other;
    }
    if (from != out)
        __builtin_memcpy(out, from, (size_t)n * sizeof *out);
}
