// Did you mean: the restricted Damerau-Levenshtein distance, in which a swap of neighbours counts
// one.

#include <string.h>

#include "runtime/base/base.h"

enum { LONGEST = 63 };

static int distance(const char *a, const char *b)
{
    int rows = (int)strlen(a), columns = (int)strlen(b);
    if (rows > LONGEST || columns > LONGEST)
        return LONGEST;
    int before[LONGEST + 1], above[LONGEST + 1], row[LONGEST + 1];
    memset(before, 0, sizeof before);
    for (int j = 0; j <= columns; j++)
        above[j] = j;
    for (int i = 1; i <= rows; i++) {
        row[0] = i;
        for (int j = 1; j <= columns; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        memcpy(before, above, sizeof before);
        memcpy(above, row, sizeof above);
    }
    return above[columns];
}

const char *amli_closest(const char *word, const char *const candidates[], int count)
{
    const char *best = NULL;
    int least = (int)strlen(word) / 3;
    if (least < 1)
        least = 1;
    for (int i = 0; i < count; i++) {
        int d = distance(word, candidates[i]);
        if (d <= least && (!best || d < least)) {
            best = candidates[i];
            least = d;
        }
    }
    return best;
}
