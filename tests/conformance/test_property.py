"""Random typed tables and parameters, through every dialect and every format, against one truth (tests/typed.py).

The seed is printed and stands in every failure: QUERN_SEED=n repeats a run. QUERN_PROPERTY_ROUNDS (default 5) makes it bigger.
"""
import os
import random
from decimal import Decimal

import pytest

import parameters
import typed
from readers import DIALECTS, Data360, Kakao, compare

SEED = int(os.environ.get("QUERN_SEED") or random.SystemRandom().randrange(2**32))
ROUNDS = int(os.environ.get("QUERN_PROPERTY_ROUNDS") or 5)


def rng_of(what, number):
    print(f"QUERN_SEED={SEED}")
    return random.Random(f"{SEED}/{what}/{number}")


@pytest.mark.parametrize("number", range(ROUNDS))
def test_tables(q, number):
    """One random table; submitted by each dialect, read by all."""
    rng = rng_of("table", number)
    table = typed.Table(rng, columns=rng.randint(1, 10), rows=rng.randint(1, 20))
    for dialect in DIALECTS:
        qid = dialect.submit(q, table.sql())
        assert compare(q, qid, table, f"QUERN_SEED={SEED}, submitted by {dialect.name}") > 20


def test_many_batches(q):
    """The same over several stored batches: what lies in the second block of a file is read as what lies in the first."""
    rng = rng_of("batches", 0)
    table = typed.Table(rng, columns=3, rows=10, repeat=7000)
    qid = rng.choice(DIALECTS).submit(q, table.sql())
    compare(q, qid, table, f"QUERN_SEED={SEED}, {table.kinds}")


@pytest.mark.parametrize("style", ["QUESTION_MARK", "NAMED", "DOLLARED", "DOLLAR_NUMBERED"])
def test_parameters(q, style):
    """Random parameters have exactly their type and value, in every dialect's eyes."""
    for number in range(ROUNDS):
        rng = rng_of("parameters " + style, number)
        given = [parameters.parameter(rng) for _ in range(rng.randint(1, 12))]
        sql, sent, answer = parameters.statement(rng, style, given)
        qid = submit_with(q, sql, style, sent)
        compare(q, qid, answer, f"QUERN_SEED={SEED}, {sql}, {sent}")


def submit_with(q, sql, style, sent):
    body = parameters.dump({"sql": sql, "transferMode": "ASYNC", "paramStyle": style, "parameters": sent})
    got = q.http("POST", "/api/v3/query", dialect="data360", data=body, headers={"Content-Type": "application/json"})
    assert got.status_code == 200, f"QUERN_SEED={SEED}: {got.text}\n{body}"
    qid = q.d360_status_of(got)["queryId"]
    done = q.d360_wait(qid)
    assert done.status_code == 200, f"QUERN_SEED={SEED}: {done.text}\n{body}"
    return qid


def test_parameters_find_their_rows(q):
    """Every value of a random table, sent as a parameter, finds exactly the rows that hold it."""
    rng = rng_of("filter", 0)
    by_kind = {sql: (names, spell) for names, sql, spell in parameters.SIMPLE}
    kinds = [typed.BY_NAME[sql] for sql in by_kind if sql != "JSON"]  # equality of JSON is that of its text
    rng.shuffle(kinds)
    for kind in kinds[:max(6, ROUNDS)]:
        table = typed.Table(rng, columns=1, rows=0)
        table.kinds = [kind]
        few = [None] + [parameters.sendable(kind.make(rng)) for _ in range(5)]
        table.rows = [[rng.choice(few)] for _ in range(12)]
        for value in few:
            names, spell = by_kind[kind.sql]
            sent = {"type": rng.choice(names), "value": None if value is None else spell(rng, value)}
            sql = f"SELECT i FROM {table.source()} WHERE {typed.name(table.names[0])} IS NOT DISTINCT FROM ? ORDER BY i"
            qid = submit_with(q, sql, "QUESTION_MARK", [sent])
            want = [i for i, (v,) in enumerate(table.rows) if same(v, value)]
            got = q.d360_rows(qid) if want else []
            assert [r[0] for r in got] == want, f"QUERN_SEED={SEED}: {kind} {value!r} as {sent} in {table.rows}"


def same(a, b):
    """The engine's equality: NaN equals NaN, 0.0 equals -0.0, intervals by their length."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return (a[0] * 30 + a[1]) * typed.DAY_US + a[2] == (b[0] * 30 + b[1]) * typed.DAY_US + b[2]
    return type(a) is type(b) and a == b


def half_up(over, under):
    """over / under as an integer, half away from zero."""
    q, rest = divmod(abs(over), abs(under))
    q += 2 * rest >= abs(under)
    return -q if (over < 0) != (under < 0) else q


def arithmetic(profile, ka, kb):
    """Kinds of a / b and a % b (docs/sql.md)."""
    (p1, s1), (p2, s2) = (ka.precision, ka.scale), (kb.precision, kb.scale)
    rest = typed.Dec(max(1, min(p1 - s1, p2 - s2) + max(s1, s2)), max(s1, s2))
    if profile == "trino":
        return typed.Dec(min(38, p1 + s2 + max(0, s2 - s1)), max(s1, s2)), rest
    return typed.Dec(38, max(16, min(max(s1, s2), 38 - min(20, p1 - s1 + s2)))), rest


def unscaled(v, scale):
    return int(v.scaleb(scale, context=typed.WIDE400))


def fitting(kind, integer):
    """The value, or None where it has too many digits."""
    return None if abs(integer) >= 10**kind.precision else Decimal(integer).scaleb(-kind.scale, context=typed.WIDE)


@pytest.mark.parametrize("profile", ["trino", "pg"])
def test_decimal_division(q, profile):
    """Quotients, remainders and averages of random decimals are Python's exact ones, with the documented types, in every dialect's eyes."""
    dialect = Kakao() if profile == "trino" else Data360()
    for number in range(ROUNDS):
        rng = rng_of("division " + profile, number)
        kinds = []
        for _ in range(2):
            precision = rng.choice([1, 4, 5, 9, 10, 18, 19, 37, 38, rng.randint(1, 38)])
            kinds.append(typed.Dec(precision, rng.choice([0, precision, rng.randint(0, precision)])))
        ka, kb = kinds
        pairs = [(ka.make(rng), kb.make(rng)) for _ in range(30)]
        pairs = [(a, b if b else Decimal(1).scaleb(-kb.scale, context=typed.WIDE)) for a, b in pairs] + [(None, Decimal(0)), (pairs[0][0], None)]
        quotient, rest = arithmetic(profile, ka, kb)
        mean = ka if profile == "trino" else typed.Dec(38, max(16, ka.scale))
        known = [unscaled(a, ka.scale) for a, _ in pairs if a is not None]
        rows = []
        for i, (a, b) in enumerate(pairs):
            if a is None or b is None:
                rows.append([i, None, None])
                continue
            x, y = unscaled(a, ka.scale), unscaled(b, kb.scale)
            shift = quotient.scale - ka.scale + kb.scale
            over, under = (x * 10**shift, y) if shift >= 0 else (x, y * 10**-shift)
            ux, uy = x * 10**(rest.scale - ka.scale), y * 10**(rest.scale - kb.scale)
            left = abs(ux) % abs(uy) * (-1 if ux < 0 else 1)
            rows.append([i, fitting(quotient, half_up(over, under)), fitting(rest, left)])
        values = ", ".join(f"({i}, {'NULL' if a is None else ka.literal(a)}, {'NULL' if b is None else kb.literal(b)})" for i, (a, b) in enumerate(pairs))
        source = f"(SELECT i, a::{ka.sql} AS a, b::{kb.sql} AS b FROM (VALUES {values}) v(i, a, b)) t"
        sql = f"SELECT i, try(a / b) AS q, try(a % b) AS r FROM {source} ORDER BY i"
        answer = typed.Rows([("i", typed.BY_NAME["INTEGER"]), ("q", quotient), ("r", rest)], rows)
        compare(q, dialect.submit(q, sql), answer, f"QUERN_SEED={SEED}, {ka} by {kb}: {sql}")
        if ka.precision <= 20:  # so that sum and average have room
            average = fitting(mean, half_up(sum(known) * 10**(mean.scale - ka.scale), len(known)))
            for call in ("avg(a)", "avg(a) FILTER (WHERE i >= 0)"):
                sql = f"SELECT {call} AS m, count(a) AS n FROM {source}"
                answer = typed.Rows([("m", mean), ("n", typed.BY_NAME["BIGINT"])], [[average, len(known)]])
                compare(q, dialect.submit(q, sql), answer, f"QUERN_SEED={SEED}, {ka}: {sql}")
