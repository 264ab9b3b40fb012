"""Random typed tables and parameters, through every dialect and every format, against one truth (tests/typed.py).

The seed is printed and stands in every failure: QUERN_SEED=n repeats a run. QUERN_PROPERTY_ROUNDS (default 5) makes it bigger.
"""
import os
import random

import pytest

import parameters
import typed
from readers import DIALECTS, compare

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
