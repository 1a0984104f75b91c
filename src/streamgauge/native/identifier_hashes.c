/* Hashes of identifiers, what they order, and what that makes of events: domain/identifier_hash.py, settlement.py. */
#include "applying.h"

#define MULTIPLIER 0x9E3779B97F4A7C15u
#define FINAL_1 0xBF58476D1CE4E5B9u
#define FINAL_2 0x94D049BB133111EBu

static uint64_t hash_of(const uint8_t *at, size_t size, uint64_t state)
{
    for (state ^= size; size > 0;) {
        uint64_t word = 0;
        size_t part = size < sizeof word ? size : sizeof word;
        memcpy(&word, at, part);
        state = (state ^ word) * MULTIPLIER;
        state ^= state >> 32;
        at += part;
        size -= part;
    }
    state = (state ^ (state >> 30)) * FINAL_1;
    state = (state ^ (state >> 27)) * FINAL_2;
    return state ^ (state >> 31);
}

PyObject *hash_texts(PyObject *module, PyObject *args)
{
    Columns columns;
    Texts texts;
    (void)module;
    if (!take(args, "rrrrw", &columns))
        return NULL;
    const Py_buffer *offsets = &columns.at[0], *data = &columns.at[1], *tenant = &columns.at[2], *seeds = &columns.at[3], *out = &columns.at[4];
    int fits = texts_of(offsets, data, &texts) && rows_of(tenant, sizeof(int32_t), texts.count) >= 0 &&
               rows_of(out, sizeof(uint64_t), texts.count) >= 0;
    Py_ssize_t count = fits ? rows_of(seeds, sizeof(uint64_t), -1) : -1;
    if (count >= 0) {
        const int32_t *of = tenant->buf;
        const uint64_t *seed = seeds->buf;
        uint64_t *to = out->buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < texts.count && fits; i++) {
            fits = of[i] >= 0 && of[i] < count;
            if (fits)
                to[i] = hash_of(texts.data + texts.offsets[i], (size_t)(texts.offsets[i + 1] - texts.offsets[i]), seed[of[i]]);
        }
        Py_END_ALLOW_THREADS
        if (!fits)
            PyErr_SetString(PyExc_ValueError, "an event is of a tenant that is not listed");
    }
    return let_go(&columns);
}

/* ---------------------------------------------------------------- order */

/* Numbers are first put into as many buckets as make them small, by their highest bits, as hashes are spread evenly. Then
   small buckets are sorted in the cache by inserting. Numbers may also be chosen so that they meet in one bucket, or be
   keys that are the same for many: larger buckets are sorted by counting, digit by digit, which nothing makes slow. */
enum {
    DIGIT_BITS = 11,
    DIGITS = 1 << DIGIT_BITS,
    PASSES = (64 + DIGIT_BITS - 1) / DIGIT_BITS,
    BUCKET_BITS_MAX = 16,
    MEANT = 16,   /* for a bucket */
    INSERTED = 96 /* of a bucket at most */
};

typedef struct {
    uint64_t hash;
    int64_t row;
} Place;

static void sizes_to_starts(Py_ssize_t *sizes, uint64_t count)
{
    Py_ssize_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        Py_ssize_t size = sizes[i];
        sizes[i] = sum;
        sum += size;
    }
}

static void insert_each(Place *places, Py_ssize_t count)
{
    for (Py_ssize_t i = 1; i < count; i++) {
        Place one = places[i];
        Py_ssize_t at = i;
        for (; at > 0 && places[at - 1].hash > one.hash; at--)
            places[at] = places[at - 1];
        places[at] = one;
    }
}

/* Equal ones keep their order. What is sorted stands in one of the two. */
static Place *sorted_by_digits(Place *from, Place *to, Py_ssize_t count)
{
    for (int pass = 0; pass < PASSES; pass++) {
        Py_ssize_t starts[DIGITS] = {0};
        int shift = pass * DIGIT_BITS;
        for (Py_ssize_t i = 0; i < count; i++)
            starts[(from[i].hash >> shift) & (DIGITS - 1)]++;
        if (starts[(from[0].hash >> shift) & (DIGITS - 1)] == count)
            continue;
        sizes_to_starts(starts, DIGITS);
        for (Py_ssize_t i = 0; i < count; i++)
            to[starts[(from[i].hash >> shift) & (DIGITS - 1)]++] = from[i];
        Place *other = from;
        from = to;
        to = other;
    }
    return from;
}

/* `places` in the order of `hash`; `ends` has room for a bucket's end each. */
static void sort_places(const uint64_t *hash, Place *places, Place *scratch, Py_ssize_t count, Py_ssize_t *ends, int bits)
{
    uint64_t varying = 0;
    for (Py_ssize_t i = 1; i < count; i++)
        varying |= hash[i] ^ hash[0];
    int used = varying == 0 ? 0 : 64 - __builtin_clzll(varying), shift = used > bits ? used - bits : 0;
    uint64_t buckets = (uint64_t)1 << bits;
    memset(ends, 0, sizeof *ends * buckets);
    for (Py_ssize_t i = 0; i < count; i++)
        ends[(hash[i] >> shift) & (buckets - 1)]++;
    sizes_to_starts(ends, buckets);
    for (Py_ssize_t i = 0; i < count; i++)
        places[ends[(hash[i] >> shift) & (buckets - 1)]++] = (Place){hash[i], i};
    if (shift == 0) /* a bucket holds equal ones */
        return;
    Py_ssize_t start = 0;
    for (uint64_t bucket = 0; bucket < buckets; start = ends[bucket++]) {
        Py_ssize_t size = ends[bucket] - start;
        if (size <= INSERTED)
            insert_each(places + start, size);
        else if (sorted_by_digits(places + start, scratch, size) == scratch)
            memcpy(places + start, scratch, sizeof *places * (size_t)size);
    }
}

PyObject *hash_order(PyObject *module, PyObject *args)
{
    Columns columns;
    (void)module;
    if (!take(args, "rw", &columns))
        return NULL;
    const Py_buffer *hashes = &columns.at[0], *order = &columns.at[1];
    Py_ssize_t count = rows_of(hashes, sizeof(uint64_t), -1);
    if (count < 0 || rows_of(order, sizeof(int64_t), count) < 0 || count == 0)
        return let_go(&columns);
    int bits = 1;
    while (bits < BUCKET_BITS_MAX && (count >> bits) > MEANT)
        bits++;
    Place *places = PyMem_RawMalloc(2 * sizeof *places * (size_t)count);
    Py_ssize_t *ends = PyMem_RawMalloc(sizeof *ends * ((size_t)1 << bits));
    if (places == NULL || ends == NULL) {
        PyErr_NoMemory();
    } else {
        int64_t *to = order->buf;
        Py_BEGIN_ALLOW_THREADS
        sort_places(hashes->buf, places, places + count, count, ends, bits);
        for (Py_ssize_t i = 0; i < count; i++)
            to[i] = places[i].row;
        Py_END_ALLOW_THREADS
    }
    PyMem_RawFree(ends);
    PyMem_RawFree(places);
    return let_go(&columns);
}

/* ---------------------------------------------------------------- fates */

enum { COUNTED, DUPLICATE, REJECTED }; /* their places in domain/settlement.py */

PyObject *settle(PyObject *module, PyObject *args)
{
    Columns columns;
    (void)module;
    if (!take(args, "rrrrw", &columns))
        return NULL;
    const Py_buffer *order = &columns.at[0], *starts = &columns.at[1], *code = &columns.at[2], *claimed = &columns.at[3], *out = &columns.at[4];
    Py_ssize_t count = rows_of(order, sizeof(int64_t), -1), groups = rows_of(starts, sizeof(int64_t), -1);
    int fits = count >= 0 && groups >= 0 && rows_of(code, 1, count) >= 0 && rows_of(claimed, 1, count) >= 0 &&
               rows_of(out, 1, count) >= 0;
    if (fits) {
        const int64_t *rows = order->buf, *start = starts->buf;
        const uint8_t *codes = code->buf, *claims = claimed->buf;
        uint8_t *fate = out->buf;
        for (Py_ssize_t group = 0; fits && group < groups; group++) {
            int64_t end = group + 1 < groups ? start[group + 1] : count;
            int is_claimed = 0;
            fits = start[group] >= 0 && start[group] < end && end <= count;
            for (int64_t at = start[group]; fits && at < end; at++) {
                int64_t row = rows[at];
                fits = row >= 0 && row < count;
                if (!fits)
                    break;
                if (claims[row] || is_claimed)
                    fate[row] = DUPLICATE;
                else if (codes[row] == 0)
                    fate[row] = COUNTED, is_claimed = 1;
                else
                    fate[row] = REJECTED;
            }
        }
        if (!fits)
            PyErr_SetString(PyExc_ValueError, "the order of events and its groups do not fit together");
    }
    return let_go(&columns);
}
