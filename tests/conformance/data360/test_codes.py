"""Data 360 Query v3: every HTTP code with its envelope (specs/data360.md 1.9, 3), advice and places of errors, reads while a query runs."""
import http.client
import io
import json
import threading
import time

import pyarrow as pa
import pytest

from quern_client import BLOCK, PATIENCE, wait_until

ARROW = {"Accept": "application/vnd.apache.arrow.stream"}
BASE = "/api/v3/query"


def envelope(answer, status, state=None, word=None, path=None):
    """The error body: always a JSON object with a text message, whatever Accept says, and nothing that is null."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    assert list(body) == ["timestamp", "error", "errorCode", "message", "path", "details"]
    assert isinstance(body["message"], str) and body["message"] and len(body["error"]) == 5
    details = body["details"]
    assert details["sqlState"] == body["error"] and body["message"].startswith(details["primaryMessage"])
    assert details["errorSource"] in ("User", "System") and None not in details.values()
    assert "x-hyperdb-status" not in answer.headers and "status" not in answer.headers
    if state:
        assert body["error"] == state, body
    if word:
        assert body["errorCode"] == word, body
    if path:
        assert body["path"] == path, body
    return body


def post(q, sql="select 1", key=None, **headers):
    return q.http("POST", BASE, key=key, dialect="data360", data=json.dumps({"sql": sql}), headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_400(q):
    envelope(post(q, "select * frm x"), 400, "42601", "BAD_REQUEST", BASE)
    envelope(post(q, "select * frm x", **ARROW), 400, "42601")  # JSON, also when Arrow was asked for
    for body in ("", "{", "[]", "5", "null", '"x"', "{}", '{"sql":1}', '{"sql":"select 1","transferMode":"SYNC"}'):
        envelope(q.http("POST", BASE, dialect="data360", data=body, headers={"Content-Type": "application/json"}), 400)
    qid = q.d360_status_of(q.d360_submit("select 1"))["queryId"]
    for path in ("rows?offset=1", "rows?offset=x", "rows?limit=0", "rows?byteLimit=99999999", "chunks/1", "chunks/x", "rows?omitSchema=x"):
        envelope(q.d360_get(f"{qid}/{path}", headers=ARROW), 400, path=f"{BASE}/{qid}/{path.split('?')[0]}")
    envelope(q.d360_get(f"{qid}?waitTimeMs=-1"), 400)


def test_401(q):
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eDp5"},
                    {"Authorization": q.key["headers"]["data360"]["Authorization"] + "x"}):
        answer = q.http("POST", BASE, key=False, json={"sql": "select 1"}, headers=headers)
        envelope(answer, 401, "28000", "INVALID_SESSION_ID")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    token = q.key["headers"]["data360"]["Authorization"].split()[1]
    assert q.http("POST", BASE, key=False, json={"sql": "select 1"}, headers={"Authorization": "bEaReR " + token}).status_code == 200


def test_403(q):
    envelope(post(q, key=q.reader), 403, "42501", "FORBIDDEN", BASE)
    qid = q.d360_status_of(q.d360_submit("select 1"))["queryId"]
    envelope(q.http("DELETE", f"{BASE}/{qid}", key=q.reader, dialect="data360"), 403, "42501")


def test_404(q):
    unknown = "1cfc8d35-0000-4000-8000-000000000000"
    for path in (unknown, f"{unknown}/rows", f"{unknown}/chunks/0", f"{unknown}/metadata", "junk", "MTAuMjcuMTgxLjE0OTo3NDg0_1cfc8d35", "%2e%2e"):
        envelope(q.d360_get(path, headers=ARROW), 404, word="NOT_FOUND")
    for path in ("/api/v3", BASE + "/", f"{BASE}/{unknown}/chunks", f"{BASE}/{unknown}/nothing"):
        assert q.http("GET", path, dialect="data360").status_code == 404, path


def test_405(q):
    answer = q.http("PUT", BASE, dialect="data360")
    envelope(answer, 405, word="METHOD_NOT_ALLOWED")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("accept, want", [
    (None, "json"), ("", "json"), ("*/*", "json"), ("application/*", "json"), ("application/json", "json"), ("application/vnd.apache.arrow.stream", "arrow"),
    ("application/json;q=0.5, application/vnd.apache.arrow.stream", "arrow"), ("application/vnd.apache.arrow.stream;q=0.1, */*;q=0.2", "json"),
    ("application/vnd.apache.arrow.stream;q=0, */*", "json"), ("text/html", 406), ("text/html, application/json;q=0", 406), ("application/json;q=0", 406),
])
def test_406(q, accept, want):
    answer = q.http("POST", BASE, dialect="data360", data='{"sql":"select 1"}', headers={"Accept": accept} if accept is not None else {})
    if want == 406:
        envelope(answer, 406, word="NOT_ACCEPTABLE")
    else:
        assert answer.status_code == 200 and want in answer.headers["Content-Type"]


@pytest.mark.parametrize("lines, want", [(["text/html", "application/json"], "application/json"), (["application/json;q=0.1", "text/html", ARROW["Accept"]], ARROW["Accept"]),
                                         (["text/html", "text/plain"], None)])
def test_accept_in_several_lines(q, lines, want):
    """A list may be split over lines (RFC 9110, 5.3); curl -H twice does that."""
    connection = http.client.HTTPConnection("127.0.0.1", q.port, timeout=PATIENCE)
    connection.putrequest("POST", BASE)
    for name, value in q.key["headers"]["data360"].items():
        connection.putheader(name, value)
    for line in lines:
        connection.putheader("Accept", line)
    connection.putheader("Content-Length", "18")
    connection.endheaders(b'{"sql":"select 1"}')
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == (200 if want else 406) and answer.headers["Content-Type"].startswith(want or "application/json")


def test_408(q):
    answer = q.d360_submit(BLOCK, check=False, settings={"query_timeout": "300ms"})
    body = envelope(answer, 408, "57014", "TIME_OUT")
    assert "query timeout" in body["message"] and "engine." not in body["message"]  # it is the request's own limit
    for path in ("?waitTimeMs=0", "/rows", "/chunks/0", "/metadata"):
        envelope(q.d360_get(body["details"]["queryId"] + path), 408, "57014")
    qid = q.d360_status_of(q.d360_submit(BLOCK, mode="ASYNC"))["queryId"]
    q.http("DELETE", f"{BASE}/{qid}", dialect="data360")
    assert envelope(q.d360_wait(qid), 408, "57014")["message"] == "canceled by user"


def test_413_and_429_name_their_limits(make_daemon):
    d = make_daemon(env={"QUERN_HTTP_MAX_BODY": "64KiB", "QUERN_AUTH_MAX_FAILURES": "3", "QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_PLAN_SLOTS": "0",
                         "QUERN_QUEUE_PER_WORKSPACE": "1", "QUERN_DATA360_PLAN_WAIT": "100ms", "QUERN_DATA360_ADAPTIVE_TIMEOUT": "100ms", "QUERN_SERVER_DRAIN": "0"})
    body = envelope(d.http("POST", BASE, dialect="data360", data=b'{"sql":"select \'' + b"x" * 100000 + b"'\"}"), 413, "54000", "PAYLOAD_TOO_LARGE")
    assert "http.max_body" in body["message"]
    blocker = d.d360_status_of(d.d360_submit(BLOCK, mode="ASYNC"))["queryId"]
    d.kakao_wait(blocker, states=("RUNNING",))
    assert post(d).status_code == 200
    answer = post(d)
    assert "queue.per_workspace" in envelope(answer, 429, "53300", "TOO_MANY_REQUESTS")["message"] and int(answer.headers["Retry-After"]) > 0
    bad = {"Authorization": d.key["headers"]["data360"]["Authorization"][:-8] + "AAAAAAAA"}
    codes = [d.http("GET", f"{BASE}/x", key=False, headers=bad) for _ in range(6)]
    assert [c.status_code for c in codes][:2] == [401, 401] and codes[-1].status_code == 429
    envelope(codes[-1], 429)
    assert d.d360_get("x").status_code == 404  # a right one is never refused for it


def test_415(q):
    for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        envelope(post(q, Content_Type=kind), 415, word="UNSUPPORTED_MEDIA_TYPE")
    for kind in ("application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.apache.arrow.stream"):
        assert post(q, Content_Type=kind).status_code == 200, kind
    answer = q.http("POST", BASE, dialect="data360", data=b"\xff\xff\xff\xff", headers={"Content-Type": "application/vnd.apache.arrow.stream"})
    envelope(answer, 415)


@pytest.mark.parametrize("sql, word, state, hint", [
    ("select * from flightz", "flightz", "42P01", 'Did you mean "flights"?'),
    ("select orign from flights", "orign", "42703", '"origin"'),
    ("select lenght('é')", "lenght", "42883", 'Did you mean "length"?'),
    ("select 'é😀', nothing_of_that_name from flights", "nothing_of_that_name", "42703", None),
    ('select "Quoted Name" from flights', '"Quoted Name"', "42703", None),
])
def test_advice_and_places(q, sql, word, state, hint):
    """Offsets are code points of the text that was sent and hold the whole word; the line is shown with a caret; advice stands apart."""
    body = envelope(post(q, sql), 400, state)
    details = body["details"]
    place = details["position"]
    begin, end = int(place["errorBeginCharacterOffset"]), int(place["errorEndCharacterOffset"])
    assert sql[begin:end] == word
    head, line, caret = details["customerDetail"].split("\n")
    assert head == "" and line == f"line 1, column {begin + 1}: {sql}"
    assert caret == " " * (len(line) - len(sql) + begin) + "^"
    assert "\n" not in details["primaryMessage"]
    if hint:
        assert hint in details["customerHint"] and hint in body["message"]


def test_a_place_in_a_later_line(q):
    sql = "select 1,\n  'é' as x,\n  nowhere_column\nfrom flights"
    details = envelope(post(q, sql), 400, "42703")["details"]
    assert details["customerDetail"].startswith("\nline 3, column 3:   nowhere_column\n")
    assert details["position"]["errorBeginCharacterOffset"] == str(sql.index("nowhere"))


def test_syntax_errors_have_a_place_even_at_0(q):
    for sql in ("x", "selec 1", "select 1; select 2", "select (", ""):
        answer = post(q, sql)
        if sql:
            assert envelope(answer, 400, "42601")["details"]["position"]["errorBeginCharacterOffset"].isdigit()
        else:
            envelope(answer, 400)


@pytest.mark.parametrize("name", ["x-hyperdb-workload", "X-Hyperdb-External-Client-Context", "x-hyperdb-anything-new"])
def test_any_hyperdb_header_asks_for_an_empty_pending_body(make_daemon_once, name):
    d = make_daemon_once
    for headers, empty in (({}, False), ({name: "v"}, True), ({"y-hyperdb-x": "v"}, False)):
        answer = d.d360_submit(BLOCK, headers={**ARROW, **headers})
        qid = d.d360_status_of(answer)["queryId"]
        d.http("DELETE", f"{BASE}/{qid}", dialect="data360")
        assert (answer.content == b"") == empty, headers
        if not empty:
            assert pa.ipc.open_stream(io.BytesIO(answer.content)).schema.names == ["slept"]


@pytest.fixture(scope="module")
def make_daemon_once():
    from quern_client import Daemon
    d = Daemon(env={"QUERN_DATA360_ADAPTIVE_TIMEOUT": "100"})
    try:
        yield d.prepare().start()
    finally:
        d.finish()


def test_chunks_and_rows_while_it_runs_and_in_parallel(q):
    """Four readers take chunks of a query that still produces; together they have each row once, and the same rows by offset."""
    sql = ("SELECT a.range AS n, repeat('x', 100) AS t FROM range(400000) a UNION ALL "
           "SELECT 400000 + b, 'last' FROM (SELECT count(sleep_ms({})) AS b)")

    def seen():
        status = q.d360_get(f"{qid}?waitTimeMs=250").json()
        return status if status["chunkCount"] > 2 else None

    for ms in (3000, 12000, 48000):  # who is too slow to see it run takes one that lasts longer
        qid = q.d360_status_of(q.d360_submit(sql.format(ms), mode="ASYNC"))["queryId"]
        early = wait_until("chunks", seen)
        if early["completionStatus"] == "RUNNING" and early["rowCount"] < 400001:
            break
    assert early["completionStatus"] == "RUNNING" and 0 < early["rowCount"] < 400001
    page = q.d360_get(f"{qid}/rows?offset=5&limit=3").json()
    assert len(page["data"]) == 3 and page["returnedRows"] == 3
    got, lock, wrong = {}, threading.Lock(), []

    def reader(first):
        n = first
        while True:
            answer = q.d360_get(f"{qid}/chunks/{n}?omitSchema=true", headers=ARROW)
            if answer.status_code == 400:
                if "out of range" not in answer.json()["message"]:
                    wrong.append(answer.text)
                status = q.d360_get(f"{qid}?waitTimeMs=250").json()  # only the next chunk is waited for by the call itself
                if status["completionStatus"] == "FINISHED" and n >= status["chunkCount"]:
                    return
                continue
            with lock:
                got[n] = answer.content
            n += 4

    threads = [threading.Thread(target=reader, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    status = q.d360_wait(qid).json()
    assert sorted(got) == list(range(status["chunkCount"])) and status["rowCount"] == 400001
    schema = q.d360_get(f"{qid}/metadata", headers=ARROW).content
    table = pa.ipc.open_stream(io.BytesIO(schema + b"".join(got[n] for n in sorted(got)))).read_all()
    assert sorted(table.column("n").to_pylist()) == list(range(400001))
    assert q.d360_rows(qid, offset=5, limit=3) == page["data"]


def test_frontier_of_a_running_query(q):
    """Where no row is yet: /rows waits, then says so with none; /chunks waits, then 400 (specs 1.5, 1.6)."""
    qid = q.d360_status_of(q.d360_submit("SELECT count(sleep_ms(1500)) AS slept", mode="ASYNC"))["queryId"]
    begun = time.monotonic()
    body = q.d360_get(f"{qid}/rows").json()  # the row comes within the wait, or all of the wait (10 s) is over
    assert (body["returnedRows"], body["data"]) == (1, [[0]]) or (body["returnedRows"] == 0 and time.monotonic() - begun >= 9.5), body
    qid = q.d360_status_of(q.d360_submit("SELECT count(sleep_ms(1500)) AS slept", mode="ASYNC"))["queryId"]
    begun = time.monotonic()
    answer = q.d360_get(f"{qid}/chunks/0")
    assert answer.json().get("data") == [[0]] or (answer.status_code == 400 and time.monotonic() - begun >= 9.5), answer.text
    assert q.d360_get(f"{qid}/metadata").json()["metadata"]["columns"][0]["name"] == "slept"


def test_language(q):
    """The form of a locale's name; the value changes no answer."""
    sql = "SELECT 1.5 AS n, strftime(DATE '2026-03-01', '%A %B') AS d"
    for key in ("language", "lc_time"):
        for name in ("de_DE", "en-us", "ko", "fil", "zh_Hant_TW", "es_419", "de_DE.UTF-8", "ca_ES.UTF-8@valencia", "C", "POSIX", ""):
            assert q.d360_submit(sql, settings={key: name}).json()["data"] == [[1.5, "Sunday March"]], name
        for name in ("d", "german", "de_", "_DE", "de_D", "de_DEU", "de DE", "de_DE.", "de_DE@", "de_DE_DE_DE", "zh_Hant_TW_x", "../de", "de'", "é", "x" * 65, "c"):
            bad = q.d360_submit(sql, check=False, settings={key: name})
            assert bad.status_code == 400 and bad.json()["error"] == "22023" and key in bad.json()["message"], f"{name!r}: {bad.text}"
        assert q.d360_submit(sql, check=False, settings={key: 5}).status_code == 400


def test_headers_and_spellings_that_clients_send(q):
    headers = {"ctx-dataspace-ds_name": "default", "x-hyperdb-workload": "python-connector-v2", "User-Agent": "salesforce-cdp-connector/2.0.0b2",
               "x-hyperdb-external-client-context": "opaque", "X-hyperdb-adaptive-timeout": "nonsense"}
    answer = q.d360_submit("select n from generate_series(1, 10) as t(n)", headers=headers, settings={"date_style": "ISO", "anything": "else", "lc_time": "de_DE"},
                           queryRowLimit=1000000, unknown={"field": [1]})
    assert answer.json()["returnedRows"] == 10
    qid = q.d360_status_of(answer)["queryId"]
    assert "%" not in qid and q.d360_get(qid.replace("-", "%2D")).status_code == 200  # the path is decoded
    assert q.d360_get(f"{qid}/rows?offset=0&limit=1000000&byteLimit=20971520").json()["returnedRows"] == 10
    for singular in ("row?offset=0", "chunk/0"):
        assert q.d360_get(f"{qid}/{singular}").json()["returnedRows"] == 10
    for word, want in (("true", False), ("TRUE", False), ("false", True), ("1", False), ("0", True)):
        assert ("metadata" in q.d360_get(f"{qid}/rows?omitSchema={word}").json()) == want
