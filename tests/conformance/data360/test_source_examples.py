"""The source page "Submit SQL Query", sentence by sentence. Its code blocks are missing from the text that is left, so each row of its tables
is an example here."""
import email.utils
import io
import json

import pyarrow as pa
import pytest

from quern_client import BLOCK

JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
SQL = "select range as id, 'name ' || range as name from range(3) order by 1"
COLUMNS = [{"name": "id", "type": "bigint", "nullable": True}, {"name": "name", "type": "varchar", "nullable": True}]
ROWS = [[0, "name 0"], [1, "name 1"], [2, "name 2"]]


def post(q, body, **headers):
    return q.http("POST", "/api/v3/query", dialect="data360", data=json.dumps(body), headers={k.replace("_", "-"): v for k, v in headers.items()})


def table(answer):
    return pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()


def delete(q, answer):
    q.http("DELETE", "/api/v3/query/" + json.loads(answer.headers["status"])["queryId"], dialect="data360")


@pytest.mark.parametrize("accept", [JSON, ARROW])
@pytest.mark.parametrize("content_type", [JSON, ARROW])
def test_request_headers(q, content_type, accept):
    """Content-Type and Accept: application/json (default) or application/vnd.apache.arrow.stream."""
    answer = post(q, {"sql": SQL}, Content_Type=content_type, Accept=accept)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith(accept)
    assert answer.json()["data"] == ROWS if accept == JSON else table(answer).num_rows == 3
    assert q.http("POST", "/api/v3/query", dialect="data360", data=json.dumps({"sql": SQL})).json()["data"] == ROWS  # both defaults


def test_only_sql_is_required(q):
    assert post(q, {"sql": SQL}).json() == {"metadata": {"columns": COLUMNS}, "data": ROWS, "returnedRows": 3}
    answer = post(q, {"transferMode": "ASYNC"})
    assert answer.status_code == 400 and "sql" in answer.json()["message"]
    everything = {"sql": "select ? as a", "transferMode": "ADAPTIVE", "paramStyle": "QUESTION_MARK", "parameters": [{"type": "varchar", "value": "v"}],
                  "settings": {"timezone": "Etc/UTC", "language": "de_DE"}, "resultRange": {"rowLimit": 10, "byteLimit": 20000000}, "queryRowLimit": 100}
    assert post(q, everything).json()["data"] == [["v"]]


@pytest.mark.parametrize("style, sql", [("QUESTION_MARK", "select ? || ? as v"), (None, "select ? || ? as v"), ("NAMED", "select :first || :second as v"),
                                        ("DOLLARED", "select $1 || $2 as v")])
def test_param_styles(q, style, sql):
    body = {"sql": sql, "parameters": [{"type": "varchar", "value": "a"}, {"type": "varchar", "value": "b"}]}
    if style:
        body["paramStyle"] = style
    assert post(q, body).json()["data"] == [["ab"]]
    body["parameters"] = [{"type": "varchar", "value": "a"}, {"value": "b"}]
    assert post(q, body).status_code == 400  # "each object requires type and value"
    body["parameters"] = [{"type": "varchar", "value": "a"}, {"type": "varchar"}]
    assert post(q, body).status_code == 400


def test_settings(q):
    sql = "select timestamptz '2025-09-26 10:45:07+00' as t"
    assert post(q, {"sql": sql, "settings": {"timezone": "Etc/UTC", "language": "de_DE"}}).json()["data"] == [["2025-09-26T10:45:07+00:00"]]
    assert post(q, {"sql": sql, "settings": {"timezone": "America/New_York"}}).json()["data"] == [["2025-09-26T06:45:07-04:00"]]


def test_result_range_is_the_response_and_query_row_limit_the_query(q):
    answer = post(q, {"sql": SQL, "resultRange": {"rowLimit": 2}})
    status = json.loads(answer.headers["status"])
    assert answer.json()["data"] == ROWS[:2] and answer.json()["returnedRows"] == 2 and status["rowCount"] == 3
    assert q.d360_rows(status["queryId"], offset=2) == ROWS[2:]
    answer = post(q, {"sql": SQL, "queryRowLimit": 2})
    assert answer.json()["data"] == ROWS[:2] and json.loads(answer.headers["status"])["rowCount"] == 2
    answer = post(q, {"sql": SQL, "queryRowLimit": 0})  # "only the schema without producing any rows"
    assert answer.json() == {"metadata": {"columns": COLUMNS}, "data": [], "returnedRows": 0}
    assert post(q, {"sql": SQL, "transferMode": "ASYNC", "resultRange": {"rowLimit": 2}}).status_code == 400  # "ADAPTIVE mode only"
    assert post(q, {"sql": SQL, "resultRange": {"byteLimit": 20971521}}).status_code == 400  # "default and maximum 20 MB"
    assert post(q, {"sql": SQL, "resultRange": {"byteLimit": 1}}).json()["returnedRows"] == 1


@pytest.mark.parametrize("accept", [JSON, ARROW])
@pytest.mark.parametrize("mode", ["ASYNC", "ADAPTIVE"])
def test_response_headers(q, mode, accept):
    """Both modes return Date, Content-Type and status; status holds the full query status."""
    answer = post(q, {"sql": SQL, "transferMode": mode}, Accept=accept)
    assert email.utils.parsedate_to_datetime(answer.headers["Date"]) and answer.headers["Content-Type"].startswith(accept)
    status = json.loads(answer.headers["status"])
    assert set(status) == {"queryId", "completionStatus", "chunkCount", "rowCount", "progress", "expirationTime", "executionStats"}
    assert answer.headers["x-hyperdb-status"] == answer.headers["status"] and answer.headers["status"].isascii()
    done = q.d360_wait(status["queryId"])  # "use the queryId from this header to poll for results"
    assert done.json()["completionStatus"] == "FINISHED" and done.json()["rowCount"] == 3
    assert q.d360_rows(status["queryId"]) == ROWS


def test_async_has_null_data(q):
    """The body always has "data": null and "returnedRows": 0, also when the query is done at once."""
    for _ in range(5):
        answer = post(q, {"sql": SQL, "transferMode": "ASYNC"})
        assert list(answer.json()) == ["metadata", "data", "returnedRows"]
        assert answer.json() == {"metadata": {"columns": COLUMNS}, "data": None, "returnedRows": 0}


def test_async_arrow_is_the_schema(q):
    answer = post(q, {"sql": SQL, "transferMode": "ASYNC"}, Accept=ARROW)
    assert table(answer).num_rows == 0 and table(answer).schema.names == ["id", "name"]
    qid = json.loads(answer.headers["status"])["queryId"]
    q.d360_wait(qid)
    for path in ("rows?offset=0", "chunks/0"):
        assert [list(r.values()) for r in table(q.d360_get(f"{qid}/{path}", headers={"Accept": ARROW})).to_pylist()] == ROWS


def test_adaptive_that_runs_out_of_time_mimics_async(make_daemon):
    d = make_daemon(env={"QUERN_DATA360_ADAPTIVE_TIMEOUT": "100"})
    answer = post(d, {"sql": BLOCK})
    assert answer.status_code == 200 and answer.json()["data"] is None and answer.json()["returnedRows"] == 0
    assert [c["name"] for c in answer.json()["metadata"]["columns"]] == ["slept"]
    assert json.loads(answer.headers["status"])["completionStatus"] == "RUNNING"
    delete(d, answer)
    answer = post(d, {"sql": BLOCK}, Accept=ARROW)
    assert table(answer).num_rows == 0 and table(answer).schema.names == ["slept"]  # "only schema metadata with no data rows"
    delete(d, answer)


def test_inline_arrow(q):
    answer = post(q, {"sql": SQL}, Accept=ARROW)
    assert [list(r.values()) for r in table(answer).to_pylist()] == ROWS


def test_errors_are_rich(q):
    """SQLSTATE and readable detail; position for syntax errors; errorSource says whose fault it is."""
    answer = post(q, {"sql": "select from where"})
    body = answer.json()
    assert answer.status_code == 400 and body["error"] == body["details"]["sqlState"] == "42601" and body["message"]
    assert body["details"]["position"]["errorBeginCharacterOffset"].isdigit() and body["details"]["errorSource"] == "User"
    for headers in ({}, {"Authorization": "Bearer x"}):  # missing or invalid authentication
        answer = q.http("POST", "/api/v3/query", key=False, json={"sql": SQL}, headers=headers)
        assert answer.status_code == 401 and answer.json()["details"]["errorSource"] == "User"
    answer = post(q, {"sql": BLOCK, "settings": {"query_timeout": "200ms"}})
    assert answer.status_code == 408 and answer.json()["error"] == "57014"
