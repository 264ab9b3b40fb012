"""Every format of the neutral download: cut anywhere and gone on with, charsets, separators, parts."""
import csv
import hashlib
import io
import json
import random

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

FORMATS = ["csv", "json", "ndjson", "arrow", "xlsx", "parquet"]
LARGE = ("SELECT range AS n, 'label ' || range AS label, range / 7 AS x, [range, NULL] AS l, DATE '2024-01-01' + (range % 366)::INTEGER AS d "
         "FROM range(60000)")
CHINESE = "SELECT range AS n, '数据查询服务，第' || range || '行 éß€😀' AS 文本 FROM range(20000)"


@pytest.fixture(scope="module")
def large(q):
    return q.kakao_query(LARGE)["queryInfo"]["queryId"]


@pytest.fixture(scope="module")
def chinese(q):
    return q.kakao_query(CHINESE)["queryInfo"]["queryId"]


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_download_cut_anywhere_goes_on(q, large, fmt):
    first = q.download(large, fmt)
    assert first.status_code == 200 and first.headers["Accept-Ranges"] == "bytes"
    whole, etag = first.content, first.headers["ETag"]
    wanted = hashlib.sha256(whole).hexdigest()
    rng = random.Random(fmt)
    for cut in [rng.randrange(1, len(whole)) for _ in range(20)]:
        rest = q.download(large, fmt, headers={"Range": f"bytes={cut}-", "If-Range": etag})
        assert rest.status_code == 206 and rest.headers["Content-Range"] == f"bytes {cut}-{len(whole) - 1}/{len(whole)}"
        assert hashlib.sha256(whole[:cut] + rest.content).hexdigest() == wanted, cut
    changed = q.download(large, fmt, headers={"Range": "bytes=5-9", "If-Range": '"another"'})
    assert changed.status_code == 200 and changed.content == whole
    beyond = q.download(large, fmt, headers={"Range": f"bytes={len(whole)}-"})
    assert beyond.status_code == 416 and beyond.headers["Content-Range"] == f"bytes */{len(whole)}"


@pytest.mark.parametrize("fmt", ["csv", "json", "ndjson"])
def test_gbk_is_what_pythons_codec_makes(q, chinese, fmt):
    utf8 = q.download(chinese, fmt)
    gbk = q.download(chinese, fmt, encoding="gbk")
    assert gbk.headers["Content-Type"].endswith("charset=gbk")
    assert gbk.headers["ETag"] != utf8.headers["ETag"]
    assert gbk.content == utf8.content.decode().encode("gbk", errors="replace")
    part = q.download(chinese, fmt, encoding="gbk", headers={"Range": "bytes=400001-400100"})
    assert part.status_code == 206 and part.content == gbk.content[400001:400101]


TRICKY = ["", "plain", "a,b;c|d\te", "\"quoted\"", "line\nbreak", "cr\rlf\r\n", " spaces ", "1", "-2.5e3", "é，日本\u3000｜", "#no comment", "true", "a|", "|", "||", "|a", "<", "<>", "=>", "2024-01-01 00:00:00", "ÿþ"]
SINGLE = [c for c in map(chr, range(1, 127)) if c not in "\"\r\n"] + ["\t", "é", "，", "｜", "\u3000", "日", "😀"]


def literal(text):
    return "''" if not text else " || ".join(f"chr({ord(c)})" for c in text)


@pytest.fixture(scope="module")
def tricky(q):
    """Every cell beside every other kind of cell, numbers and times among them."""
    rows = ", ".join(f"({i}, {literal(t)}, {literal(TRICKY[-i])}, -{i}.5, TIMESTAMP '2024-02-29 12:34:56.789', {i} % 2 = 0)" for i, t in enumerate(TRICKY))
    body = q.kakao_query(f"SELECT * FROM (VALUES {rows}) t(i, a, b, x, t, f) ORDER BY i")
    assert body["queryInfo"]["state"] == "FINISHED", body
    return body["queryInfo"]["queryId"]


def wanted_rows():
    return [["i", "a", "b", "x", "t", "f"]] + [[str(i), t, TRICKY[-i], f"-{i}.5", "2024-02-29 12:34:56.789", str(i % 2 == 0).lower()] for i, t in enumerate(TRICKY)]


def test_python_reads_every_separator(q, tricky):
    """All characters that can stand between fields, one at a time: Python's csv finds the same cells."""
    for separator in SINGLE:
        got = q.download(tricky, "csv", separator="".join(f"%{b:02X}" for b in separator.encode()))
        assert got.status_code == 200, got.text
        assert list(csv.reader(io.StringIO(got.content.decode(), newline=""), delimiter=separator)) == wanted_rows(), repr(separator)


def split(text, separator):
    """Rows of a CSV text with a separator of any length: the first match counts, quotes as in RFC 4180."""
    rows, row, at = [], [], 0
    while at < len(text):
        if text[at] == '"':
            end = at + 1
            while text[end] != '"' or text[end + 1:end + 2] == '"':
                end += 2 if text[end] == '"' else 1
            row.append(text[at + 1:end].replace('""', '"'))
            at = end + 1
        else:
            ends = [k for k in (text.find(separator, at), text.find("\n", at)) if k >= 0]
            row.append(text[at:min(ends)])
            at = min(ends)
        if text.startswith(separator, at):
            at += len(separator)
            if text[at:at + 1] == "\n":
                row.append("")
        if text[at:at + 1] == "\n":
            rows.append(row)
            row, at = [], at + 1
    return rows


@pytest.mark.parametrize("separator", ["<>", "||", "|||", "=>", "::", "aa", "\t\t", "，，", "é|", "--long separator--" * 20])
def test_separators_of_any_length(q, tricky, separator):
    got = q.download(tricky, "csv", separator="".join(f"%{b:02X}" for b in separator.encode()))
    assert got.status_code == 200 and split(got.content.decode(), separator) == wanted_rows()


def test_parts_of_text(q, large):
    lines = q.download(large, "csv").content.split(b"\n")
    for offset, limit in ((0, 1), (5, 3), (59999, 10), (60000, 1), (7, 0)):
        part = q.download(large, "csv", offset=offset, limit=limit)
        assert part.content == b"\n".join([lines[0]] + lines[1 + offset:min(60001, 1 + offset + limit)]) + b"\n"
    rows = q.download(large, "json", offset=10, limit=20000, headers={"Range": "bytes=900000-"})
    whole = q.download(large, "json", offset=10, limit=20000)
    assert rows.status_code == 206 and rows.content == whole.content[900000:] and [r["n"] for r in json.loads(whole.content)] == list(range(10, 20010))
    assert whole.headers["ETag"] != q.download(large, "json").headers["ETag"]


def test_lengths_are_known_to_head(q, large):
    for fmt in FORMATS:
        head = q.http("HEAD", f"/quern/v1/query/{large}/download?format={fmt}")
        assert head.status_code == 200 and int(head.headers["Content-Length"]) == len(q.download(large, fmt).content), fmt


def test_every_character_of_gbk(q):
    """The whole basic plane, in both directions of the border: what Python's codec maps, and a question mark for the rest."""
    points = [c for c in range(1, 0x10000) if not 0xD800 <= c < 0xE000]
    numbers = "SELECT range AS n FROM range(1, 65536) WHERE range NOT BETWEEN 55296 AND 57343"
    qid = q.kakao_query(f"SELECT chr(n::INTEGER) AS c FROM ({numbers}) ORDER BY n")["queryInfo"]["queryId"]
    want = q.download(qid, "ndjson").content.decode()
    assert [json.loads(line)["c"] for line in want.split("\n")[:-1]] == [chr(c) for c in points]
    assert q.download(qid, "ndjson", encoding="GBK").content == want.encode("gbk", errors="replace")
