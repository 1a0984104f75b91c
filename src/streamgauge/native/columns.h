/* What the parts of the module share: columns of numbers, which may stand anywhere in memory. */
#ifndef STREAMGAUGE_COLUMNS_H
#define STREAMGAUGE_COLUMNS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* `memcpy` of nothing from nowhere is undefined. */
static inline void copy(uint8_t *to, const void *from, size_t size)
{
    if (size > 0)
        memcpy(to, from, size);
}

static inline uint16_t number_at(const uint8_t *column, size_t row)
{
    uint16_t number;
    memcpy(&number, column + sizeof number * row, sizeof number);
    return number;
}

static inline void put_number(uint8_t *column, size_t row, uint16_t number)
{
    memcpy(column + sizeof number * row, &number, sizeof number);
}

/* The module's functions `identifiers` and `uuids`. */
PyObject *unpack_identifiers(PyObject *module, PyObject *args);
PyObject *pack_uuids(PyObject *module, PyObject *args);

/* And these. */
PyObject *parts_fit(PyObject *module, PyObject *args);
PyObject *plain_request(PyObject *module, PyObject *args);

#endif
