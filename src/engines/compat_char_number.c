/*
 * compat_char_number: PostgreSQL's to_char and to_number of numbers (functions-formatting). Pure; any thread.
 *
 * A template is read twice: what it is made of (digits before and behind the point, signs), then character by character
 * while the digits of the value, rounded to those of the template, are put into their places. The sign stands before the
 * first digit that is shown, whatever blanks stand before.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engines/compat_char.h"

#define DIGITS 400 /* more are no number of ours; a double has 309 */

struct shape {
    int before, behind, zero; /* digit places; the first place that shows a zero, -1: none */
    int multiply;             /* places behind V */
    int kept;                 /* places behind the point that a zero asks for */
    bool fm, point, sign, brackets, sign_first, exponent, roman, plus_minus;
};

static bool word_at(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && strncasecmp(p, word, n) == 0;
}

/* Length of what stands at p, and what it is: one of 9 0 . , S L V E R P(R) M(I) p(L) G(S) T(H) F(M) B or " (text). */
static size_t part_at(const char *p, const char *end, char *ret)
{
    static const struct {
        const char *name;
        char what;
    } parts[] = {{"EEEE", 'E'}, {"FM", 'F'}, {"PR", 'P'}, {"MI", 'M'}, {"PL", 'p'}, {"SG", 'G'},
                 {"RN", 'R'},   {"TH", 'T'}, {"9", '9'},  {"0", '0'},  {".", '.'},  {"D", '.'},
                 {",", ','},    {"G", ','},  {"S", 'S'},  {"L", 'L'},  {"V", 'V'},  {"B", 'B'}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (word_at(p, end, parts[i].name)) {
            *ret = parts[i].what;
            return strlen(parts[i].name);
        }
    }
    *ret = '"';
    return 1;
}

static struct shape shape_of(const char *p, const char *end)
{
    struct shape s = {.zero = -1};
    bool behind = false, multiply = false;
    char what;
    for (; p < end; p += part_at(p, end, &what)) {
        (void)part_at(p, end, &what);
        bool digit = what == '9' || what == '0';
        if (*p == '"') {
            const char *close = memchr(p + 1, '"', (size_t)(end - p - 1));
            p = close ? close : end - 1;
        } else if (digit && behind) {
            s.behind++;
            if (what == '0')
                s.kept = s.behind;
        } else if (digit) {
            if (what == '0' && s.zero < 0)
                s.zero = s.before;
            s.before++;
            s.multiply += multiply;
        }
        s.fm |= what == 'F';
        s.roman |= what == 'R';
        s.exponent |= what == 'E';
        s.brackets |= what == 'P';
        s.plus_minus |= what == 'M' || what == 'G';
        if (what == 'S' && !s.sign) {
            s.sign = true;
            s.sign_first = s.before + s.behind == 0;
        }
        multiply |= what == 'V';
        if (what == '.')
            s.point = behind = true;
    }
    return s;
}

/* ---- the value's digits ---- */

struct digits {
    char d[DIGITS + 2]; /* the first is room for a carry */
    int n, point;       /* digits, and how many of them before the point */
    bool minus;
};

static bool read_digits(const char *p, const char *end, struct digits *x)
{
    long exponent = 0;
    bool point = false;
    *x = (struct digits){.minus = p < end && *p == '-'};
    x->d[x->n++] = '0';
    p += p < end && (*p == '-' || *p == '+');
    x->point = 1;
    for (; p < end && (*p | 0x20) != 'e'; p++) {
        if (*p == '.') {
            point = true;
        } else if (x->n > DIGITS) {
            return false;
        } else {
            x->d[x->n++] = *p;
            x->point += !point;
        }
    }
    if (p < end) {
        char text[16] = "";
        memcpy(text, p + 1, (size_t)(end - p - 1) < sizeof text ? (size_t)(end - p - 1) : sizeof text - 1);
        exponent = strtol(text, NULL, 10);
    }
    for (; exponent > 0; exponent--, x->point++) {
        if (x->point >= x->n) {
            if (x->n > DIGITS)
                return false;
            x->d[x->n++] = '0';
        }
    }
    while (exponent < 0) { /* 1e-7: zeros in front */
        long room = DIGITS - x->n;
        if (x->point > 1) {
            x->point--;
            exponent++;
            continue;
        }
        if (room <= -exponent)
            return false;
        memmove(x->d + 1 - exponent, x->d + 1, (size_t)(x->n - 1));
        memset(x->d + 1, '0', (size_t)-exponent);
        x->n += (int)-exponent;
        exponent = 0;
    }
    return true;
}

/* Half away from zero; then exactly `behind` digits follow the point. */
static void round_digits(struct digits *x, int behind)
{
    int last = x->point + behind;
    while (x->n < last && x->n <= DIGITS)
        x->d[x->n++] = '0';
    if (x->n > last && x->d[last] >= '5') {
        int k = last - 1;
        while (k >= 0 && x->d[k] == '9')
            x->d[k--] = '0';
        if (k >= 0)
            x->d[k]++;
    }
    x->n = last;
}

/* ---- writing ---- */

struct writer {
    const struct shape *s;
    struct buf *out;
    bool started, minus;
};

static void start(struct writer *w)
{
    if (w->started)
        return;
    w->started = true;
    const struct shape *s = w->s;
    if (s->sign ? s->sign_first : false)
        (void)buf_char(w->out, w->minus ? '-' : '+');
    else if (s->brackets && (w->minus || !s->fm))
        (void)buf_char(w->out, w->minus ? '<' : ' ');
    else if (!s->sign && !s->brackets && !s->plus_minus && (w->minus || !s->fm))
        (void)buf_char(w->out, w->minus ? '-' : ' ');
}

static void blank(struct writer *w)
{
    if (!w->s->fm)
        (void)buf_char(w->out, ' ');
}

static void sign_part(struct writer *w, char what)
{
    if (what == 'S' && !w->s->sign_first)
        (void)buf_char(w->out, w->minus ? '-' : '+');
    else if (what == 'G')
        (void)buf_char(w->out, w->minus ? '-' : '+');
    else if (what == 'M' && (w->minus || !w->s->fm))
        (void)buf_char(w->out, w->minus ? '-' : ' ');
    else if (what == 'p' && (!w->minus || !w->s->fm))
        (void)buf_char(w->out, w->minus ? ' ' : '+');
    else if (what == 'P' && (w->minus || !w->s->fm))
        (void)buf_char(w->out, w->minus ? '>' : ' ');
}

static void put_ordinal(struct writer *w, const struct digits *x, bool lower)
{
    char last = x->d[x->point - 1], tens = x->point > 1 ? x->d[x->point - 2] : '0';
    const char *th = tens == '1' ? "TH" : last == '1' ? "ST" : last == '2' ? "ND" : last == '3' ? "RD" : "TH";
    if (!w->minus && w->s->behind == 0)
        (void)buf_printf(w->out, "%c%c", th[0] | (lower ? 0x20 : 0), th[1] | (lower ? 0x20 : 0));
}

/* Text in quotes, or a character that means nothing. Returns where it ends. */
static const char *put_text(struct writer *w, const char *p, const char *end)
{
    if (*p != '"') {
        (void)buf_char(w->out, *p);
        return p + 1;
    }
    const char *close = memchr(p + 1, '"', (size_t)(end - p - 1));
    (void)buf_add(w->out, p + 1, (size_t)((close ? close : end) - p - 1));
    return close ? close + 1 : end;
}

static void fill(struct writer *w, const char *p, const char *end, const struct digits *x)
{
    const struct shape *s = w->s;
    int first = 0, place = 0, behind = 0, last = s->behind;
    bool past = false;
    while (first < x->point - 1 && x->d[first] == '0')
        first++;
    int shown = x->point - first; /* digits before the point, at least one */
    bool over = shown > s->before && !(shown == 1 && x->d[first] == '0');
    bool hidden = shown == 1 && x->d[first] == '0' && s->behind > 0; /* 0.5 as .5 */
    for (; s->fm && last > s->kept && x->d[x->point + last - 1] == '0';)
        last--;
    while (p < end) {
        char what;
        size_t n = part_at(p, end, &what);
        if (*p == '"') {
            p = put_text(w, p, end);
            continue;
        }
        if ((what == '9' || what == '0') && past) {
            behind++;
            start(w);
            if (over)
                (void)buf_char(w->out, '#');
            else if (behind <= last)
                (void)buf_char(w->out, x->d[x->point + behind - 1]);
        } else if (what == '9' || what == '0') {
            int k = s->before - place; /* the digit that many places before the point */
            bool zero = s->zero >= 0 && place >= s->zero;
            place++;
            if (over || (k <= shown && !(hidden && !zero)) || zero) {
                start(w);
                (void)buf_char(w->out, over ? '#' : k <= shown ? x->d[x->point - k] : '0');
            } else {
                blank(w);
            }
        } else if (what == ',') {
            if (w->started)
                (void)buf_char(w->out, ',');
            else
                blank(w);
        } else if (what == '.') {
            start(w);
            (void)buf_char(w->out, '.');
            past = true;
        } else if (what == 'T') {
            put_ordinal(w, x, *p == 't');
        } else if (what == 'L') {
            (void)buf_char(w->out, ' ');
        } else if (what == '"') {
            p = put_text(w, p, end);
            continue;
        } else {
            sign_part(w, what);
        }
        p += n;
    }
    start(w);
}

static bool roman(const char *value, size_t n, const struct shape *s, bool lower, struct buf *out)
{
    static const struct {
        int v;
        const char *text;
    } steps[] = {{1000, "M"}, {900, "CM"}, {500, "D"}, {400, "CD"}, {100, "C"}, {90, "XC"}, {50, "L"},
                 {40, "XL"},  {10, "X"},   {9, "IX"},  {5, "V"},    {4, "IV"},  {1, "I"}};
    char text[32] = "";
    CLEANUP_BUF struct buf made = BUF_INIT(256);
    memcpy(text, value, n < sizeof text ? n : sizeof text - 1);
    long v = lround(strtod(text, NULL));
    if (v < 1 || v > 3999)
        return buf_str_add(out, "###############") == 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        for (; v >= steps[i].v; v -= steps[i].v)
            (void)buf_str_add(&made, steps[i].text);
    }
    for (size_t i = 0; lower && i < made.len; i++)
        made.p[i] = (char)(made.p[i] | 0x20);
    const char *shown = buf_str(&made);
    return shown && buf_printf(out, "%*s", s->fm ? 0 : 15, shown) == 0;
}

bool char_of_number(const char *value, size_t n, const char *template, size_t template_n, struct buf *out)
{
    const char *end = template + template_n;
    struct shape s = shape_of(template, end);
    struct digits x;
    struct writer w = {.s = &s, .out = out};
    bool digit = n && ((value[n - 1] >= '0' && value[n - 1] <= '9') || value[n - 1] == '.');
    if (!digit)
        return n && buf_add(out, value, n) == 0; /* NaN, Infinity */
    if (s.roman)
        return roman(value, n, &s, memchr(template, 'r', template_n) != NULL, out);
    if (s.exponent) {
        char text[DIGITS] = "";
        memcpy(text, value, n < sizeof text ? n : sizeof text - 1);
        double v = strtod(text, NULL);
        return buf_printf(out, s.fm || v < 0 ? "%.*e" : " %.*e", s.behind, v) == 0;
    }
    if (!read_digits(value, value + n, &x))
        return false;
    for (int i = 0; i < s.multiply && x.n <= DIGITS; i++) {
        if (x.point >= x.n)
            x.d[x.n++] = '0';
        x.point++;
    }
    round_digits(&x, s.behind);
    w.minus = x.minus && strspn(x.d, "0") < (size_t)x.n;
    fill(&w, template, end, &x);
    return !out->failed;
}

/* ---- to_number ---- */

/* What is neither digit, sign nor point is passed over: with PostgreSQL the template says the places, and those that users
 * write say no more than which characters are in the way. */
const char *char_read_number(const char *text, size_t n, const char *template, size_t template_n,
                             struct buf *out)
{
    struct shape s = shape_of(template, template + template_n);
    bool minus = false, point = false;
    int before = 0, behind = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '-' || text[i] == '<')
            minus = true;
        if (text[i] == '.' && s.point && !point)
            point = true;
        bool digit = text[i] >= '0' && text[i] <= '9';
        before += digit && !point;
        behind += digit && point;
    }
    if (!before && !behind)
        return "invalid input syntax for type numeric";
    point = false;
    before = behind = 0;
    if (minus)
        (void)buf_char(out, '-');
    for (size_t i = 0; i < n; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (text[i] == '.' && s.point && !point) {
            point = true;
            (void)buf_char(out, '.');
        } else if (digit && (point ? behind++ < s.behind : before++ < s.before)) {
            (void)buf_char(out, text[i]);
        }
    }
    return NULL;
}
