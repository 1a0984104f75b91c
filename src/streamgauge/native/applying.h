/* The functions that applying is made of: each works on whole columns, which the caller has allocated.
 *
 * Each checks the sizes of its columns and every place that it follows, so that no column, however wrong, leads out of
 * memory. The interpreter is let go while they work: a step is some hundred thousand events.
 */
#ifndef STREAMGAUGE_APPLYING_H
#define STREAMGAUGE_APPLYING_H

#include "columns.h"

enum { COLUMNS_MAX = 7 };

/* The columns that a call was given. They are let go together. */
typedef struct {
    Py_buffer at[COLUMNS_MAX];
    int count;
} Columns;

/* As many columns as `kinds` has letters: 'r' is read, 'w' is written. 0 with a TypeError or BufferError. */
int take(PyObject *args, const char *kinds, Columns *columns);

void release(Columns *columns);

/* The same, and None; NULL when an error is set. */
PyObject *let_go(Columns *columns);

/* Texts as Arrow has them: `count` + 1 offsets, and the bytes. */
typedef struct {
    const int32_t *offsets;
    const uint8_t *data;
    Py_ssize_t count;
} Texts;

/* Whether the offsets rise and end within the data; else a ValueError is set. */
int texts_of(const Py_buffer *offsets, const Py_buffer *data, Texts *texts);

/* How many numbers of `width` bytes a column has; a ValueError and -1 when it is no whole number or not `wanted` many
 * (-1: any). */
Py_ssize_t rows_of(const Py_buffer *column, size_t width, Py_ssize_t wanted);

PyObject *hash_texts(PyObject *module, PyObject *args);
PyObject *hash_order(PyObject *module, PyObject *args);
PyObject *filter_add(PyObject *module, PyObject *args);
PyObject *filter_test(PyObject *module, PyObject *args);
PyObject *settle(PyObject *module, PyObject *args);
PyObject *entries(PyObject *module, PyObject *args);
PyObject *distinct_texts(PyObject *module, PyObject *args);
PyObject *distinct_numbers(PyObject *module, PyObject *args);
PyObject *parse_decimals(PyObject *module, PyObject *args);
PyObject *sum_by_group(PyObject *module, PyObject *args);
PyObject *latest_by_group(PyObject *module, PyObject *args);

#endif
