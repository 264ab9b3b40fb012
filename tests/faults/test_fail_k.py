"""The k-th call of a kind fails (QUERN_FAULT): in a scenario with submit, cancel, delete, delivery and download, in a start that has work to take up, and in
spells in which many calls fail in a row and that end without a restart. After each a start without faults, and these hold:

  what was accepted is there, and whole or a plain failure      what was answered "canceled" is canceled, for good
  what was answered "deleted" has no rows any more              a delivered file that is called stored is there, with all its rows
  nothing that no record names stays in the spool, no           the next start serves
  unfinished file in the bucket

A call that a signal interrupts (EINTR) is no failure: nothing may come of it, and all of them are interrupted at once.

`make faults` (QUERN_FAIL_ALL=1) tries every k of every kind and error (QUERN_FAIL_ALL=N every N-th, from a k that the seed chooses). Otherwise the first error of a kind is tried for every k where there are few, and a few
of the others, chosen by the printed seed."""
import os
import random
import shutil
import time

import pytest
import requests

from quern_client import BLOCK, PATIENCE, Daemon, StartFailed, unrecorded

ERRORS = {"open": ("ENOSPC", "EMFILE", "EIO"), "read": ("EIO",), "write": ("ENOSPC", "EIO"), "fsync": ("EIO", "ENOSPC"), "rename": ("EIO", "ENOSPC"),
          "unlink": ("EIO", "ENOSPC"), "mkdir": ("ENOSPC", "EMFILE"), "spawn": ("EAGAIN", "EMFILE"), "sqlite": ("EIO", "ENOSPC"),
          "memfd": ("EMFILE", "ENOSPC"), "mmap": ("ENOMEM", "EMFILE"), "truncate": ("ENOSPC", "EIO"), "lock": ("ENOLCK",), "poll": ("ENOMEM",),
          "recv": ("ECONNRESET",), "send": ("ECONNRESET",), "accept": ("ECONNABORTED", "EMFILE")}
# No failure of these is known to come from a kernel that is not broken, but a signal can: connect, wait, event.
INTERRUPTED = (*ERRORS, "connect", "wait", "event")
ALWAYS = 1 << 40
ENV = {"QUERN_ENGINE_SLOTS": "2", "QUERN_SERVER_DRAIN": "1s", "QUERN_LOG_LEVEL": "warn"}
# A start reads every zone of TZDIR, hundreds of files, one like another.
ZONES = ("UTC", "Etc/UTC", "Asia/Seoul", "America/New_York")
ALL = int(os.environ.get("QUERN_FAIL_ALL") or 0)
SEED = int(os.environ.get("QUERN_SEED") or random.SystemRandom().randrange(1 << 30))
FEW, MORE = 2, 1  # k of a kind's first error, and of each other one
GONE = (requests.exceptions.RequestException,)


class History:
    """What the failing daemon promised."""

    def __init__(self):
        self.rows = {}         # id -> rows wanted; None: runs without end
        self.listed = set()    # those of them that Kakao's list shows
        self.canceled = set()
        self.deleted = set()
        self.unsure = set()    # asked to be deleted, and not answered
        self.refused = 0       # requests that failed, or were answered with an error


def alive(d):
    return d.process.poll() is None


def attempt(d, h, call, good, bad=range(400, 600)):
    """The answer if it is a good one; None for a failure in plain words, or when the connection or the daemon is gone."""
    if not alive(d):
        return None
    try:
        answer = call()
    except GONE:
        d.local.session = None
        h.refused += 1
        return None
    if answer.status_code == good:
        return answer
    assert answer.status_code in bad and '"message":"' in answer.text, f"{answer.status_code} {answer.text}"
    h.refused += 1
    return None


def submit(d, h, sql, rows):
    answer = attempt(d, h, lambda: d.kakao_run(sql, bucket="here", check=False), 202, bad=(500, 503))
    if answer is None:
        return None
    qid = answer.json()["queryInfo"]["queryId"]
    h.rows[qid] = rows
    h.listed.add(qid)
    return qid


def submit_and_read(d, h, sql, rows):
    """In Data 360's words, whose answer has the rows when they come at once."""
    answer = attempt(d, h, lambda: d.d360_submit(sql, check=False), 200, bad=(500, 503))
    if answer is None:
        return
    status = d.d360_status_of(answer)
    h.rows[status["queryId"]] = rows
    if answer.json()["data"] is not None and status["completionStatus"] == "FINISHED" and rows < 10:
        assert len(answer.json()["data"]) == rows, answer.text


def ended(d, h, qid):
    """Waits for the end as far as the daemon tells it."""
    end = time.monotonic() + PATIENCE
    while alive(d):
        assert time.monotonic() < end, f"{qid} does not end"
        answer = attempt(d, h, lambda: d.http("GET", f"/v1/data-query/query/{qid}"), 200, bad=(500, 503))
        if answer and answer.json()["queryInfo"]["state"] in ("FINISHED", "FAILED", "ABORTED"):
            return answer.json()
        time.sleep(0.02)
    return None


def scenario(d, h):
    """Submit, read, download, cancel, delete; every request may fail, none may lie."""
    first = submit(d, h, "SELECT range AS n FROM range(30000)", 30000)
    second = submit(d, h, "SELECT 'small' AS s", 1)
    submit_and_read(d, h, "SELECT 'x' AS x", 1)
    blocked = submit(d, h, BLOCK, None)
    for qid in filter(None, (first, second)):
        ended(d, h, qid)
        answer = attempt(d, h, lambda: d.download(qid, "csv"), 200)
        assert answer is None or answer.text.count("\n") == h.rows[qid] + 1, f"half a result: {answer.text.count(chr(10))} lines"
    if blocked and attempt(d, h, lambda: d.kakao_abort(blocked), 200):
        h.canceled.add(blocked)
    if first:
        done = attempt(d, h, lambda: d.http("DELETE", f"/api/v3/query/{first}", dialect="data360"), 204)
        (h.deleted if done else h.unsure).add(first)
    submit_and_read(d, h, "SELECT range AS n FROM range(20000)", 20000)
    submit(d, h, "SELECT range AS n FROM range(10)", 10)


def invariants(d, h):
    """On a daemon without faults. Returns how many failed."""
    failures = 0
    listed = {c["queryInfo"]["queryId"] for c in d.http("GET", "/v1/data-query/query?size=2000").json()["content"]}
    assert h.listed <= listed, f"accepted and lost: {h.listed - listed}"
    for qid, rows in h.rows.items():
        if rows is None and qid not in h.canceled:
            d.kakao_abort(qid)  # the endless one, taken up again
        body = d.kakao_wait(qid)
        state = body["queryInfo"]["state"]
        answer = d.download(qid, "csv")
        if qid in h.canceled:
            assert state == "ABORTED", f"canceled, and now {state}"
        elif qid in h.deleted:
            assert answer.status_code >= 400 and body["queryData"] == [], f"deleted, and read: {answer.status_code}"
        elif qid in h.unsure and answer.status_code == 410:
            assert body["queryData"] == []
        elif state == "FINISHED":
            assert answer.status_code == 200 and answer.text.count("\n") == rows + 1, f"{qid}: {answer.status_code} {answer.text[:100]}"
        else:
            assert rows is None or (state == "FAILED" and body["queryInfo"]["error"]["message"]), body
            assert answer.status_code >= 400, f"{state} with rows"
            failures += rows is not None
        if body["resultConfig"].get("isStored"):
            path = os.path.join(d.folder, "bucket", body["resultConfig"]["path"], qid + ".csv")
            with open(path) as f:
                assert f.read().count("\n") == rows + 1, f"{path} is called stored and is not whole"
    d.works()
    return failures


def spool_is_clean(d):
    """After a start: what lies in the spool and belongs to nobody is gone in time."""
    end = time.monotonic() + PATIENCE
    while left := unrecorded(d):
        assert time.monotonic() < end, f"in the spool, and no record names them: {left}"
        time.sleep(0.05)


def bucket_is_clean(d):
    left = [f for _, _, files in os.walk(d.bucket_dir) for f in files if f.startswith(".quern-")]
    assert not left, f"unfinished files in the bucket: {left}"


def daemon(folder=None):
    """Not started, with a small folder of zones."""
    d = Daemon(env=ENV, folder=folder)
    d.env["TZDIR"] = os.path.join(d.folder, "zones")
    for zone in ZONES:
        path = os.path.join(d.env["TZDIR"], zone)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy(os.path.join("/usr/share/zoneinfo", zone), path)
    return d


def copy_of(template, folder):
    """A daemon, not started, on a copy of the template's folder; the bucket's place is absolute: each copy names its own, `here`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template.folder, folder, ignore=lambda _, names: [n for n in names if n in ("admin.sock", "log")])
    d = daemon(folder)
    d.key, d.bucket_dir = template.key, os.path.join(folder, "bucket")
    d.admin("bucket", "create", "here", "--url", "file://" + d.bucket_dir, "--workspace", "w1")
    return d


def put_away(d):
    if d.process:
        d.process.kill()
        d.process.wait()
        d.process = None


def one(template, folder, fault, count_file=None, prepare=None):
    """A run with the fault and a run without. Returns what happened, for the report, and how many requests or queries failed."""
    d = copy_of(template, folder)
    h = History()
    try:
        if prepare:
            prepare(d, h)
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
        d.start({"QUERN_ENGINE_PLAN_SLOTS": "0"})  # one engine less to begin
        failures = invariants(d, h) + h.refused
        spool_is_clean(d)
        if not fault or not fault.startswith("unlink"):
            bucket_is_clean(d)
        d.finish()
    finally:
        put_away(d)
    return happened, failures


def with_work(d, h):
    """Leaves queries for the start to take up: killed with two running and three queued."""
    d.start()
    for _ in range(2):
        qid = d.kakao_run(BLOCK, bucket="here")
        d.kakao_wait(qid, states=("RUNNING",))
        h.rows[qid] = None
    for i in range(3):
        h.rows[d.kakao_run(f"SELECT range AS n FROM range({i + 2})", bucket="here")] = i + 2
    done = [q for q, rows in h.rows.items() if rows is None]
    assert d.kakao_abort(done[0]).status_code == 200
    h.canceled.add(done[0])
    d.kill()
    d.no_children()


@pytest.fixture(scope="module")
def template():
    """A folder that a daemon was started on once: what a first start makes (hundreds of folders, one like another) is tried apart."""
    d = daemon()
    d.prepare(flights=False)
    d.start()
    d.stop()
    yield d
    d.finish()


def read_counts(path):
    with open(path) as f:
        return {kind: int(n) for kind, n in (line.split() for line in f)}


@pytest.fixture(scope="module")
def counts(template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("count")
    happened, failures = one(template, str(folder / "d"), None, str(folder / "counts"))
    assert (happened, failures) == ("served", 0), "the scenario itself fails"
    found = read_counts(folder / "counts")
    print(found)
    return found


def some(total, few, name):
    if ALL:
        return range(1 + random.Random(f"{SEED}{name}").randrange(ALL), total + 1, ALL)
    if total <= few + 2:
        return range(1, total + 1)
    rng = random.Random(f"{SEED}{name}")  # places as shares of the total, which differs a little from run to run
    return ([1] if few > 1 else []) + [2 + int(rng.random() * (total - 1)) for _ in range(few - (few > 1))]


@pytest.mark.timeout(7200 if ALL else 600)
@pytest.mark.parametrize("kind, error", [(kind, error) for kind, errors in ERRORS.items() for error in errors])
def test_every_failed_call_is_survived(template, counts, tmp_path, kind, error):
    print(f"seed {SEED}")
    total = counts[kind]
    if total == 0:
        pytest.skip(f"no call of kind {kind} in the scenario")
    wrong = []  # one that is not survived does not keep the others from being tried
    for k in some(total, FEW if error == ERRORS[kind][0] else MORE, kind + error):
        try:
            happened, failures = one(template, str(tmp_path / "d"), f"{kind}:{k}:{error}")
            print(f"{kind}:{k}:{error} of {total}: {happened}, {failures} failed")
        except (AssertionError, *GONE) as e:
            wrong.append(f"{kind}:{k}:{error}: {type(e).__name__} {e}")
            print(wrong[-1], flush=True)
    assert not wrong, f"{len(wrong)} of {total}:\n" + "\n".join(wrong[:10])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind, error", [("mkdir", "ENOSPC"), ("open", "EMFILE"), ("write", "ENOSPC"), ("sqlite", "EIO"), ("fsync", "EIO")])
def test_a_first_start(tmp_path, kind, error):
    """On a folder that no daemon was started on."""
    os.mkdir(tmp_path / "fresh")
    fresh = daemon(str(tmp_path / "fresh"))
    fresh.prepare(flights=False)
    for k in (random.Random(f"{SEED}{kind}").randrange(1, 6), random.Random(f"{SEED}{error}").randrange(6, 260 if kind in ("mkdir", "open") else 30)):
        try:
            print(f"{kind}:{k}:{error}: {one(fresh, str(tmp_path / 'd'), f'{kind}:{k}:{error}')}")
        except AssertionError as e:
            raise AssertionError(f"{kind}:{k}:{error}: {e}") from e


@pytest.mark.parametrize("kind", INTERRUPTED if ALL else ("all",))
def test_every_interrupted_call_is_made_again(template, counts, tmp_path, kind):
    """Every call of the kind is interrupted by a signal: as if there were none."""
    if kind == "all":
        assert min(counts[k] for k in ("open", "read", "write", "fsync", "poll", "recv", "send", "accept", "wait", "truncate", "event")) > 0, counts
    happened, failures = one(template, str(tmp_path / "d"), f"{kind}:1:EINTR:{ALWAYS}")
    assert (happened, failures) == ("served", 0)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", ["open:9:EIO", "sqlite:20:EIO", "spawn:3:EAGAIN", "read:1:EIO", "write:2:ENOSPC", "unlink:1:EIO", f"all:1:EINTR:{ALWAYS}"])
def test_a_start_with_work(template, tmp_path, fault):
    """The start takes up what an earlier one left, and a call fails in it."""
    happened, failures = one(template, str(tmp_path / "d"), fault, prepare=with_work)
    print(f"{fault}: {happened}, {failures} failed")
    assert "EINTR" not in fault or (happened, failures) == ("served", 0)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("spell", ["write:{k}:ENOSPC:15", "memfd:{k}:EMFILE:6", "spawn:{k}:EAGAIN:6", "rename:{k}:ENOSPC:4", "mkdir:{k}:ENOSPC:4",
                                   "poll:{k}:ENOMEM:40", "accept:{k}:EMFILE:6"])
def test_a_spell_that_ends(template, tmp_path, spell):
    """Calls fail for a while, then no more: queries of that while may fail, with a reason; afterwards all works again, without a restart."""
    kind = spell.split(":")[0]
    d = copy_of(template, str(tmp_path / "d"))
    try:
        # the calls of a start that does nothing come first
        d.start({"QUERN_FAULT_COUNT": str(tmp_path / "counts")})
        d.stop()
        k = read_counts(tmp_path / "counts")[kind] + 1
        d.start({"QUERN_FAULT": spell.format(k=k)})
        h = History()
        good = turn = 0
        end = time.monotonic() + PATIENCE
        while good < 5:
            assert time.monotonic() < end, f"it does not recover:\n{d.log()[-2000:]}"
            turn += 1
            qid = submit(d, h, f"SELECT range AS n FROM range({20000 + turn})", 20000 + turn)
            assert alive(d), f"it ended with {d.process.returncode}:\n{d.log()[-2000:]}"
            body = ended(d, h, qid) if qid else None
            good = good + 1 if body and body["queryInfo"]["state"] == "FINISHED" else 0
            if body and body["queryInfo"]["state"] == "FAILED":
                assert body["queryInfo"]["error"]["message"], body
            if not qid:
                time.sleep(0.05)  # refused at once: whether there is room again is looked at once a second
        d.works()
        d.stop()
        d.start()
        invariants(d, h)
        spool_is_clean(d)
        d.finish()
    finally:
        put_away(d)
