/* Numbering what is distinct, and payload entries by their key: domain/judgement.py, domain/rollups.py. */
#include "applying.h"

/* Open addressing with a power of two of slots, at most half of them taken. `first` is where a thing stands first. */
typedef struct {
    uint64_t *hash;
    int32_t *number; /* -1: free */
    int64_t *first;
    size_t slots, count;
} Table;

static int make_table(Table *table, size_t slots)
{
    table->hash = PyMem_RawMalloc(slots * sizeof *table->hash);
    table->number = PyMem_RawMalloc(slots * sizeof *table->number);
    table->slots = slots;
    if (table->hash == NULL || table->number == NULL)
        return 0;
    memset(table->number, 0xFF, slots * sizeof *table->number);
    return 1;
}

static void free_table(Table *table)
{
    PyMem_RawFree(table->hash);
    PyMem_RawFree(table->number);
    PyMem_RawFree(table->first);
}

static int start_table(Table *table)
{
    memset(table, 0, sizeof *table);
    table->first = PyMem_RawMalloc(512 * sizeof *table->first);
    return make_table(table, 1024) && table->first != NULL;
}

static int grow(Table *table)
{
    Table larger = {.first = PyMem_RawRealloc(table->first, table->slots * sizeof *table->first), .count = table->count};
    if (larger.first == NULL)
        return 0;
    table->first = NULL;
    int done = make_table(&larger, table->slots * 2);
    for (size_t i = 0; done && i < table->slots; i++) {
        if (table->number[i] < 0)
            continue;
        size_t slot = table->hash[i] & (larger.slots - 1);
        while (larger.number[slot] >= 0)
            slot = (slot + 1) & (larger.slots - 1);
        larger.hash[slot] = table->hash[i];
        larger.number[slot] = table->number[i];
    }
    free_table(table);
    *table = larger;
    return done;
}

static inline uint64_t mixed(uint64_t state)
{
    state = (state ^ (state >> 32)) * 0xD6E8FEB86659FD93u;
    state = (state ^ (state >> 32)) * 0xD6E8FEB86659FD93u;
    return state ^ (state >> 32);
}

static uint64_t hash_of(const uint8_t *at, size_t size)
{
    uint64_t state = size * 0x9E3779B97F4A7C15u;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        state = (state ^ word) * 0x9E3779B97F4A7C15u;
        state ^= state >> 29;
    }
    uint64_t word = 0;
    copy((uint8_t *)&word, at, size);
    return mixed(state ^ word);
}

/* The slot of a thing: taken by one with this hash that `same` says it is, or free. */
#define FIND(table, slot, wanted, same)                                                                                \
    for (slot = (wanted) & ((table)->slots - 1);                                                                       \
         (table)->number[slot] >= 0 && !((table)->hash[slot] == (wanted) && (same));                                   \
         slot = (slot + 1) & ((table)->slots - 1))

static int32_t add(Table *table, size_t slot, uint64_t hash, int64_t at)
{
    table->hash[slot] = hash;
    table->number[slot] = (int32_t)table->count;
    table->first[table->count] = at;
    table->count++;
    return table->number[slot];
}

static PyObject *firsts(Table *table, int done)
{
    PyObject *found = NULL;
    if (done)
        found = PyBytes_FromStringAndSize((const char *)table->first, (Py_ssize_t)(table->count * sizeof *table->first));
    else if (!PyErr_Occurred())
        PyErr_NoMemory();
    free_table(table);
    return found;
}

static int same_text(const Texts *texts, int64_t left, int64_t right)
{
    int32_t size = texts->offsets[left + 1] - texts->offsets[left];
    return size == texts->offsets[right + 1] - texts->offsets[right] &&
           memcmp(texts->data + texts->offsets[left], texts->data + texts->offsets[right], (size_t)size) == 0;
}

PyObject *distinct_texts(PyObject *module, PyObject *args)
{
    Columns columns;
    Texts texts;
    Table table;
    PyObject *found = NULL;
    (void)module;
    if (!take(args, "rrrw", &columns))
        return NULL;
    const Py_buffer *offsets = &columns.at[0], *data = &columns.at[1], *places = &columns.at[2], *out = &columns.at[3];
    Py_ssize_t count = texts_of(offsets, data, &texts) ? rows_of(places, sizeof(int64_t), -1) : -1;
    if (count >= 0 && count <= INT32_MAX && rows_of(out, sizeof(int32_t), count) >= 0) {
        const int64_t *place = places->buf;
        int32_t *number = out->buf;
        int fits = 1, done = start_table(&table);
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; done && i < count; i++) {
            int64_t at = place[i];
            if (at < 0) {
                number[i] = -1;
                continue;
            }
            if (at >= texts.count) {
                fits = 0;
                break;
            }
            uint64_t hash = hash_of(texts.data + texts.offsets[at], (size_t)(texts.offsets[at + 1] - texts.offsets[at]));
            size_t slot;
            FIND(&table, slot, hash, same_text(&texts, table.first[table.number[slot]], at));
            number[i] = table.number[slot] >= 0 ? table.number[slot] : add(&table, slot, hash, at);
            if (table.count * 2 >= table.slots)
                done = grow(&table);
        }
        Py_END_ALLOW_THREADS
        if (!fits)
            PyErr_SetString(PyExc_ValueError, "a place is beyond the texts");
        found = firsts(&table, done && fits);
    }
    release(&columns);
    return found;
}

PyObject *distinct_numbers(PyObject *module, PyObject *args)
{
    Columns columns;
    Table table;
    PyObject *found = NULL;
    (void)module;
    if (!take(args, "rw", &columns))
        return NULL;
    const Py_buffer *numbers = &columns.at[0], *out = &columns.at[1];
    Py_ssize_t count = rows_of(numbers, sizeof(int64_t), -1);
    if (count >= 0 && count <= INT32_MAX && rows_of(out, sizeof(int32_t), count) >= 0) {
        const uint64_t *given = numbers->buf;
        int32_t *number = out->buf;
        int done = start_table(&table);
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; done && i < count; i++) {
            uint64_t hash = mixed(given[i]); /* one to one: equal hashes are equal numbers */
            size_t slot;
            FIND(&table, slot, hash, 1);
            number[i] = table.number[slot] >= 0 ? table.number[slot] : add(&table, slot, hash, i);
            if (table.count * 2 >= table.slots)
                done = grow(&table);
        }
        Py_END_ALLOW_THREADS
        found = firsts(&table, done);
    }
    release(&columns);
    return found;
}

PyObject *entries(PyObject *module, PyObject *args)
{
    Columns columns;
    (void)module;
    if (!take(args, "rrrrw", &columns))
        return NULL;
    const Py_buffer *offsets = &columns.at[0], *keys = &columns.at[1], *meters = &columns.at[2], *wanted = &columns.at[3], *out = &columns.at[4];
    Py_ssize_t count = rows_of(meters, sizeof(int32_t), -1), all = rows_of(keys, sizeof(int32_t), -1);
    Py_ssize_t known = rows_of(wanted, sizeof(int32_t), -1);
    if (count >= 0 && all >= 0 && known >= 0 && rows_of(offsets, sizeof(int32_t), count + 1) >= 0 &&
        rows_of(out, sizeof(int64_t), count) >= 0) {
        const int32_t *start = offsets->buf, *key = keys->buf, *meter = meters->buf, *wanted_key = wanted->buf;
        int64_t *to = out->buf;
        int fits = 1;
        for (Py_ssize_t i = 0; fits && i < count; i++) {
            fits = start[i] >= 0 && start[i] <= start[i + 1] && start[i + 1] <= all && meter[i] < known;
            to[i] = -1;
            if (!fits || meter[i] < 0 || wanted_key[meter[i]] < 0)
                continue;
            for (int32_t entry = start[i]; entry < start[i + 1]; entry++)
                if (key[entry] == wanted_key[meter[i]])
                    to[i] = entry;
        }
        if (!fits)
            PyErr_SetString(PyExc_ValueError, "payloads, their keys and meters do not fit together");
    }
    return let_go(&columns);
}
