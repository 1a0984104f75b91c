/* The blocks of the deduplication filter: engine/dedup_filter.py says what they are. */
#include "applying.h"

enum { WORDS = 8, AHEAD = 16 }; /* how many hashes ahead a block is fetched */

static const uint32_t salts[WORDS] = {
    0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31,
};

static inline size_t block_of(uint64_t hash, uint64_t blocks)
{
    return (size_t)(((uint32_t)hash * blocks) >> 32);
}

static inline uint64_t bit_of(uint64_t hash, int word)
{
    return (uint64_t)1 << (((uint32_t)(hash >> 32) * salts[word]) >> 26);
}

static Py_ssize_t blocks_of(const Py_buffer *column)
{
    Py_ssize_t blocks = rows_of(column, sizeof(uint64_t) * WORDS, -1);
    if (blocks > 0 && blocks < ((int64_t)1 << 32))
        return blocks;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a filter has 1 to 2**32 - 1 blocks");
    return -1;
}

PyObject *filter_add(PyObject *module, PyObject *args)
{
    Columns columns;
    (void)module;
    if (!take(args, "wr", &columns))
        return NULL;
    const Py_buffer *filter = &columns.at[0], *hashes = &columns.at[1];
    Py_ssize_t blocks = blocks_of(filter), count = rows_of(hashes, sizeof(uint64_t), -1);
    if (blocks > 0 && count > 0) {
        uint64_t(*block)[WORDS] = filter->buf;
        const uint64_t *hash = hashes->buf;
        for (Py_ssize_t i = 0; i < count; i++) {
            if (i + AHEAD < count)
                __builtin_prefetch(block[block_of(hash[i + AHEAD], (uint64_t)blocks)], 1);
            uint64_t *words = block[block_of(hash[i], (uint64_t)blocks)];
            for (int word = 0; word < WORDS; word++)
                words[word] |= bit_of(hash[i], word);
        }
    }
    return let_go(&columns);
}

PyObject *filter_test(PyObject *module, PyObject *args)
{
    Columns columns;
    (void)module;
    if (!take(args, "rrw", &columns))
        return NULL;
    const Py_buffer *filter = &columns.at[0], *hashes = &columns.at[1], *out = &columns.at[2];
    Py_ssize_t blocks = blocks_of(filter), count = rows_of(hashes, sizeof(uint64_t), -1);
    if (blocks > 0 && count >= 0 && rows_of(out, 1, count) >= 0) {
        const uint64_t(*block)[WORDS] = filter->buf;
        const uint64_t *hash = hashes->buf;
        uint8_t *found = out->buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++) {
            if (i + AHEAD < count)
                __builtin_prefetch(block[block_of(hash[i + AHEAD], (uint64_t)blocks)]);
            const uint64_t *words = block[block_of(hash[i], (uint64_t)blocks)];
            uint64_t missing = 0;
            for (int word = 0; word < WORDS; word++)
                missing |= bit_of(hash[i], word) & ~words[word];
            found[i] |= missing == 0;
        }
        Py_END_ALLOW_THREADS
    }
    return let_go(&columns);
}
