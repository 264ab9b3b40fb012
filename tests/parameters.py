"""Random typed parameters of Data 360 submits and statements that use them, with the values they must have (kinds of tests/typed.py)."""
import json
import math

import typed
from typed import BY_NAME, Dec, List, Number, Rows, moment


def dump(value):
    """JSON text, where a Number is a bare number with exactly its digits."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(dump, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(json.dumps(k) + ": " + dump(v) for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def spelled(rng, names):
    word = rng.choice(names)
    return rng.choice([word, word.upper(), word.capitalize()])


def boolean(rng, v):
    native = [v] if rng.random() < 0.5 else []
    return (native or rng.choice([["true"], ["t"], ["yes"], ["ON"], ["1"]] if v else [["FALSE"], ["f"], ["no"], ["off"], ["0"]]))[0]


def integer(rng, v):
    return Number(v) if rng.random() < 0.5 else rng.choice([str(v), f"{v:+d}", f"{'-' if v < 0 else ''}00{abs(v)}"])


def number(rng, text):
    return Number(text) if rng.random() < 0.5 else text


def real(single):
    def spell(rng, v):
        text = typed.shortest(v, single)
        if not math.isfinite(v):
            return typed.java(v, single)
        return number(rng, text)
    return spell


def stamp(rng, v):
    return moment(v, rng.choice(["T", " "]), True)


def stamptz(rng, v):
    if rng.random() < 0.4:
        return stamp(rng, v) + rng.choice(["Z", "+00:00", "+00", " UTC"])
    hours = rng.randint(-11, 13)
    local = v + hours * 3600 * 10**6
    if not 0 <= (local + 62135596800 * 10**6) < 315537897600 * 10**6:
        return stamp(rng, v) + "Z"
    return stamp(rng, local) + f"{hours:+03d}:00"


def interval(rng, v):
    return f"{v[0]} months {v[1]} days {v[2]} microseconds"


def as_text(kind):
    return lambda rng, v: kind.text(v, "neutral")


# names in a request, kind of the bound value, its spellings
SIMPLE = [
    (("bool", "boolean"), "BOOLEAN", boolean),
    (("smallint", "int2"), "SMALLINT", integer),
    (("integer", "int", "int4"), "INTEGER", integer),
    (("bigint", "int8", "long"), "BIGINT", integer),
    (("oid",), "UINTEGER", integer),
    (("float4", "real", "float"), "FLOAT", real(True)),
    (("float8", "double", "double precision"), "DOUBLE", real(False)),
    (("varchar", "char", "string", "text"), "VARCHAR", lambda rng, v: v),
    (("date",), "DATE", as_text(BY_NAME["DATE"])),
    (("time",), "TIME", as_text(BY_NAME["TIME"])),
    (("timestamp",), "TIMESTAMP", stamp),
    (("timestamptz", "timestamp_tz"), "TIMESTAMP WITH TIME ZONE", stamptz),
    (("interval",), "INTERVAL", interval),
    (("json",), "JSON", lambda rng, v: v),
    (("bytea",), "BLOB", lambda rng, v: "\\x" + (v.hex() if rng.random() < 0.5 else v.hex().upper())),
]


def sendable(value):
    """A request cannot hold the character NUL."""
    return value.replace("\x00", "\x01") if isinstance(value, str) else value


def numeric(rng):
    """(fields, kind, value): with a precision it is the column's, else it follows the digits that are given."""
    names = ("numeric", "decimal", "number")
    precision = rng.choice([1, 4, 9, 10, 18, 19, 38])
    kind = Dec(precision, rng.randint(0, precision))
    value = None if rng.random() < 0.15 else kind.make(rng)
    text = None if value is None else number(rng, kind.text(value, "neutral"))
    pick = rng.randint(0, 2)
    if pick == 0:
        return {"type": f"{spelled(rng, names)}({kind.precision}, {kind.scale})", "value": text}, kind, value
    if pick == 1:
        return {"type": spelled(rng, names), "precision": kind.precision, "scale": kind.scale, "value": text}, kind, value
    if value is None:
        return {"type": spelled(rng, names), "value": None}, Dec(38, 0), None
    digits = kind.text(value, "neutral").lstrip("-").split(".")
    whole, rest = digits[0].lstrip("0"), digits[1] if len(digits) > 1 else ""
    return {"type": spelled(rng, names), "value": text}, Dec(max(1, len(whole) + len(rest)), len(rest)), value


def array(rng):
    names, sql, spell = rng.choice([s for s in SIMPLE if s[1] != "JSON"])
    kind = List(BY_NAME[sql])
    fields = rng.choice([{"type": f"{spelled(rng, names)}[]"}, {"type": "array", "innerElement": {"type": spelled(rng, names)}}])
    value = None if rng.random() < 0.1 else [sendable(v) for v in kind.make(rng)]
    if value is None:
        return {**fields, "value": None}, kind, None
    items = [None if v is None else spell(rng, v) for v in value]
    return {**fields, "value": items if rng.random() < 0.7 else dump(items)}, kind, value


def parameter(rng, arrays=True):
    """(fields of the request without a name, kind, value)."""
    pick = rng.random()
    if pick < 0.2:
        return numeric(rng)
    if arrays and pick < 0.35:
        return array(rng)
    names, sql, spell = rng.choice(SIMPLE)
    kind = BY_NAME[sql]
    value = None if rng.random() < 0.15 else sendable(kind.make(rng))
    fields = {"type": spelled(rng, names), "value": None if value is None else spell(rng, value)}
    if sql == "VARCHAR" and rng.random() < 0.3:
        fields["length"] = len(value or "") + rng.choice([0, 1, 100])
    return fields, kind, value


def statement(rng, style, given):
    """(sql, parameters, answer): SELECT of all given parameters in a random order, some of them twice where the style can."""
    order = list(range(len(given)))
    if style != "QUESTION_MARK":
        rng.shuffle(order)
        order += [rng.choice(order) for _ in range(rng.randint(0, 3))]
    columns, values, parts = [], [], []
    with_names = style == "NAMED" and rng.random() < 0.6
    names = [f"{rng.choice(['p', 'Name_', '_x', 'ä'])}{i}" for i in range(len(given))]
    for at, i in enumerate(order):
        place = {"QUESTION_MARK": "?", "NAMED": ":" + names[i]}.get(style, f"${i + 1}")
        noise = rng.choice(["", "", " /* ?:x$9 */", " -- '\n"])
        parts.append(f"{place}{noise} AS \"c{at}\"")
        columns.append((f"c{at}", given[i][1]))
        values.append(given[i][2])
    sent = [dict(g[0]) for g in given]
    if with_names:
        for i, fields in enumerate(sent):
            fields["name"] = rng.choice(["", ":"]) + names[i]
        rng.shuffle(sent)
    elif style == "NAMED":
        first = list(dict.fromkeys(order))
        sent = [sent[i] for i in first]
    noise = rng.choice(["", "WITH \"t?\"(x) AS (SELECT ':a') ", "/* $1 ? :y */ "])
    where = rng.choice(["", " WHERE '?' <> ':a$1'", " WHERE 1::INTEGER = 1 AND 'it''s :z' = 'it''s :z'"])
    return f"{noise}SELECT {', '.join(parts)}{where}", sent, Rows(columns, [values])
