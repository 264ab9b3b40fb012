"""More of test_fail_k.py: other errors for each kind of call, a scenario with cancel, delete, delivery and download, a start that has work to take up,
and spells in which many calls fail in a row and that end without a restart. After each: a start without faults, and these hold:

  what was accepted is there, and whole or a plain failure      what was answered "canceled" is canceled, for good
  what was answered "deleted" has no rows any more              a delivered file that is called stored is there, with all its rows
  nothing that no record names stays in the spool               the next start serves

QUERN_FAIL_ALL=1 tries every k; otherwise a few of each kind, chosen by the printed seed and always the first."""
import os
import random
import shutil
import time

import pytest
import requests

from quern_client import BLOCK, Daemon, StartFailed, wait_until

ERRORS = {"open": ("EMFILE", "EIO", "EINTR"), "read": ("EINTR",), "write": ("EIO", "EINTR"), "fsync": ("ENOSPC",), "rename": ("ENOSPC",), "unlink": ("ENOSPC",), "mkdir": ("EMFILE",),
          "spawn": ("EMFILE",), "sqlite": ("ENOSPC",), "memfd": ("ENOSPC",), "mmap": ("EMFILE",)}
ENV = {"QUERN_ENGINE_SLOTS": "2", "QUERN_SERVER_DRAIN": "1s", "QUERN_LOG_LEVEL": "warn"}
SEED = int(os.environ.get("QUERN_SEED") or random.SystemRandom().randrange(1 << 30))
FEW = 2
GONE = (requests.exceptions.RequestException,)


class History:
    """What the failing daemon promised."""

    def __init__(self):
        self.rows = {}         # id -> rows wanted
        self.canceled = set()
        self.deleted = set()


def attempt(d, call):
    """The answer, or None when the connection or the daemon is gone."""
    try:
        return call()
    except GONE:
        d.local.session = None
        return None


def alive(d):
    return d.process.poll() is None


def submit(d, h, sql, rows):
    answer = attempt(d, lambda: d.kakao_run(sql, check=False))
    if answer is None:
        return None
    if answer.status_code != 202:
        assert answer.status_code in (500, 503) and answer.json()["error"]["message"], f"{answer.status_code} {answer.text}"
        return None
    qid = answer.json()["queryInfo"]["queryId"]
    h.rows[qid] = rows
    return qid


def scenario(d, h):
    """Submit, read, download, cancel, delete; every request may fail, none may lie."""
    first = submit(d, h, "SELECT range AS n FROM range(30000)", 30000)
    second = submit(d, h, "SELECT 'small' AS s", 1)
    blocked = submit(d, h, BLOCK, None)
    for qid in (first, second):
        if qid and alive(d):
            attempt(d, lambda: ended(d, qid))
            answer = attempt(d, lambda: d.download(qid, "csv"))
            if answer is not None and answer.status_code == 200:
                assert answer.text.count("\n") == h.rows[qid] + 1, f"half a result: {answer.text.count(chr(10))} lines"
    if blocked and alive(d):
        answer = attempt(d, lambda: d.kakao_abort(blocked))
        if answer is not None and answer.status_code == 200:
            h.canceled.add(blocked)
    if first and alive(d):
        answer = attempt(d, lambda: d.http("DELETE", f"/api/v3/query/{first}", dialect="data360"))
        if answer is not None and answer.status_code == 204:
            h.deleted.add(first)
    if alive(d):
        submit(d, h, "SELECT range AS n FROM range(10)", 10)


def ended(d, qid):
    """Waits for the end as far as the daemon tells it."""
    end = time.monotonic() + 60
    while alive(d):
        assert time.monotonic() < end, f"{qid} does not end"
        answer = d.http("GET", f"/v1/data-query/query/{qid}")
        assert answer.status_code in (200, 500, 503), f"{answer.status_code} {answer.text}"
        if answer.status_code == 200 and answer.json()["queryInfo"]["state"] in ("FINISHED", "FAILED", "ABORTED"):
            return answer.json()
        time.sleep(0.02)
    return None


def invariants(d, h):
    """On a daemon without faults."""
    listed = {c["queryInfo"]["queryId"] for c in d.http("GET", "/v1/data-query/query?size=2000").json()["content"]}
    for qid, rows in h.rows.items():
        assert qid in listed, f"accepted and lost: {qid}"
        if rows is None and qid not in h.canceled:
            d.kakao_abort(qid)  # the endless one, taken up again
        body = d.kakao_wait(qid)
        state = body["queryInfo"]["state"]
        answer = d.download(qid, "csv")
        if qid in h.canceled:
            assert state == "ABORTED", f"canceled, and now {state}"
        elif qid in h.deleted:
            assert answer.status_code >= 400 and body["queryData"] == [], f"deleted, and read: {answer.status_code}"
        elif state == "FINISHED":
            assert answer.status_code == 200 and answer.text.count("\n") == rows + 1, f"{qid}: {answer.status_code} {answer.text[:100]}"
        else:
            assert rows is None or (state == "FAILED" and body["queryInfo"]["error"]["message"]), body
            assert answer.status_code >= 400, f"{state} with rows"
        if body["resultConfig"].get("isStored"):
            path = os.path.join(d.folder, "bucket", body["resultConfig"]["path"], qid + ".csv")
            with open(path) as f:
                assert f.read().count("\n") == rows + 1, f"{path} is called stored and is not whole"
    d.works()


def spool_is_clean(d):
    """After a start: what lies in the spool's folder of unfinished files belongs to nobody and is gone in time."""
    tmp = os.path.join(d.data, "spool", "tmp")
    wait_until("the spool's unfinished files to go", lambda: not os.path.isdir(tmp) or not os.listdir(tmp), limit=30)


def one(template, folder, fault, count_file=None, prepare=None):
    """A run with the fault and a run without."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template.folder, folder, ignore=lambda _, names: [n for n in names if n in ("admin.sock", "log")])
    d = Daemon(env=ENV, folder=folder)
    d.key, d.bucket_dir = template.key, os.path.join(folder, "bucket")
    d.start()  # the bucket's place is absolute: each copy names its own
    d.admin("bucket", "create", "here", "--url", "file://" + d.bucket_dir, "--workspace", "w1", check=False)
    h = History()
    try:
        if prepare:
            prepare(d, h)
        d.stop()
        run = d.kakao_run
        d.kakao_run = lambda sql, **more: run(sql, bucket="here", **more)
        happened = "served"
        try:
            d.start({"QUERN_FAULT": fault} if fault else {"QUERN_FAULT_COUNT": count_file})
        except StartFailed as e:
            happened = "refused to start"
            assert "quernd:" in str(e) or "level=error" in str(e), f"no word about why: {e}"
        else:
            scenario(d, h)
            d.note_children()
            if not alive(d):
                happened = f"ended with {d.process.returncode}"
                assert d.process.returncode > 0 and "level=error" in d.log(), f"{happened}:\n{d.log()[-2000:]}"
                d.process = None
            else:
                d.stop(code=None)
                assert d.exit_codes[-1] >= 0, f"died of a signal:\n{d.log()[-2000:]}"
            d.no_children()
        d.check_log()
        d.start()
        invariants(d, h)
        spool_is_clean(d)
        d.finish()
    finally:
        if d.process:
            d.process.kill()
            d.process.wait()
            d.process = None
    return happened


def with_work(d, h):
    """Leaves queries for the start to take up: killed with two running and three queued."""
    for _ in range(2):
        qid = d.kakao_run(BLOCK, bucket="here")
        d.kakao_wait(qid, states=("RUNNING",))
        h.rows[qid] = None
    for i in range(3):
        h.rows[d.kakao_run(f"SELECT range AS n FROM range({i + 1})", bucket="here")] = i + 1
    done = [q for q, rows in h.rows.items() if rows is None]
    assert d.kakao_abort(done[0]).status_code == 200
    h.canceled.add(done[0])
    d.kill()
    d.no_children()
    d.start(env={"QUERN_FAULT": ""})


@pytest.fixture(scope="module")
def template():
    d = Daemon(env=ENV)
    d.prepare(flights=False)
    yield d
    d.finish()


@pytest.fixture(scope="module")
def counts(template, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("count"))
    count_file = os.path.join(os.path.dirname(folder), "failk-counts")
    one(template, folder, None, count_file)
    with open(count_file) as f:
        return {kind: int(n) for kind, n in (line.split() for line in f)}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ERRORS)
def test_other_errors(template, counts, tmp_path, kind):
    print(f"seed {SEED}")
    total = counts[kind]
    if total == 0:
        pytest.skip(f"no call of kind {kind} in the scenario")
    for error in ERRORS[kind]:
        ks = range(1, total + 1)
        if not os.environ.get("QUERN_FAIL_ALL") and total > FEW:
            ks = [1] + random.Random(f"{SEED}{kind}{error}").sample(range(2, total + 1), FEW - 1)
        for k in ks:
            try:
                print(f"{kind}:{k}:{error} of {total}: {one(template, str(tmp_path / 'd'), f'{kind}:{k}:{error}')}")
            except AssertionError as e:
                raise AssertionError(f"{kind}:{k}:{error}: {e}") from e


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", ["open:9:EIO", "sqlite:20:EIO", "spawn:3:EAGAIN", "read:1:EIO", "write:2:ENOSPC", "unlink:1:EIO"])
def test_a_start_with_work(template, tmp_path, fault):
    """The start takes up what an earlier one left, and a call fails in it."""
    print(f"{fault}: {one(template, str(tmp_path / 'd'), fault, prepare=with_work)}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("spell", ["write:{k}:ENOSPC:40", "memfd:{k}:EMFILE:6", "spawn:{k}:EAGAIN:6", "rename:{k}:ENOSPC:4", "mkdir:{k}:ENOSPC:4"])
def test_a_spell_that_ends(template, counts, tmp_path, spell):
    """Calls fail for a while, then no more: queries of that while may fail, with a reason; afterwards all works again, without a restart."""
    kind = spell.split(":")[0]
    if counts[kind] == 0:
        pytest.skip(f"no call of kind {kind} in the scenario")
    folder = str(tmp_path / "d")
    # the calls of a start that does nothing come first
    count_file = str(tmp_path / "counts")
    shutil.copytree(template.folder, folder, ignore=lambda _, names: [n for n in names if n in ("admin.sock", "log")])
    d = Daemon(env=ENV, folder=folder)
    d.key, d.bucket_dir = template.key, template.bucket_dir
    try:
        d.start({"QUERN_FAULT_COUNT": count_file})
        d.stop()
        with open(count_file) as f:
            k = dict((line.split()[0], int(line.split()[1])) for line in f)[kind] + 1
        d.start({"QUERN_FAULT": spell.format(k=k)})
        h = History()
        good = 0
        for turn in range(200):
            qid = submit(d, h, f"SELECT range AS n FROM range({20000 + turn})", 20000 + turn)
            assert alive(d), f"it ended with {d.process.returncode}:\n{d.log()[-2000:]}"
            body = ended(d, qid) if qid else None
            good = good + 1 if body and body["queryInfo"]["state"] == "FINISHED" else 0
            if body and body["queryInfo"]["state"] == "FAILED":
                assert body["queryInfo"]["error"]["message"], body
            if good == 5:
                break
        assert good == 5, f"it does not recover:\n{d.log()[-2000:]}"
        d.works()
        d.stop()
        d.start()
        for qid, rows in h.rows.items():
            body = d.kakao_wait(qid)
            answer = d.download(qid, "csv")
            if body["queryInfo"]["state"] == "FINISHED":
                assert answer.status_code == 200 and answer.text.count("\n") == rows + 1
            else:
                assert answer.status_code >= 400
        spool_is_clean(d)
        d.finish()
    finally:
        if d.process:
            d.process.kill()
            d.process.wait()
            d.process = None
