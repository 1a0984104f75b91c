/* A request as programs write it, whole and by itself (api/plain_request.py has the same in Python). */
#include "columns.h"

enum { HEAD_BYTES_MAX = 8192, LENGTH_DIGITS_MAX = 9, HEADERS_MAX = 64 };

typedef struct {
    const uint8_t *name, *value;
    size_t name_size, value_size;
} Header;

/* What a letter of a name is in lower case; 0 for what stands in no name. */
static uint8_t name_letter(uint8_t letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return (uint8_t)(letter + ('a' - 'A'));
    if ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9'))
        return letter;
    return letter != 0 && strchr("!#$%&'*+-.^_`|~", letter) != NULL ? letter : 0;
}

static int is_lower(const uint8_t *text, size_t size, const char *word)
{
    if (size != strlen(word))
        return 0;
    for (size_t i = 0; i < size; i++)
        if (name_letter(text[i]) != (uint8_t)word[i])
            return 0;
    return 1;
}

/* Passes one line, its end included; NULL when it is not written as usual. */
static const uint8_t *read_header(const uint8_t *at, const uint8_t *end, Header *header)
{
    header->name = at;
    while (at < end && name_letter(*at))
        at++;
    header->name_size = (size_t)(at - header->name);
    if (header->name_size == 0 || end - at < 2 || at[0] != ':' || at[1] != ' ')
        return NULL;
    at += 2;
    header->value = at;
    while (at < end && *at >= ' ' && *at <= '~')
        at++;
    header->value_size = (size_t)(at - header->value);
    if (header->value_size == 0 || header->value[0] == ' ' || at[-1] == ' ')
        return NULL;
    return end - at >= 2 && at[0] == '\r' && at[1] == '\n' ? at + 2 : NULL;
}

/* Whether the body is as long as it must be for this header; what is no length is none of its business. */
static int fits(const Header *header, Py_ssize_t *length)
{
    static const char *const not_plain[] = {"transfer-encoding", "expect", "upgrade", "trailer", "te"};
    for (size_t i = 0; i < sizeof not_plain / sizeof *not_plain; i++)
        if (is_lower(header->name, header->name_size, not_plain[i]))
            return 0;
    if (is_lower(header->name, header->name_size, "connection"))
        return is_lower(header->value, header->value_size, "keep-alive");
    if (!is_lower(header->name, header->name_size, "content-length"))
        return 1;
    if (*length >= 0 || header->value_size > LENGTH_DIGITS_MAX)
        return 0;
    *length = 0;
    for (size_t i = 0; i < header->value_size; i++) {
        if (header->value[i] < '0' || header->value[i] > '9')
            return 0;
        *length = 10 * *length + (header->value[i] - '0');
    }
    return 1;
}

static PyObject *pair_of(const Header *header)
{
    PyObject *name = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)header->name_size);
    PyObject *value = PyBytes_FromStringAndSize((const char *)header->value, (Py_ssize_t)header->value_size);
    PyObject *pair = NULL;
    if (name != NULL && value != NULL) {
        for (size_t i = 0; i < header->name_size; i++)
            PyBytes_AS_STRING(name)[i] = (char)name_letter(header->name[i]);
        pair = PyTuple_Pack(2, name, value);
    }
    Py_XDECREF(name);
    Py_XDECREF(value);
    return pair;
}

/* How many headers there are, and where the body begins; 0: it is not such a request. */
static size_t read_head(const uint8_t *data, size_t size, const uint8_t *line, size_t line_size, Header *headers, const uint8_t **body)
{
    const uint8_t *end = data + (size < HEAD_BYTES_MAX ? size : HEAD_BYTES_MAX);
    Py_ssize_t length = -1;
    size_t count = 0;
    if ((size_t)(end - data) < line_size + 2 || memcmp(data, line, line_size) != 0)
        return 0;
    const uint8_t *at = data + line_size;
    if (at[0] != '\r' || at[1] != '\n')
        return 0;
    for (at += 2; !(end - at >= 2 && at[0] == '\r' && at[1] == '\n'); count++)
        if (count == HEADERS_MAX || (at = read_header(at, end, &headers[count])) == NULL || !fits(&headers[count], &length))
            return 0;
    *body = at + 2;
    return length == (Py_ssize_t)(data + size - *body) ? count : 0;
}

PyObject *plain_request(PyObject *module, PyObject *args)
{
    Py_buffer data, line;
    Header headers[HEADERS_MAX];
    const uint8_t *body;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*", &data, &line))
        return NULL;
    size_t count = read_head(data.buf, (size_t)data.len, line.buf, (size_t)line.len, headers, &body);
    PyObject *both = NULL, *listed = count > 0 ? PyList_New((Py_ssize_t)count) : NULL;
    for (size_t i = 0; listed != NULL && i < count; i++) {
        PyObject *pair = pair_of(&headers[i]);
        if (pair == NULL)
            Py_CLEAR(listed);
        else
            PyList_SET_ITEM(listed, (Py_ssize_t)i, pair);
    }
    if (listed != NULL)
        both = Py_BuildValue("Ny#", listed, (const char *)body, (Py_ssize_t)((const uint8_t *)data.buf + data.len - body));
    else if (count == 0)
        both = Py_NewRef(Py_None);
    PyBuffer_Release(&data);
    PyBuffer_Release(&line);
    return both;
}
