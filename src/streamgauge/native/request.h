/* What a request comes to while its body is read, and the limits of what is read here. */
#ifndef STREAMGAUGE_REQUEST_H
#define STREAMGAUGE_REQUEST_H

#include <stddef.h>
#include <stdint.h>

/* Those of domain/meter_event.py and domain/meter.py, or narrower; tests/unit/native/test_columns.py compares them. */
enum {
    EVENTS_MAX = 100,
    NAME_CHARACTERS_MAX = 100, /* event names, identifiers, payload keys */
    VALUE_CHARACTERS_MAX = 5000,
    WORDS_MAX = 64, /* different event names, and different payload keys, of one request: a bit each */
    ENTRIES_MAX = EVENTS_MAX * WORDS_MAX,
    BODY_BYTES_MAX = 1 << 24, /* the edge takes far less; sizes are 32 bits wide */
};

/* An identifier's form: how many bytes its text has, or one of these. domain/stored_block.py has the same. */
enum { FORM_MISSING = 0, FORM_HEX = 0xFFFE, FORM_UUID = 0xFFFF };

enum { HEX_BYTES = 16, HEX_DIGITS = 32, UUID_CHARACTERS = 36 };

#define ABSENT_MS INT64_MIN
#define EARLIEST_MS (-62135596800000LL) /* the years 1 to 9999 */
#define LATEST_MS 253402300799999LL

/* Text in the body: well-formed UTF-8. */
typedef struct {
    const uint8_t *at;
    uint32_t size;
    uint32_t characters;
} Text;

/* Words of a request that are kept once: event names, payload keys. */
typedef struct {
    Text words[WORDS_MAX];
    uint32_t count;
} Words;

/* About 150 kB, for the stack. Entries are those of all payloads, in order; `texts` are set where the form is a size. */
typedef struct {
    uint32_t events, entries;
    uint32_t packed;  /* identifiers in FORM_UUID or FORM_HEX */
    uint32_t missing; /* and in FORM_MISSING */
    size_t value_bytes, text_bytes;
    int64_t timestamp_ms[EVENTS_MAX];
    uint8_t ids[EVENTS_MAX][HEX_BYTES];
    Text texts[EVENTS_MAX];
    uint16_t form[EVENTS_MAX];
    uint8_t name[EVENTS_MAX];
    uint8_t payload_size[EVENTS_MAX];
    uint8_t key[ENTRIES_MAX];
    Text values[ENTRIES_MAX];
    Words names, keys;
} Scratch;

/* Whether the body is one that is read here; then `scratch` has all of it, as places in the body. */
int parse_request(const uint8_t *body, size_t size, Scratch *scratch);

/* Milliseconds of an RFC 3339 date-time or of Unix seconds in a string, cut, not rounded; 0 when it is neither. */
int parse_timestamp(const Text *text, int64_t *ms);

/* The same of 1 to 11 digits. */
int parse_unix_seconds(const uint8_t *at, size_t count, int64_t *ms);

/* 32 lower-case hexadecimal digits as 16 bytes, with the dashes of a UUID if `dashed`; 0 when it is not that. */
int pack_hex(const uint8_t *text, int dashed, uint8_t packed[HEX_BYTES]);

/* The inverse: HEX_DIGITS or UUID_CHARACTERS bytes of text. */
void unpack_hex(const uint8_t packed[HEX_BYTES], int dashed, uint8_t *text);

#endif
