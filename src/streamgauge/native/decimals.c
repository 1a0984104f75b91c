/* Decimals: their text as numbers, and sums of them: domain/decimals.py, domain/rollups.py. */
#include "applying.h"

enum { DIGITS_MAX = 15, SCALE = 15 };

typedef __int128 Int128;
typedef unsigned __int128 UInt128;

enum { INVALID, TOO_MANY_DIGITS, ABSENT, CODES }; /* the order in which the caller gives the codes */

/* 0, or 1 + the place of a code. */
static int parse(const uint8_t *at, size_t size, Int128 *value, uint8_t *is_canonical)
{
    const uint8_t *end = at + size, *start = at;
    int is_negative = size > 0 && *at == '-';
    at += is_negative;
    const uint8_t *whole = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    const uint8_t *whole_end = at, *fraction = at;
    if (whole == whole_end)
        return 1 + INVALID;
    if (at < end) {
        if (*at++ != '.' || at == end)
            return 1 + INVALID;
        fraction = at;
        while (at < end && *at >= '0' && *at <= '9')
            at++;
        if (at != end)
            return 1 + INVALID;
    }
    const uint8_t *counted = whole;
    while (counted < whole_end && *counted == '0')
        counted++;
    if ((whole_end - counted) + (end - fraction) > DIGITS_MAX)
        return 1 + TOO_MANY_DIGITS;
    uint64_t number = 0;
    for (; counted < whole_end; counted++)
        number = number * 10 + (*counted - '0');
    for (const uint8_t *digit = fraction; digit < end; digit++)
        number = number * 10 + (*digit - '0');
    Int128 scaled = number;
    for (int i = (int)(end - fraction); i < SCALE; i++)
        scaled *= 10;
    *value = is_negative ? -scaled : scaled;
    int ends_with_zero = fraction < end && end[-1] == '0';
    int begins_with_zero = *start == '0' && whole_end - whole > 1;
    *is_canonical = !ends_with_zero && !begins_with_zero && !(is_negative && *whole == '0');
    return 0;
}

PyObject *parse_decimals(PyObject *module, PyObject *args)
{
    Columns columns;
    Texts texts;
    (void)module;
    if (!take(args, "rrrrwww", &columns))
        return NULL;
    const Py_buffer *offsets = &columns.at[0], *data = &columns.at[1], *places = &columns.at[2], *codes = &columns.at[3], *values = &columns.at[4], *code = &columns.at[5], *canonical = &columns.at[6];
    Py_ssize_t count = texts_of(offsets, data, &texts) ? rows_of(places, sizeof(int64_t), -1) : -1;
    if (count >= 0 && rows_of(codes, 1, CODES) >= 0 && rows_of(values, sizeof(Int128), count) >= 0 &&
        rows_of(code, 1, count) >= 0 && rows_of(canonical, 1, count) >= 0) {
        const int64_t *place = places->buf;
        const uint8_t *code_of = codes->buf;
        uint8_t *to = values->buf, *found = code->buf, *is_canonical = canonical->buf;
        int fits = 1;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++) {
            int64_t at = place[i];
            Int128 value = 0;
            int failed = 1 + ABSENT;
            is_canonical[i] = 0;
            if (at >= texts.count) {
                fits = 0;
                break;
            }
            if (at >= 0)
                failed = parse(texts.data + texts.offsets[at], (size_t)(texts.offsets[at + 1] - texts.offsets[at]), &value, &is_canonical[i]);
            memcpy(to + sizeof value * (size_t)i, &value, sizeof value);
            found[i] = failed ? code_of[failed - 1] : 0;
        }
        Py_END_ALLOW_THREADS
        if (!fits)
            PyErr_SetString(PyExc_ValueError, "a place is beyond the texts");
    }
    return let_go(&columns);
}

/* ---------------------------------------------------------------- by group */

static int is_group(int32_t group, Py_ssize_t groups)
{
    return group >= 0 && group < groups;
}

static void refuse_group(int fits)
{
    if (!fits)
        PyErr_SetString(PyExc_ValueError, "an event is of a group that is not there");
}

/* Of fewer than 2**31 values of 128 bits: so a sum fits into 256. */
PyObject *sum_by_group(PyObject *module, PyObject *args)
{
    Columns columns;
    (void)module;
    if (!take(args, "rrww", &columns))
        return NULL;
    const Py_buffer *groups = &columns.at[0], *values = &columns.at[1], *counts = &columns.at[2], *sums = &columns.at[3];
    Py_ssize_t rows = rows_of(groups, sizeof(int32_t), -1), number = rows_of(counts, sizeof(int64_t), -1);
    if (rows >= 0 && number >= 0 && rows_of(values, sizeof(Int128), rows) >= 0 && rows_of(sums, 32, number) >= 0) {
        const int32_t *group = groups->buf;
        const uint8_t *value = values->buf;
        int64_t *count = counts->buf;
        uint64_t(*sum)[4] = sums->buf;
        int fits = 1;
        memset(counts->buf, 0, (size_t)counts->len);
        memset(sums->buf, 0, (size_t)sums->len);
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < rows && (fits = is_group(group[i], number)); i++) {
            uint64_t word[4];
            memcpy(word, value + sizeof(Int128) * (size_t)i, sizeof(Int128));
            word[2] = word[3] = (int64_t)word[1] < 0 ? UINT64_MAX : 0;
            UInt128 carry = 0;
            for (int part = 0; part < 4; part++) {
                carry += (UInt128)sum[group[i]][part] + word[part];
                sum[group[i]][part] = (uint64_t)carry;
                carry >>= 64;
            }
            count[group[i]]++;
        }
        Py_END_ALLOW_THREADS
        refuse_group(fits);
    }
    return let_go(&columns);
}

PyObject *latest_by_group(PyObject *module, PyObject *args)
{
    Columns columns;
    (void)module;
    if (!take(args, "rrww", &columns))
        return NULL;
    const Py_buffer *groups = &columns.at[0], *times = &columns.at[1], *latest = &columns.at[2], *last = &columns.at[3];
    Py_ssize_t rows = rows_of(groups, sizeof(int32_t), -1), number = rows_of(latest, sizeof(int64_t), -1);
    if (rows >= 0 && number >= 0 && rows_of(times, sizeof(int64_t), rows) >= 0 &&
        rows_of(last, sizeof(int64_t), number) >= 0) {
        const int32_t *group = groups->buf;
        const int64_t *time = times->buf;
        int64_t *row_of_latest = latest->buf, *row_of_last = last->buf;
        int fits = 1;
        memset(latest->buf, 0xFF, (size_t)latest->len);
        memset(last->buf, 0xFF, (size_t)last->len);
        for (Py_ssize_t i = 0; i < rows && (fits = is_group(group[i], number)); i++) {
            int64_t *at = &row_of_latest[group[i]];
            if (*at < 0 || time[i] >= time[*at])
                *at = i;
            row_of_last[group[i]] = i;
        }
        refuse_group(fits);
    }
    return let_go(&columns);
}
