"""The neutral download: headers, formats and their rules, Range and If-Range, every dialect's credential."""
import csv
import io
import json
import re

import pyarrow as pa
import pytest

from quern_client import BLOCK

SQL = ("SELECT * FROM (VALUES (1, 'plain', NULL, TIMESTAMP '2024-02-29 12:34:56.789'), (2, '', 1.5, NULL), (3, 'a \"quote\", comma', -0.25, "
       "TIMESTAMP '1999-12-31 23:59:59'), (4, NULL, 100.0, TIMESTAMP '2001-01-01 00:00:00'), (5, 'two' || chr(10) || 'lines é😀', NULL, NULL)) "
       "t(n, label, x, made) ORDER BY n")


@pytest.fixture(scope="module")
def small(q):
    body = q.kakao_query(SQL)
    assert body["queryInfo"]["state"] == "FINISHED", body
    return body["queryInfo"]["queryId"]


@pytest.fixture(scope="module")
def large(q):
    body = q.kakao_query("SELECT range AS n, 'label ' || range AS label FROM range(200000)")
    assert body["queryInfo"]["state"] == "FINISHED", body
    return body["queryInfo"]["queryId"]


@pytest.mark.parametrize("fmt, kind, ending", [("csv", "text/csv", "csv"), ("json", "application/json", "json"),
                                               ("ndjson", "application/x-ndjson", "ndjson"), ("arrow", "application/vnd.apache.arrow.stream", "arrow")])
def test_headers(q, small, fmt, kind, ending):
    answer = q.download(small, fmt)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].split(";")[0] == kind
    assert re.fullmatch(r'attachment; filename="?[^"/\\]+\.' + ending + r'"?.*', answer.headers["Content-Disposition"])
    assert re.fullmatch(r'(W/)?"[^"]+"', answer.headers["ETag"])
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_csv_null_and_empty(q, small):
    text = q.download(small, "csv").content.decode()
    lines = text.split("\n")
    assert lines[0].rstrip("\r") == "n,label,x,made"
    assert lines[1].rstrip("\r") == "1,plain,,2024-02-29 12:34:56.789"
    assert lines[2].rstrip("\r").startswith('2,"",1.50,')
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[3][1] == 'a "quote", comma' and rows[5][1] == "two\nlines é😀"
    assert len(rows) == 6
    bare = q.download(small, "csv", header="false").content.decode()
    assert text.endswith(bare) and not bare.startswith("n,")
    semicolon = list(csv.reader(io.StringIO(q.download(small, "csv", separator="%3B").text), delimiter=";"))
    assert semicolon[0] == ["n", "label", "x", "made"]


def test_json_forms(q, small):
    rows = json.loads(q.download(small, "json").content)
    assert [r["n"] for r in rows] == [1, 2, 3, 4, 5]
    assert rows[1]["label"] == "" and rows[3]["label"] is None and rows[4]["label"] == "two\nlines é😀"
    lines = [json.loads(line) for line in q.download(small, "ndjson").content.decode().splitlines()]
    assert lines == rows


def test_arrow_has_an_end(q, small):
    content = q.download(small, "arrow").content
    assert content[-8:] == b"\xff\xff\xff\xff\0\0\0\0"
    table = pa.ipc.open_stream(io.BytesIO(content)).read_all()
    assert table.column("n").to_pylist() == [1, 2, 3, 4, 5] and table.column("label").to_pylist()[3] is None


def test_errors(q, small):
    for query in ("format=nothing", "format=csv&header=maybe", "format=csv&separator="):
        answer = q.http("GET", f"/quern/v1/query/{small}/download?{query}")
        assert answer.status_code == 400, f"{query}: {answer.status_code} {answer.text}"
        assert answer.json()
    assert q.download("20240101-000000-aaaaaaaaaa").status_code == 404
    assert q.download("not-an-id").status_code == 404
    assert q.http("GET", f"/quern/v1/query/{small}/download", key=False).status_code == 401


@pytest.mark.parametrize("dialect", ["kakao", "jackdb", "canner", "data360", "kylin"])
def test_every_credential(q, small, dialect):
    assert q.download(small, "csv", dialect=dialect).status_code == 200
    assert q.download(small, "csv", key=q.reader, dialect=dialect).status_code == 200
    assert q.download(small, "csv", key=q.other, dialect=dialect).status_code == 404


def test_ranges(q, large):
    whole = q.download(large, "arrow")
    size, etag = len(whole.content), whole.headers["ETag"]
    assert whole.headers.get("Accept-Ranges") == "bytes" and int(whole.headers["Content-Length"]) == size
    assert size > 2 * 65536
    for first, last in ((0, 0), (0, 99), (65535, 65536), (12345, 234567), (size - 5, size - 1), (size - 5, size + 100)):
        answer = q.download(large, "arrow", headers={"Range": f"bytes={first}-{last}"})
        assert answer.status_code == 206, answer.text
        assert answer.headers["Content-Range"] == f"bytes {first}-{min(last, size - 1)}/{size}"
        assert answer.content == whole.content[first:last + 1]
    tail = q.download(large, "arrow", headers={"Range": "bytes=-100"})
    assert tail.status_code == 206 and tail.content == whole.content[-100:]
    rest = q.download(large, "arrow", headers={"Range": f"bytes={size - 10}-", "If-Range": etag})
    assert rest.status_code == 206 and rest.content == whole.content[-10:]
    changed = q.download(large, "arrow", headers={"Range": "bytes=0-9", "If-Range": '"something else"'})
    assert changed.status_code == 200 and changed.content == whole.content
    beyond = q.download(large, "arrow", headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416 and beyond.headers["Content-Range"] == f"bytes */{size}"
    assert q.download(large, "arrow", headers={"Range": "lines=1-2"}).status_code == 200


def test_a_cut_download_goes_on(q, large):
    """A client that lost the connection in the middle continues and ends with the same bytes."""
    whole = q.download(large, "arrow").content
    with q.download(large, "arrow", stream=True) as answer:
        etag, got = answer.headers["ETag"], answer.raw.read(100000)
    q.local.session = None
    while len(got) < len(whole):
        part = q.download(large, "arrow", headers={"Range": f"bytes={len(got)}-{len(got) + 999999}", "If-Range": etag})
        assert part.status_code == 206
        got += part.content
    assert got == whole


def test_ranges_of_text_are_right_or_not_offered(q, large):
    whole = q.download(large, "csv").content
    answer = q.download(large, "csv", headers={"Range": "bytes=100-199"})
    assert (answer.status_code == 206 and answer.content == whole[100:200]) or (answer.status_code == 200 and answer.content == whole)


def test_empty_results(q):
    qid = q.kakao_query("SELECT 1 AS a, 'x' AS b WHERE false")["queryInfo"]["queryId"]
    assert q.download(qid, "csv").text.strip() == "a,b"
    assert q.download(qid, "json").json() == []
    assert q.download(qid, "ndjson").text == ""
    table = pa.ipc.open_stream(io.BytesIO(q.download(qid, "arrow").content)).read_all()
    assert table.num_rows == 0 and table.column_names == ["a", "b"]


def test_not_there_yet_and_failed(q):
    qid = q.kakao_run(BLOCK)
    answer = q.download(qid, "csv")
    assert 400 <= answer.status_code < 500, answer.status_code
    assert q.kakao_abort(qid).status_code == 200
    assert q.download(qid, "csv").status_code >= 400
    failed = q.kakao_query("SELECT * FROM nothing_there")["queryInfo"]["queryId"]
    answer = q.download(failed, "csv")
    assert answer.status_code >= 400 and "nothing_there" in answer.text
