/* The module streamgauge.native._columns: bodies to requests in columns, requests to one block, and identifiers back.
 *
 * _columns.pyi says what each function takes and gives. No state is kept between calls; a Request is made by `parse`
 * alone, so what `join` finds in one was checked when it was made.
 */
#include "applying.h"
#include "columns.h"
#include "request.h"

enum { VERSION = 3 }; /* of what _columns.pyi says; native/__init__.py takes no other */

/* One request. Everything variable lies in `data`, in the order of the sizes in `layout`. */
typedef struct {
    PyObject_VAR_HEAD
    uint32_t events, entries, missing, names, keys;
    uint32_t ids; /* how many of 16 bytes: the packed and the missing ones */
    size_t text_bytes, value_bytes, word_bytes;
    uint8_t data[];
} Request;

/* Where the parts of a request's data are. */
typedef struct {
    uint8_t *timestamp_ms, *ids, *form, *value_size, *word_size, *name, *payload_size, *key, *words, *texts, *values;
    size_t size;
} Layout;

static Layout layout_of(const Request *r, uint8_t *data)
{
    Layout l;
    uint8_t *at = data;
    l.timestamp_ms = at, at += sizeof(int64_t) * r->events;
    l.ids = at, at += (size_t)HEX_BYTES * r->ids;
    l.form = at, at += sizeof(uint16_t) * r->events;
    l.value_size = at, at += sizeof(uint16_t) * r->entries;
    l.word_size = at, at += sizeof(uint16_t) * ((size_t)r->names + r->keys);
    l.name = at, at += r->events;
    l.payload_size = at, at += r->events;
    l.key = at, at += r->entries;
    l.words = at, at += r->word_bytes;
    l.texts = at, at += r->text_bytes;
    l.values = at, at += r->value_bytes;
    l.size = (size_t)(at - data);
    return l;
}

/* ---------------------------------------------------------------- Request */

static size_t word_bytes_of(const Words *words)
{
    size_t size = 0;
    for (uint32_t i = 0; i < words->count; i++)
        size += words->words[i].size;
    return size;
}

static void put_words(const Words *words, uint8_t **sizes, uint8_t **bytes)
{
    for (uint32_t i = 0; i < words->count; i++) {
        put_number(*sizes, 0, (uint16_t)words->words[i].size);
        copy(*bytes, words->words[i].at, words->words[i].size);
        *sizes += sizeof(uint16_t);
        *bytes += words->words[i].size;
    }
}

static void put_columns(const Scratch *s, const Layout *l)
{
    uint8_t *ids = l->ids, *texts = l->texts, *values = l->values, *sizes = l->word_size, *words = l->words;
    copy(l->timestamp_ms, s->timestamp_ms, sizeof(int64_t) * s->events);
    copy(l->form, s->form, sizeof(uint16_t) * s->events);
    copy(l->name, s->name, s->events);
    copy(l->payload_size, s->payload_size, s->events);
    copy(l->key, s->key, s->entries);
    put_words(&s->names, &sizes, &words);
    put_words(&s->keys, &sizes, &words);
    for (uint32_t i = 0; i < s->events; i++) {
        if (s->form[i] >= FORM_HEX || s->form[i] == FORM_MISSING) {
            if (s->form[i] != FORM_MISSING)
                memcpy(ids, s->ids[i], HEX_BYTES);
            else
                memset(ids, 0, HEX_BYTES);
            ids += HEX_BYTES;
        } else {
            copy(texts, s->texts[i].at, s->form[i]);
            texts += s->form[i];
        }
    }
    for (uint32_t i = 0; i < s->entries; i++) {
        put_number(l->value_size, i, (uint16_t)s->values[i].size);
        copy(values, s->values[i].at, s->values[i].size);
        values += s->values[i].size;
    }
}

static PyObject *parse(PyObject *module, PyObject *body)
{
    Scratch scratch;
    Py_buffer view;
    if (PyObject_GetBuffer(body, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    if (!parse_request(view.buf, (size_t)view.len, &scratch)) {
        PyBuffer_Release(&view);
        Py_RETURN_NONE;
    }
    Request counts = {
        .events = scratch.events,
        .entries = scratch.entries,
        .missing = scratch.missing,
        .ids = scratch.packed + scratch.missing,
        .names = scratch.names.count,
        .keys = scratch.keys.count,
        .text_bytes = scratch.text_bytes,
        .value_bytes = scratch.value_bytes,
        .word_bytes = word_bytes_of(&scratch.names) + word_bytes_of(&scratch.keys),
    };
    uint8_t nowhere;
    PyTypeObject *type = *(PyTypeObject **)PyModule_GetState(module);
    Request *request = PyObject_NewVar(Request, type, (Py_ssize_t)layout_of(&counts, &nowhere).size);
    if (request != NULL) {
        memcpy(&request->events, &counts.events, offsetof(Request, data) - offsetof(Request, events));
        Layout layout = layout_of(request, request->data);
        put_columns(&scratch, &layout);
    }
    PyBuffer_Release(&view);
    return (PyObject *)request;
}

static PyObject *request_identify(PyObject *self, PyObject *made)
{
    Request *request = (Request *)self;
    Layout layout = layout_of(request, request->data);
    Py_buffer view;
    if (PyObject_GetBuffer(made, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    if ((size_t)view.len != (size_t)HEX_BYTES * request->missing) {
        PyBuffer_Release(&view);
        return PyErr_Format(PyExc_ValueError, "%u identifiers are missing, of %d bytes each", request->missing, HEX_BYTES);
    }
    const uint8_t *next = view.buf;
    uint8_t *id = layout.ids;
    for (uint32_t i = 0; i < request->events; i++) {
        uint16_t form = number_at(layout.form, i);
        if (form == FORM_MISSING) {
            put_number(layout.form, i, FORM_HEX);
            memcpy(id, next, HEX_BYTES);
            next += HEX_BYTES;
        }
        if (form == FORM_MISSING || form >= FORM_HEX)
            id += HEX_BYTES;
    }
    request->missing = 0;
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyObject *request_missing(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(((Request *)self)->missing);
}

static Py_ssize_t request_length(PyObject *self)
{
    return (Py_ssize_t)((Request *)self)->events;
}

static void request_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef request_methods[] = {
    {"identify", request_identify, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef request_attributes[] = {
    {"missing", request_missing, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot request_slots[] = {
    {Py_tp_dealloc, request_dealloc},
    {Py_tp_methods, request_methods},
    {Py_tp_getset, request_attributes},
    {Py_sq_length, request_length},
    {0, NULL},
};
static PyType_Spec request_spec = {
    .name = "streamgauge.native._columns.Request",
    .basicsize = offsetof(Request, data),
    .itemsize = 1,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = request_slots,
};

/* ---------------------------------------------------------------- join */

enum { NAMES, KEYS, NAME, TIMESTAMP, FORM, IDS, TEXTS, PAYLOAD_SIZE, KEY, VALUE_SIZE, VALUES, PARTS };

enum { DISTINCT_MAX = 1 << 16 }; /* words of a block: their numbers are 16 bits wide */

/* The number of each of the next `count` words among all of the block; 1, 0: there are too many, -1: a Python error. */
static int number_words(PyObject *known, uint32_t count, const uint8_t **sizes, const uint8_t **bytes, uint16_t *numbers)
{
    for (uint32_t i = 0; i < count; i++) {
        uint16_t size = number_at(*sizes, 0);
        PyObject *word = PyBytes_FromStringAndSize((const char *)*bytes, size);
        PyObject *next = word == NULL ? NULL : PyLong_FromSsize_t(PyDict_GET_SIZE(known));
        PyObject *number = next == NULL ? NULL : PyDict_SetDefault(known, word, next); /* borrowed */
        if (number != NULL)
            numbers[i] = (uint16_t)PyLong_AsLong(number);
        Py_XDECREF(word);
        Py_XDECREF(next);
        if (number == NULL)
            return -1;
        if (PyDict_GET_SIZE(known) > DISTINCT_MAX)
            return 0;
        *sizes += sizeof size;
        *bytes += size;
    }
    return 1;
}

static int add(PyObject *names, PyObject *keys, Request *request, uint8_t **to)
{
    uint16_t name_number[WORDS_MAX], key_number[WORDS_MAX];
    Layout l = layout_of(request, request->data);
    const uint8_t *sizes = l.word_size, *words = l.words;
    int done = number_words(names, request->names, &sizes, &words, name_number);
    if (done == 1)
        done = number_words(keys, request->keys, &sizes, &words, key_number);
    if (done != 1)
        return done;
    for (uint32_t i = 0; i < request->events; i++)
        put_number(to[NAME], i, name_number[l.name[i]]);
    for (uint32_t i = 0; i < request->entries; i++)
        put_number(to[KEY], i, key_number[l.key[i]]);
    const struct {
        int part;
        const uint8_t *from;
        size_t size;
    } copied[] = {
        {TIMESTAMP, l.timestamp_ms, sizeof(int64_t) * request->events},
        {FORM, l.form, sizeof(uint16_t) * request->events},
        {IDS, l.ids, (size_t)HEX_BYTES * request->ids},
        {TEXTS, l.texts, request->text_bytes},
        {PAYLOAD_SIZE, l.payload_size, request->events},
        {VALUE_SIZE, l.value_size, sizeof(uint16_t) * request->entries},
        {VALUES, l.values, request->value_bytes},
    };
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        copy(to[copied[i].part], copied[i].from, copied[i].size);
        to[copied[i].part] += copied[i].size;
    }
    to[NAME] += sizeof(uint16_t) * request->events;
    to[KEY] += sizeof(uint16_t) * request->entries;
    return 1;
}

/* How long each part becomes; 0 with a Python error when something else than whole requests is among them. */
static int measure(PyTypeObject *type, PyObject *requests, size_t sizes[PARTS])
{
    memset(sizes, 0, sizeof(size_t) * PARTS);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(requests); i++) {
        Request *request = (Request *)PyTuple_GET_ITEM(requests, i);
        if (Py_TYPE(request) != type || request->missing > 0) {
            PyErr_SetString(PyExc_TypeError, "join takes requests with all of their identifiers");
            return 0;
        }
        sizes[NAME] += sizeof(uint16_t) * request->events;
        sizes[TIMESTAMP] += sizeof(int64_t) * request->events;
        sizes[FORM] += sizeof(uint16_t) * request->events;
        sizes[IDS] += (size_t)HEX_BYTES * request->ids;
        sizes[TEXTS] += request->text_bytes;
        sizes[PAYLOAD_SIZE] += request->events;
        sizes[KEY] += sizeof(uint16_t) * request->entries;
        sizes[VALUE_SIZE] += sizeof(uint16_t) * request->entries;
        sizes[VALUES] += request->value_bytes;
    }
    return 1;
}

static PyObject *join(PyObject *module, PyObject *given)
{
    size_t sizes[PARTS];
    uint8_t *to[PARTS] = {NULL};
    PyTypeObject *type = *(PyTypeObject **)PyModule_GetState(module);
    PyObject *names = PyDict_New(), *keys = PyDict_New();
    PyObject *requests = PySequence_Tuple(given), *parts = PyTuple_New(PARTS);
    int done = -1;
    if (names == NULL || keys == NULL || requests == NULL || parts == NULL || !measure(type, requests, sizes))
        goto end;
    for (int i = NAME; i < PARTS; i++) {
        PyObject *part = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)sizes[i]);
        if (part == NULL)
            goto end;
        PyTuple_SET_ITEM(parts, i, part);
        to[i] = (uint8_t *)PyBytes_AS_STRING(part);
    }
    done = 1;
    for (Py_ssize_t i = 0; done == 1 && i < PyTuple_GET_SIZE(requests); i++)
        done = add(names, keys, (Request *)PyTuple_GET_ITEM(requests, i), to);
    if (done == 1) {
        PyObject *name_words = PyDict_Keys(names), *key_words = PyDict_Keys(keys);
        done = name_words == NULL || key_words == NULL ? -1 : 1;
        PyTuple_SET_ITEM(parts, NAMES, name_words);
        PyTuple_SET_ITEM(parts, KEYS, key_words);
    }
end:
    Py_XDECREF(names);
    Py_XDECREF(keys);
    Py_XDECREF(requests);
    if (done == 1)
        return parts;
    Py_XDECREF(parts);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---------------------------------------------------------------- module */

static int module_exec(PyObject *module)
{
    PyTypeObject **type = PyModule_GetState(module);
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &request_spec, NULL);
    if (*type == NULL || PyModule_AddType(module, *type) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "VERSION", VERSION);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(*(PyTypeObject **)PyModule_GetState(module));
    return 0;
}

static int module_clear(PyObject *module)
{
    Py_CLEAR(*(PyTypeObject **)PyModule_GetState(module));
    return 0;
}

static PyMethodDef module_methods[] = {
    {"parse", parse, METH_O, NULL},
    {"join", join, METH_O, NULL},
    {"identifiers", unpack_identifiers, METH_VARARGS, NULL},
    {"uuids", pack_uuids, METH_VARARGS, NULL},
    {"parts_fit", parts_fit, METH_VARARGS, NULL},
    {"plain_request", plain_request, METH_VARARGS, NULL},
    {"hash_texts", hash_texts, METH_VARARGS, NULL},
    {"hash_order", hash_order, METH_VARARGS, NULL},
    {"filter_add", filter_add, METH_VARARGS, NULL},
    {"filter_test", filter_test, METH_VARARGS, NULL},
    {"settle", settle, METH_VARARGS, NULL},
    {"entries", entries, METH_VARARGS, NULL},
    {"distinct_texts", distinct_texts, METH_VARARGS, NULL},
    {"distinct_numbers", distinct_numbers, METH_VARARGS, NULL},
    {"parse_decimals", parse_decimals, METH_VARARGS, NULL},
    {"sum_by_group", sum_by_group, METH_VARARGS, NULL},
    {"latest_by_group", latest_by_group, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};
static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_columns",
    .m_size = sizeof(PyTypeObject *),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__columns(void)
{
    return PyModuleDef_Init(&module_definition);
}
