/*
 * json_valid: is this text one JSON value? Asked before an engine's JSON text is put into a page as it
 * stands: a lie must not break the page. The text is valid UTF-8 already (batch_check). No recursion, no
 * tree. Pure; any thread.
 */
#include <string.h>

#include "encoders/value_int.h"

#define DEPTH_MAX 512

struct scan {
    const char *p, *end;
};

static void blanks(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool take(struct scan *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static bool digits(struct scan *s)
{
    const char *start = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > start;
}

static bool number(struct scan *s)
{
    take(s, '-');
    if (!take(s, '0') && !digits(s))
        return false;
    if (take(s, '.') && !digits(s))
        return false;
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            take(s, '-');
        return digits(s);
    }
    return true;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool string(struct scan *s)
{
    if (!take(s, '"'))
        return false;
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p++;
        if (c == '"')
            return true;
        if (c < 0x20)
            return false;
        if (c != '\\')
            continue;
        if (s->p == s->end)
            return false;
        char k = *s->p++;
        if (k == 'u') {
            for (int i = 0; i < 4; i++, s->p++)
                if (s->p == s->end || !is_hex(*s->p))
                    return false;
        } else if (!memchr("\"\\/bfnrt", k, 8)) {
            return false;
        }
    }
    return false;
}

static bool word(struct scan *s, const char *w, size_t n)
{
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, w, n) != 0)
        return false;
    s->p += n;
    return true;
}

static bool scalar(struct scan *s)
{
    if (s->p == s->end)
        return false;
    switch (*s->p) {
    case '"':
        return string(s);
    case 't':
        return word(s, "true", 4);
    case 'f':
        return word(s, "false", 5);
    case 'n':
        return word(s, "null", 4);
    default:
        return number(s);
    }
}

static bool member_name(struct scan *s)
{
    blanks(s);
    if (!string(s))
        return false;
    blanks(s);
    return take(s, ':');
}

bool value__json_valid(const char *text, size_t n)
{
    struct scan s = {text, text + n};
    char closer[DEPTH_MAX];
    int depth = 0;
    for (;;) { /* a value stands here */
        blanks(&s);
        bool object = take(&s, '{');
        if (object || take(&s, '[')) {
            if (depth == DEPTH_MAX)
                return false;
            closer[depth++] = object ? '}' : ']';
            blanks(&s);
            if (s.p < s.end && *s.p == closer[depth - 1])
                goto ended;
            if (object && !member_name(&s))
                return false;
            continue;
        }
        if (!scalar(&s))
            return false;
    ended:
        for (;;) { /* a value has ended, or its closer stands here */
            blanks(&s);
            if (!depth)
                return s.p == s.end;
            if (take(&s, closer[depth - 1])) {
                depth--;
                continue;
            }
            if (!take(&s, ','))
                return false;
            if (closer[depth - 1] == '}' && !member_name(&s))
                return false;
            break;
        }
    }
}

bool value__json_number(const char *text, size_t n)
{
    struct scan s = {text, text + n};
    return number(&s) && s.p == s.end;
}
