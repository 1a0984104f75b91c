/* Identifiers from their stored form back to text, and from text to UUIDs. */
#include "columns.h"
#include "request.h"

static int fill_identifiers(const Py_buffer *forms, const Py_buffer *ids, const Py_buffer *texts, uint8_t *offsets, uint8_t *data)
{
    const uint8_t *id = ids->buf, *id_end = id + ids->len, *text = texts->buf, *text_end = text + texts->len;
    size_t count = (size_t)forms->len / sizeof(uint16_t);
    uint8_t *start = data;
    for (size_t i = 0; i <= count; i++) {
        int32_t offset = (int32_t)(data - start);
        memcpy(offsets + sizeof offset * i, &offset, sizeof offset);
        if (i == count)
            break;
        uint16_t form = number_at(forms->buf, i);
        if (form >= FORM_HEX) {
            if (id_end - id < HEX_BYTES)
                return 0;
            unpack_hex(id, form == FORM_UUID, data);
            id += HEX_BYTES;
            data += form == FORM_UUID ? UUID_CHARACTERS : HEX_DIGITS;
        } else {
            if (text_end - text < form)
                return 0;
            copy(data, text, form);
            text += form;
            data += form;
        }
    }
    return id == id_end && text == text_end;
}

PyObject *unpack_identifiers(PyObject *module, PyObject *args)
{
    Py_buffer forms, ids, texts;
    PyObject *offsets = NULL, *data = NULL, *both = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*", &forms, &ids, &texts))
        return NULL;
    size_t count = (size_t)forms.len / sizeof(uint16_t), size = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t form = number_at(forms.buf, i);
        size += form == FORM_UUID ? UUID_CHARACTERS : form == FORM_HEX ? HEX_DIGITS : form;
    }
    if (forms.len % sizeof(uint16_t) == 0 && size <= INT32_MAX) {
        offsets = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(sizeof(int32_t) * (count + 1)));
        data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (offsets != NULL && data != NULL &&
            fill_identifiers(&forms, &ids, &texts, (uint8_t *)PyBytes_AS_STRING(offsets), (uint8_t *)PyBytes_AS_STRING(data)))
            both = PyTuple_Pack(2, offsets, data);
    }
    if (both == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "the forms of identifiers and their bytes do not fit together");
    Py_XDECREF(offsets);
    Py_XDECREF(data);
    PyBuffer_Release(&forms);
    PyBuffer_Release(&ids);
    PyBuffer_Release(&texts);
    return both;
}

PyObject *pack_uuids(PyObject *module, PyObject *args)
{
    Py_buffer offsets, data;
    PyObject *packed = NULL, *is_uuid = NULL, *both = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*", &offsets, &data))
        return NULL;
    Py_ssize_t count = offsets.len / (Py_ssize_t)sizeof(int32_t) - 1;
    if (count >= 0) {
        packed = PyBytes_FromStringAndSize(NULL, count * HEX_BYTES);
        is_uuid = PyBytes_FromStringAndSize(NULL, count);
    }
    int fits = packed != NULL && is_uuid != NULL;
    for (Py_ssize_t i = 0; fits && i < count; i++) {
        int32_t bounds[2];
        uint8_t *id = (uint8_t *)PyBytes_AS_STRING(packed) + i * HEX_BYTES;
        memcpy(bounds, (const uint8_t *)offsets.buf + i * (Py_ssize_t)sizeof(int32_t), sizeof bounds);
        fits = 0 <= bounds[0] && bounds[0] <= bounds[1] && bounds[1] <= data.len;
        int found = fits && bounds[1] - bounds[0] == UUID_CHARACTERS &&
                    pack_hex((const uint8_t *)data.buf + bounds[0], 1, id);
        if (!found)
            memset(id, 0, HEX_BYTES);
        PyBytes_AS_STRING(is_uuid)[i] = (char)found;
    }
    if (fits)
        both = PyTuple_Pack(2, is_uuid, packed);
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "the offsets of identifiers and their text do not fit together");
    Py_XDECREF(packed);
    Py_XDECREF(is_uuid);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&data);
    return both;
}
