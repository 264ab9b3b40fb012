"""Data 360 Query v3: submit. Facts: the source page "Submit SQL Query"."""
import io
import json

import pyarrow as pa
import pytest

from quern_client import BLOCK

ARROW = "application/vnd.apache.arrow.stream"


def test_adaptive_inline(q):
    answer = q.d360_submit("select 1 as a, 'x' as b, null::decimal(18,4) as c")
    assert answer.headers["Content-Type"].startswith("application/json")
    status = q.d360_status_of(answer)
    assert answer.headers["status"] == answer.headers["x-hyperdb-status"]
    assert status["completionStatus"] == "FINISHED" and status["chunkCount"] == 1 and status["rowCount"] == 1 and status["progress"] == 1
    assert set(status) == {"queryId", "completionStatus", "chunkCount", "rowCount", "progress", "expirationTime", "executionStats"}
    assert answer.json() == {
        "metadata": {"columns": [
            {"name": "a", "type": "integer", "nullable": True}, {"name": "b", "type": "varchar", "nullable": True},
            {"name": "c", "type": "numeric", "nullable": True, "precision": 18, "scale": 4}]},
        "data": [[1, "x", None]], "returnedRows": 1}


def test_async_has_schema_and_no_rows(q):
    answer = q.d360_submit("select 1 as a", mode="ASYNC")
    assert answer.json() == {"metadata": {"columns": [{"name": "a", "type": "integer", "nullable": True}]}, "data": None, "returnedRows": 0}
    qid = q.d360_status_of(answer)["queryId"]
    assert q.d360_wait(qid).json()["completionStatus"] == "FINISHED"
    assert q.d360_rows(qid) == [[1]]


def test_no_rows(q):
    answer = q.d360_submit("select 1 as a where false")
    assert answer.json()["data"] == [] and answer.json()["returnedRows"] == 0
    answer = q.d360_submit("select * from flights", queryRowLimit=0)
    assert answer.json()["data"] == [] and len(answer.json()["metadata"]["columns"]) > 0


def test_row_limit_and_range(q):
    answer = q.d360_submit("select range from range(100)", queryRowLimit=7)
    assert answer.json()["returnedRows"] == 7
    answer = q.d360_submit("select range from range(100)", resultRange={"rowLimit": 10})
    assert answer.json()["returnedRows"] == 10 and q.d360_status_of(answer)["rowCount"] == 100
    answer = q.d360_submit("select repeat('x', 1000) from range(100)", resultRange={"byteLimit": 5000})
    assert 1 <= answer.json()["returnedRows"] < 6


@pytest.mark.parametrize("fields", [
    {"sql": None}, {"sql": ""}, {"sql": 5}, {"transferMode": "SYNC"}, {"paramStyle": "X"}, {"parameters": {}}, {"parameters": [1]},
    {"resultRange": {"rowLimit": 0}}, {"resultRange": {"byteLimit": 0}}, {"resultRange": {"byteLimit": 20971521}}, {"queryRowLimit": -2},
    {"settings": []}, {"transferMode": "ASYNC", "resultRange": {"rowLimit": 1}},
])
def test_bad_fields_are_400(q, fields):
    answer = q.http("POST", "/api/v3/query", dialect="data360", json={"sql": "select 1", **fields})
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["message"], str) and answer.json()["details"]["errorSource"] == "User"


def test_media_types(q):
    def post(**headers):
        return q.http("POST", "/api/v3/query", dialect="data360", data='{"sql":"select 1"}',
                      headers={k.replace("_", "-"): v for k, v in headers.items()})
    assert post().status_code == 200
    assert post(Content_Type=ARROW).status_code == 200
    assert post(Content_Type="text/plain").status_code == 415
    assert post(Accept="text/html").status_code == 406
    assert post(Accept="*/*").headers["Content-Type"].startswith("application/json")
    assert post(Accept=ARROW).headers["Content-Type"] == ARROW
    answer = q.http("POST", "/api/v3/query", dialect="data360", data=b"\xff\xff", headers={"Content-Type": ARROW})
    assert answer.status_code == 415


def test_parameters(q):
    sql = "select ? as a, '?' as b, ?::int as c"
    answer = q.d360_submit(sql, parameters=[{"type": "varchar", "value": "x"}, {"type": "string", "value": "3"}])
    assert answer.json()["data"] == [["x", "?", 3]]
    answer = q.d360_submit("select :b - :a", paramStyle="NAMED", parameters=[
        {"name": "a", "type": "integer", "value": "1"}, {"name": ":b", "type": "integer", "value": 5}])
    assert answer.json()["data"] == [[4]]
    for style in ("DOLLARED", "DOLLAR_NUMBERED"):
        answer = q.d360_submit("select $2 - $1", paramStyle=style, parameters=[
            {"type": "integer", "value": "1"}, {"type": "integer", "value": "5"}])
        assert answer.json()["data"] == [[4]]
    answer = q.d360_submit("select ?", parameters=[{"type": "varchar", "value": None}])
    assert answer.json()["data"] == [[None]]
    assert answer.json()["metadata"]["columns"][0]["type"] == "varchar"  # a NULL keeps its type


@pytest.mark.parametrize("parameter,want", [
    ({"type": "integer[]", "value": [1, "2", None]}, [1, 2, None]), ({"type": "int[]", "value": "[1, 2]"}, [1, 2]), ({"type": "bigint[]", "value": "{1, NULL,3 }"}, [1, None, 3]),
    ({"type": "array", "innerElement": {"type": "varchar", "length": 3}, "value": ["a", "", None]}, ["a", "", None]),
    ({"type": "text[]", "value": '{a b,"NULL","x,\\"y",c\\\\d}'}, ["a b", "NULL", 'x,"y', "c\\d"]), ({"type": "date[]", "value": []}, []), ({"type": "text[]", "value": "{}"}, []),
    ({"type": "bool[]", "value": None}, None), ({"type": "bytea[]", "value": ["\\x00ff", "\\x"]}, ["\\x00ff", "\\x"]),
])
def test_array_parameters(q, parameter, want):
    answer = q.d360_submit("select ? as a", parameters=[parameter])
    assert answer.json()["data"] == [[want]] and answer.json()["metadata"]["columns"][0]["type"] == "array"
    assert q.d360_submit("select list_contains(?, 2)", parameters=[{"type": "int[]", "value": [1, 2]}]).json()["data"] == [[True]]


def test_numbers_keep_their_digits(q):
    """A JSON number is the number that was written, not the nearest double."""
    body = ('{"sql": "select ?, ?, ?, ?", "parameters": [{"type": "numeric", "value": 1234567890123456789.012345678901}, {"type": "numeric", "value": -1.50e3},'
            ' {"type": "numeric[]", "value": [0.1, 20, 3.000, null]}, {"type": "integer", "value": 5.0}]}')
    answer = q.http("POST", "/api/v3/query", dialect="data360", data=body)
    assert '"data":[[1234567890123456789.012345678901,-1500,[0.100,20.000,3.000,null],5]]' in answer.text.replace("\n", "")
    assert [c.get("precision") for c in answer.json()["metadata"]["columns"]] == [31, 4, None, None]


@pytest.mark.parametrize("sql,style,parameters,says", [
    ("select ?", "QUESTION_MARK", [], "1 parameters"),
    ("select ?", "QUESTION_MARK", [{"value": "x"}], "parameter 1"),
    ("select ?", "QUESTION_MARK", [{"type": "nope", "value": "x"}], "nope"),
    ("select ?", "QUESTION_MARK", [{"type": "integer", "value": "x"}], "parameter 1"),
    ("select ?", "QUESTION_MARK", [{"type": "integer[]", "value": [1, "x"]}], "parameter 1, element 2"),
    ("select ?", "QUESTION_MARK", [{"type": "integer[]", "value": 5}], "must be an array"),
    ("select ?", "QUESTION_MARK", [{"type": "integer[]", "value": "{1,{2}}"}], "malformed array"),
    ("select ?", "QUESTION_MARK", [{"type": "integer[]", "value": "{1,"}], "malformed array"),
    ("select ?", "QUESTION_MARK", [{"type": "integer[]", "value": "{1,}"}], "malformed array"),
    ("select ?", "QUESTION_MARK", [{"type": "integer[]", "value": "[1,"}], "malformed array"),
    ("select ?", "QUESTION_MARK", [{"type": "nope[]", "value": []}], "nope"),
    ("select ?", "QUESTION_MARK", [{"type": "array", "value": []}], "innerElement"),
    ("select ?", "QUESTION_MARK", [{"type": "numeric[]", "value": ["1e30", "1e-20"]}], "38 digits"),
    ("select ?", "QUESTION_MARK", [{"type": "numeric", "value": "1e101"}], "out of range"),
    ("select ?", "QUESTION_MARK", [{"type": "integer[][]", "value": [[1]]}], "unknown type"),
    ("select :a", "QUESTION_MARK", [], "conflicting parameter style 'named'"),
    ("select :a", "NAMED", [{"name": "b", "type": "integer", "value": 1}], ":b"),
    ("select :a", "NAMED", [{"name": 5, "type": "integer", "value": 1}], "parameter 1: name must be a string, not an integer"),
    ("select :a, :b", "NAMED", [{"type": "integer", "value": 1}, {"name": ":", "type": "integer", "value": 1}], "parameter 2: name must not be empty"),
])
def test_bad_parameters(q, sql, style, parameters, says):
    answer = q.d360_submit(sql, check=False, paramStyle=style, parameters=parameters)
    assert answer.status_code == 400 and says in answer.json()["message"]


def test_errors_are_the_submits_own_in_both_modes(q):
    for mode in ("ADAPTIVE", "ASYNC"):
        answer = q.d360_submit("select * frm x", mode=mode, check=False)
        assert answer.status_code == 400
        body = answer.json()
        assert body["error"] == "42601" and body["path"] == "/api/v3/query"
        assert body["details"]["position"]["errorBeginCharacterOffset"].isdigit()
        assert "^" in body["details"]["customerDetail"] and "select * frm x" in body["details"]["customerDetail"]
        assert q.d360_submit("select * from no_such", mode=mode, check=False).json()["error"] == "42P01"
        assert q.d360_submit("select no_such from flights", mode=mode, check=False).json()["error"] == "42703"
        answer = q.d360_submit("create table t(a int)", mode=mode, check=False)
        assert answer.status_code == 400 and answer.json()["error"] == "0A000"
        assert q.d360_submit("explain create table t(a int)", mode=mode, check=False).json()["error"] == "0A000"
    answer = q.d360_submit("select 1/0", check=False)
    assert answer.status_code == 400 and answer.json()["error"] == "22012"


@pytest.mark.parametrize("more", [{}, {"queryRowLimit": 0}, {"transferMode": "ASYNC"}])
@pytest.mark.parametrize("sql", ["select :a_long_name, no_such from flights", "select 'é' as x,\n  :a_long_name + no_such from flights", "select {'f': :a_long_name},\n\n no_such",
                                 "select :a_long_name, 1 where no_such > 1"])
def test_position_fits_the_text_that_was_sent(q, sql, more):
    answer = q.http("POST", "/api/v3/query", dialect="data360", json={"sql": sql, "paramStyle": "NAMED", "parameters": [{"type": "integer", "value": 1}], **more})
    assert answer.status_code == 400 and answer.json()["error"] == "42703", answer.text
    details = answer.json()["details"]
    assert int(details["position"]["errorBeginCharacterOffset"]) == sql.index("no_such") and int(details["position"]["errorEndCharacterOffset"]) == sql.index("no_such") + 7
    line = next(line for line in sql.split("\n") if "no_such" in line)
    assert f"\nline {sql[:sql.index('no_such')].count(chr(10)) + 1}, column {line.index('no_such') + 1}: {line}\n" in details["customerDetail"]


def test_roles(q):
    assert q.d360_submit("select 1", key=q.reader, check=False).status_code == 403
    answer = q.http("POST", "/api/v3/query", key=False, dialect="data360", json={"sql": "select 1"})
    assert answer.status_code == 401 and isinstance(answer.json()["message"], str)


def test_arrow_inline(q):
    answer = q.d360_submit("select range as n, 'r' || range as t from range(1000)", headers={"Accept": ARROW})
    assert answer.headers["Content-Type"] == ARROW
    table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    assert table.num_rows == 1000 and table.schema.names == ["n", "t"]
    assert not answer.content.endswith(b"\xff\xff\xff\xff\0\0\0\0")


def test_pending_bodies(q):
    fast = {"X-hyperdb-adaptive-timeout": "50ms"}
    answer = q.d360_submit(BLOCK, headers=fast)
    assert answer.json()["data"] is None and answer.json()["returnedRows"] == 0
    assert answer.json()["metadata"]["columns"][0]["name"] == "slept"
    status = q.d360_status_of(answer)
    assert status["completionStatus"] == "RUNNING" and status["progress"] < 1
    q.http("DELETE", "/api/v3/query/" + status["queryId"], dialect="data360")
    answer = q.d360_submit(BLOCK, headers=dict(fast, Accept=ARROW))
    assert answer.content == b"" and q.d360_status_of(answer)["chunkCount"] == 0
    q.http("DELETE", "/api/v3/query/" + q.d360_status_of(answer)["queryId"], dialect="data360")
    answer = q.d360_submit(BLOCK, mode="ASYNC", headers={"Accept": ARROW})
    assert pa.ipc.open_stream(io.BytesIO(answer.content)).read_all().num_rows == 0
    q.http("DELETE", "/api/v3/query/" + q.d360_status_of(answer)["queryId"], dialect="data360")


SLOW_END = "SELECT range AS n, repeat('x', 100) AS t FROM range(200000) WHERE CASE WHEN range = 150000 THEN coalesce(sleep_ms({}), 0) >= 0 ELSE true END"


@pytest.mark.parametrize("accept", ["application/json", ARROW])
@pytest.mark.parametrize("fields", [{}, {"resultRange": {"rowLimit": 7}}, {"resultRange": {"byteLimit": 1000}}])
def test_first_rows_of_a_query_that_goes_on(q, accept, fields):
    """ADAPTIVE: only a query that has produced nothing mimics ASYNC. The body is chunk 0, or the range that was asked for; the client goes on behind it."""
    for wait in (250, 1000, 4000, 16000):  # as long as the machine needs for the first rows
        answer = q.d360_submit(SLOW_END.format(1000000000), headers={"Accept": accept, "X-hyperdb-adaptive-timeout": f"{wait}ms"}, **fields)
        status = q.d360_status_of(answer)
        if status["rowCount"]:
            break
        q.http("DELETE", "/api/v3/query/" + status["queryId"], dialect="data360")
    qid = status["queryId"]
    assert status["completionStatus"] == "RUNNING" and status["progress"] < 1 and 0 < status["chunkCount"] and 0 < status["rowCount"] <= 200000
    if accept == ARROW:
        got = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all().column("n").to_pylist()
    else:
        assert answer.json()["returnedRows"] == len(answer.json()["data"])
        got = [row[0] for row in answer.json()["data"]]
    assert 0 < len(got) <= status["rowCount"] and len(got) == len(set(got))
    chunk = [row[0] for row in q.d360_get(f"{qid}/chunks/0").json()["data"]]
    if fields:
        assert len(got) == 7 if "rowLimit" in fields["resultRange"] else len(got) < 1000
        assert got == chunk[:len(got)] and q.d360_rows(qid, offset=len(got), limit=1)[0][0] == chunk[len(got)]
    else:
        assert got == chunk  # so that a client goes on with chunk 1
        assert q.d360_rows(qid, offset=len(got), limit=1) or status["chunkCount"] == 1
    assert q.http("DELETE", "/api/v3/query/" + qid, dialect="data360").status_code == 204


def test_rows_by_chunks_after_first_rows(q):
    """All rows once: the body of the submit, then chunk 1 and so on, glued together as one Arrow stream."""
    answer = q.d360_submit(SLOW_END.format(2500), headers={"Accept": ARROW, "X-hyperdb-adaptive-timeout": "1000ms"})
    qid = q.d360_status_of(answer)["queryId"]
    status = q.d360_wait(qid).json()
    first = 1 if answer.content else 0  # nothing was there yet: an empty body, and chunk 0 holds rows
    head = answer.content or q.d360_get(f"{qid}/metadata", headers={"Accept": ARROW}).content
    bodies = [q.d360_get(f"{qid}/chunks/{n}?omitSchema=true", headers={"Accept": ARROW}).content for n in range(first, status["chunkCount"])]
    table = pa.ipc.open_stream(io.BytesIO(head + b"".join(bodies))).read_all()
    assert sorted(table.column("n").to_pylist()) == list(range(200000)) and status["rowCount"] == 200000


def test_chunk_0_is_the_empty_range_of_a_pending_arrow_body(make_daemon):
    q = make_daemon(env={"QUERN_DATA360_ADAPTIVE_TIMEOUT": "100"})
    for ms in (1000, 8000, 64000):  # before the first row; who answers later than that takes one that waits longer
        sql = f"select a.range as n, c from range(100000) a, (select count(sleep_ms({ms})) as c)"
        answer = q.d360_submit(sql, headers={"Accept": ARROW})
        status = q.d360_status_of(answer)
        if not status["rowCount"]:
            break
    assert status["completionStatus"] == "RUNNING" and status["chunkCount"] == 1 and len(answer.content) > 0
    qid = status["queryId"]
    status = q.d360_wait(qid).json()
    bodies = [q.d360_get(f"{qid}/chunks/{n}?omitSchema=true", headers={"Accept": ARROW}).content for n in range(1, status["chunkCount"])]
    table = pa.ipc.open_stream(io.BytesIO(answer.content + b"".join(bodies))).read_all()
    assert table.num_rows == status["rowCount"] == 100000
    assert q.d360_get(f"{qid}/chunks/0?omitSchema=true", headers={"Accept": ARROW}).content == b""
    assert json.loads(q.d360_get(f"{qid}/chunks/0").text)["returnedRows"] == 0


@pytest.mark.parametrize("settings, shown", [({"TimeZone": "Asia/Seoul"}, "09:00:00+09:00"), ({"TIME_ZONE": "Asia/Seoul"}, "09:00:00+09:00"),
                                             ({"TimeZone": "UTC", "timezone": "Asia/Seoul"}, "09:00:00+09:00"), ({"time zone": "Asia/Seoul"}, "00:00:00+00:00")])
def test_names_of_settings_have_no_case(q, settings, shown):
    assert q.d360_submit("SELECT TIMESTAMPTZ '2024-01-01 00:00:00+00' AS t", settings=settings).json()["data"] == [[f"2024-01-01T{shown}"]]
