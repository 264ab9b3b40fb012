"""Data 360 Query v3: status, rows, chunks, metadata, delete."""
import io
import time

import pyarrow as pa
import pytest

from quern_client import BLOCK

ARROW = {"Accept": "application/vnd.apache.arrow.stream"}
BIG = 700000


@pytest.fixture(scope="module")
def big(q):
    """A finished result of several chunks."""
    answer = q.d360_submit(f"select range as n, 'text ' || range as t from range({BIG}) order by 1", mode="ASYNC")
    qid = q.d360_status_of(answer)["queryId"]
    status = q.d360_wait(qid).json()
    assert status["rowCount"] == BIG and status["chunkCount"] > 1
    return qid, status


def test_status(q, big):
    qid, status = big
    assert status["completionStatus"] == "FINISHED" and status["progress"] == 1 and status["expirationTime"].endswith("Z")
    answer = q.d360_get(qid, headers=ARROW)
    assert answer.status_code == 200 and answer.json()["queryId"] == qid  # JSON also for an Arrow Accept
    assert "x-hyperdb-status" not in answer.headers and "status" not in answer.headers
    for bad in ("-1", "x", "1.5"):
        assert q.d360_get(f"{qid}?waitTimeMs={bad}").status_code == 400
    assert q.d360_get(f"{qid}?waitTimeMs=99999").status_code == 200


def test_status_waits_only_for_news(q):
    qid = q.d360_status_of(q.d360_submit(BLOCK, mode="ASYNC"))["queryId"]
    start = time.monotonic()
    assert q.d360_get(f"{qid}?waitTimeMs=0").json()["completionStatus"] == "RUNNING"
    assert q.d360_get(f"{qid}?waitTimeMs=1500").json()["completionStatus"] == "RUNNING"
    assert time.monotonic() - start >= 1.4
    q.http("DELETE", f"/api/v3/query/{qid}", dialect="data360")


def test_rows(q, big):
    qid, _ = big
    body = q.d360_get(f"{qid}/rows?offset=123456&limit=3").json()
    assert body["data"] == [[123456, "text 123456"], [123457, "text 123457"], [123458, "text 123458"]] and body["returnedRows"] == 3
    assert q.d360_get(f"{qid}/row?limit=1").json()["data"] == [[0, "text 0"]]
    assert q.d360_get(f"{qid}/rows?rowLimit=2").json()["returnedRows"] == 2
    assert "metadata" not in q.d360_get(f"{qid}/rows?limit=1&omitSchema=true").json()
    assert q.d360_get(f"{qid}/rows?byteLimit=1").json()["returnedRows"] == 1
    table = pa.ipc.open_stream(io.BytesIO(q.d360_get(f"{qid}/rows?offset=65530&limit=20&omitSchema=true", headers=ARROW).content)).read_all()
    assert table.column("n").to_pylist() == list(range(65530, 65550))


@pytest.mark.parametrize("bad", ["offset=-1", "offset=x", "limit=0", "limit=-1", "byteLimit=0", "byteLimit=20971521", "omitSchema=maybe"])
def test_bad_rows_parameters_are_400(q, big, bad):
    assert q.d360_get(f"{big[0]}/rows?{bad}").status_code == 400


def test_out_of_range(q, big):
    qid, status = big
    for offset in (BIG, BIG + 5):
        answer = q.d360_get(f"{qid}/rows?offset={offset}")
        assert answer.status_code == 400
        assert answer.json()["message"] == (
            f"Request out of range: The specified offset is {offset}, but only {BIG} tuples are available")
    answer = q.d360_get(f"{qid}/chunks/{status['chunkCount']}")
    assert answer.status_code == 400 and "out of range" in answer.json()["message"]
    assert q.d360_get(f"{qid}/chunks/x").status_code == 400
    assert q.d360_get(f"{qid}/chunks").status_code == 404
    empty = q.d360_status_of(q.d360_submit("select 1 as a where false"))["queryId"]
    assert q.d360_get(f"{empty}/rows?offset=0").json()["data"] == []
    assert q.d360_get(f"{empty}/rows?offset=1").status_code == 400


def test_chunks_are_the_rows(q, big):
    qid, status = big
    total, streams = 0, b""
    for n in range(status["chunkCount"]):
        body = q.d360_get(f"{qid}/{'chunk' if n % 2 else 'chunks'}/{n}?omitSchema={'true' if n else 'false'}")
        assert body.status_code == 200
        assert ("metadata" in body.json()) == (n == 0)
        assert body.json()["returnedRows"] == len(body.json()["data"])
        assert body.json()["data"][0][0] == total
        total += body.json()["returnedRows"]
        streams += q.d360_get(f"{qid}/chunks/{n}?omitSchema={'true' if n else 'false'}", headers=ARROW).content
    assert total == BIG
    table = pa.ipc.open_stream(io.BytesIO(streams)).read_all()
    assert table.column("n").to_pylist() == list(range(BIG))


def test_metadata(q, big):
    qid, _ = big
    assert q.d360_get(f"{qid}/metadata").json() == {"metadata": {"columns": [
        {"name": "n", "type": "bigint", "nullable": True}, {"name": "t", "type": "varchar", "nullable": True}]}}
    schema = pa.ipc.open_stream(io.BytesIO(q.d360_get(f"{qid}/metadata", headers=ARROW).content)).schema
    assert schema.names == ["n", "t"] and schema.field("t").type == pa.utf8()


def test_inline_then_chunk_1(q):
    answer = q.d360_submit(f"select range as n, 'text ' || range as t from range({BIG}) order by 1")
    status = q.d360_status_of(answer)
    if status["completionStatus"] != "FINISHED":
        status = q.d360_wait(status["queryId"]).json()
    rows = answer.json()["data"] or q.d360_get(f"{status['queryId']}/chunks/0").json()["data"]
    for n in range(1, status["chunkCount"]):
        rows += q.d360_get(f"{status['queryId']}/chunks/{n}").json()["data"]
    assert [r[0] for r in rows] == list(range(BIG))
    again = q.d360_get(status["queryId"] + "?waitTimeMs=0").json()
    assert again["chunkCount"] == status["chunkCount"]


def test_errors_are_given_on_every_read(q):
    answer = q.d360_submit("select (range // (range - 500))::int from range(1000)", mode="ASYNC", check=False)
    if answer.status_code == 200:
        qid = q.d360_status_of(answer)["queryId"]
        q.d360_wait(qid)
    else:
        qid = answer.json()["details"]["queryId"]
    for path in (f"{qid}?waitTimeMs=0", f"{qid}/rows", f"{qid}/chunks/0", f"{qid}/metadata"):
        answer = q.d360_get(path)
        assert answer.status_code == 400 and answer.json()["error"] == "22012", path
        assert answer.json()["details"]["queryId"] == qid


def test_delete(q):
    qid = q.d360_status_of(q.d360_submit("select 1"))["queryId"]
    url = f"/api/v3/query/{qid}"
    assert q.http("DELETE", url, key=q.reader, dialect="data360").status_code == 403
    assert q.http("DELETE", url, key=q.other, dialect="data360").status_code == 204
    assert q.d360_get(qid).status_code == 200
    for _ in range(2):
        answer = q.http("DELETE", url, dialect="data360")
        assert answer.status_code == 204 and answer.content == b""
    assert q.d360_get(qid).status_code == 404
    assert q.http("DELETE", "/api/v3/query/nonsense", dialect="data360").status_code == 204
    assert q.http("DELETE", "/api/v3/query/nonsense", key=q.reader, dialect="data360").status_code == 204


def test_delete_of_a_running_query(q):
    qid = q.d360_status_of(q.d360_submit(BLOCK, mode="ASYNC"))["queryId"]
    assert q.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
    answer = q.d360_wait(qid)
    assert answer.status_code == 408 and answer.json()["error"] == "57014" and answer.json()["message"] == "canceled by user"
    assert q.d360_get(f"{qid}/rows").status_code == 408


def test_unknown_and_foreign_are_404(q, big):
    for path in (big[0], big[0] + "/rows", big[0] + "/chunks/0", big[0] + "/metadata"):
        assert q.d360_get(path, key=q.other).status_code == 404
        assert q.d360_get(path, key=q.reader).status_code == 200
    answer = q.d360_get("1cfc8d35-0000-4000-8000-000000000000")
    assert answer.status_code == 404 and "not found or expired" in answer.json()["message"]


def test_every_dialect_reads_every_query(q):
    done = q.kakao_query("select 5 as five")
    qid = done["queryInfo"]["queryId"]
    assert q.d360_rows(qid) == [[5]]
    other = q.d360_status_of(q.d360_submit("select 6 as six"))["queryId"]
    page = q.kakao_get(other)
    assert page["queryData"] == [["6"]] and page["resultConfig"]["storageUrl"] == "" and page["resultConfig"]["isStored"] is False
