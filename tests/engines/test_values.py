"""Values through the embedded engine and all formats, equal to what the engine itself says: each type with its edges, NULL,
and many rows; and the semantics that the dialects promise (integer division, errors instead of NULL)."""
import csv
import datetime
import io
import json
import math
import os
import struct
import zoneinfo

import duckdb
import pyarrow as pa
import pytest

# name: (SQL type, values as SQL literals)
CASES = {
    "boolean": ("BOOLEAN", ["true", "false"]),
    "tinyint": ("TINYINT", ["-128", "127", "0"]),
    "smallint": ("SMALLINT", ["-32768", "32767"]),
    "integer": ("INTEGER", ["-2147483648", "2147483647"]),
    "bigint": ("BIGINT", ["-9223372036854775808", "9223372036854775807"]),
    "utinyint": ("UTINYINT", ["0", "255"]),
    "usmallint": ("USMALLINT", ["0", "65535"]),
    "uinteger": ("UINTEGER", ["0", "4294967295"]),
    "ubigint": ("UBIGINT", ["0", "18446744073709551615"]),
    "hugeint": ("HUGEINT", ["-99999999999999999999999999999999999999", "99999999999999999999999999999999999999", "0"]),
    "decimal_4_1": ("DECIMAL(4,1)", ["-999.9", "999.9", "0.0"]),
    "decimal_18_4": ("DECIMAL(18,4)", ["-12345678901234.5678", "0.0001"]),
    "decimal_38_10": ("DECIMAL(38,10)", ["1234567890123456789012345678.0123456789", "-0.0000000001"]),
    "varchar": ("VARCHAR", ["''", "'plain'", "'it''s \"quoted\", with comma'", "'é 日本 😀'", "'a' || chr(10) || 'b' || chr(13) || 'c' || chr(9)", "repeat('x', 70000)",
                            "' lead and trail '", "'NULL'", "'\\N'"]),
    "date": ("DATE", ["'0001-01-01'", "'1970-01-01'", "'1969-12-31'", "'2024-02-29'", "'9999-12-31'"]),
    "time": ("TIME", ["'00:00:00'", "'23:59:59.999999'", "'12:34:56.5'"]),
    "timestamp": ("TIMESTAMP", ["'1970-01-01 00:00:00'", "'1969-12-31 23:59:59.999999'", "'2024-02-29 12:34:56.789'", "'9999-12-31 23:59:59'"]),
}


def select(name):
    kind, values = CASES[name]
    rows = ", ".join(f"({i}, CAST({v} AS {kind}))" for i, v in enumerate(values))
    return f"SELECT i, v FROM (VALUES {rows}, ({len(values)}, NULL)) t(i, v) ORDER BY i"


def run(q, sql):
    qid = q.d360_status_of(q.d360_submit(sql, mode="ASYNC"))["queryId"]
    done = q.d360_wait(qid)
    assert done.status_code == 200, done.text
    return qid


@pytest.mark.parametrize("name", CASES)
def test_arrow_is_exact(q, name):
    """The whole Arrow file against the engine's own values."""
    want = [row[1] for row in duckdb.connect().execute(select(name)).fetchall()]
    table = pa.ipc.open_stream(io.BytesIO(q.download(run(q, select(name)), "arrow").content)).read_all()
    table.validate(full=True)
    got = table.column("v").to_pylist()
    if name == "hugeint":
        got = [None if v is None else int(v) for v in got]
    if got and hasattr(got[0], "date") and not hasattr(want[0], "hour"):
        got = [None if v is None else v.date() for v in got]
    assert got == want


@pytest.mark.parametrize("name", CASES)
def test_text_formats_agree(q, name):
    """CSV, JSON and NDJSON say the same, and numbers and texts are exact."""
    kind, values = CASES[name]
    qid = run(q, select(name))
    rows = json.loads(q.download(qid, "json").content.decode(), parse_float=str, parse_int=str)
    lines = [json.loads(line, parse_float=str, parse_int=str) for line in q.download(qid, "ndjson").content.decode().split("\n") if line]
    assert rows == lines
    assert rows[-1]["v"] is None and [r["i"] for r in rows] == [str(i) for i in range(len(values) + 1)]
    table = list(csv.reader(io.StringIO(q.download(qid, "csv").content.decode(), newline="")))
    assert table[0] == ["i", "v"] and table[-1] == [str(len(values)), ""]
    want = duckdb.connect().execute(f"SELECT CAST(v AS VARCHAR) FROM ({select(name)})").fetchall()
    for i in range(len(values)):
        cell, from_json = table[i + 1][1], rows[i]["v"]
        from_json = {True: "true", False: "false"}.get(from_json, from_json) if isinstance(from_json, bool) else from_json
        assert cell == from_json, f"{name}: {cell!r} / {from_json!r}"
        if name not in ("time", "timestamp"):
            assert cell == want[i][0], f"{name}: {cell!r} / {want[i][0]!r}"
        else:
            assert cell.rstrip("0").rstrip(".") == want[i][0].rstrip("0").rstrip(".") or cell.startswith(want[i][0]), f"{cell!r} / {want[i][0]!r}"


@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT"])
def test_floating_point(q, kind):
    values = ["0.1", "-0.0", "1e300" if kind == "DOUBLE" else "1e30", "5e-324" if kind == "DOUBLE" else "1e-45", "123456789.125", "100", "'NaN'", "'Infinity'",
              "'-Infinity'"]
    sql = "SELECT i, v FROM (VALUES " + ", ".join(f"({i}, CAST({v} AS {kind}))" for i, v in enumerate(values)) + ") t(i, v) ORDER BY i"
    want = [r[1] for r in duckdb.connect().execute(sql).fetchall()]
    qid = run(q, sql)
    arrow = pa.ipc.open_stream(io.BytesIO(q.download(qid, "arrow").content)).read_all().column("v").to_pylist()
    text = [r[1] for r in csv.reader(io.StringIO(q.download(qid, "csv").text))][1:]
    as_json = json.loads(q.download(qid, "json").content, parse_constant=lambda word: pytest.fail(f"bare {word} in JSON"))
    for i, w in enumerate(want):
        for got in (arrow[i], float(text[i])):
            if math.isnan(w):
                assert math.isnan(got)
            elif kind == "DOUBLE":
                assert got == w and math.copysign(1, got) == math.copysign(1, w), f"{got!r} {w!r}"
            else:
                assert struct.pack("<f", got) == struct.pack("<f", w), f"{got!r} {w!r}"
    assert len(as_json) == len(want)


def test_many_batches_and_nulls(q):
    """A million rows over many batches, with NULLs and texts of many lengths."""
    sql = ("SELECT range AS n, CASE WHEN range % 3 = 0 THEN NULL ELSE range * 1000003 END AS a, CASE WHEN range % 5 = 0 THEN NULL ELSE "
           "repeat(chr(97 + (range % 26)::INTEGER), (range % 20)::INTEGER) END AS s, range % 2 = 0 AS b FROM range(1000000)")
    con = duckdb.connect()
    want = con.execute(f"SELECT count(*), sum(hash(n)::HUGEINT), sum(hash(a)::HUGEINT), sum(hash(s)::HUGEINT), sum(hash(b)::HUGEINT), "
                       f"sum(hash(n, a, s, b)::HUGEINT) FROM ({sql})").fetchone()
    table = pa.ipc.open_stream(io.BytesIO(q.download(run(q, sql), "arrow").content)).read_all()
    table.validate(full=True)
    con.register("t", table)
    got = con.execute("SELECT count(*), sum(hash(n)::HUGEINT), sum(hash(a)::HUGEINT), sum(hash(s)::HUGEINT), sum(hash(b)::HUGEINT), "
                      "sum(hash(n, a, s, b)::HUGEINT) FROM t").fetchone()
    assert got == want
    assert table.column("n").to_pylist()[:3] == [0, 1, 2]


def test_wide_and_odd_columns(q):
    sql = "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(1500))
    qid = run(q, sql)
    assert len(q.download(qid, "csv").text.split("\n")[0].split(",")) == 1500
    qid = run(q, "SELECT 1 AS a, 2 AS a, 3 AS \"A b,\"\"c\", 4 AS \"é\"")
    header = next(csv.reader(io.StringIO(q.download(qid, "csv").content.decode())))
    assert header[0] == "a" and header[2] == 'A b,"c' and header[3] == "é"
    assert pa.ipc.open_stream(io.BytesIO(q.download(qid, "arrow").content)).read_all().num_columns == 4


def test_semantics_of_kakao(q):
    """Trino's rules where the engine's own differ (design: semantics profiles)."""
    for _ in range(6):  # whichever process, and whatever ran in it before
        assert q.kakao_query("SELECT 5 / 2 AS v")["queryData"] == [["2"]]
        assert q.d360_submit("SELECT 5 / 2 AS v").json()["data"] == [[2]]
    body = q.kakao_query("SELECT CAST('x' AS INTEGER)")
    assert body["queryInfo"]["state"] == "FAILED" and body["queryInfo"]["error"]["name"] == "INVALID_CAST_ARGUMENT", body["queryInfo"]


def test_hugeint_beyond_38_digits_is_an_error_not_a_wrong_value(q):
    body = q.kakao_query("SELECT 170141183460469231731687303715884105727::HUGEINT AS v")
    if body["queryInfo"]["state"] == "FINISHED":
        assert body["queryData"] == [["170141183460469231731687303715884105727"]]
    else:
        assert body["queryInfo"]["error"]["name"] == "NUMERIC_VALUE_OUT_OF_RANGE", body["queryInfo"]


def test_no_literal_becomes_a_double_unsaid(q):
    """Trino's literals are decimals of 38 digits; the engine alone makes longer ones doubles."""
    for digits in ("12345678901234567890.123456789012345678", "0." + "0" * 37 + "1", "9" * 38):
        body = q.kakao_query(f"SELECT {digits} AS v")
        assert body["queryData"] == [[digits]] and body["columnData"][0]["type"].startswith("decimal(38,"), body
    for digits in ("12345678901234567890.1234567890123456789", "0." + "0" * 38 + "1", "3.14159265358979323846264338327950288419716939937510"):
        error = q.kakao_query(f"SELECT 1,\n  {digits} AS v")["queryInfo"]["error"]
        assert error["name"] == "NUMERIC_VALUE_OUT_OF_RANGE" and error["message"].startswith("line 2:3: ") and digits in error["message"], error
    assert q.kakao_query(f"SELECT {digits}e0, '{digits}' -- {digits}")["queryInfo"]["state"] == "FINISHED"
    assert q.d360_submit(f"SELECT {digits} AS v").json()["data"] == [[3.141592653589793]]  # PostgreSQL's users write longer ones and mean this


@pytest.mark.parametrize("sql, want", [("SELECT concat('a', CAST(NULL AS VARCHAR)) AS v", None), ("SELECT 1 / 0", "DIVISION_BY_ZERO"), ("SELECT 1 / (range - 5) FROM range(10)", "DIVISION_BY_ZERO")])
def test_semantics_of_the_profile(q, sql, want):
    body = q.kakao_query(sql)
    if want:
        assert body["queryInfo"]["error"]["name"] == want
    else:
        assert body["queryData"] == [[want]]


def test_queries_leave_nothing_behind(q):
    """What one query sets or makes is not there for the next one, whichever process it gets."""
    for statement in ("SET threads = 1", "CREATE TEMP TABLE left_over AS SELECT 1", "SET VARIABLE x = 5", "CREATE MACRO m() AS 5",
                      "CREATE TYPE mood AS ENUM ('a')", "CREATE SEQUENCE s", "CREATE SCHEMA memory.other"):
        assert q.kakao_query(statement)["queryInfo"]["state"] == "FAILED", statement
    for _ in range(6):
        body = q.kakao_query("SELECT * FROM left_over")
        assert body["queryInfo"]["error"]["name"] == "TABLE_NOT_FOUND", body["queryInfo"]


def test_time_zone_setting(q):
    sql = "SELECT TIMESTAMPTZ '2024-06-10 08:00:00+00' AS t"
    utc = q.d360_submit(sql).json()["data"][0][0]
    seoul = q.d360_submit(sql, settings={"timezone": "Asia/Seoul"}).json()["data"][0][0]
    assert utc.startswith("2024-06-10T08:00:00") and utc.endswith(("+00:00", "Z")), utc
    assert seoul.startswith("2024-06-10T17:00:00") and seoul.endswith("+09:00"), seoul
    assert q.d360_submit(sql).json()["data"][0][0] == utc, "the setting of one query stays with it"
    for name in ("Mars/Olympus", "", "Asia/Seoul'", "../etc/passwd", 5, "x" * 100):
        bad = q.d360_submit(sql, check=False, settings={"timezone": name})
        assert bad.status_code == 400 and bad.json()["error"] == "22023" and "timezone" in bad.json()["message"], bad.text


ZONES = ["Etc/UTC", "Asia/Seoul", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Europe/Dublin", "America/St_Johns", "Pacific/Apia", "etc/gmt+5"]


@pytest.mark.parametrize("name", ZONES)
def test_time_zones(q, name):
    """Instants over 500 years, on both sides of changes, as the zone's own clock shows them (Python's reading of the same database), and
    texts without an offset as that clock's."""
    zone = zoneinfo.ZoneInfo({"etc/gmt+5": "Etc/GMT+5"}.get(name, name))
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    instants = [epoch + datetime.timedelta(hours=h) for h in range(-10 * 8766, 130 * 8766, 4111)]
    instants += [epoch + datetime.timedelta(days=d, microseconds=123456) for d in (-62000, -40000, 60000, 120000)]
    for year in (1985, 2024, 2040):
        start = datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc)
        hours = [start + datetime.timedelta(hours=h) for h in range(8784)]
        instants += [t + d for s, t in zip(hours, hours[1:]) if s.astimezone(zone).utcoffset() != t.astimezone(zone).utcoffset()
                     for d in (datetime.timedelta(hours=-1), datetime.timedelta(seconds=-1), datetime.timedelta())]
    us = [(t - epoch) // datetime.timedelta(microseconds=1) for t in instants]
    sql = f"SELECT make_timestamptz(u) AS t, [make_timestamptz(u)] AS l FROM (SELECT unnest([{', '.join(map(str, us))}]) AS u)"
    answer = q.d360_submit(sql, settings={"timezone": name})
    rows = answer.json()["data"]
    assert len(rows) == len(instants)

    def text(t, gap):
        local = t.astimezone(zone)
        offset = local.utcoffset()
        sign, offset = ("-", -offset) if offset < datetime.timedelta() else ("+", offset)
        seconds = int(offset.total_seconds())
        shown = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}" + (f":{seconds % 60:02}" if seconds % 60 else "")
        fraction = f".{local.microsecond:06}" if local.microsecond else "" if gap == "T" else ".000"
        return f"{local:%Y-%m-%d}{gap}{local:%H:%M:%S}{fraction}{shown}"

    want = [text(t, "T") for t in instants]
    assert [r[0] for r in rows] == want
    assert [r[1] for r in rows] == [[w] for w in want]
    qid = q.d360_status_of(answer)["queryId"]
    lines = q.download(qid, "csv", key=q.key).text.split("\n")[1:-1]
    assert [line.split(",")[0] for line in lines] == [text(t, " ") for t in instants]
    # Kakao names the zone, and Arrow holds the instant
    assert q.kakao_get(qid)["queryData"][0][0].endswith(" " + zone.key)
    table = pa.ipc.open_stream(io.BytesIO(q.d360_get(f"{qid}/rows?offset=0", headers={"Accept": "application/vnd.apache.arrow.stream"}).content)).read_all()
    assert table.column("t").cast(pa.int64()).to_pylist() == us
    assert str(table.schema.field("t").type) == "timestamp[us, tz=Utc]"
    read = q.d360_submit("SELECT epoch_us(TIMESTAMPTZ '2024-07-10 08:00:00') AS a, epoch_us(CAST(? AS timestamptz)) AS b, epoch_us(?) AS c",
                         settings={"timezone": name}, parameters=[{"type": "varchar", "value": "2024-07-10 08:00:00"},
                                                                  {"type": "timestamptz", "value": "2024-07-10 08:00:00"}]).json()["data"]
    local = datetime.datetime(2024, 7, 10, 8, tzinfo=zone)
    assert read == [[(local - epoch) // datetime.timedelta(microseconds=1)] * 3]


def test_explain_and_describe(q):
    body = q.kakao_query("EXPLAIN SELECT count(*) FROM flights")
    assert body["queryInfo"]["state"] == "FINISHED" and body["resultConfig"]["storeType"] == "TEXT", body
    assert len(body["columnData"]) == 1
    body = q.kakao_query("DESCRIBE flights")
    assert body["queryInfo"]["state"] == "FINISHED" and [r[0] for r in body["queryData"]] == ["date", "delay", "distance", "origin", "destination"], body
    body = q.kakao_query("SHOW TABLES")
    assert ["flights"] in [r[:1] for r in body["queryData"]], body
    body = q.kakao_query("VALUES (1, 'a'), (2, 'b')")
    assert body["queryData"] == [["1", "a"], ["2", "b"]]


def test_scan_counts(q):
    body = q.kakao_query("SELECT sum(delay) FROM flights")
    assert body["queryInfo"]["isScanned"] is True, body["queryInfo"]
    assert q.kakao_query("SELECT 1")["queryInfo"]["isScanned"] is False


def test_scan_counts_rows(q):
    def stats(sql):
        body = q.kakao_query(sql)
        assert body["queryInfo"]["state"] == "FINISHED", body
        return body["queryInfo"]["queryStats"]

    for sql, rows in (("SELECT sum(delay) FROM flights", 3000000), ("SELECT origin, count(*) FROM flights GROUP BY 1", 3000000),
                      ("SELECT count(*) FROM flights WHERE origin = 'SFO' AND delay > 100", 3000000),  # what it looked at, not what it kept
                      ("SELECT count(*) FROM flights f JOIN flights g USING (delay, distance) WHERE f.origin = 'SFO' AND g.origin = 'SFO' AND delay = 7", 6000000),
                      ("SELECT 1", 0), ("SELECT sum(x) FROM UNNEST(sequence(1, 1000)) t(x)", 0)):
        for _ in range(2):  # the first in a process and a later one
            assert stats(sql)["inputRows"] == rows, sql
    few = stats("SELECT * FROM flights LIMIT 10")
    assert 10 <= few["inputRows"] < 300000 and few["outputRows"] == 10
    assert stats("SELECT 1")["inputDataSize"] == "0B"
    # columns that are read count, not the file: two narrow ones are less than all
    one, all_of_it = stats("SELECT max(delay) FROM flights WHERE delay <> 3")["inputDataSize"], stats("SELECT max(COLUMNS(*)) FROM flights")["inputDataSize"]
    assert one.endswith("MB") and all_of_it.endswith("MB") and 0 < float(one[:-2]) < float(all_of_it[:-2]), (one, all_of_it)
    answer = q.d360_submit("SELECT sum(delay) FROM flights")
    assert q.d360_status_of(answer)["executionStats"]["rowsProcessed"] == 3000000


def test_scan_counts_of_tables_and_other_files(make_daemon, tmp_path):
    d = make_daemon()
    duckdb.execute(f"COPY (SELECT range AS a, range % 10 AS b FROM range(100000)) TO '{tmp_path}/one.csv'")
    os.mkdir(tmp_path / "many")
    for i, n in enumerate((1000, 5000, 70000)):
        duckdb.execute(f"COPY (SELECT range AS a, range % 10 AS b FROM range({n})) TO '{tmp_path}/many/{i}.parquet'")
    d.admin("dataset", "add", "one", "--url", f"file://{tmp_path}/one.csv", "--workspace", "w1")
    d.admin("dataset", "add", "many", "--url", f"file://{tmp_path}/many", "--workspace", "w1")

    def rows(sql):
        body = d.kakao_query(sql)
        assert body["queryInfo"]["state"] == "FINISHED", body
        return body["queryInfo"]["queryStats"]["inputRows"]

    assert rows("CREATE TABLE t AS SELECT * FROM one") == 100000
    assert rows("SELECT sum(a) FROM t") == 100000 and rows("SELECT sum(a) FROM t WHERE b = 3") == 100000
    assert rows("INSERT INTO t SELECT * FROM many WHERE b = 3") == 76000
    assert rows("SELECT sum(a) FROM one WHERE b = 3") == 100000 and rows("SELECT sum(a) FROM many WHERE b = 3") == 76000
    assert rows("SELECT count(*) FROM t x JOIN many y USING (a)") == 107600 + 76000
    assert d.kakao_query("SELECT sum(a) FROM one")["queryInfo"]["queryStats"]["inputDataSize"] == size_text(os.path.getsize(tmp_path / "one.csv"))
    assert rows("SELECT b FROM one UNION ALL SELECT b FROM t") == 207600


def size_text(n):
    """As Kakao prints a size between 1 KB and 1 MB."""
    return f"{n / 1024:.2f}".rstrip("0").rstrip(".") + "KB"
