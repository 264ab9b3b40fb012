"""XLSX and Parquet: every type read back equal by two readers each, what cannot be rendered, and render processes that are ended."""
import datetime
import decimal
import io
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import warnings
import zipfile

import duckdb
import openpyxl
import pyarrow.parquet as pq
import pytest

from quern_client import NODE_MODULES, PATIENCE, kill_all, render_process, sanitized, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))

# name: (SQL type, literals, the value that both readers of Parquet must show: "same" as the engine's, or "text" of it)
TYPES = {
    "boolean": ("BOOLEAN", ["true", "false"], "same"),
    "tinyint": ("TINYINT", ["-128", "127"], "same"),
    "smallint": ("SMALLINT", ["-32768", "32767"], "same"),
    "integer": ("INTEGER", ["-2147483648", "2147483647"], "same"),
    "bigint": ("BIGINT", ["-9223372036854775808", "9223372036854775807", "999999999999999", "1000000000000000"], "same"),
    "utinyint": ("UTINYINT", ["0", "255"], "same"),
    "usmallint": ("USMALLINT", ["0", "65535"], "same"),
    "uinteger": ("UINTEGER", ["0", "4294967295"], "same"),
    "ubigint": ("UBIGINT", ["0", "18446744073709551615"], "same"),
    "hugeint": ("HUGEINT", ["-99999999999999999999999999999999999999", "99999999999999999999999999999999999999", "0"], "same"),
    "uhugeint": ("UHUGEINT", ["340282366920938463463374607431768211455", "7"], "text"),
    "float": ("FLOAT", ["0.1", "-0.0", "'infinity'", "'nan'", "1e-40"], "same"),
    "double": ("DOUBLE", ["0.1", "1e300", "'-infinity'", "5e-324", "123456789.125"], "same"),
    "decimal_4_1": ("DECIMAL(4,1)", ["-999.9", "0.0"], "same"),
    "decimal_9_2": ("DECIMAL(9,2)", ["-1234567.89"], "same"),
    "decimal_18_4": ("DECIMAL(18,4)", ["-12345678901234.5678", "0.0001"], "same"),
    "decimal_38_10": ("DECIMAL(38,10)", ["1234567890123456789012345678.0123456789", "-0.0000000001"], "same"),
    "varchar": ("VARCHAR", ["''", "'=1+1'", "'é 日本 😀'", "'a' || chr(10) || 'b' || chr(13) || 'c' || chr(9) || chr(1)", "repeat('x', 20000)", "' lead and trail '"], "same"),
    "blob": ("BLOB", ["'\\x00\\xFFa'", "''"], "same"),
    "date": ("DATE", ["'0001-01-01'", "'1970-01-01'", "'1900-02-28'", "'1900-03-01'", "'2024-02-29'", "'9999-12-31'"], "same"),
    "time": ("TIME", ["'00:00:00'", "'23:59:59.999999'", "'12:34:56.5'"], "same"),
    "timestamp": ("TIMESTAMP", ["'1969-12-31 23:59:59.999999'", "'2024-02-29 12:34:56.789'", "'9999-12-31 23:59:59'"], "same"),
    "timestamp_s": ("TIMESTAMP_S", ["'2024-02-29 12:34:56'"], "same"),
    "timestamptz": ("TIMESTAMPTZ", ["'2024-02-29 12:34:56.789+09'"], "same"),
    "interval": ("INTERVAL", ["'1 year 2 days 03:04:05.678901'", "'-1 day'"], "csv"),
    "uuid": ("UUID", ["'6ba7b810-9dad-11d1-80b4-00c04fd430c8'"], "text"),
    "bit": ("BIT", ["'10101'"], "text"),
    "json": ("JSON", ["'{\"a\": [1, null]}'"], "same"),
    "timetz": ("TIMETZ", ["'12:34:56+09'"], "text"),
    "list": ("INTEGER[]", ["[1, NULL, 3]", "[]"], "same"),
    "list_of_lists": ("UTINYINT[][]", ["[[1, 255], []]"], "same"),
    "struct": ("STRUCT(a INTEGER, \"b c\" VARCHAR)", ["{'a': 1, 'b c': 'x'}", "{'a': NULL, 'b c': ''}"], "same"),
    "map": ("MAP(VARCHAR, UBIGINT)", ["MAP {'k': 18446744073709551615}", "MAP {}"], "same"),
    "union_": ("UNION(n INTEGER, s VARCHAR)", ["7::INTEGER", "'seven'"], "text"),
}
DEPTH = max(len(values) for _, values, _ in TYPES.values()) + 1  # and one of NULLs


def table_sql():
    """One column a type: its values, then NULLs."""
    def cell(kind, values, i):
        return f"CAST({values[i] if i < len(values) else 'NULL'} AS {kind})"
    rows = (", ".join([str(i)] + [cell(kind, values, i) for kind, values, _ in TYPES.values()]) for i in range(DEPTH))
    return f"SELECT * FROM (VALUES {', '.join(f'({row})' for row in rows)}) t(i, {', '.join(TYPES)}) ORDER BY i"


def run(q, sql, key=None):
    qid = q.d360_status_of(q.d360_submit(sql, mode="ASYNC", key=key))["queryId"]
    done = q.d360_wait(qid, key=key)
    assert done.status_code == 200, done.text
    return qid


def node(script, *args):
    env = dict(os.environ, NODE_PATH=NODE_MODULES)
    done = subprocess.run(["node", os.path.join(HERE, script), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def typed(q):
    return run(q, table_sql())


@pytest.fixture(scope="module")
def truth(q, typed):
    """The engine's own values by column; where the page says text, its text."""
    c = duckdb.connect()
    c.execute("SET TimeZone='UTC'")
    c.execute(f"CREATE TABLE t AS {table_sql()}")
    names = ["i"] + list(TYPES)
    same = dict(zip(names, zip(*c.execute("SELECT * REPLACE (timestamptz AT TIME ZONE 'UTC' AS timestamptz) FROM t ORDER BY i").fetchall())))
    text = dict(zip(names, zip(*c.execute("SELECT " + ", ".join(f"CAST({n} AS VARCHAR)" for n in names) + " FROM t ORDER BY i").fetchall())))
    lines = [json.loads(line) for line in q.download(typed, "ndjson").text.splitlines()]
    own = {n: [line[n] for line in lines] for n in names}
    return {n: list({"same": same, "text": text, "csv": own}[TYPES[n][2] if n in TYPES else "same"][n]) for n in names}


def bits(v):
    """A float by what it is: NaN equals NaN, -0 is not 0."""
    return ("nan",) if v != v else (v, str(v).startswith("-"))


def same(name, got, want):
    if isinstance(want, float) and isinstance(got, (float, int)):
        return bits(float(got)) == bits(want)
    if name == "map" and want is not None:
        return dict(got) == want
    if name == "timestamptz" and want is not None:
        return got.utcoffset() == datetime.timedelta(0) and got.replace(tzinfo=None) == want
    if isinstance(want, bytes):
        return bytes(got) == want
    return got == want


@pytest.mark.parametrize("options", [{}, {"codec": "none", "version": 1, "dictionary": "false"}, {"codec": "gzip"}, {"codec": "zstd", "version": 2}, {"codec": "lz4"},
                                     {"codec": "brotli", "version": 2}])
def test_parquet_is_exact_in_pyarrow(q, typed, truth, options):
    answer = q.download(typed, "parquet", **options)
    assert answer.status_code == 200, answer.text
    file = pq.ParquetFile(io.BytesIO(answer.content))
    table = file.read()
    assert table.column_names == ["i"] + list(TYPES)
    for name in table.column_names:
        for got, want in zip(table.column(name).to_pylist(), truth[name]):
            assert same(name, got, want), f"{name}: {got!r} instead of {want!r}"
    codec = {"none": "UNCOMPRESSED", "lz4": "LZ4"}.get(options.get("codec", "snappy"), options.get("codec", "snappy").upper())
    column = file.metadata.row_group(0).column(1)
    assert column.compression == codec
    assert table.schema.field("ubigint").type == "uint64" and table.schema.field("utinyint").type == "uint8"
    if options.get("dictionary") == "false":
        assert not any("DICTIONARY" in e for k in range(file.metadata.num_columns) for e in file.metadata.row_group(0).column(k).encodings)


def as_hyparquet(name, v):
    """What tests/api/read_parquet.mjs prints for a value of the engine's."""
    kind = TYPES.get(name, ("INTEGER",))[0]
    if v is None:
        return None
    if isinstance(v, bool):
        return v
    if kind in ("BIGINT", "UBIGINT") and isinstance(v, int):
        return str(v)
    if isinstance(v, decimal.Decimal) or kind == "HUGEINT":
        return float(v)  # hyparquet knows no exact decimals
    if isinstance(v, float):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", "-0.0": "-0"}.get(str(v), v)
    if isinstance(v, bytes):
        return v.hex()
    if isinstance(v, datetime.time):
        return str(((v.hour * 60 + v.minute) * 60 + v.second) * 1000000 + v.microsecond)  # microseconds
    if isinstance(v, datetime.datetime):
        v = v.astimezone(datetime.timezone.utc).replace(tzinfo=None) if v.tzinfo else v
        ms = abs(v - datetime.datetime(1970, 1, 1)) // datetime.timedelta(milliseconds=1)  # it cuts towards 1970
        v = datetime.datetime(1970, 1, 1) + (ms if v.year >= 1970 else -ms) * datetime.timedelta(milliseconds=1)
        return f"{v.year:04}-{v:%m-%dT%H:%M:%S}.{v.microsecond // 1000:03}Z"
    if isinstance(v, datetime.date):
        return f"{v.year:04}-{v:%m-%d}T00:00:00.000Z"
    if isinstance(v, dict):
        return {k: as_hyparquet("ubigint" if name == "map" else "", x) for k, x in v.items()}
    if isinstance(v, list):
        return [as_hyparquet("", x) for x in v]
    return v


def as_texts(v):
    """Whole numbers as text: hyparquet shows 32 bits as a number and 64 as a BigInt (version 2 widens some)."""
    if isinstance(v, (list, dict)):
        return [as_texts(x) for x in v] if isinstance(v, list) else {k: as_texts(x) for k, x in v.items()}
    return str(v) if isinstance(v, int) and not isinstance(v, bool) else v


@pytest.mark.parametrize("options", [{}, {"codec": "none", "version": 2}])
def test_parquet_is_exact_in_hyparquet(q, typed, truth, tmp_path, options):
    path = tmp_path / "t.parquet"
    path.write_bytes(q.download(typed, "parquet", **options).content)
    seen = node("read_parquet.mjs", NODE_MODULES, str(path))
    assert seen["codecs"] == ["UNCOMPRESSED" if options else "SNAPPY"]
    for name, values in truth.items():
        for i, want in enumerate(values):
            got, want = seen["rows"][i][name], as_hyparquet(name, want)
            if name == "json" and got is not None:
                got, want = (got if isinstance(got, (dict, list)) else json.loads(got)), json.loads(want)
            if isinstance(want, float) and isinstance(got, (int, float)):
                assert got == pytest.approx(want, rel=1e-7 if name == "float" else 1e-15), name
            else:
                assert as_texts(got) == as_texts(want), f"{name}, row {i}"


def test_parquet_names_and_parts(q):
    qid = run(q, "SELECT 1 AS a, 2 AS a, 3 AS \"A\", 4 AS \"x y,;{}()=\", 5 AS \"\"\"q\"\"\", 6 AS \"é\"")
    table = pq.read_table(io.BytesIO(q.download(qid, "parquet").content))
    assert table.column_names == ["a", "a_1", "A_2", "x y,;{}()=", '"q"', "é"] and table.to_pylist()[0]["é"] == 6
    many = run(q, "SELECT range AS n, 'r' || range AS s FROM range(300000)")
    for offset, limit in ((0, 5), (1, 1), (65535, 3), (131071, 100000), (299999, 9), (300000, 5), (5, 0)):
        part = pq.read_table(io.BytesIO(q.download(many, "parquet", offset=offset, limit=limit).content))
        want = list(range(offset, min(300000, offset + limit)))
        assert part.column("n").to_pylist() == want and part.column("s").to_pylist() == [f"r{n}" for n in want]
    whole = pq.read_table(io.BytesIO(q.download(many, "parquet").content))
    assert whole.column("n").to_pylist() == list(range(300000))


def test_rows_of_none(q):
    qid = run(q, "SELECT 1 AS a, 'x' AS b WHERE false")
    table = pq.read_table(io.BytesIO(q.download(qid, "parquet").content))
    assert table.num_rows == 0 and table.column_names == ["a", "b"]
    sheet = openpyxl.load_workbook(io.BytesIO(q.download(qid, "xlsx").content)).active
    assert list(sheet.iter_rows(values_only=True)) == [("a", "b")]


# --- XLSX


def excel_value(name, v, text):
    """The cell that docs/formats.md promises for a value of the engine's; text: what the CSV shows of it."""
    kind = TYPES[name][0]
    if v is None or text == "":
        return None
    if isinstance(v, bool):
        return v
    if isinstance(v, int) or isinstance(v, decimal.Decimal) or name == "uhugeint":
        digits = text.replace("-", "").replace(".", "").lstrip("0")
        return float(text) if len(digits) <= 15 else text
    if isinstance(v, float):
        return float(text) if v == 0 or 2.2251e-308 <= abs(v) <= 9.99999999999999e307 else text
    if kind == "DATE":
        return datetime.datetime(v.year, v.month, v.day) if v >= datetime.date(1900, 3, 1) else text
    if kind == "TIME":
        return v if v < datetime.time(23, 59, 59, 999500) else text
    if isinstance(v, datetime.datetime):
        v = v.astimezone(datetime.timezone.utc).replace(tzinfo=None) if v.tzinfo else v
        return v
    return text


def close(got, want):
    if isinstance(want, datetime.datetime):
        return abs(got - want) <= datetime.timedelta(milliseconds=1)
    if isinstance(want, datetime.time):
        a, b = (datetime.datetime.combine(datetime.date(1900, 1, 1), t) for t in (got, want))
        return abs(a - b) <= datetime.timedelta(milliseconds=1)
    if isinstance(want, float) and isinstance(got, (int, float)) and not isinstance(got, bool):
        return got == want
    return got == want and type(got) is type(want)


def test_xlsx_cells_in_openpyxl(q, typed, truth):
    answer = q.download(typed, "xlsx")
    assert answer.status_code == 200, answer.text
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    assert book.sheetnames == ["query_result"]
    rows = list(book.active.iter_rows(values_only=True))
    assert rows[0] == ("i",) + tuple(TYPES)
    lines = [json.loads(line) for line in q.download(typed, "ndjson").text.splitlines()]
    texts = text_of_csv(q, typed)
    for n, row in enumerate(rows[1:]):
        for name, got in zip(rows[0], row):
            if name == "i":
                assert got == n
                continue
            want = excel_value(name, truth[name][n], texts[n][name])
            got = unescaped(got) if isinstance(got, str) else got
            assert close(got, want), f"{name}, row {n}: {got!r} instead of {want!r}"
    assert len(lines) == len(rows) - 1
    bare = list(openpyxl.load_workbook(io.BytesIO(q.download(typed, "xlsx", header="false").content)).active.iter_rows(values_only=True))
    assert bare == rows[1:]


def text_of_csv(q, qid):
    import csv
    return list(csv.DictReader(io.StringIO(q.download(qid, "csv").content.decode(), newline="")))


def test_xlsx_cells_in_exceljs(q, typed, tmp_path):
    path = tmp_path / "t.xlsx"
    path.write_bytes(q.download(typed, "xlsx").content)
    seen = node("read_xlsx.js", str(path))
    assert seen["sheets"] == ["query_result"]
    ours = list(openpyxl.load_workbook(str(path)).active.iter_rows(values_only=True))
    assert len(seen["rows"]) == len(ours)
    for a, b in zip(seen["rows"][1:], ours[1:]):
        for name, js, py in zip(ours[0], a, b):
            if isinstance(py, datetime.datetime) and name != "time":
                assert abs(datetime.datetime.fromisoformat(js.rstrip("Z")) - py) <= datetime.timedelta(milliseconds=1), name
            elif name != "time":
                assert js == py, name


EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=HYPERLINK(\"http://x\")", "=cmd|' /C calc'!A0", "\r=1", "_x0041_", "_x005F_", "a\x00b", "a\x01\x1fb", "\ufffe\uffff", "<&>\"'",
        "  spaces  ", "line\nbreak", "😀" * 100]


def unescaped(text):
    """_x000D_ is how the file says it (ECMA-376, ST_Xstring); Excel reads it back, openpyxl shows it."""
    return re.sub("_x([0-9A-F]{4})_", lambda m: chr(int(m.group(1), 16)), text)


def test_formulas_stay_text(q, tmp_path):
    """Formula injection: whatever text begins with, it is a text cell, in the header too."""
    values = ", ".join("(" + str(i) + ", " + " || ".join(f"chr({ord(c)})" if ord(c) else "chr(0)" for c in text) + ")" for i, text in enumerate(EVIL))
    qid = run(q, f"SELECT t AS \"=1+1\" FROM (VALUES {values}) v(i, t) ORDER BY i")
    content = q.download(qid, "xlsx").content
    sheet = openpyxl.load_workbook(io.BytesIO(content)).active
    cells = [row[0] for row in sheet.iter_rows()]
    assert [unescaped(c.value) for c in cells] == ["=1+1"] + EVIL
    assert {c.data_type for c in cells} <= {"s", "inlineStr"}
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    xml = zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in xml and not any("external" in n.lower() for n in names)
    path = tmp_path / "t.xlsx"
    path.write_bytes(content)
    rows = node("read_xlsx.js", str(path))["rows"]
    assert all(isinstance(r[0], str) for r in rows) and rows[1][0] == "=1+1"
    kept = text_of_csv(q, qid)  # in CSV it is the reader's business: exact bytes
    assert [r["=1+1"] for r in kept][0] == "=1+1"


def test_xlsx_is_the_same_every_time(q, typed):
    """No dates of the day, no random names: the same result makes the same file, also with other options in between."""
    import hashlib
    one = q.download(typed, "xlsx", limit=5).content
    two = q.download(typed, "xlsx", limit=5, offset=0, codec="zstd").content
    assert hashlib.sha256(one).digest() == hashlib.sha256(two).digest()


def test_hard_values(q):
    """NUL bytes and what XML cannot say, digits that end a fraction, rows without names, names that a sheet could take for formulas."""
    qid = run(q, "SELECT 'a' || chr(0) || 'b' AS nul, chr(65534) || '_x0041_' AS odd, 0.1::DECIMAL(38,30) AS d, 1234567890123456.50::DECIMAL(18,2) AS e, 100.00::DECIMAL(5,2) AS f, "
              "9007199254740993 AS g, repeat('😀', 16383) AS wide, row(1::TINYINT, 'x') AS r, [row(NULL, 2::UBIGINT)] AS l, 1 AS \"=1+1\"")
    row = dict(zip(*([c.value for c in line] for line in openpyxl.load_workbook(io.BytesIO(q.download(qid, "xlsx").content)).active.iter_rows())))
    assert row["nul"] == "a_x0000_b" and row["odd"] == "_xFFFE__x005F_x0041_", "the file format's own escapes, which a spreadsheet program shows as the characters"
    assert row["d"] == 0.1 and row["e"] == "1234567890123456.50" and row["f"] == 100 and row["g"] == "9007199254740993"
    assert row["wide"] == "😀" * 16383 and row["r"] == "{field0=1, field1=x}" and row["=1+1"] == 1
    table = pq.read_table(io.BytesIO(q.download(qid, "parquet").content))
    got = table.to_pylist()[0]
    assert got["nul"] == "a\0b" and got["odd"] == "\ufffe_x0041_" and got["r"] == {"field0": 1, "field1": "x"} and got["l"] == [{"field0": None, "field1": 2}]
    assert str(table.schema.field("r").type) == "struct<field0: int8, field1: string>" and str(table.schema.field("l").type.value_type.field(1).type) == "uint64"
    long = run(q, "SELECT 1 AS n, repeat('😀', 16384) AS wide")
    answer = q.download(long, "xlsx")
    assert answer.status_code == 400 and "32,767" in answer.json()["error"]["message"]


def test_many_columns(q):
    """A sheet as wide as can be; a Parquet file with many columns and rows, in order."""
    qid = run(q, "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(16384)))
    sheet = zipfile.ZipFile(io.BytesIO(q.download(qid, "xlsx").content)).read("xl/worksheets/sheet1.xml")
    assert b'<c r="XFD2"><v>16383</v></c>' in sheet
    assert q.download(run(q, "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(16385))), "xlsx").status_code == 400
    rows = 3000 if sanitized() else 10000
    qid = run(q, "SELECT " + ", ".join(f"range + {i} AS c{i}" for i in range(1000)) + f" FROM range({rows})")
    table = pq.read_table(io.BytesIO(q.download(qid, "parquet").content), columns=["c0", "c999"])
    assert table.column("c0").to_pylist() == list(range(rows)) and table.column("c999").to_pylist() == list(range(999, rows + 999))


def test_xlsx_numbers_are_exact(q):
    """Each DOUBLE is read back as the very same one; those that a sheet cannot hold are text."""
    qid = run(q, "SELECT (hash(range) / 18446744073709551616.0) * pow(10.0, (range % 619) - 310) AS d, (hash(range) % 1000003 / 7)::FLOAT AS f FROM range(3000)")
    cells = list(openpyxl.load_workbook(io.BytesIO(q.download(qid, "xlsx", header="false").content), read_only=True).active.iter_rows(values_only=True))
    truth = q.download(qid, "json").json()
    texts = 0
    for row, want in zip(cells, truth, strict=True):
        texts += isinstance(row[0], str)
        assert isinstance(row[0], str) == (want["d"] != 0 and not 2.2251e-308 <= abs(want["d"]) <= 9.99999999999999e307), want
        assert float(row[0]) == want["d"] and row[1] == want["f"], (row, want)
    assert 0 < texts < 1500
    qid = run(q, "SELECT 0.1::DOUBLE + 0.2::DOUBLE AS a, 1.7976931348623157e308::DOUBLE AS b, 5e-324::DOUBLE AS c, -0.0::DOUBLE AS d, -9.99999999999999e307::DOUBLE AS e")
    row = next(openpyxl.load_workbook(io.BytesIO(q.download(qid, "xlsx", header="false").content)).active.iter_rows(values_only=True))
    assert row == (0.30000000000000004, "1.7976931348623157e+308", "5e-324", 0, -9.99999999999999e307)


def test_xlsx_never_shows_another_day(q):
    """A time that milliseconds would round up to the next day is text; a day more, at the calendar's end, is none."""
    qid = run(q, "SELECT TIME '24:00:00' AS a, TIME '23:59:59.9999' AS b, TIME '23:59:59.999' AS c, TIMESTAMP '9999-12-31 23:59:59.999999' AS d, TIMESTAMP '9999-12-31 23:59:59.999' AS e, "
              "TIMESTAMP '2023-12-31 23:59:59.999' AS f")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # openpyxl's about a cell that is no date
        row = next(openpyxl.load_workbook(io.BytesIO(q.download(qid, "xlsx", header="false").content)).active.iter_rows(values_only=True))
    assert row[0] == "24:00:00.000" and row[1] == "23:59:59.999900" and row[2] == datetime.time(23, 59, 59, 999000)
    assert row[3] == "9999-12-31 23:59:59.999999" and row[4] == datetime.datetime(9999, 12, 31, 23, 59, 59, 999000)
    assert row[5] == datetime.datetime(2023, 12, 31, 23, 59, 59, 999000)


def test_xlsx_shows_clocks_of_the_zone(q):
    """Instants before and after a change of the clocks, one that only text can say, one inside a list; the text downloads show the same clock."""
    sql = ("SELECT TIMESTAMPTZ '2024-03-10 06:59:59.5+00' AS before, TIMESTAMPTZ '2024-03-10 07:00:00+00' AS after, TIMESTAMPTZ '1850-01-01 00:00:00+00' AS old, "
           "[TIMESTAMPTZ '2024-03-10 07:00:00+00'] AS l, TIMESTAMP '2024-03-10 07:00:00' AS bare, TIMESTAMPTZ 'infinity' AS never, TIMESTAMPTZ '1900-03-01 02:00:00+00' AS border")
    answer = q.d360_submit(sql, mode="ASYNC", settings={"timezone": "America/New_York"})
    qid = q.d360_status_of(answer)["queryId"]
    q.d360_wait(qid)
    row = [cell.value for cell in openpyxl.load_workbook(io.BytesIO(q.download(qid, "xlsx").content)).active[2]]
    text = q.download(qid, "ndjson").json()
    assert row[0] == datetime.datetime(2024, 3, 10, 1, 59, 59, 500000) and text["before"].startswith("2024-03-10 01:59:59.500")
    assert row[1] == datetime.datetime(2024, 3, 10, 3, 0) and text["after"].startswith("2024-03-10 03:00:00.000")
    assert row[2] == text["old"] and row[2].startswith("1849-12-31 19:0")
    assert row[3] == f"[{text['l'][0]}]" and "03:00:00.000" in row[3]
    assert row[4] == datetime.datetime(2024, 3, 10, 7, 0) and row[5] == text["never"] == "infinity"
    assert row[6] == text["border"] and row[6].startswith("1900-02-28 21:00:00.000"), "there it is still February"
    utc = run(q, sql)
    assert openpyxl.load_workbook(io.BytesIO(q.download(utc, "xlsx").content)).active["B2"].value == datetime.datetime(2024, 3, 10, 7, 0)


def test_what_a_sheet_cannot_hold(q):
    rows = run(q, "SELECT range AS n FROM range(1048576)")
    answer = q.download(rows, "xlsx")
    assert answer.status_code == 400 and "1,048,576 rows" in answer.json()["error"]["message"] and answer.json()["error"]["sqlstate"] == "54000"
    part = openpyxl.load_workbook(io.BytesIO(q.download(rows, "xlsx", offset=1048570, limit=100).content), read_only=True).active
    assert [r[0] for r in part.iter_rows(values_only=True)] == ["n"] + list(range(1048570, 1048576))
    wide = run(q, "SELECT " + ", ".join(f"{i % 10} AS c{i}" for i in range(16385)))
    answer = q.download(wide, "xlsx")
    assert answer.status_code == 400 and "16,384 columns" in answer.json()["error"]["message"] and "16385" in answer.json()["error"]["message"]
    for text, ok in (("repeat('x', 32767)", True), ("repeat('é', 32767)", True), ("repeat('x', 32768)", False), ("repeat('😀', 16384)", False)):
        qid = run(q, f"SELECT 'small' AS \"the column\" UNION ALL SELECT {text}")
        answer = q.download(qid, "xlsx")
        if ok:
            assert answer.status_code == 200, answer.text
            continue
        message = answer.json()["error"]["message"]
        assert answer.status_code == 400 and "32,767 characters" in message and 'row 2, column "the column"' in message, message


def test_options_are_checked(q, typed):
    for query, word in (("format=parquet&codec=lzo", "codec"), ("format=parquet&version=3", "version"), ("format=xlsx&encoding=gbk", "encoding"), ("format=parquet&dictionary=perhaps", "dictionary"),
                        ("format=xlsx&wait=-2", "wait"), ("format=csv&encoding=latin1", "encoding"), ("format=pdf", "format")):
        answer = q.http("GET", f"/quern/v1/query/{typed}/download?{query}")
        assert answer.status_code == 400 and word in answer.json()["error"]["message"], answer.text


def test_other_workspaces_see_nothing(q, typed):
    for fmt in ("xlsx", "parquet"):
        assert q.download(typed, fmt, key=q.other).status_code == 404
        assert q.download(typed, fmt, key=q.reader).status_code == 200
        mine = run(q, "SELECT 'theirs' AS who", key=q.other)
        assert q.download(mine, fmt).status_code == 404
        assert q.download(mine, fmt, key=q.other).status_code == 200


# --- life


SLOW = "SELECT range AS n, 'some text ' || range AS s, range / 3 AS x, DATE '2024-01-01' AS d, range * 2.5 AS y FROM range({})"
SLOW_ROWS = 100000 if sanitized() else 400000


@pytest.fixture
def own(make_daemon):
    """make(env): a daemon and its slow result."""
    def make(**env):
        d = make_daemon(env={f"QUERN_RENDER_{k.upper()}": v for k, v in env.items()}, bucket=False)
        return d, run(d, SLOW.format(SLOW_ROWS))
    return make


def renderings(d, outcome):
    return int(d.metrics().get(f'quern_renderings_total{{outcome="{outcome}"}}', 0))


def running(d):
    return int(d.metrics()["quern_renderings_running"])


def begin(d, qid, **more):
    answer = d.download(qid, "xlsx", wait=0, **more)
    assert answer.status_code == 202 and answer.json()["state"] in ("waiting", "rendering") and answer.headers["Retry-After"], answer.text


class Held(threading.Thread):
    """A download of which the render process is stopped before it is ready. Whoever is too slow for that asks for fewer rows by one."""

    def __init__(self, d, qid):
        super().__init__()
        self.d, self.qid, self.pid, self.left = d, qid, None, SLOW_ROWS
        wait_until("a render process that was stopped in time", self.stopped)
        self.start()

    def stopped(self):
        self.left -= 1
        begin(self.d, self.qid, limit=self.left)
        self.pid = wait_until("the render process, or its end", lambda: render_process(self.d) or not self.going() and -1, pause=0.001)
        if self.pid == -1:
            return False
        kill_all([self.pid], signal.SIGSTOP)
        return self.going()

    def going(self):
        return self.ask(wait=0).status_code == 202

    def ask(self, **more):
        return self.d.download(self.qid, "xlsx", limit=self.left, **more)

    def run(self):
        self.answer = self.ask()

    def end(self):
        self.join()
        return self.answer


def test_progress_and_sharing(own):
    """How far it is can be missed by who is slow: another file then, of fewer rows by one."""
    d, qid = own()
    seen, n, end = set(), 0, time.monotonic() + PATIENCE
    while max(seen, default=0) == 0 and time.monotonic() < end:
        n += 1
        one_for_all(d, qid, seen, SLOW_ROWS + 1 - n)
        assert renderings(d, "done") == n, "one rendering for all"
    assert 0 < max(seen, default=0) < 1000, seen


def one_for_all(d, qid, seen, rows):
    begin(d, qid, limit=rows)

    def poll():
        answer = d.download(qid, "xlsx", wait=0, limit=rows)
        if answer.status_code == 202:
            seen.add(answer.json()["permille"])
        return answer.status_code == 200
    got = []
    waiting = [threading.Thread(target=lambda: got.append(d.download(qid, "xlsx", limit=rows).content)) for _ in range(3)]
    for t in waiting:
        t.start()
    wait_until("the file", poll, pause=0.05)
    for t in waiting:
        t.join()
    assert len(set(got)) == 1 and got[0][:2] == b"PK" and len(got) == 3


def test_a_killed_render_process_is_a_clean_error(own):
    d, qid = own()
    held = Held(d, qid)
    wait_until("a request that waits for it", lambda: d.metrics()["quern_http_parked"] == 1)
    os.kill(held.pid, signal.SIGKILL)
    answer = held.end()
    assert answer.status_code == 500, answer.text
    assert answer.json()["error"]["message"] == "the render process was killed by SIGKILL"
    assert d.download(qid, "xlsx").content[:2] == b"PK", "the next one works"


def test_limits_are_clean_errors(make_daemon):
    """File size, memory and time, each named; nothing is left behind and the next result renders."""
    d = make_daemon(env={"QUERN_RENDER_MAX_FILE": "200KiB"}, bucket=False)
    small = run(d, "SELECT 1 AS a")
    big = run(d, "SELECT range AS n, hash(range) AS h, sha256(range::VARCHAR) AS s FROM range(50000)")
    for fmt in ("xlsx", "parquet"):
        answer = d.download(big, fmt)
        assert answer.status_code == 422 and "render.max_file" in answer.json()["error"]["message"], (fmt, answer.text)
    d.stop()
    d.env.update({"QUERN_RENDER_MAX_FILE": "1GiB", "QUERN_RENDER_MEMORY": "64MiB"})
    d.start()
    wide = run(d, "SELECT range AS n, " + ", ".join(f"repeat(sha256(range::VARCHAR || '{i}'), 40) AS c{i}" for i in range(40)) + " FROM range(6000)")
    answer = d.download(wide, "parquet")
    assert answer.status_code == 422 and "render.memory" in answer.json()["error"]["message"], answer.text
    assert d.download(small, "xlsx").status_code == 200
    folder = os.path.join(d.data, "run")
    wait_until("empty folders", lambda: not any(os.path.exists(os.path.join(folder, e, "out")) for e in os.listdir(folder)))


def test_time_limit(own):
    d, qid = own(timeout="300ms")
    answer = d.download(qid, "xlsx")
    assert answer.status_code == 422 and "render.timeout" in answer.json()["error"]["message"], answer.text
    assert renderings(d, "failed") == 1 and running(d) == 0


def test_what_nobody_waits_for_is_canceled(own):
    d, qid = own(linger="0ms")
    credential = "".join(f"{k}: {v}\r\n" for k, v in d.key["headers"]["kakao"].items())
    rows, end = SLOW_ROWS, time.monotonic() + PATIENCE
    while renderings(d, "failed") == 0:  # who is too slow to stop it before it is ready asks for fewer rows by one
        assert time.monotonic() < end, "never stopped in time"
        rows, before = rows - 1, renderings(d, "done")
        with socket.create_connection(("127.0.0.1", d.port)) as waiter:
            waiter.sendall(f"GET /quern/v1/query/{qid}/download?format=xlsx&limit={rows} HTTP/1.1\r\nHost: q\r\n{credential}\r\n".encode())
            pid = wait_until("the render process, or its end", lambda: render_process(d) or renderings(d, "done") > before and -1, pause=0.001)
            kill_all([pid] if pid > 0 else [], signal.SIGSTOP)  # it shall not end by itself
            wait_until("a request that waits for it, or its end", lambda: d.metrics()["quern_http_parked"] == 1 or renderings(d, "done") > before)
            assert renderings(d, "failed") == 0
        wait_until("the cancel, or its end", lambda: running(d) == 0 and renderings(d, "failed") + renderings(d, "done") > before)
    assert d.download(qid, "xlsx").content[:2] == b"PK"


def test_delete_ends_a_rendering(own):
    d, qid = own()
    held = Held(d, qid)
    assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
    assert held.end().status_code >= 400
    wait_until("the end", lambda: running(d) == 0)
    assert d.download(qid, "xlsx").status_code in (404, 410)


def test_the_cache_is_bounded(own):
    d, qid = own(cache="0", keep="3600s")
    small = run(d, "SELECT 1 AS a")
    for _ in range(2):
        assert d.download(small, "parquet").status_code == 200
    assert renderings(d, "done") == 2
    wait_until("an empty cache", lambda: int(d.metrics()["quern_rendered_bytes"]) == 0)


def test_a_download_goes_on_after_a_restart(make_daemon):
    """The file is made again, byte for byte, so that the old tag still counts."""
    d = make_daemon(bucket=False)
    qid = run(d, SLOW.format(20000 if sanitized() else 150000))
    first = {fmt: d.download(qid, fmt) for fmt in ("xlsx", "parquet", "csv")}
    d.restart()
    for fmt, whole in first.items():
        half = len(whole.content) // 2
        rest = d.download(qid, fmt, headers={"Range": f"bytes={half}-", "If-Range": whole.headers["ETag"]})
        assert rest.status_code == 206 and whole.content[:half] + rest.content == whole.content, fmt
