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
