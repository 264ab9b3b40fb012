"""Values of typed parameters at their edges: what is taken, what is refused and with which state, and that a bound value keeps its type wherever it stands."""
import io

import pyarrow as pa
import pytest

ARROW = "application/vnd.apache.arrow.stream"
STYLES = {"QUESTION_MARK": ("?", "?"), "NAMED": (":a", ":b"), "DOLLARED": ("$1", "$2")}

# type, value, the cell of the answer's JSON text (or the state of its error)
TAKEN = [
    ("float8", "5e-324", "5e-324"), ("float8", "-0", "-0.0"), ("float8", "0e-400", "0.0"), ("float8", "-inf", '"-Infinity"'), ("float8", "nan", '"NaN"'),
    ("float8", "1.7976931348623157e308", "1.7976931348623157e+308"), ("float4", "3.4028235e38", "3.4028235e+38"), ("float4", "1e-45", "1e-45"),
    ("interval", "P1D", '"P1D"'), ("interval", "-P1DT2H", '"P-1DT-2H"'), ("interval", "P1Y2M3W4DT5H6M7.8S", '"P1Y2M25DT5H6M7.8S"'),
    ("interval", "P-1M2DT-3.000003S", '"P-1M2DT-3.000003S"'), ("interval", "PT0,000001S", '"PT0.000001S"'), ("interval", "1 day -02:00:00", '"P1DT-2H"'),
    ("timestamptz", "2024-01-01t00:00:00z", '"2024-01-01T00:00:00+00:00"'), ("timestamptz", "2024-01-01T09:00+09:00", '"2024-01-01T00:00:00+00:00"'),
    ("timestamptz", "2024-01-01 09:00 Asia/Seoul", '"2024-01-01T00:00:00+00:00"'), ("timestamp", "2024-01-01T00:00Z", '"2024-01-01T00:00:00"'),
    ("timestamp without time zone", "2024-01-01t05:06", '"2024-01-01T05:06:00"'), ("timestamp with time zone", "2024-01-01", '"2024-01-01T00:00:00+00:00"'),
    ("time without time zone", "24:00:00", '"24:00:00"'), ("character varying(3)", "日本語", '"日本語"'), ("bytes", "\\x00FF", '"\\\\x00ff"'),
    ("numeric(10,2)", "99999999.994", "99999999.99"), ("numeric(2,2)", "-0.994", "-0.99"), ("numeric(5)", "9999.5", "10000"), ("numeric", "-1E-38", "-0." + 37 * "0" + "1"),
    ("numeric", 38 * "9", 38 * "9"), ("oid", "4294967295", "4294967295"), ("date", "infinity", '"infinity"'), ("json", '{"a":1.50}', '{"a":1.50}'),
]
REFUSED = [
    ("float8", "1e400", "22003"), ("float8", "-1e309", "22003"), ("float8", "1e-400", "22003"), ("float4", "3.5e38", "22003"), ("float4", "1e-46", "22003"),
    ("float8[]", ["1e400"], "22003"), ("float8", "0x1p3", "22P02"), ("float8", "", "22P02"),
    ("interval", "P", "22007"), ("interval", "PT", "22007"), ("interval", "P1", "22007"), ("interval", "P1DT", "22007"), ("interval", "P1S", "22007"),
    ("interval", "PT1D", "22007"), ("interval", "P1M1Y", "22007"), ("interval", "P1.5D", "22007"), ("interval", "PT1.0000001S", "22007"), ("interval", "", "22007"),
    ("numeric(10,2)", "99999999.995", "22003"), ("numeric(2,2)", "0.995", "22003"), ("numeric(5)", "-99999.5", "22003"), ("numeric", "1e38", "22003"),
    ("integer", "2147483648", "22003"), ("oid", "4294967296", "22003"), ("oid", "-1", "22003"), ("bytea", "\\x0", "22P02"), ("bool", 2, "22P02"),
    ("timestamp", "2024-01-01T", "22007"), ("timestamptz", "2024-02-30", "22007"), ("time", "25:00", "22007"), ("char(3)", "abcd", "22001"), ("json", "{", "22P02"),
]


@pytest.mark.parametrize("kind,value,cell", TAKEN, ids=[f"{t}-{v}"[:40] for t, v, _ in TAKEN])
def test_taken(q, kind, value, cell):
    answer = q.d360_submit("SELECT ? AS v", parameters=[{"type": kind, "value": value}])
    assert answer.text[answer.text.index('"data":'):] == f'"data":[[{cell}]],"returnedRows":1}}'


@pytest.mark.parametrize("kind,value,state", REFUSED, ids=[f"{t}-{v}"[:40] for t, v, _ in REFUSED])
def test_refused(q, kind, value, state):
    answer = q.d360_submit("SELECT ? AS v", check=False, parameters=[{"type": kind, "value": value}])
    assert answer.status_code == 400 and answer.json()["error"] == state and answer.json()["message"].startswith("parameter 1"), answer.text


PLACES = ["{{'f': {0}, 'g': [{1}]}}", "[{0}, {1}]", "MAP {{'f': {0}, 'g': {1}}}", "row({0}, [row({1})])", "struct_insert({{'a': 1}}, f := {0}, g := {1})",
          "[{{'f': MAP {{'k': [{0}]}}}}, {{'f': MAP {{'k': [{1}]}}}}]"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("place", PLACES)
def test_a_value_keeps_its_type_inside_of_others(q, style, place):
    """As a field, an element or an entry it is what the same value is when it stands in the statement."""
    first, second = STYLES[style]
    for kind, value, literal in (("integer", 1, "1"), ("numeric", "1.50", "1.50"), ("date", "2024-02-29", "DATE '2024-02-29'"), ("bytea", "\\x00ff", "'\\x00\\xFF'::BLOB"),
                                 ("bool", True, "true"), ("varchar", "x", "'x'"), ("timestamptz", "2024-01-01T00:00:00Z", "TIMESTAMPTZ '2024-01-01 00:00:00+00'")):
        parameters = [{"type": kind, "value": value}, {"type": kind, "value": value}]
        want = q.d360_submit("SELECT " + place.format(literal, literal) + " AS v")
        for fields in ({}, {"queryRowLimit": 0}):
            got = q.d360_submit("SELECT " + place.format(first, second) + " AS v", paramStyle=style, parameters=parameters, **fields)
            assert got.json()["metadata"] == want.json()["metadata"], (kind, got.text)
            assert fields or got.text == want.text, (kind, got.text, want.text)
        bodies = [q.d360_get(q.d360_status_of(answer)["queryId"] + "/rows?offset=0", headers={"Accept": ARROW}).content
                  for answer in (want, q.d360_submit("SELECT " + place.format(first, second) + " AS v", paramStyle=style, parameters=parameters))]
        tables = [pa.ipc.open_stream(io.BytesIO(body)).read_all() for body in bodies]
        assert tables[0].schema == tables[1].schema and tables[0].equals(tables[1]), kind


def test_the_schema_without_rows_is_that_of_the_rows(q):
    """queryRowLimit 0 (prepared statements ask so), also where columns share a name and types follow from parameters."""
    sql = "SELECT ? AS a, ? AS a, ?, 1 + ?, {'x': ?}, upper(?)"
    parameters = [{"type": "integer", "value": 1}] * 5 + [{"type": "varchar", "value": "x"}]
    full = q.d360_submit(sql, parameters=parameters).json()
    assert [c["name"] for c in full["metadata"]["columns"]][:2] == ["a", "a"] and full["data"][0][4] == {"x": 1}
    assert q.d360_submit(sql, parameters=parameters, queryRowLimit=0).json()["metadata"] == full["metadata"]


@pytest.mark.parametrize("sql", ["SELECT ? AS a, count(sleep_ms(1000000000)) AS b", "SELECT {'x': ?} AS a, count(sleep_ms(1000000000)) AS b",
                                 "SELECT row(?) AS a, count(sleep_ms(1000000000)) AS b FROM flights", "SELECT ? AS a, count(sleep_ms(1000000000)) AS b FROM range(3)"])
def test_the_schema_is_known_at_once(q, sql):
    """However long the run takes: ASYNC answers with the schema, and queryRowLimit 0 runs nothing."""
    parameters = [{"type": "integer", "value": 1}]
    answer = q.d360_submit(sql, mode="ASYNC", parameters=parameters)
    columns = answer.json()["metadata"]["columns"]
    assert [c["name"] for c in columns] == ["a", "b"] and columns[1]["type"] == "bigint" and columns[0]["type"] in ("integer", "json")
    assert q.d360_status_of(answer)["completionStatus"] == "RUNNING"
    assert q.http("DELETE", "/api/v3/query/" + q.d360_status_of(answer)["queryId"], dialect="data360").status_code == 204
    if "row(" not in sql:  # a type that only a run tells
        answer = q.d360_submit(sql, parameters=parameters, queryRowLimit=0)
        assert answer.json() == {"metadata": {"columns": columns}, "data": [], "returnedRows": 0}


@pytest.mark.parametrize("sql,style,want", [
    ("SELECT ARRAY[:a, :b]", "NAMED", [[[1, 2]]]), ("SELECT array[:a], :b", "NAMED", [[[1], 2]]), ("SELECT 1 WHERE 1 IN[:a, :b]", "NAMED", [[1]]),
    ("SELECT x[:n], :a + :b FROM (SELECT [1, 2, 3] AS x, 2 AS n)", "NAMED", [[[1, 2], 3]]), ("SELECT [?, ?]", "QUESTION_MARK", [[[1, 2]]]),
    ("SELECT [1, 2, 3][?:?]", "QUESTION_MARK", [[[1, 2]]]), ("SELECT?,?", "QUESTION_MARK", [[1, 2]]),
])
def test_where_placeholders_may_stand(q, sql, style, want):
    assert q.d360_submit(sql, paramStyle=style, parameters=[{"type": "integer", "value": 1}, {"type": "integer", "value": 2}]).json()["data"] == want


@pytest.mark.parametrize("sql,style,says", [
    ("SELECT ?5", "QUESTION_MARK", "a digit must not stand right behind the placeholder ?"), ("SELECT 1?", "QUESTION_MARK", 'syntax error at or near "?"'),
    ("SELECT ? :: int ?", "QUESTION_MARK", 'syntax error at or near "?"'), ("SELECT 1 :a", "NAMED", 'syntax error at or near ":a"'), ("SELECT 1 $1 $1", "DOLLARED", 'near "$1"'),
])
def test_messages_spell_placeholders_as_they_were_sent(q, sql, style, says):
    parameters = [{"type": "integer", "value": 1}] * max(1, sql.count("?"))
    answer = q.d360_submit(sql, check=False, paramStyle=style, parameters=parameters)
    assert answer.status_code == 400 and answer.json()["error"] == "42601" and says in answer.json()["message"], answer.text
    place = answer.json()["details"]["position"]
    assert sql[int(place["errorBeginCharacterOffset"])] in "?:$"


def test_query_timeout_0_is_none(q):
    for value in (0, "0", "0ms", 2**63 - 1, "99999999999999999999s"):
        assert q.d360_submit("SELECT 1", settings={"query_timeout": value}).json()["data"] == [[1]]
