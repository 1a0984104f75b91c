/* The body of a stream request: JSON as programs usually write it, and nothing else.
 *
 * Whatever is unusual in any way (an escape in a string, a member that is not known or was there before, bytes that are
 * not UTF-8, a limit exceeded, a time in a rare form) is not read here: then the decoder in Python decides, and words
 * the refusal. So nothing is ever refused here, and what is read must be just what that decoder reads.
 *
 * Nothing is read or written before its bound was checked.
 */
#include "request.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef struct {
    const uint8_t *at, *end;
} Cursor;

static inline void skip_space(Cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t'))
        c->at++;
}

/* Whether the next thing is this character; it is passed. */
static inline int take(Cursor *c, uint8_t character)
{
    skip_space(c);
    if (c->at < c->end && *c->at == character) {
        c->at++;
        return 1;
    }
    return 0;
}

/* Length of the well-formed UTF-8 sequence of more than one byte at `at` (the Unicode standard's table 3-7), or 0. */
static inline int sequence_bytes(const uint8_t *at, const uint8_t *end)
{
    uint8_t lead = at[0], low = 0x80, high = 0xBF;
    int size;
    if (lead >= 0xC2 && lead <= 0xDF)
        size = 2;
    else if (lead >= 0xE0 && lead <= 0xEF)
        size = 3;
    else if (lead >= 0xF0 && lead <= 0xF4)
        size = 4;
    else
        return 0;
    if (end - at < size)
        return 0;
    if (lead == 0xE0)
        low = 0xA0; /* what fits into two bytes */
    else if (lead == 0xED)
        high = 0x9F; /* surrogates */
    else if (lead == 0xF0)
        low = 0x90; /* what fits into three bytes */
    else if (lead == 0xF4)
        high = 0x8F; /* beyond U+10FFFF */
    if (at[1] < low || at[1] > high)
        return 0;
    for (int i = 2; i < size; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return size;
}

/* The text up to the closing quote, the opening one being passed; 0 for what is not for here. */
static inline int take_rest_of_string(Cursor *c, Text *text)
{
    const uint8_t *at = c->at, *end = c->end;
    uint32_t continuing = 0; /* bytes that are not the first of a character */
    text->at = at;
    for (;;) {
#ifdef __SSE2__
        while (end - at >= 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)at);
            __m128i special = _mm_or_si128(
                _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))),
                _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes));
            int found = _mm_movemask_epi8(_mm_or_si128(special, bytes)); /* its sign bit: not ASCII */
            if (found) {
                at += __builtin_ctz((unsigned)found);
                break;
            }
            at += 16;
        }
#endif
        while (at < end && *at != '"' && *at != '\\' && *at >= 0x20 && *at < 0x80)
            at++;
        if (at == end)
            return 0;
        if (*at == '"')
            break;
        int size = *at < 0x80 ? 0 : sequence_bytes(at, end);
        if (size == 0)
            return 0;
        at += size;
        continuing += (uint32_t)size - 1;
    }
    text->size = (uint32_t)(at - text->at);
    text->characters = text->size - continuing;
    c->at = at + 1;
    return 1;
}

static inline int take_string(Cursor *c, Text *text)
{
    return take(c, '"') && take_rest_of_string(c, text);
}

static inline int is(const Text *text, const char *word, uint32_t size)
{
    return text->size == size && memcmp(text->at, word, size) == 0;
}

static int take_null(Cursor *c)
{
    skip_space(c);
    if (c->end - c->at < 4 || memcmp(c->at, "null", 4) != 0)
        return 0;
    c->at += 4;
    return 1;
}

static int take_timestamp(Cursor *c, int64_t *ms)
{
    Text text;
    if (take(c, '"'))
        return take_rest_of_string(c, &text) && parse_timestamp(&text, ms);
    if (c->at < c->end && *c->at == 'n') {
        *ms = ABSENT_MS;
        return take_null(c);
    }
    const uint8_t *start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    size_t count = (size_t)(c->at - start);
    /* A point or an exponent that follows is met by whoever looks for a comma. */
    return !(count > 1 && *start == '0') && parse_unix_seconds(start, count, ms);
}

static int take_identifier(Cursor *c, Scratch *s, uint32_t event)
{
    Text *text = &s->texts[event];
    skip_space(c);
    if (c->at < c->end && *c->at == 'n')
        return take_null(c); /* missing, as it was */
    if (!take_string(c, text) || text->characters < 1 || text->characters > NAME_CHARACTERS_MAX)
        return 0;
    if (text->size == 36 && pack_hex(text->at, 1, s->ids[event]))
        s->form[event] = FORM_UUID;
    else if (text->size == 32 && pack_hex(text->at, 0, s->ids[event]))
        s->form[event] = FORM_HEX;
    else
        s->form[event] = (uint16_t)text->size;
    return 1;
}

/* The word's place among `words`, where it is put if it is new; -1 when there is no room. */
static inline int place_of(Words *words, const Text *word)
{
    for (uint32_t i = 0; i < words->count; i++)
        if (words->words[i].size == word->size && memcmp(words->words[i].at, word->at, word->size) == 0)
            return (int)i;
    if (words->count == WORDS_MAX)
        return -1;
    words->words[words->count] = *word;
    return (int)words->count++;
}

static int take_name(Cursor *c, Words *words, uint8_t *place)
{
    Text word;
    if (!take_string(c, &word) || word.characters < 1 || word.characters > NAME_CHARACTERS_MAX)
        return 0;
    int found = place_of(words, &word);
    *place = (uint8_t)found;
    return found >= 0;
}

static int take_payload(Cursor *c, Scratch *s, uint32_t event)
{
    uint64_t seen = 0;
    uint32_t first = s->entries;
    if (!take(c, '{'))
        return 0;
    s->payload_size[event] = 0;
    if (take(c, '}'))
        return 1;
    do {
        if (s->entries == ENTRIES_MAX)
            return 0;
        uint8_t *key = &s->key[s->entries];
        Text *value = &s->values[s->entries];
        if (!take_name(c, &s->keys, key) || (seen >> *key & 1))
            return 0;
        seen |= (uint64_t)1 << *key;
        if (!take(c, ':') || !take_string(c, value) || value->characters > VALUE_CHARACTERS_MAX)
            return 0;
        s->value_bytes += value->size;
        s->entries++;
    } while (take(c, ','));
    s->payload_size[event] = (uint8_t)(s->entries - first);
    return take(c, '}');
}

static int take_event(Cursor *c, Scratch *s)
{
    enum { NAME = 1, PAYLOAD = 2, IDENTIFIER = 4, TIMESTAMP = 8 };
    uint32_t event = s->events;
    unsigned seen = 0, member;
    Text name;
    s->form[event] = FORM_MISSING;
    s->timestamp_ms[event] = ABSENT_MS;
    if (!take(c, '{'))
        return 0;
    do {
        int taken;
        if (!take_string(c, &name) || !take(c, ':'))
            return 0;
        if (is(&name, "event_name", 10)) {
            member = NAME;
            taken = take_name(c, &s->names, &s->name[event]);
        } else if (is(&name, "identifier", 10)) {
            member = IDENTIFIER;
            taken = take_identifier(c, s, event);
        } else if (is(&name, "timestamp", 9)) {
            member = TIMESTAMP;
            taken = take_timestamp(c, &s->timestamp_ms[event]);
        } else if (is(&name, "payload", 7)) {
            member = PAYLOAD;
            taken = !(seen & PAYLOAD) && take_payload(c, s, event);
        } else {
            return 0;
        }
        if (!taken || (seen & member))
            return 0;
        seen |= member;
    } while (take(c, ','));
    if (!take(c, '}') || (seen & (NAME | PAYLOAD)) != (NAME | PAYLOAD))
        return 0;
    if (s->form[event] >= FORM_HEX)
        s->packed++;
    else if (s->form[event] == FORM_MISSING)
        s->missing++;
    else
        s->text_bytes += s->form[event];
    s->events++;
    return 1;
}

int parse_request(const uint8_t *body, size_t size, Scratch *s)
{
    Cursor cursor = {body, body + size}, *c = &cursor;
    Text name;
    s->events = s->entries = s->packed = s->missing = s->names.count = s->keys.count = 0;
    s->value_bytes = s->text_bytes = 0;
    if (size > BODY_BYTES_MAX)
        return 0;
    if (!take(c, '{') || !take_string(c, &name) || !is(&name, "events", 6) || !take(c, ':') || !take(c, '['))
        return 0;
    do {
        if (s->events == EVENTS_MAX || !take_event(c, s))
            return 0;
    } while (take(c, ','));
    if (!take(c, ']') || !take(c, '}'))
        return 0;
    skip_space(c);
    return c->at == c->end;
}
