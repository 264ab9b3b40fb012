"""Kylin: the synchronous calls that its drivers make, in their three shapes. Facts: the page of clients; the drivers themselves run in
tests/clients."""
import json
import os
import socket

import pytest

from quern_client import wait_until

SHAPES = [None, "v2", "v4", "v4-public"]
SLOW = "select count(*) from range(100000000) a, range(100000) b where a.range + b.range = -1"


def data_of(answer, accept):
    """What stands in the envelope, or the bare answer of v1."""
    assert answer.status_code == 200, answer.text
    if accept is None:
        assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
        return answer.json()
    assert answer.headers["Content-Type"] == f"application/vnd.apache.kylin-{accept}+json;charset=UTF-8"
    body = answer.json()
    assert list(body) == ["code", "data", "msg"] and body["code"] == "000" and body["msg"] == ""
    return body["data"]


def run(q, sql, accept=None, key=None, **fields):
    body = {"sql": sql, "project": "w1", "acceptPartial": False, "limit": 50000, "offset": 0, **fields}
    return data_of(q.kylin("POST", "query", accept=accept, key=key, json=body), accept)


@pytest.mark.parametrize("accept", SHAPES)
def test_query(q, accept):
    data = run(q, "select 1 as a, 'x' as b, 2.50::decimal(10,2) as c, timestamp '2021-02-03 04:05:06' as t, date '2021-02-03' as d, true as e, "
                  "cast(null as varchar) as n", accept)
    assert data["results"] == [["1", "x", "2.50", "2021-02-03 04:05:06.000", "2021-02-03", "true", None]]
    metas = data["columnMetas"]
    assert [m["label"] for m in metas] == [m["name"] for m in metas] == ["a", "b", "c", "t", "d", "e", "n"]
    assert [(m["columnTypeName"], m["columnType"]) for m in metas] == [("INTEGER", 4), ("VARCHAR", 12), ("DECIMAL", 3), ("TIMESTAMP", 93),
                                                                       ("DATE", 91), ("BOOLEAN", 16), ("VARCHAR", 12)]
    assert (metas[2]["precision"], metas[2]["scale"]) == (10, 2)
    assert data["isException"] is False and data["exceptionMessage"] is None and data["affectedRowCount"] == 0 and data["partial"] is False
    assert q.kylin_get(data["queryId"], "status").json()["data"]["status"] == "SUCCESSFUL"  # one of the history like any other
    # keys that the drivers know; they refuse others
    assert set(data) == {"columnMetas", "cube", "affectedRowCount", "isException", "exceptionMessage", "duration", "totalScanCount",
                         "hitExceptionCache", "storageCacheUsed", "partial", "queryId", "results"}


@pytest.mark.parametrize("accept", SHAPES)
def test_statement_errors_are_answers(q, accept):
    data = run(q, "select no_such", accept)
    assert data["isException"] is True and "no_such" in data["exceptionMessage"] and data["results"] is None
    assert run(q, "create table x (a integer)", accept)["exceptionMessage"] == "This SQL is not supported at the moment. Please try a different SQL."
    assert run(q, "", accept)["exceptionMessage"] == "SQL can’t be empty. Please check and try again."


@pytest.mark.parametrize("accept", SHAPES)
def test_errors_of_the_request_are_in_the_envelope(q, accept):
    for body, error in (({"sql": "select 1"}, "KE-010001002"), ({"sql": "select 1", "project": "w2"}, "KE-010001201")):
        answer = q.kylin("POST", "query", accept=accept, json=body)
        assert answer.status_code == 500 and answer.json()["code"] == "999" and answer.json()["error_code"] == error
        assert answer.json()["exception"] == answer.json()["msg"]
    assert q.kylin("POST", "query", accept=accept, data="{").json()["msg"].startswith("KE-000030001(Failed Parse Json): ")
    answer = q.kylin("POST", "query", accept=accept, key=q.reader, json={"sql": "select 1", "project": "w1"})
    assert answer.status_code == 400 and answer.json()["error_code"] == "KE-010024001"
    answer = q.kylin("GET", "user/authentication", accept=accept, key=False, headers={"Authorization": "Basic QURNSU46S1lMSU4="})
    assert answer.status_code == 401 and answer.json()["error_code"] == "KE-010003208"


def test_limit_offset_and_rows(q):
    assert run(q, "select range from range(10)", limit=2, offset=3)["results"] == [["3"], ["4"]]
    assert len(run(q, "select range from range(60000)")["results"]) == 50000
    assert len(run(q, "select range from range(60000)", limit=0)["results"]) == 60000
    assert len(run(q, "select range from range(100)", backdoorToggles={"ATTR_STATEMENT_MAX_ROWS": "10"})["results"]) == 10
    assert len(run(q, "select range from range(100)", limit=5, backdoorToggles={"ATTR_STATEMENT_MAX_ROWS": "10"})["results"]) == 5
    assert run(q, "select 1 where false")["results"] == []


def test_a_large_result_is_streamed(q):
    rows = run(q, "select range, 'row ' || range from range(300000)", limit=0)["results"]
    assert len(rows) == 300000 and rows[0] == ["0", "row 0"] and rows[-1] == ["299999", "row 299999"]


PARAMS = [
    ("java.lang.Integer", "3", "INTEGER", "3"), ("java.lang.Long", "9000000000", "BIGINT", "9000000000"), ("java.lang.Short", "3", "SMALLINT", "3"),
    ("java.lang.Byte", "3", "TINYINT", "3"), ("java.lang.Double", "2.5", "DOUBLE", "2.5"), ("java.lang.Float", "2.5", "FLOAT", "2.5"),
    ("java.lang.Boolean", "true", "BOOLEAN", "true"), ("java.lang.String", "it's ? \"x\" 中", "VARCHAR", "it's ? \"x\" 中"),
    ("java.math.BigDecimal", "-12.50", "DECIMAL", "-12.50"), ("java.math.BigDecimal", "12345678901234567890.123", "DECIMAL", "12345678901234567890.123"),
    ("java.math.BigDecimal", "1E+3", "DECIMAL", "1000"), ("java.math.BigDecimal", "0E-10", "DECIMAL", "0.0000000000"), ("java.math.BigDecimal", "-1.5E-7", "DECIMAL", "-0.00000015"),
    ("java.math.BigDecimal", "1E+40", "DOUBLE", "1.0E40"), ("java.math.BigInteger", "12345678901234567890", "DECIMAL", "12345678901234567890"), ("java.sql.Date", "2021-02-03", "DATE", "2021-02-03"),
    ("java.sql.Timestamp", "2021-02-03 04:05:06.5", "TIMESTAMP", "2021-02-03 04:05:06.500"), ("java.sql.Time", "04:05:06", "VARCHAR", "04:05:06.000"),
    ("java.lang.Integer", None, "INTEGER", None),
]


@pytest.mark.parametrize("class_name, value, type_name, want", PARAMS)
def test_prepared_parameters(q, class_name, value, type_name, want):
    data = run(q, "select ? as p, '?' as q -- ?", params=[{"className": class_name, "value": value}])
    assert data["exceptionMessage"] is None, data
    assert data["results"] == [[want, "?"]] and data["columnMetas"][0]["columnTypeName"] == type_name


def test_parameters_that_do_not_fit(q):
    assert run(q, "select ? + ?", params=[{"className": "java.lang.Integer", "value": "1"}])["isException"] is True
    assert run(q, "select ?", params=[{"className": "java.lang.Integer", "value": "x"}])["isException"] is True
    for params, why in (([{"className": "java.util.UUID", "value": "x"}], "params[0].className java.util.UUID is not supported"), ({}, "params must be an array"),
                        (["x"], "params[0] must be an object"), ([{"className": 7, "value": []}], "value must be a string")):
        answer = q.kylin("POST", "query", json={"sql": "select ?", "project": "w1", "params": params})
        assert answer.status_code == 500 and why in answer.json()["exception"], answer.text


def test_who_leaves_ends_the_query(q):
    """Nobody else knows the id of a statement whose answer is still awaited."""
    credential = q.key["headers"]["kylin"]["Authorization"]
    mark = f"/* {os.urandom(8).hex()} */"
    body = json.dumps({"sql": mark + SLOW, "project": "w1"}).encode()
    with socket.create_connection(("127.0.0.1", q.port)) as s:
        s.sendall(f"POST /kylin/api/query HTTP/1.1\r\nHost: x\r\nAuthorization: {credential}\r\nContent-Type: application/json\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

        def state():
            for item in q.http("GET", "/v1/data-query/query?size=50").json()["content"]:
                if item["queryInfo"]["queryTextPreview"].startswith(mark):
                    return item["queryInfo"]["state"]
            return None

        wait_until("the statement to run", lambda: state() == "RUNNING")
    wait_until("the statement to end with its client", lambda: state() == "ABORTED")


# --- the rest -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", SHAPES)
def test_login(q, accept):
    for method, body in (("GET", None), ("POST", {})):
        data = data_of(q.kylin(method, "user/authentication", accept=accept, json=body), accept)
        assert data["userDetails"]["username"] == "alice"
        assert [a["authority"] for a in data["userDetails"]["authorities"]] == ["ROLE_ADMIN", "ROLE_MODELER", "ROLE_ANALYST", "ALL_USERS"]
        assert accept is None or data["username"] == "alice"
    roles = q.kylin("GET", "user/authentication", accept=None, key=q.reader).json()["userDetails"]["authorities"]
    assert roles == [{"authority": "ALL_USERS"}]


@pytest.mark.parametrize("accept, key", [(None, None), ("v2", "projects"), ("v4", "value"), ("v4-public", "value")])
def test_projects(q, accept, key):
    data = data_of(q.kylin("GET", "projects?pageOffset=0&pageSize=1000&page_offset=0&page_size=1000", accept=accept), accept)
    projects = data[key] if key else data
    assert [p["name"] for p in projects] == ["w1"]
    data = data_of(q.kylin("GET", "projects", accept=accept, key=q.other), accept)
    assert [p["name"] for p in (data[key] if key else data)] == ["w2"]
    assert "w1" not in json.dumps(data)
    data = data_of(q.kylin("GET", "projects?page_offset=1&page_size=1000", accept=accept), accept)
    assert (data[key] if key else data) == []


@pytest.fixture(scope="module")
def tables(q):
    for sql in ("create schema if not exists data_catalog.kylin_s", "create table if not exists data_catalog.kylin_s.t as select 1 as x",
                "create table if not exists data_catalog.main.kylin_t (a decimal(18,4), b varchar not null, c time, d blob, e integer[], f utinyint)"):
        assert q.kakao_query(sql)["queryInfo"]["state"] == "FINISHED", sql
    return q


@pytest.mark.parametrize("path", ["tables_and_columns", "query/tables_and_columns"])
@pytest.mark.parametrize("accept", SHAPES)
def test_tables_and_columns(tables, path, accept):
    listed = data_of(tables.kylin("GET", path + "?project=w1", accept=accept), accept)
    names = [(t["table_SCHEM"], t["table_NAME"], t["table_TYPE"]) for t in listed]
    for name in (("main", "flights", "VIEW"), ("main", "kylin_t", "TABLE"), ("kylin_s", "t", "TABLE")):
        assert name in names
    assert not [n for n in names if "quern" in n[0]] and names == sorted(names, key=lambda n: n[:2])
    table = listed[names.index(("main", "kylin_t", "TABLE"))]
    assert set(table) == {"table_CAT", "table_SCHEM", "table_NAME", "table_TYPE", "remarks", "type_CAT", "type_SCHEM", "type_NAME",
                          "self_REFERENCING_COL_NAME", "ref_GENERATION", "columns"}
    assert [(c["column_NAME"], c["type_NAME"], c["data_TYPE"], c["is_NULLABLE"], c["ordinal_POSITION"]) for c in table["columns"]] == [
        ("a", "DECIMAL(18,4)", 3, "YES", 1), ("b", "VARCHAR", 12, "NO", 2), ("c", "VARCHAR", 12, "YES", 3), ("d", "VARCHAR", 12, "YES", 4),
        ("e", "VARCHAR", 12, "YES", 5), ("f", "SMALLINT", 5, "YES", 6)]
    assert (table["columns"][0]["column_SIZE"], table["columns"][0]["decimal_DIGITS"]) == (18, 4)
    assert all(c["table_NAME"] == "kylin_t" and c["table_SCHEM"] == "main" for c in table["columns"])


@pytest.mark.parametrize("accept", SHAPES)
def test_tables(tables, accept):
    data = data_of(tables.kylin("GET", "tables?project=w1&ext=true&page_size=2147483647", accept=accept), accept)
    listed = data["value"] if accept in ("v4", "v4-public") else data
    table = [t for t in listed if (t["database"], t["name"]) == ("main", "kylin_t")][0]
    assert [(c["name"], c["datatype"]) for c in table["columns"]] == [("a", "DECIMAL(18,4)"), ("b", "VARCHAR"), ("c", "VARCHAR"), ("d", "VARCHAR"),
                                                                      ("e", "VARCHAR"), ("f", "SMALLINT")]


def test_a_table_with_a_long_name_is_listed_once(tables):
    names = ["l" * 1500, "l" * 1499 + "m"]
    for name in names:
        assert tables.kakao_query(f'create table if not exists data_catalog.kylin_s."{name}" as select 1 as x, 2 as y')["queryInfo"]["state"] == "FINISHED"
    jdbc = tables.kylin("GET", "tables_and_columns?project=w1", accept=None).json()
    own = tables.kylin("GET", "tables?project=w1", accept=None).json()
    for name in names:
        assert [len(t["columns"]) for t in jdbc if t["table_NAME"] == name] == [2]
        assert [len(t["columns"]) for t in own if t["name"] == name] == [2]
    for name in names:
        assert tables.kakao_query(f'drop table data_catalog.kylin_s."{name}"')["queryInfo"]["state"] == "FINISHED"


def test_tables_of_another_workspace(tables):
    assert tables.kylin("GET", "tables_and_columns?project=w2", accept=None, key=tables.other).json() == []
    for path in ("tables_and_columns", "query/tables_and_columns", "tables"):
        assert tables.kylin("GET", path + "?project=w1", key=tables.other).json()["error_code"] == "KE-010001201"
        assert tables.kylin("GET", path).json()["error_code"] == "KE-010031302"
        assert tables.kylin("GET", path + "?project=w1", key=tables.reader).status_code == 400


def test_health(q):
    answer = q.kylin("GET", "health", accept=None)
    assert answer.status_code == 200 and answer.json() == {"status": "UP"}
