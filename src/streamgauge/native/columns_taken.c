/* What every function of applying begins and ends with: the columns that it was given, and whether they fit together. */
#include "applying.h"

int take(PyObject *args, const char *kinds, Columns *columns)
{
    columns->count = 0;
    if (PyTuple_GET_SIZE(args) != (Py_ssize_t)strlen(kinds)) {
        PyErr_Format(PyExc_TypeError, "takes %zu columns", strlen(kinds));
        return 0;
    }
    for (int i = 0; kinds[i] != '\0'; i++, columns->count++)
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(args, i), &columns->at[i], kinds[i] == 'w' ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0) {
            release(columns);
            return 0;
        }
    return 1;
}

void release(Columns *columns)
{
    while (columns->count > 0)
        PyBuffer_Release(&columns->at[--columns->count]);
}

PyObject *let_go(Columns *columns)
{
    release(columns);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

Py_ssize_t rows_of(const Py_buffer *column, size_t width, Py_ssize_t wanted)
{
    Py_ssize_t count = column->len / (Py_ssize_t)width;
    if (column->len % (Py_ssize_t)width == 0 && (wanted < 0 || count == wanted))
        return count;
    PyErr_SetString(PyExc_ValueError, "columns have lengths that do not fit together");
    return -1;
}

int texts_of(const Py_buffer *offsets, const Py_buffer *data, Texts *texts)
{
    texts->count = offsets->len / (Py_ssize_t)sizeof(int32_t) - 1;
    texts->offsets = offsets->buf;
    texts->data = data->buf;
    int fits = texts->count >= 0 && offsets->len % sizeof(int32_t) == 0 && texts->offsets[0] >= 0;
    for (Py_ssize_t i = 0; fits && i < texts->count; i++)
        fits = texts->offsets[i] <= texts->offsets[i + 1];
    if (fits && texts->offsets[texts->count] <= data->len)
        return 1;
    PyErr_SetString(PyExc_ValueError, "the offsets of texts and their bytes do not fit together");
    return 0;
}
