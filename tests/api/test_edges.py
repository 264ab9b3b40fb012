"""The edges of size and text, each submitted by every dialect and read by every dialect in every format: no rows, no columns, columns of one name, 10,000 columns,
values of 100 MB, bodies of 16 MiB, and names and texts in many scripts wherever the API takes or shows one."""
import io
import json
import os
import urllib.parse

import pyarrow as pa
import pytest

import typed
from quern_client import RELEASE, Daemon
from readers import ARROW, DIALECTS, compare
from typed import BY_NAME, Rows

BODY_MAX = 16 << 20
INT, BIG, TEXT = BY_NAME["INTEGER"], BY_NAME["BIGINT"], BY_NAME["VARCHAR"]
SCRIPTS = ["é", "e\u0301", "日本語", "한국어", "עברית", "العربية", "हिन्दी", "Ελλ", "Жы", "😀", "👨‍👩‍👧‍👦", "🇰🇷", "𝔘𝔫𝔦", "\u202eabc", "\u00a0", "ﷺ", "İı", "ß", "\U0010fffd"]
by_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)


@by_dialect
def test_no_rows(q, dialect):
    kinds = typed.SMALL + [typed.Dec(38, 10), typed.List(INT), typed.Struct([("a", TEXT)]), typed.Map(TEXT, INT)]
    columns = ", ".join(f"NULL::{k.sql} AS c{i}" for i, k in enumerate(kinds))
    compare(q, dialect.submit(q, f"SELECT {columns} WHERE 1 = 0"), Rows([(f"c{i}", k) for i, k in enumerate(kinds)], []), "no rows")


def test_no_columns(q):
    """What a statement without rows has to show: an empty page, no chunks, and a download that says why there is none."""
    q.kakao_query("DROP TABLE IF EXISTS edges")
    for sql in ("CREATE TABLE edges(a INTEGER)", "INSERT INTO edges VALUES (1), (2)", "DELETE FROM edges", "DROP TABLE edges"):
        page = q.kakao_query(sql)
        qid = page["queryInfo"]["queryId"]
        assert page["queryInfo"]["state"] == "FINISHED", page
        assert (page["columnData"], page["queryData"], page["totalElements"], page["totalPages"], page["resultConfig"]["isStored"]) == ([], [], 0, 0, False)
        status = q.d360_get(qid).json()
        assert (status["completionStatus"], status["rowCount"], status["chunkCount"], status["progress"]) == ("FINISHED", 0, 0, 1)
        assert q.d360_get(qid + "/metadata").json() == {"metadata": {"columns": []}}
        assert q.d360_get(qid + "/rows").json() == {"metadata": {"columns": []}, "data": [], "returnedRows": 0}
        for path in ("/rows", "/metadata"):
            table = pa.ipc.open_stream(io.BytesIO(q.d360_get(qid + path, headers=ARROW).content)).read_all()
            assert (table.num_columns, table.num_rows) == (0, 0)
        for fmt in ("csv", "json", "ndjson", "arrow"):
            answer = q.download(qid, fmt)
            assert answer.status_code == 409 and "no rows" in answer.json()["error"]["message"], answer.text


@by_dialect
def test_columns_of_one_name(q, dialect):
    names = ["a", "a", "A", "a_1", "a", "", "", "é", "é", "b"]
    columns = ", ".join(f"{i} AS {typed.name(n)}" for i, n in enumerate(names) if n)
    answer = Rows([(n, INT) for n in names if n], [[i for i, n in enumerate(names) if n]])
    compare(q, dialect.submit(q, f"SELECT {columns}"), answer, str(names))
    compare(q, dialect.submit(q, f"SELECT {columns} WHERE 1 = 0"), Rows(answer.columns, []), str(names))


@by_dialect
def test_ten_thousand_columns(q, dialect):
    width = 10000
    sql = "SELECT r.range + " + ", r.range + ".join(f"{i} AS \"column {i}\"" for i in range(width)) + " FROM range(2) r ORDER BY 1"
    answer = Rows([(f"column {i}", BIG) for i in range(width)], [[i + r for i in range(width)] for r in range(2)])
    compare(q, dialect.submit(q, sql), answer, "10,000 columns")


# --- values of 100 MB: bytes are compared as they come, nothing is parsed that need not be


HUGE = 100_000_000


@pytest.fixture(scope="module")
def huge():
    d = Daemon(build=RELEASE, env={"QUERN_LOG_LEVEL": "warn", "QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_MEMORY": "3GiB", "QUERN_ENGINE_MEMORY_SHARE": "90"})
    try:
        d.prepare(flights=False).start()
        yield d
    finally:
        d.finish()


def expect_bytes(answer, *parts):
    assert answer.status_code == 200, answer.text[:500]
    at, body = 0, memoryview(answer.content)
    for part in parts:
        assert body[at:at + len(part)] == part, f"byte {at} on: {bytes(body[at:at + 80])!r}"
        at += len(part)
    assert at == len(body), f"{len(body) - at} bytes too many"


@pytest.mark.parametrize("dialect", [x for x in DIALECTS if x.name in ("kakao", "data360")], ids=lambda x: x.name)
def test_values_of_100_mb(huge, dialect):
    """A text of 100 MB between two small rows, in the dialect's own forms and in all downloads with its credential."""
    d, value = huge, "é".encode() * (HUGE // 2)  # escaped nowhere
    sql = f"SELECT i, CASE WHEN i = 1 THEN rpad('', {HUGE // 2}, 'é') ELSE 'small' END AS v FROM (VALUES (0), (1), (2)) t(i) ORDER BY i"
    qid = dialect.submit(d, sql)
    expect_bytes(d.download(qid, "csv", dialect=dialect.name), b"i,v\n0,small\n1,", value, b"\n2,small\n")
    expect_bytes(d.download(qid, "ndjson", dialect=dialect.name), b'{"i":0,"v":"small"}\n{"i":1,"v":"', value, b'"}\n{"i":2,"v":"small"}\n')
    body = d.download(qid, "json", dialect=dialect.name).content
    assert [r["v"] for r in json.loads(body.replace(value, b"huge"))] == ["small", "huge", "small"]
    expect_arrow(d.download(qid, "arrow", dialect=dialect.name).content, value)
    if dialect.name == "kakao":
        page = d.http("GET", f"/v1/data-query/query/{qid}")
        told = json.loads(page.content.replace(value, b"huge"))
        assert told["queryData"] == [["0", "small"], ["1", "huge"], ["2", "small"]]
        with open(os.path.join(d.bucket_dir, told["resultConfig"]["path"], qid + ".csv"), "rb") as f:
            assert f.read() == b'"i","v"\n"0","small"\n"1","' + value + b'"\n"2","small"\n'
    else:
        count = d.d360_get(qid).json()["chunkCount"]
        expect_arrow(b"".join(d.d360_get(f"{qid}/chunks/{n}?omitSchema={'true' if n else 'false'}", headers=ARROW).content for n in range(count)), value)
        rest = d.d360_get(f"{qid}/rows?offset=1&byteLimit=1000")  # at least one row comes, whatever its size
        assert json.loads(rest.content.replace(value, b"huge"))["data"] == [[1, "huge"]]


def expect_arrow(stream, value):
    column = pa.ipc.open_stream(io.BytesIO(stream)).read_all().column("v")
    assert len(column) == 3 and column[0].as_py() == column[2].as_py() == "small"
    assert column[1].as_buffer().equals(pa.py_buffer(value))


def test_value_of_100_mb_in_the_answer_itself(huge):
    for _ in range(5):  # 25 s is the longest that a submit waits
        answer = huge.d360_submit(f"SELECT rpad('', {HUGE}, 'x') AS v")
        if answer.json()["data"] is not None:
            break
    assert answer.json()["returnedRows"] == 1 and len(answer.json()["data"][0][0]) == HUGE


# --- bodies of 16 MiB


def test_bodies_of_16_mib(q):
    """A body may have exactly http.max_body bytes, whatever is in it; one more is 413 before anything else is looked at."""
    head, tail = b'{"sql":"SELECT \'', b'\' AS v, octet_length(\'\'::BLOB) AS n"}'
    text = "é".encode() * ((BODY_MAX - len(head) - len(tail)) // 2)
    pad = b" " * (BODY_MAX - len(head) - len(tail) - len(text))
    answer = q.http("POST", "/api/v3/query", dialect="data360", data=head + text + tail + pad)
    qid = q.d360_status_of(answer)["queryId"]
    q.d360_wait(qid)
    assert q.d360_get(f"{qid}/rows?offset=0&rowLimit=10").json()["data"] == [[text.decode(), 0]]
    for fmt in ("csv", "json", "ndjson", "arrow"):
        assert text in q.download(qid, fmt).content
    assert text in q.http("GET", f"/v1/data-query/query/{qid}").content
    preview = q.kakao_get(qid)["queryInfo"]["queryTextPreview"]
    assert len(preview) == 300 and preview.startswith("SELECT 'éé")
    over = q.http("POST", "/api/v3/query", dialect="data360", data=head + text + tail + pad + b" ")
    assert over.status_code == 413 and "http.max_body" in over.json()["message"]
    # parameters: the statement is short, its value long
    head, tail = b'{"sql":"SELECT ? AS v","parameters":[{"type":"varchar","value":"', b'"}]}'
    answer = q.http("POST", "/api/v3/query", dialect="data360", data=head + b"x" * (BODY_MAX - len(head) - len(tail)) + tail)
    qid = q.d360_status_of(answer)["queryId"]
    q.d360_wait(qid)
    assert len(q.d360_rows(qid)[0][0]) == BODY_MAX - len(head) - len(tail)
    # Kakao: the statement has a limit of its own, in characters
    result = {"bucketName": "b1", "path": "edges"}
    longest = "SELECT '" + "é" * (1000000 - 9) + "'"
    qid = q.kakao_run(longest, path="edges")
    assert q.kakao_wait(qid)["queryData"] == [["é" * (1000000 - 9)]]
    answer = q.http("POST", "/v1/data-query/query", json={"query": longest + " ", "resultConfig": result})
    assert answer.status_code == 400 and "1000000" in answer.text.replace(",", "")
    body = json.dumps({"query": "SELECT 1 AS v", "resultConfig": result, "unknown": "x" * 1000}).encode()
    for more, status in ((0, 202), (1, 413)):
        answer = q.http("POST", "/v1/data-query/query", data=body + b" " * (BODY_MAX - len(body) + more), headers={"X-Data-Source": "data_catalog", "X-Database": "main"})
        assert answer.status_code == status, answer.text
    assert "http.max_body" in answer.json()["error"]["message"]


# --- many scripts


@by_dialect
def test_scripts_as_names_and_values(q, dialect):
    """Column names and values; the names that a statement sends come back to the byte, never normalised."""
    columns = ", ".join(f"{typed.quote(s)} AS {typed.name(s)}" for s in SCRIPTS)
    compare(q, dialect.submit(q, f"SELECT {columns}"), Rows([(s, TEXT) for s in SCRIPTS], [SCRIPTS]), "scripts")


def test_scripts_in_the_catalog(q):
    """Schemas, tables and columns in many scripts, made and read through Kakao, read through Data 360."""
    for script in ("schéma", "표", "😀"):
        schema, table = typed.name(script), typed.name(script + " table")
        for sql in (f"DROP SCHEMA IF EXISTS data_catalog.{schema} CASCADE", f"CREATE SCHEMA data_catalog.{schema}",
                    f"CREATE TABLE data_catalog.{schema}.{table} AS SELECT {typed.quote(script)} AS {typed.name(script)}"):
            assert q.kakao_query(sql)["queryInfo"]["state"] == "FINISHED", sql
        answer = Rows([(script, TEXT)], [[script]])
        for d in DIALECTS:
            compare(q, d.submit(q, f"SELECT * FROM data_catalog.{schema}.{table}"), answer, script)
        assert q.kakao_query(f"SELECT * FROM {table}", database=script.encode())["queryData"] == [[script]]
        assert [script] in q.kakao_query("SHOW SCHEMAS FROM data_catalog")["queryData"]
        assert q.kakao_query(f"DROP SCHEMA data_catalog.{schema} CASCADE")["queryInfo"]["state"] == "FINISHED"


def test_scripts_in_parameters(q):
    for script in SCRIPTS:
        answer = q.d360_submit("SELECT ? AS v", parameters=[{"type": "varchar", "value": script}])
        assert answer.json()["data"] == [[script]]
        answer = q.d360_submit("SELECT length(?) AS v", parameters=[{"type": "varchar", "length": len(script), "value": script}])
        assert answer.status_code == 200, answer.text
    for name in ("é", "한국어", "Ελλ", "日本語"):
        answer = q.d360_submit(f"SELECT :{name} AS v", paramStyle="NAMED", parameters=[{"name": name, "type": "varchar", "value": name}])
        assert answer.json()["data"] == [[name]]


@pytest.mark.parametrize("script", ["é", "日本語", "😀", "👨‍👩‍👧‍👦"])
def test_scripts_in_errors(q, script):
    """Names and texts of the statement stand in the message; positions count code points, the caret stands under the place."""
    sql = f"SELECT '{script}{script}' AS x, no_such_column FROM (SELECT 1 AS a)"
    answer = q.d360_submit(sql, check=False)
    body = answer.json()
    assert answer.status_code == 400 and body["error"] == "42703", body
    assert int(body["details"]["position"]["errorBeginCharacterOffset"]) == sql.index("no_such_column")
    assert sql in body["details"]["customerDetail"]
    error = q.kakao_query(sql)["queryInfo"]["error"]
    assert error["name"] == "COLUMN_NOT_FOUND" and f"line 1:{sql.index('no_such_column') + 1}:" in error["message"], error
    error = q.kakao_query(f"SELECT * FROM data_catalog.main.{typed.name('no ' + script)}")["queryInfo"]["error"]
    assert error["name"] == "TABLE_NOT_FOUND" and script in error["message"], error


def test_scripts_in_places_and_people(make_daemon):
    """Workspace, user, bucket folder, path, idempotency key, creator filter, preview cut."""
    d = make_daemon(bucket=False, start=False)
    key = d.new_key(workspace="wörk 공간", user="ünï 사용자 😀", role="admin")
    folder = os.path.join(d.folder, "eimer é 日本")
    os.makedirs(folder)
    d.admin("bucket", "create", "b1", "--url", "file://" + folder, "--workspace", "wörk 공간")
    d.start()
    text = "SELECT '" + "😀" * 400 + "' AS v"
    qid = d.kakao_run(text, key=key, path="ünter/ordner 日本/😀")
    page = d.kakao_wait(qid, key=key)
    assert page["queryData"] == [["😀" * 400]] and page["queryInfo"]["queryTextPreview"] == text[:300]
    assert page["resultConfig"]["storageUrl"].startswith("b1/ünter/ordner 日本/😀/")
    assert os.path.exists(os.path.join(folder, page["resultConfig"]["path"], qid + ".csv"))
    listed = d.http("GET", "/v1/data-query/query?creatorName=" + urllib.parse.quote("ünï 사용자 😀"), key=key).json()
    assert [i["creatorName"] for i in listed["content"]] == ["ünï 사용자 😀"] and listed["content"][0]["queryInfo"]["queryTextPreview"] == text[:300]
    body = {"query": "SELECT 1 AS v", "resultConfig": {"bucketName": "b1", "path": "x"}}
    answers = [d.http("POST", "/v1/data-query/query", key=key, json=body, headers={"Idempotency-Key": "schlüssel 열쇠".encode()}) for _ in range(2)]
    assert {a.status_code for a in answers} == {202} and answers[0].text == answers[1].text


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf"])
def test_bytes_that_are_no_text(q, bad):
    """400 wherever they stand, never a 500 and never a repaired text."""
    for path, dialect, body in (("/api/v3/query", "data360", b'{"sql":"SELECT \'' + bad + b'\'"}'),
                                ("/v1/data-query/query", "kakao", b'{"query":"SELECT \'' + bad + b'\'","resultConfig":{"bucketName":"b1","path":"x"}}')):
        answer = q.http("POST", path, dialect=dialect, data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, answer.text
    answer = q.http("GET", "/v1/data-query/query?creatorName=" + urllib.parse.quote(bad))
    assert answer.status_code in (200, 400) and (answer.status_code == 400 or answer.json()["totalElements"] == 0)
