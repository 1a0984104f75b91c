/* Texts of fixed forms: times, and identifiers that are numbers in hexadecimal. */
#include "request.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* `count` digits as a number, or -1. */
static inline int digits(const uint8_t *at, int count)
{
    int number = 0;
    for (int i = 0; i < count; i++) {
        unsigned digit = (unsigned)at[i] - '0';
        if (digit > 9)
            return -1;
        number = number * 10 + (int)digit;
    }
    return number;
}

/* Days since 1970 of a day of the Gregorian calendar; months count from March, so that a leap day ends its year. */
static int64_t days_of(int year, int month, int day)
{
    int64_t shifted_year = year - (month <= 2);
    int64_t shifted_month = (month + 9) % 12;
    int64_t day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    /* Years begin at 0 here, since `year` is at least 1; 719468 days lie between the 1st of March 0 and 1970. */
    return 365 * shifted_year + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + day_of_year - 719468;
}

static int is_day(int year, int month, int day)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= lengths[month - 1] + (is_leap && month == 2);
}

static int in_range(int64_t seconds, int milliseconds, int64_t *ms)
{
    *ms = seconds * 1000 + milliseconds;
    return *ms >= EARLIEST_MS && *ms <= LATEST_MS;
}

/* RFC 3339 with capital letters, any fraction of up to nine digits, any zone. */
static int moment(const Text *text, int64_t *ms)
{
    const uint8_t *at = text->at, *end = text->at + text->size;
    if (text->size < 20 || at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':')
        return 0;
    int year = digits(at, 4), month = digits(at + 5, 2), day = digits(at + 8, 2);
    int hour = digits(at + 11, 2), minute = digits(at + 14, 2), second = digits(at + 17, 2);
    if (!is_day(year, month, day) || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return 0;
    at += 19;
    int milliseconds = 0;
    if (*at == '.') { /* size >= 20: there is a byte at 19 */
        int count = 0;
        for (at++; at < end && *at >= '0' && *at <= '9'; at++, count++)
            if (count < 3)
                milliseconds = milliseconds * 10 + (*at - '0');
        if (count < 1 || count > 9)
            return 0;
        for (; count < 3; count++)
            milliseconds *= 10;
    }
    int64_t zone_seconds = 0;
    if (end - at == 6 && (*at == '+' || *at == '-') && at[3] == ':') {
        int hours = digits(at + 1, 2), minutes = digits(at + 4, 2);
        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
            return 0;
        zone_seconds = (hours * 3600 + minutes * 60) * (*at == '-' ? -1 : 1);
    } else if (end - at != 1 || *at != 'Z') {
        return 0;
    }
    return in_range(days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone_seconds,
                    milliseconds, ms);
}

int parse_unix_seconds(const uint8_t *at, size_t count, int64_t *ms)
{
    if (count < 1 || count > 11)
        return 0;
    int64_t seconds = 0;
    for (size_t i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9')
            return 0;
        seconds = seconds * 10 + (at[i] - '0');
    }
    return in_range(seconds, 0, ms);
}

int parse_timestamp(const Text *text, int64_t *ms)
{
    return moment(text, ms) || parse_unix_seconds(text->at, text->size, ms);
}

/* The values of 16 digits as 8 bytes; whether each is a digit, a to f in lower case. Without a branch, because on random
 * digits a processor guesses every second one wrong. */
#ifdef __SSE2__
static inline int pack_half(const uint8_t *text, uint8_t *packed)
{
    __m128i letters = _mm_loadu_si128((const __m128i *)text);
    __m128i from_0 = _mm_sub_epi8(letters, _mm_set1_epi8('0')), from_a = _mm_sub_epi8(letters, _mm_set1_epi8('a'));
    __m128i is_number = _mm_cmpeq_epi8(_mm_min_epu8(from_0, _mm_set1_epi8(9)), from_0);
    __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, _mm_set1_epi8(5)), from_a);
    __m128i values = _mm_or_si128(_mm_and_si128(is_number, from_0),
                                  _mm_and_si128(is_letter, _mm_add_epi8(from_a, _mm_set1_epi8(10))));
    /* Two digits are a number of 16 bits with the first one low: it is to become the high half of one byte. */
    __m128i pairs = _mm_and_si128(_mm_or_si128(_mm_slli_epi16(values, 4), _mm_srli_epi16(values, 8)), _mm_set1_epi16(0xFF));
    _mm_storel_epi64((__m128i *)packed, _mm_packus_epi16(pairs, pairs));
    return _mm_movemask_epi8(_mm_or_si128(is_number, is_letter)) == 0xFFFF;
}
#else
static inline int pack_half(const uint8_t *text, uint8_t *packed)
{
    /* What a digit stands for, plus one. */
    static const uint8_t digits[256] = {
        ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
        ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    };
    unsigned wrong = 0;
    for (int i = 0; i < HEX_BYTES / 2; i++) {
        unsigned high = digits[text[2 * i]] - 1u, low = digits[text[2 * i + 1]] - 1u;
        wrong |= high | low; /* of what is no digit all bits are set */
        packed[i] = (uint8_t)(high << 4 | low);
    }
    return wrong < HEX_BYTES;
}
#endif

int pack_hex(const uint8_t *text, int dashed, uint8_t packed[HEX_BYTES])
{
    uint8_t digits_alone[HEX_DIGITS];
    if (dashed) {
        if (text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-')
            return 0;
        memcpy(digits_alone, text, 8);
        memcpy(digits_alone + 8, text + 9, 4);
        memcpy(digits_alone + 12, text + 14, 4);
        memcpy(digits_alone + 16, text + 19, 4);
        memcpy(digits_alone + 20, text + 24, 12);
        text = digits_alone;
    }
    return pack_half(text, packed) & pack_half(text + 16, packed + 8);
}

void unpack_hex(const uint8_t packed[HEX_BYTES], int dashed, uint8_t *text)
{
    static const char letters[] = "0123456789abcdef";
    for (int i = 0; i < HEX_BYTES; i++) {
        if (dashed && (i == 4 || i == 6 || i == 8 || i == 10))
            *text++ = '-';
        *text++ = (uint8_t)letters[packed[i] >> 4];
        *text++ = (uint8_t)letters[packed[i] & 15];
    }
}
