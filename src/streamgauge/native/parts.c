/* Whether the parts of a stored block fit together (domain/stored_block.py). */
#include "columns.h"
#include "request.h"

/* In the order in which a block has them. */
enum { TIMESTAMP, NAME, FORM, KEY, VALUE_SIZE, PAYLOAD_SIZE, NAMES_SIZE, KEYS_SIZE, RUN_ORIGIN, RUN_EVENTS, NUMBERS,
       IDS = NUMBERS, NAMES, KEYS, TEXTS, VALUES, PARTS };

typedef struct {
    Py_buffer at[PARTS];
    int taken;
    uint8_t width[NUMBERS];
    size_t count[NUMBERS];
} Parts;

static inline uint32_t number_of(const Parts *parts, int part, size_t row)
{
    const uint8_t *at = parts->at[part].buf;
    switch (parts->width[part]) {
    case 1:
        return at[row];
    case 2:
        return number_at(at, row);
    default: {
        uint32_t number;
        memcpy(&number, at + sizeof number * row, sizeof number);
        return number;
    }
    }
}

static uint64_t sum_of(const Parts *parts, int part)
{
    uint64_t sum = 0;
    for (size_t row = 0; row < parts->count[part]; row++)
        sum += number_of(parts, part, row);
    return sum;
}

static int all_below(const Parts *parts, int part, size_t bound)
{
    for (size_t row = 0; row < parts->count[part]; row++)
        if (number_of(parts, part, row) >= bound)
            return 0;
    return 1;
}

static int have_types(Parts *parts)
{
    for (int part = 0; part < NUMBERS; part++) {
        uint8_t width = parts->width[part];
        if (part == TIMESTAMP ? width != 4 && width != 8 : width != 1 && width != 2 && (width != 4 || part == FORM))
            return 0;
        if (parts->at[part].len % width != 0)
            return 0;
        parts->count[part] = (size_t)parts->at[part].len / width;
    }
    return 1;
}

static int identifiers_fit(const Parts *parts)
{
    uint64_t ids = 0, text_bytes = 0;
    for (size_t row = 0; row < parts->count[FORM]; row++) {
        uint32_t form = number_of(parts, FORM, row);
        if (form >= FORM_HEX)
            ids += HEX_BYTES;
        else
            text_bytes += form;
    }
    return ids == (uint64_t)parts->at[IDS].len && text_bytes == (uint64_t)parts->at[TEXTS].len;
}

static int fit(Parts *parts, size_t origins)
{
    if (!have_types(parts))
        return 0;
    const size_t *count = parts->count;
    return count[TIMESTAMP] == count[NAME] && count[FORM] == count[NAME] && count[PAYLOAD_SIZE] == count[NAME] &&
           count[RUN_ORIGIN] == count[RUN_EVENTS] && count[KEY] == count[VALUE_SIZE] &&
           sum_of(parts, RUN_EVENTS) == count[NAME] && all_below(parts, RUN_ORIGIN, origins) &&
           sum_of(parts, PAYLOAD_SIZE) == count[KEY] &&
           all_below(parts, NAME, count[NAMES_SIZE]) && all_below(parts, KEY, count[KEYS_SIZE]) &&
           sum_of(parts, NAMES_SIZE) == (uint64_t)parts->at[NAMES].len &&
           sum_of(parts, KEYS_SIZE) == (uint64_t)parts->at[KEYS].len &&
           sum_of(parts, VALUE_SIZE) == (uint64_t)parts->at[VALUES].len && identifiers_fit(parts);
}

PyObject *parts_fit(PyObject *module, PyObject *args)
{
    Parts parts = {.taken = 0};
    PyObject *given, *answer = NULL;
    const char *widths;
    Py_ssize_t width_count, origins;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!y#n", &PyTuple_Type, &given, &widths, &width_count, &origins))
        return NULL;
    if (PyTuple_GET_SIZE(given) != PARTS || width_count != NUMBERS || origins < 0)
        return PyErr_Format(PyExc_TypeError, "takes %d parts and the widths of %d", PARTS, NUMBERS);
    memcpy(parts.width, widths, NUMBERS);
    while (parts.taken < PARTS &&
           PyObject_GetBuffer(PyTuple_GET_ITEM(given, parts.taken), &parts.at[parts.taken], PyBUF_SIMPLE) == 0)
        parts.taken++;
    if (parts.taken == PARTS)
        answer = PyBool_FromLong(fit(&parts, (size_t)origins));
    while (parts.taken > 0)
        PyBuffer_Release(&parts.at[--parts.taken]);
    return answer;
}
