"""Flipped, cut, lost and exchanged bytes of stored results: never a wrong cell, always a clear error and a count in
quern_result_corrupt_total. (Each byte of a small segment in turn: the unit tests of results; here 200 of them through HTTP,
each in a result of its own that nobody has opened yet.)"""
import io
import json
import os
import random

import pyarrow as pa
import pytest
import requests

FLIPS = 200
ROWS = 9000  # about 250 KB: several checksummed blocks
SQL = "SELECT range AS n, 'row number ' || range AS label FROM range(9000)"


def segment_of(daemon, qid):
    """The stored file of this id."""
    found = [os.path.join(root, name) for root, _, names in os.walk(os.path.join(daemon.data, "spool")) for name in names
             if name.endswith(".seg") and name.startswith(qid)]
    assert len(found) == 1, f"{qid}: {found}"
    return found[0]


def make(daemon, sql=SQL):
    qid = daemon.d360_status_of(daemon.d360_submit(sql, mode="ASYNC"))["queryId"]
    answer = daemon.d360_wait(qid)
    assert answer.status_code == 200 and answer.json()["rowCount"] == ROWS, answer.text
    return qid


def read(daemon, qid, how):
    """(complete, status, text or bytes) of a whole read; a cut connection is incomplete."""
    path = f"/api/v3/query/{qid}/rows?offset=0&limit=1000000" if how == "rows" else f"/quern/v1/query/{qid}/download?format={how}"
    got = b""
    try:
        answer = daemon.http("GET", path, dialect="data360", stream=True)
        if answer.status_code != 200:
            return False, answer.status_code, answer.text
        for part in answer.iter_content(65536):
            got += part
        return True, 200, got
    except requests.exceptions.RequestException:
        daemon.local.session = None
        return False, 200, got


def check(how, outcome, right, where):
    complete, status, got = outcome
    if status != 200:
        assert status == 500, f"{where}: {status} {got[:500]}"
        assert "the stored result is corrupt" in got, f"{where}: {got[:500]}"
        return
    assert not complete, f"{where}: the damage was not seen" if got == right else f"{where}: WRONG CELLS in {how}"
    assert right.startswith(got), f"{where}: wrong cells before the cut in {how}"


@pytest.mark.timeout(1800)
def test_flipped_bytes(make_daemon):
    seed = int(os.environ.get("QUERN_SEED") or random.randrange(10 ** 9))
    print(f"seed {seed}")
    rng = random.Random(seed)
    d = make_daemon(bucket=False)
    formats = ("csv", "json", "ndjson", "arrow", "rows")
    good = make(d)
    right = {how: read(d, good, how)[2] for how in formats}
    assert right["csv"].decode().splitlines()[ROWS] == f"{ROWS - 1},row number {ROWS - 1}"
    assert pa.ipc.open_stream(io.BytesIO(right["arrow"])).read_all().num_rows == ROWS
    assert len(json.loads(right["rows"])["data"]) == ROWS
    before = d.metrics().get("quern_result_corrupt_total", 0)
    for i in range(FLIPS):
        how = formats[i % len(formats)]
        qid = make(d)
        path = segment_of(d, qid)
        size = os.path.getsize(path)
        # all parts of the file get their share: the ends are small, so they are aimed at
        at = rng.choice((rng.randrange(size), rng.randrange(min(600, size)), size - 1 - rng.randrange(min(1200, size))))
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ (1 << rng.randrange(8))]))
        check(how, read(d, qid, how), right[how], f"seed {seed}, byte {at} of {size}")
    counted = d.metrics().get("quern_result_corrupt_total", 0) - before
    assert counted >= FLIPS, f"{counted} counted of {FLIPS}"
    assert read(d, good, "csv")[2] == right["csv"], "other results are untouched"
    d.works_d360 = d.d360_submit("SELECT 1").json()
    assert d.works_d360["data"] == [[1]]


def test_cut_lost_and_exchanged_files(make_daemon):
    d = make_daemon(bucket=False)
    good = make(d)
    right = read(d, good, "csv")[2]
    before = d.metrics().get("quern_result_corrupt_total", 0)
    cut, lost, empty, mine, other, longer = (make(d) for _ in range(6))
    with open(segment_of(d, cut), "r+b") as f:
        f.truncate(os.path.getsize(segment_of(d, cut)) - 1)
    os.truncate(segment_of(d, empty), 0)
    os.unlink(segment_of(d, lost))
    with open(segment_of(d, other), "rb") as f:
        data = f.read()
    with open(segment_of(d, mine), "wb") as f:
        f.write(data)
    with open(segment_of(d, longer), "ab") as f:
        f.write(b"x")
    for qid in (cut, lost, empty, mine, longer):
        for how in ("csv", "rows"):
            complete, status, text = read(d, qid, how)
            assert not complete and status == 500 and "the stored result is corrupt" in text, f"{status} {text[:300]}"
    assert read(d, other, "csv")[2] == right
    assert d.metrics().get("quern_result_corrupt_total", 0) > before


FACES = {"jackdb rows": ("jackdb", "/api/v2/query/{q}/result/0/rows?seek=4500"), "canner result": ("canner", "/api/v1/query/{q}/result?workspaceId={w}"),
         "kakao page": ("kakao", "/v1/data-query/query/{q}?page=4&size=1000"), "kylin file": ("kylin", "/kylin/api/async_query/{q}/result_download?project=w1"),
         "data360 chunk": ("data360", "/api/v3/query/{q}/chunks/0"), "parquet": ("canner", "/quern/v1/query/{q}/download?format=parquet"),
         "xlsx": ("jackdb", "/quern/v1/query/{q}/download?format=xlsx"), "signed link": ("canner", "/api/v1/query/{q}/result/signedUrls?workspaceId={w}"),
         "lost": ("jackdb", "/api/v2/query/{q}/result/0/rows")}


def test_every_dialect_and_format_says_so_and_counts(make_daemon):
    """Damage in the middle of the file, also when a render process finds it: 500 with the same words, and one more in the metric."""
    d = make_daemon(bucket=False)
    for what, (dialect, path) in FACES.items():
        qid = make(d)
        place = {"q": qid, "w": d.key["workspaceId"]}
        path = path.format(**place)
        if what == "signed link":
            path = "/" + d.http("GET", path, dialect="canner").json()["signedUrls"][0].split("/", 3)[3]
        if what == "lost":
            os.unlink(segment_of(d, qid))
        else:
            with open(segment_of(d, qid), "r+b") as f:
                f.seek(os.path.getsize(segment_of(d, qid)) // 2)
                byte = f.read(1)
                f.seek(-1, os.SEEK_CUR)
                f.write(bytes([byte[0] ^ 0x55]))
        before = d.metrics().get("quern_result_corrupt_total", 0)
        answer = d.http("GET", path, dialect=dialect)
        assert answer.status_code == 500 and "the stored result is corrupt" in answer.text, f"{what}: {answer.status_code} {answer.text[:300]}"
        assert d.metrics()["quern_result_corrupt_total"] > before, f"{what}: not counted"
    d.works_d360 = d.d360_submit("SELECT 1").json()
    assert d.works_d360["data"] == [[1]]
