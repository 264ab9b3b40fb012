"""Random typed values with one truth each: a Python value, the SQL that makes it, and what each reader must show of it.

Everything here follows from the dialects' pages (design section 7 "Values", Kakao page section 8, Data 360 page 2.1, 2.2 and 2.5),
not from what the server does. A Kind knows one SQL type:

  sql             name of the type in the engine's SQL
  make(rng)       a random value, edges included (None is the caller's)
  literal(v)      an expression of exactly that type and value
  text(v, p)      its bare text in profile p: "kakao", "kylin", "jackdb" or "neutral"
  json(v, p)      what a JSON reader sees in profile p: "data360", "canner", "neutral", or "kylin" inside of its texts. Numbers are Number (their text), so no digit is
                  lost
  arrow(v)        what pyarrow shows, timestamps as microseconds
  kakao, data360  the type's description in the dialects' metadata
"""
import base64
import datetime as dt
import json
import math
import string
import struct
import uuid
from decimal import Context, Decimal

WIDE, WIDE400 = Context(prec=60), Context(prec=400)
EPOCH = dt.datetime(1970, 1, 1)
DAY_US = 86400 * 10**6


class Number(str):
    """The text of a JSON number: equal to another one only to the last digit."""

    def __repr__(self):
        return f"Number({str(self)})"


class Real(Number):
    """A floating-point number where the page leaves the text open: any text that reads back as the same value with the fewest digits."""

    def __new__(cls, value, single=False):
        self = super().__new__(cls, pointed(value, shortest(value, single)) if math.isfinite(value) else java(value, single))
        self.value, self.single = value, single
        return self

    def __eq__(self, other):
        if not math.isfinite(self.value):
            return str(other) == str(self)
        try:
            got = float(other)
        except (TypeError, ValueError):
            return False
        if self.single:
            got = struct.unpack("<f", struct.pack("<f", got))[0]
        same = got == self.value and math.copysign(1, got) == math.copysign(1, self.value)
        return same and significant(str(other)) == significant(shortest(self.value, self.single))

    def __ne__(self, other):
        return not self == other

    __hash__ = Number.__hash__


class JsonCell(str):
    """The text of a JSON value: any text that says the same."""

    def __new__(cls, value):
        self = super().__new__(cls, value)
        self.value = value
        return self

    def __eq__(self, other):
        return isinstance(other, str) and self.value == load(other)

    def __ne__(self, other):
        return not self == other

    __hash__ = str.__hash__


def load(text):
    """JSON with exact numbers; a bare NaN or Infinity, or a key that comes twice, is an error."""
    def pairs(items):
        assert len({k for k, _ in items}) == len(items), f"a key comes twice: {[k for k, _ in items][:20]}"
        return dict(items)

    def constant(word):
        raise AssertionError(f"bare {word} in JSON")

    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=constant, object_pairs_hook=pairs)


def quote(text):
    """An SQL string; control characters as chr(n), so that the statement itself holds none."""
    parts, plain = [], ""
    for c in text:
        if ord(c) < 32:
            if plain:
                parts.append("'" + plain.replace("'", "''") + "'")
            parts.append(f"chr({ord(c)})")
            plain = ""
        else:
            plain += c
    if plain or not parts:
        parts.append("'" + plain.replace("'", "''") + "'")
    return parts[0] if len(parts) == 1 else "(" + " || ".join(parts) + ")"


def name(text):
    return '"' + text.replace('"', '""') + '"'


# --- text of numbers and moments --------------------------------------------------------------------------------------


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def shortest(value, is_single):
    """The fewest digits that read back as the same value."""
    if not is_single or not math.isfinite(value) or not value:
        return repr(value)
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if abs(float(text)) < 3.40282357e38 and single(float(text)) == value:
            return text
    raise AssertionError(value)


def pointed(value, text):
    """repr()'s shape around the digits of text."""
    if value == 0:
        return repr(value)
    number = Decimal(text).normalize()
    digits, exponent = "".join(map(str, number.as_tuple().digits)), number.adjusted()
    sign = "-" if value < 0 else ""
    if -4 <= exponent < 16:
        plain = format(number, "f")
        return plain if "." in plain else plain + ".0"
    return f"{sign}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def significant(text):
    mantissa = text.lower().split("e")[0].replace(".", "").lstrip("-+0").rstrip("0")
    return mantissa


def java(value, is_single):
    """Double.toString's shape (Kakao page section 8) around the shortest digits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return sign + "0.0"
    number = Decimal(shortest(abs(value), is_single)).normalize()
    digits = "".join(map(str, number.as_tuple().digits))
    if len(digits) == 1:  # of at least two digits it takes the nearest: 4.9E-324
        number = Decimal(f"{abs(value):.1e}").normalize()
        digits = "".join(map(str, number.as_tuple().digits))
    exponent = number.adjusted()
    if -3 <= exponent < 7:
        if exponent < 0:
            return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
        whole, rest = digits[:exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1:]
        return f"{sign}{whole}.{rest or '0'}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def fraction(us, always):
    """.123 or .123456; nothing for none where the page writes none."""
    if not us and not always:
        return ""
    return f".{us:06d}" if us % 1000 else f".{us // 1000:03d}"


def clock(us, always):
    seconds, us = divmod(us, 10**6)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}" + fraction(us, always)


def moment(us, gap, always):
    days, rest = divmod(us, DAY_US)
    return (EPOCH + dt.timedelta(days=days)).strftime("%Y-%m-%d").rjust(10, "0") + gap + clock(rest, always)


def trimmed(us):
    """What is left of microseconds in Kylin's texts: three digits without zeros at the end."""
    return us - us % 1000


def plain(value, is_single):
    """JackDB's numbers: all digits, no exponent, no point that is not needed."""
    if not math.isfinite(value) or not value:
        return java(value, is_single).replace(".0", "")
    return format(Decimal(shortest(value, is_single)).normalize(WIDE400), "f")


def without_zeros(text):
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- kinds ------------------------------------------------------------------------------------------------------------


class Kind:
    """A type whose values are their own texts."""

    def __init__(self, sql, kakao=None, data360="varchar", **more):
        self.sql, self.kakao, self.data360 = sql, kakao or sql.lower(), data360
        self.__dict__.update(more)

    def __repr__(self):
        return self.sql

    def described(self):
        """Data 360 metadata without the name."""
        return {"type": self.data360, "nullable": True}

    def literal(self, v):
        return f"CAST({quote(self.text(v, 'neutral'))} AS {self.sql})"

    def text(self, v, p):
        return str(v)

    def json(self, v, p):
        return self.text(v, p)

    def arrow(self, v):
        return v

    # of values inside of others and of columns that may hold NULL
    def null_or(self, what, v, *p):
        return None if v is None else getattr(self, what)(v, *p)


class Boolean(Kind):
    def make(self, rng):
        return rng.random() < 0.5

    def literal(self, v):
        return "true" if v else "false"

    text_of = {True: "true", False: "false"}

    def text(self, v, p):
        return self.text_of[v]

    def json(self, v, p):
        return v


class Integer(Kind):
    def make(self, rng):
        low, high = self.range
        edge = [low, low + 1, high, high - 1, 0, max(low, -1), 1]
        if rng.random() < 0.4:
            return rng.choice(edge)
        return max(low, min(high, rng.randint(-10**rng.randint(1, 39), 10**rng.randint(1, 39)) if low < 0 else rng.randint(0, 10**rng.randint(1, 39))))

    def json(self, v, p):
        return str(v) if p == "canner" and self.data360 == "numeric" else Number(v)

    def arrow(self, v):
        return Decimal(v) if self.data360 == "numeric" else str(v) if self.data360 == "varchar" else v

    def described(self):
        return {"type": self.data360, "nullable": True, **({"precision": self.precision, "scale": 0} if self.data360 == "numeric" else {})}


class Dec(Kind):
    def __init__(self, precision, scale):
        super().__init__(f"DECIMAL({precision},{scale})", f"decimal({precision},{scale})", "numeric", precision=precision, scale=scale)

    def make(self, rng):
        most = 10**self.precision - 1
        unscaled = rng.choice([0, 1, -1, most, -most]) if rng.random() < 0.3 else rng.randint(-10**rng.randint(1, self.precision) + 1, 10**rng.randint(1, self.precision) - 1)
        return Decimal(unscaled).scaleb(-self.scale, context=WIDE)

    def text(self, v, p):
        text = format(v, "f")
        return text[1:] if text.startswith("-") and not v else text

    def json(self, v, p):
        return self.text(v, p) if p == "canner" else Number(self.text(v, p))

    def described(self):
        return {"type": "numeric", "nullable": True, "precision": self.precision, "scale": self.scale}


class Floating(Kind):
    def make(self, rng):
        edges = [0.0, -0.0, 0.1, 1.0, -1.0, 100.0, 0.001, 0.0001, 1e7, 9999999.0, 12345678.9, 1e16, 1e22, math.inf, -math.inf, math.nan, 3.4028235e38, 1e-45]
        if not self.single:
            edges += [1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, 1e300, 2.0**63, 9007199254740993.0]
        if rng.random() < 0.4:
            v = rng.choice(edges)
        elif rng.random() < 0.5:
            v = rng.uniform(-1000, 1000)
        else:
            bits = rng.getrandbits(32 if self.single else 64)
            v = struct.unpack("<f" if self.single else "<d", bits.to_bytes(4 if self.single else 8, "little"))[0]
        if self.single:
            v = single(max(-3.4028234663852886e38, min(3.4028234663852886e38, v)) if math.isfinite(v) else v)
        return v

    def literal(self, v):
        return f"CAST('{shortest(v, self.single)}' AS {self.sql})"

    def text(self, v, p):
        if p == "jackdb":
            return plain(v, self.single)
        return java(v, self.single) if p in ("kakao", "kylin", "canner") else Real(v, self.single)

    def json(self, v, p):
        if math.isfinite(v):
            return Number(java(v, self.single)) if p in ("kylin", "canner") else Real(v, self.single)
        return java(v, self.single)

    def arrow(self, v):
        return Same(v)


class Same:
    """Equal bit by bit, NaN to NaN."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, float) and (struct.pack("<d", self.value) == struct.pack("<d", other) or (math.isnan(self.value) and math.isnan(other)))

    def __repr__(self):
        return f"Same({self.value!r})"


class Text(Kind):
    WORDS = ["", " ", "plain", "it's", '"', '""', ",", "a,b", "line\nend", "\r\n", "tab\t", "\\", "\\N", "NULL", "null", "#", "é", "日本語", "😀👨‍👩‍👧", "e\u0301", "\u2028", "\ufeff", "\U0010ffff",
             "\x00", "a\x00b", "\x7f", "\x1f", "%s{}", "</script>", "=1+1", " lead", "trail ", "x" * 300, "é" * 200, "true", "1e5", "$1", "?", ":a", "--", "/*", "[a, b]", "{k=v}"]

    def make(self, rng):
        if rng.random() < 0.6:
            return rng.choice(self.WORDS)
        alphabet = string.printable + "äöüßéλЖ中日本😀🇰🇷\u200d\u202e"
        return "".join(rng.choice(alphabet) for _ in range(rng.choice([1, 2, 7, 12, 13, 15, 16, 17, 31, 33, 64])))

    def literal(self, v):
        return quote(v)


class JsonText(Kind):
    def make(self, rng):
        def any_value(depth):
            pick = rng.randint(0, 7 if depth else 5)
            if pick > 5:
                return [any_value(depth - 1) for _ in range(rng.randint(0, 3))] if pick == 6 else {rng.choice("abcé"): any_value(depth - 1) for _ in range(rng.randint(0, 2))}
            return [None, True, rng.randint(-99, 10**12), "t\"\n\u00e9", "", "😀"][pick]
        return json.dumps(any_value(2), ensure_ascii=rng.random() < 0.5)

    def literal(self, v):
        return f"{quote(v)}::JSON"  # a CAST to JSON is Trino's in Kakao: it makes a JSON string

    def json(self, v, p):
        return load(v) if p == "data360" else v


class Blob(Kind):
    def make(self, rng):
        return rng.randbytes(rng.choice([0, 1, 2, 12, 13, 100])) if rng.random() < 0.8 else b"\x00\xff\n,\""

    def literal(self, v):
        return f"unhex('{v.hex()}')"

    def text(self, v, p):
        return v.hex()

    def json(self, v, p):
        if p == "canner":
            return base64.b64encode(v).decode()
        return ("\\x" if p == "data360" else "") + v.hex()


class Day(Kind):
    EDGES = ["0001-01-01", "1582-10-04", "1582-10-15", "1969-12-31", "1970-01-01", "2000-02-29", "2024-12-31", "9999-12-31"]

    def make(self, rng):
        return dt.date.fromisoformat(rng.choice(self.EDGES)) if rng.random() < 0.4 else dt.date.fromordinal(rng.randint(1, dt.date.max.toordinal()))

    def text(self, v, p):
        return v.isoformat()


class Clock(Kind):
    def make(self, rng):
        return rng.choice([0, DAY_US - 1, 1, 1000, 43200 * 10**6]) if rng.random() < 0.4 else rng.randrange(DAY_US)

    def text(self, v, p):
        if p == "kylin":
            return without_zeros(clock(trimmed(v), True))
        if p == "jackdb":
            return without_zeros(clock(v - v % 10**6, False) + f".{v % 10**6:06d}")
        return clock(v, p != "data360")

    def arrow(self, v):
        return (EPOCH + dt.timedelta(microseconds=v)).time()


class Stamp(Kind):
    """Values are microseconds since 1970; step is the type's own unit."""

    def make(self, rng):
        low, high = (dt.datetime(1, 1, 1) - EPOCH) // dt.timedelta(microseconds=1), (dt.datetime.max - EPOCH) // dt.timedelta(microseconds=1)
        v = rng.choice([low, high, 0, -1, 1, 999, 1000, -1000, 10**6, 86399999999]) if rng.random() < 0.4 else rng.randint(low, high)
        if rng.random() < 0.3:
            v -= v % 1000
        if rng.random() < 0.2:
            v -= v % DAY_US
        return v - v % self.step

    def literal(self, v):
        return f"CAST('{moment(v, ' ', True)}{'+00' if self.zoned else ''}' AS {self.sql})"

    def text(self, v, p):
        if p == "kylin":
            return without_zeros(moment(trimmed(v), " ", True))
        if p == "jackdb":
            return moment(trimmed(v), "T", True) + ("Z" if self.zoned else "")
        return moment(v, " ", True) + ("" if not self.zoned else " UTC" if p in ("kakao", "canner") else "+00:00")

    def json(self, v, p):
        return moment(v, "T", False) + ("+00:00" if self.zoned else "") if p == "data360" else self.text(v, p)


class Interval(Kind):
    """(months, days, microseconds)."""

    def make(self, rng):
        part = [0, 1, -1, 12, 14, -25, 400, rng.randint(-10**4, 10**4)]
        us = [0, 1, -1, 1000, -1500000, 3600 * 10**6, DAY_US - 1, DAY_US, -DAY_US * 3 - 1, rng.randint(-10**15, 10**15), 9223372036854775, -9223372036854775]
        return rng.choice(part), rng.choice(part), rng.choice(us)

    def literal(self, v):
        return f"(to_months({v[0]}) + to_days({v[1]}) + to_microseconds({v[2]}))"

    def text(self, v, p):
        months, total = v[0], v[1] * DAY_US + v[2]
        parts = []
        if months:
            parts.append(f"{'-' if months < 0 else ''}{abs(months) // 12}-{abs(months) % 12}")
        if total or not months:
            days, rest = divmod(abs(total), DAY_US)
            parts.append(f"{'-' if total < 0 else ''}{days} {clock(rest, True)}")
        return " ".join(parts)

    def json(self, v, p):
        if p != "data360":
            return self.text(v, p)
        if v == (0, 0, 0):
            return "PT0S"

        def part(n, unit):
            return f"{n}{unit}" if n else ""

        def trunc(a, b):
            return int(math.copysign(abs(a) // b, a)) if a else 0

        months, days, us = v
        text = "P" + part(trunc(months, 12), "Y") + part(months - 12 * trunc(months, 12), "M") + part(days, "D")
        if us:
            hours = trunc(us, 3600 * 10**6)
            us -= hours * 3600 * 10**6
            minutes = trunc(us, 60 * 10**6)
            us -= minutes * 60 * 10**6
            seconds = ""
            if us:
                whole, rest = divmod(abs(us), 10**6)
                seconds = ("-" if us < 0 else "") + str(whole) + (f".{rest:06d}".rstrip("0") if rest else "") + "S"
            text += "T" + part(hours, "H") + part(minutes, "M") + seconds
        return text

    def arrow(self, v):
        return v[0], v[1], v[2] * 1000


class Uuid(Kind):
    def make(self, rng):
        return rng.choice([uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=rng.getrandbits(128))])

    def arrow(self, v):
        return str(v)


class Bits(Kind):
    def make(self, rng):
        return "".join(rng.choice("01") for _ in range(rng.choice([1, 7, 8, 9, 33])))


class Mood(Kind):
    def make(self, rng):
        return rng.choice(["sad", "né", "it's", ""])


# --- nested -----------------------------------------------------------------------------------------------------------


class List(Kind):
    def __init__(self, child, size=None):
        super().__init__(f"{child.sql}[{size or ''}]", f"array({child.kakao})", "array", child=child, size=size)

    def described(self):
        return {"type": "array", "nullable": True, "innerElement": self.child.described()}

    def make(self, rng):
        n = self.size or rng.choice([0, 1, 2, 3, 9])
        return [None if rng.random() < 0.2 else self.child.make(rng) for _ in range(n)]

    def literal(self, v):
        return f"CAST([{', '.join('NULL' if x is None else self.child.literal(x) for x in v)}] AS {self.sql})"

    def text(self, v, p):
        return joined(self, v, "[", "]", [("", x, self.child) for x in v], p)

    def json(self, v, p):
        return [self.child.null_or("json", x, p) for x in v]

    def arrow(self, v):
        return [self.child.null_or("arrow", x) for x in v]


class Struct(Kind):
    def __init__(self, fields):
        inner = ", ".join(f"{name(n)} {k.sql}" for n, k in fields)
        plain = set(string.ascii_lowercase + string.digits + "_")
        spelled = ",".join((n if n and set(n) <= plain and not n[0].isdigit() else name(n)) + " " + k.kakao for n, k in fields)
        super().__init__(f"STRUCT({inner})", f"row({spelled})", "json", fields=fields)

    def make(self, rng):
        return [None if rng.random() < 0.2 else k.make(rng) for _, k in self.fields]

    def literal(self, v):
        inner = ", ".join(f"{quote(n)}: {'NULL' if x is None else k.literal(x)}" for (n, k), x in zip(self.fields, v))
        return f"CAST({{{inner}}} AS {self.sql})"

    def text(self, v, p):
        return joined(self, v, "{", "}", [(n + "=", x, k) for (n, k), x in zip(self.fields, v)], p)

    def json(self, v, p):
        if p == "canner":
            return [k.null_or("json", x, p) for (_, k), x in zip(self.fields, v)]
        return {n: k.null_or("json", x, p) for (n, k), x in zip(self.fields, v)}

    def arrow(self, v):
        return {n: k.null_or("arrow", x) for (n, k), x in zip(self.fields, v)}


class Map(Kind):
    def __init__(self, key, value):
        super().__init__(f"MAP({key.sql}, {value.sql})", f"map({key.kakao},{value.kakao})", "json", key=key, value=value)

    def make(self, rng):
        keys = []
        for _ in range(rng.choice([0, 1, 2, 5])):
            key = self.key.make(rng)
            if key not in keys:
                keys.append(key)
        return [(k, None if rng.random() < 0.2 else self.value.make(rng)) for k in keys]

    def literal(self, v):
        keys = ", ".join(self.key.literal(k) for k, _ in v)
        values = ", ".join("NULL" if x is None else self.value.literal(x) for _, x in v)
        return f"CAST(MAP([{keys}], [{values}]) AS {self.sql})"

    def text(self, v, p):
        return joined(self, v, "{", "}", [(str(self.key.text(k, p)) + "=", x, self.value) for k, x in v], p)

    def json(self, v, p):
        return {str(self.key.text(k, p)): self.value.null_or("json", x, p) for k, x in v}

    def arrow(self, v):
        return [(self.key.arrow(k), self.value.null_or("arrow", x)) for k, x in v]


def joined(kind, v, start, end, parts, p):
    """[a, b], {k=v}; JSON where the page says so."""
    if p == "kylin":
        return JsonCell(kind.json(v, p))
    return start + ", ".join(before + ("null" if x is None else str(k.text(x, p))) for before, x, k in parts) + end



SMALL = [
    Boolean("BOOLEAN", data360="bool"),
    Integer("TINYINT", data360="smallint", range=(-2**7, 2**7 - 1)),
    Integer("SMALLINT", data360="smallint", range=(-2**15, 2**15 - 1)),
    Integer("INTEGER", data360="integer", range=(-2**31, 2**31 - 1)),
    Integer("BIGINT", data360="bigint", range=(-2**63, 2**63 - 1)),
    Integer("UTINYINT", "smallint", "smallint", range=(0, 2**8 - 1)),
    Integer("USMALLINT", "integer", "integer", range=(0, 2**16 - 1)),
    Integer("UINTEGER", "bigint", "bigint", range=(0, 2**32 - 1)),
    Integer("UBIGINT", "decimal(20,0)", "numeric", range=(0, 2**64 - 1), precision=20),
    Integer("HUGEINT", "decimal(38,0)", "numeric", range=(-10**38 + 1, 10**38 - 1), precision=38),  # beyond: tests/engines/test_values.py
    Floating("DOUBLE", data360="float8", single=False),
    Floating("FLOAT", "real", "float4", single=True),
    Text("VARCHAR"),
    Blob("BLOB", "varbinary", "bytea"),
    Day("DATE", data360="date"),
    Clock("TIME", "time(6)", "time"),
    Stamp("TIMESTAMP", "timestamp(6)", "timestamp", zoned=False, step=1),
    Stamp("TIMESTAMP_S", "timestamp(0)", "timestamp", zoned=False, step=10**6),
    Stamp("TIMESTAMP_MS", "timestamp(3)", "timestamp", zoned=False, step=1000),
    Stamp("TIMESTAMP WITH TIME ZONE", "timestamp(6) with time zone", "timestamptz", zoned=True, step=1),
    Interval("INTERVAL", "interval day to second", "interval"),
    Uuid("UUID"),
    JsonText("JSON", data360="json"),
    Bits("BIT", "varchar"),
    Mood("ENUM('sad', 'né', 'it''s', '')", "varchar"),
]
BY_NAME = {k.sql: k for k in SMALL}


def random_kind(rng, depth=2):
    pick = rng.random()
    if depth and pick < 0.25:
        def inner():
            kind = random_kind(rng, depth - 1)
            # an ENUM inside of another type and JSON inside of lists stay for the tests of single types
            while isinstance(kind, (Mood, JsonText)):
                kind = random_kind(rng, depth - 1)
            return kind

        shape = rng.randint(0, 3)
        if shape == 0:
            return List(inner())
        if shape == 1:
            return List(inner(), rng.randint(1, 4))
        if shape == 2:
            names = rng.sample(["a", "b", "C d", "é", "f_1", "from", "q\"t"], rng.randint(1, 4))
            return Struct([(n, inner()) for n in names])
        return Map(rng.choice([BY_NAME["INTEGER"], BY_NAME["VARCHAR"], BY_NAME["DATE"]]), inner())
    if pick < 0.4:
        precision = rng.choice([1, 4, 5, 9, 10, 18, 19, 38])
        return Dec(precision, rng.choice([0, precision, rng.randint(0, precision)]))
    return rng.choice(SMALL)


class Rows:
    """Rows that are known: names and kinds of the columns, and the values."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows

    def all_names(self):
        return [n for n, _ in self.columns]

    def all_kinds(self):
        return [k for _, k in self.columns]

    def count(self):
        return len(self.rows)

    def shown(self, what, *p):
        return [[k.null_or(what, v, *p) for k, v in zip(self.all_kinds(), row)] for row in self.rows]


class Table:
    """Random columns and rows; row number first, so that every order is the same. repeat makes many batches of few values."""

    def __init__(self, rng, columns=6, rows=12, repeat=1):
        names = ["Plain", "with space", "q\"uote", "ünï😀", "select", "a,b", "\\back", "tab\tname"]
        rng.shuffle(names)
        self.kinds = [random_kind(rng) for _ in range(columns)]
        self.names = [f"{names[i % len(names)]}{i}" for i in range(columns)]
        self.rows = [[None if rng.random() < 0.15 else k.make(rng) for k in self.kinds] for _ in range(rows)]
        self.repeat = repeat

    def source(self):
        """FROM clause item `t` with the rows, and their number i."""
        rows = ", ".join("(" + ", ".join([str(i)] + ["NULL" if v is None else k.literal(v) for k, v in zip(self.kinds, row)]) + ")" for i, row in enumerate(self.rows))
        types = ", ".join(f"{name(n)}::{k.sql} AS {name(n)}" for n, k in zip(self.names, self.kinds))
        columns = ", ".join(["i"] + [name(n) for n in self.names])
        return f"(SELECT i, {types} FROM (VALUES {rows}) v({columns})) t"

    def sql(self):
        number = f"CAST(r.range * {len(self.rows)} + t.i AS BIGINT)"
        columns = ", ".join("t." + name(n) for n in self.names)
        return f"SELECT {number} AS row_number, {columns} FROM range({self.repeat}) r, {self.source()} ORDER BY 1"

    def all_names(self):
        return ["row_number"] + self.names

    def all_kinds(self):
        return [BY_NAME["BIGINT"]] + self.kinds

    def count(self):
        return len(self.rows) * self.repeat

    def values(self):
        """All rows, in order."""
        for r in range(self.repeat):
            for i, row in enumerate(self.rows):
                yield [r * len(self.rows) + i] + row

    def shown(self, what, *p):
        """All rows as a reader shows them. What is the same for every repetition is made once."""
        number = BY_NAME["BIGINT"]
        once = [[k.null_or(what, v, *p) for k, v in zip(self.kinds, row)] for row in self.rows]
        return [[getattr(number, what)(r * len(once) + i, *p)] + row for r in range(self.repeat) for i, row in enumerate(once)]
