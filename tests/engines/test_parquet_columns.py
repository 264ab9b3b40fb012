"""Columns of Parquet files arrive as they were written, whichever way the engine carries them: dictionaries and plain pages, no NULL, some, only NULLs,
texts that lie in the engine's value (12 bytes) and longer ones, whole and filtered. One truth: what pyarrow wrote. The engine process copies the common
cases itself (src/engines/duckdb_copy.c)."""
import datetime
import decimal
import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from quern_client import Daemon

ROWS = 20000
EPOCH = datetime.datetime(1970, 1, 1)
KINDS = {
    "i32": (pa.int32(), [-2**31, 2**31 - 1, 0, 7]),
    "i64": (pa.int64(), [-2**63, 2**63 - 1, 0, 7, -1]),
    "f32": (pa.float32(), [-1.5, 0.25, 3e38]),
    "f64": (pa.float64(), [1e308, -0.5, 1 / 3]),
    "ts": (pa.timestamp("us"), [EPOCH, EPOCH + datetime.timedelta(microseconds=1), datetime.datetime(2262, 1, 1)]),
    "dec": (pa.decimal128(38, 4), [decimal.Decimal("1234567890123456789012345678901234.5678"), decimal.Decimal("-0.0001")]),
    "short": (pa.string(), ["", "a", "SFO", "twelve bytes", "äöü日"]),
    "long": (pa.string(), ["thirteen byte", "x" * 300, "日本" * 9]),
    "both": (pa.string(), ["", "twelve bytes", "thirteen byte", "y" * 70]),
}


def column(rng, kind, values, nulls):
    """Runs of one value and single ones, so that pages have runs and packed parts."""
    rows = []
    while len(rows) < ROWS:
        rows += [None if nulls == "only" or (nulls == "some" and rng.random() < 0.2) else rng.choice(values)] * rng.choice((1, 1, 1, 3, 400))
    if nulls == "one":
        rows[ROWS // 2] = None
    return pa.array(rows[:ROWS], kind)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    rng = random.Random(7)
    folder = tmp_path_factory.mktemp("columns")
    names, arrays, fields = ["n"], [pa.array(range(ROWS), pa.int64())], [pa.field("n", pa.int64())]
    for kind, (type_, values) in KINDS.items():
        for nulls in ("never", "none", "one", "some", "only"):
            names.append(f"{kind}_{nulls}")
            arrays.append(column(rng, type_, values, nulls))
            fields.append(pa.field(names[-1], type_, nullable=nulls != "never"))
    table = pa.table(arrays, schema=pa.schema(fields))
    d = Daemon()
    d.prepare(flights=False)
    for name, dictionary in (("packed", True), ("plain", False)):
        pq.write_table(table, folder / f"{name}.parquet", use_dictionary=dictionary, row_group_size=7777)
        d.admin("dataset", "add", name, "--url", f"file://{folder}/{name}.parquet", "--workspace", "w1")
    d.start()
    try:
        yield d, table
    finally:
        d.finish()


def rows(d, sql):
    qid = d.d360_status_of(d.d360_submit(sql, mode="ASYNC"))["queryId"]
    done = d.d360_wait(qid)
    assert done.status_code == 200, done.text
    got = pa.ipc.open_stream(io.BytesIO(d.download(qid, "arrow").content)).read_all()
    got.validate(full=True)
    return got.to_pydict()


@pytest.mark.parametrize("name", ["packed", "plain"])
@pytest.mark.parametrize("where, keep", [("", lambda n: True), ("WHERE n % 3 = 1", lambda n: n % 3 == 1), ("WHERE n >= 9000 AND n < 9100", lambda n: 9000 <= n < 9100)],
                         ids=["all", "filtered", "range"])
def test_columns_arrive_as_written(files, name, where, keep):
    d, table = files
    want = table.to_pydict()
    got = rows(d, f"SELECT * FROM {name} {where}")
    picked = [n for n in want["n"] if keep(n)]
    assert list(got) == list(want)
    for column_name, values in want.items():
        assert got[column_name] == [values[n] for n in picked], column_name


def test_columns_survive_joins_and_sorts(files):
    """Sorted, joined and united rows come as other kinds of vectors."""
    d, table = files
    want = table.select(["n", "i64_none", "short_none", "both_some", "long_one"]).to_pylist()
    got = rows(d, "SELECT a.n, a.i64_none, b.short_none, a.both_some, b.long_one FROM packed a JOIN plain b USING (n) WHERE a.n % 2 = 0 "
                  "UNION ALL SELECT n, i64_none, short_none, both_some, long_one FROM packed WHERE n % 2 = 1 ORDER BY n DESC")
    assert [dict(zip(got, r)) for r in zip(*got.values())] == want[::-1]
