"""Column formats and the text of values, to the letter (specs/jackdb.md section 4)."""
import pytest

VALUES = [
    # expression, format, text
    ("true", "string", "true"),
    ("false", "string", "false"),
    ("'a\"b\\c' || chr(10) || 'é'", "string", "a\"b\\c\né"),
    ("''", "string", ""),
    ("'x'::CHAR", "string", "x"),
    ("uuid '65920080-7d5b-4c1e-9a54-0d9f1be3a111'", "string", "65920080-7d5b-4c1e-9a54-0d9f1be3a111"),
    ("TIME '01:02:03.5'", "string", "01:02:03.5"),
    ("'a'::ENUM('a','b')", "string", "a"),
    ("1::TINYINT", "integer", "1"),
    ("(-32768)::SMALLINT", "integer", "-32768"),
    ("2147483647", "integer", "2147483647"),
    ("9223372036854775807", "integer", "9223372036854775807"),
    ("255::UTINYINT", "integer", "255"),
    ("65535::USMALLINT", "integer", "65535"),
    ("4294967295::UINTEGER", "integer", "4294967295"),
    ("18446744073709551615::UBIGINT", "integer", "18446744073709551615"),
    ("-99999999999999999999999999999999999999::HUGEINT", "integer", "-99999999999999999999999999999999999999"),
    ("sum(x) FROM (VALUES (1),(2)) t(x)", "integer", "3"),  # a HUGEINT
    ("340282366920938463463374607431768211455::UHUGEINT", "integer", "340282366920938463463374607431768211455"),
    ("1.50::DECIMAL(9,2)", "numeric", "1.50"),
    ("-0.05", "numeric", "-0.05"),
    ("12345678901234567890123456789012345678::DECIMAL(38,0)", "numeric", "12345678901234567890123456789012345678"),
    ("1e21::DOUBLE", "numeric", "1000000000000000000000"),
    ("1.5e-7::DOUBLE", "numeric", "0.00000015"),
    ("100::DOUBLE", "numeric", "100"),
    ("0.1::DOUBLE", "numeric", "0.1"),
    ("-2.5::FLOAT", "numeric", "-2.5"),
    ("'NaN'::DOUBLE", "numeric", "NaN"),
    ("'Infinity'::DOUBLE", "numeric", "Infinity"),
    ("'-Infinity'::FLOAT", "numeric", "-Infinity"),
    ("DATE '2015-01-17'", "date", "2015-01-17"),
    ("DATE '0044-03-15'", "date", "0044-03-15"),
    ("TIMESTAMP '2015-01-17 12:33:52'", "timestamp", "2015-01-17T12:33:52.000"),
    ("TIMESTAMP '2015-01-17 12:33:52.1239'", "timestamp", "2015-01-17T12:33:52.123"),
    ("TIMESTAMP '1969-12-31 23:59:59.9999'", "timestamp", "1969-12-31T23:59:59.999"),
    ("TIMESTAMP_S '2015-01-17 12:33:52'", "timestamp", "2015-01-17T12:33:52.000"),
    ("TIMESTAMP_MS '2015-01-17 12:33:52.12'", "timestamp", "2015-01-17T12:33:52.120"),
    ("TIMESTAMP_NS '2015-01-17 12:33:52.123456789'", "timestamp", "2015-01-17T12:33:52.123"),
    ("TIMESTAMP_NS '2015-01-17 12:33:52.5'", "timestamp", "2015-01-17T12:33:52.500"),
    ("TIMESTAMP_NS '2015-01-17 12:33:52'", "timestamp", "2015-01-17T12:33:52.000"),
    ("TIMESTAMPTZ '2015-01-17 14:33:52.9999+02'", "timestamptz", "2015-01-17T12:33:52.999Z"),
    ("'\\x4A\\x00\\xFF'::BLOB", "bytea", "4a00ff"),
    ("''::BLOB", "bytea", ""),
    ("INTERVAL 1 DAY", "string", "1 00:00:00.000"),
    ("[1, 2, NULL]", "string", "[1, 2, null]"),
    ("{'a': 1}", "string", "{a=1}"),
    ("'{\"a\": 1}'::JSON", "string", "{\"a\": 1}"),
]


@pytest.mark.parametrize("expression,kind,text", VALUES, ids=[v[0][:40] for v in VALUES])
def test_value(q, expression, kind, text):
    body, _, source = expression.partition(" FROM ")
    query = q.jackdb_query(f"SELECT {body} AS v" + (f" FROM {source}" if source else ""), wait=60)
    assert query["success"] is True, q.jackdb_results(query)
    detail = q.jackdb_get(f"{query['id']}/result/0")["detail"]
    assert detail["columns"][0]["format"] == kind, detail
    assert q.jackdb_get(f"{query['id']}/result/0/rows") == [[text]]


def test_null_in_every_format(q):
    kinds = ("VARCHAR", "BOOLEAN", "INTEGER", "HUGEINT", "DECIMAL(9,2)", "DOUBLE", "DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMPTZ", "BLOB",
             "UUID", "INTEGER[]", "TIME", "INTERVAL")
    query = q.jackdb_query("SELECT " + ", ".join(f"NULL::{k}" for k in kinds), wait=60)
    assert q.jackdb_get(f"{query['id']}/result/0/rows") == [[None] * len(kinds)]


def test_type_is_the_databases_own_and_names_may_repeat(q):
    query = q.jackdb_query("SELECT 1 AS a, 2::DECIMAL(18,4) AS a, 'x' AS \"\"\"odd\\\" ", wait=60)
    columns = q.jackdb_get(f"{query['id']}/result/0")["detail"]["columns"]
    assert columns == [{"ordinalPosition": 0, "name": "a", "type": "INTEGER", "format": "integer"},
                       {"ordinalPosition": 1, "name": "a", "type": "DECIMAL(18,4)", "format": "numeric"},
                       {"ordinalPosition": 2, "name": "\"odd\\", "type": "VARCHAR", "format": "string"}]


def test_plain_duckdb(q):
    """JackDB is native SQL of its source: no other family's semantics."""
    query = q.jackdb_query("SELECT 5/2 AS a, 1/0 AS b, concat('x', NULL) AS c", wait=60)
    assert q.jackdb_get(f"{query['id']}/result/0/rows") == [["2.5", "Infinity", "x"]]
