"""One query, five dialects: what any of them submits is read, waited for, cancelled, deleted, listed and downloaded by every other, in that one's
own words (docs/dialects.md), and a key of another workspace sees nothing of it in any."""
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from faces import FACES, ROWS, SLOW, SQL, WRONG
from quern_client import Daemon, wait_until

NAMES = [f.name for f in FACES]


@pytest.fixture(scope="module")
def d():
    daemon = Daemon(env={"QUERN_CANNER_HOLD": "0"})
    try:
        daemon.prepare(flights=False)
        daemon.stranger = daemon.new_key(workspace="w2", user="erin", role="admin")
        daemon.start()
        yield daemon
    finally:
        daemon.finish()


@pytest.fixture
def faces(d):
    return {f.name: f(d, d.key) for f in FACES}


@pytest.fixture
def strangers(d):
    return {f.name: f(d, d.stranger) for f in FACES}


@pytest.mark.parametrize("by", NAMES)
def test_same_rows_everywhere(faces, by):
    qid = faces[by].submit(SQL)
    faces[by].wait(qid)
    downloads = set()
    for name, face in faces.items():
        assert face.state(qid) == "FINISHED" and face.rows(qid) == ROWS, f"{by} -> {name}"
        answer = face.download(qid)
        assert answer.status_code == 200
        downloads.add(answer.content)
    assert len(downloads) == 1 and b'"a, ""b"" \xc3\xa9"' in downloads.pop()


@pytest.mark.parametrize("by", NAMES)
def test_same_error_everywhere(faces, by):
    qid = faces[by].submit(WRONG)
    faces[by].wait(qid)
    for name, face in faces.items():
        assert face.state(qid) == "FAILED", f"{by} -> {name}"
        assert "nowhere_at_all" in face.error(qid) and "does not exist" in face.error(qid), f"{by} -> {name}: {face.error(qid)}"
        assert face.download(qid).status_code == 409


@pytest.mark.parametrize("by", NAMES)
@pytest.mark.parametrize("canceler", NAMES)
def test_cancel_by_any(faces, by, canceler):
    qid = faces[by].submit(SLOW)
    assert all(face.state(qid) == "RUNNING" for face in faces.values())
    assert faces[canceler].cancel(qid).status_code in (200, 204)
    deletes = canceler == "data360"  # its DELETE takes the result too: to those who know deletes it is not there
    for name, face in faces.items():
        state = face.state(qid)  # at once: the answer waited until the end was recorded
        want = "UNKNOWN" if deletes and name in ("jackdb", "kylin") else "CANCELED"
        assert state == want, f"{by} cancelled by {canceler}, seen by {name}: {state}, {face.error(qid)}"
        assert face.download(qid).status_code == 409


@pytest.mark.parametrize("canceler", ["kakao", "kylin"])
def test_what_can_no_longer_be_cancelled_has_ended_for_all(faces, canceler):
    """Those two refuse then; the refusal waits until the end is recorded, so that nobody who was refused sees it run."""
    def once(n):
        qid = faces[NAMES[n % len(NAMES)]].submit("SELECT 1" if n % 2 else WRONG)
        time.sleep(n % 7 * 0.001)
        answer = faces[canceler].cancel(qid)
        states = [face.state(qid) for face in faces.values()]
        assert "RUNNING" not in states, f"{answer.status_code} {answer.text}: {states}"
        return answer.status_code == 409 or "not running" in answer.text

    with ThreadPoolExecutor(4) as pool:
        refused = sum(pool.map(once, range(100)))
    assert refused > 0


def test_a_delete_beside_downloads_is_no_damage(d, faces):
    """Whoever opens the result while its file goes gets it or hears that it is gone; nothing counts as corrupt."""
    def look(what):
        qid, format = what
        return faces["jackdb"].delete(qid) if format is None else d.download(qid, format)

    with ThreadPoolExecutor(6) as pool:
        for _ in range(15):
            qid = faces["jackdb"].submit("SELECT range AS i FROM range(20000)")
            faces["jackdb"].wait(qid)
            answers = list(pool.map(look, [(qid, "arrow"), (qid, "csv"), (qid, None), (qid, "json"), (qid, "arrow"), (qid, "csv")]))
            assert {a.status_code for a in answers} <= {200, 410}, [(a.status_code, a.text[:200]) for a in answers]
    assert "corrupt" not in d.log()


@pytest.mark.parametrize("by", NAMES)
@pytest.mark.parametrize("deleter", ["jackdb", "data360", "kylin"])
def test_delete_while_it_runs(faces, by, deleter):
    """The delete ends it first, and is answered when both are recorded: also of a script, which keeps results of its own."""
    qid = faces[by].submit("SELECT 1; " + SLOW if by == "jackdb" else SLOW)
    if by == "jackdb":
        wait_until("its first result", lambda: faces["jackdb"].d.jackdb("GET", f"/query/{qid}/result/0").status_code == 200)
    assert faces[deleter].delete(qid).status_code in (200, 204)
    for name, face in faces.items():
        assert face.state(qid) == ("UNKNOWN" if name in ("jackdb", "kylin") else "CANCELED"), f"{by} deleted by {deleter}, seen by {name}"


@pytest.mark.parametrize("by", NAMES)
@pytest.mark.parametrize("deleter", ["jackdb", "data360", "kylin"])
def test_delete_by_those_who_can(faces, by, deleter):
    qid = faces[by].submit(SQL)
    faces[by].wait(qid)
    assert faces[deleter].delete(qid).status_code in (200, 204)
    gone = {"kakao": "GONE", "canner": "GONE", "jackdb": "UNKNOWN", "data360": "UNKNOWN", "kylin": "UNKNOWN"}
    for name, face in faces.items():
        assert face.state(qid) == gone[name], f"{by} deleted by {deleter}, seen by {name}"
        assert face.download(qid).status_code == 410


def test_expired_for_one_is_expired_for_all(faces):
    """From its time on, not from when the janitor comes (which after a start is later: retention.quiet)."""
    d = faces["jackdb"].d
    qid = d.jackdb_execute("SELECT 7 AS n; SELECT 8 AS n", retention=1)["id"]  # not waited for: it may be gone before its end is seen
    kept = d.jackdb_query("SELECT 9 AS n", retention=600)["id"]
    gone = {"kakao": "GONE", "canner": "GONE", "jackdb": "UNKNOWN", "data360": "UNKNOWN", "kylin": "UNKNOWN"}
    wait_until("its time to be over", lambda: faces["jackdb"].state(qid) == "UNKNOWN")
    for name, face in faces.items():
        assert face.state(qid) == gone[name], name
        assert face.download(qid).status_code == 410 and face.download(kept).status_code == 200
    assert d.download(qid, "parquet").status_code == 410
    assert qid not in faces["jackdb"].listed() and kept in faces["jackdb"].listed()


WAITS = {"kakao": ("/v1/data-query/query/{}?wait=60", 60), "jackdb": ("/api/v2/query/{}?wait=60", 60), "data360": ("/api/v3/query/{}?waitTimeMs=10000", 10)}


@pytest.mark.parametrize("by", NAMES)
def test_wait_by_any(d, faces, by):
    """A wait of any dialect ends with the query, whoever submitted it, and whoever ends it."""
    qid = faces[by].submit(SLOW)
    wait_until("the start", lambda: faces["kakao"].page(qid).json()["queryInfo"]["state"] == "RUNNING")

    def wait(name):
        """Again where the longest time of a wait was over before its query was."""
        while True:
            begun, (path, longest) = time.monotonic(), WAITS[name]
            answer = d.http("GET", path.format(qid), dialect=name)
            over = {"kakao": lambda body: body["queryInfo"]["state"] in ("FINISHED", "FAILED", "ABORTED"), "jackdb": lambda body: body["success"] is not None,
                    "data360": lambda body: answer.status_code != 200}[name](answer.json())
            if over or time.monotonic() - begun < longest - 0.5:
                return answer

    with ThreadPoolExecutor(len(WAITS)) as pool:
        waiting = {name: pool.submit(wait, name) for name in WAITS}
        wait_until("all to be parked", lambda: d.metrics()["quern_http_parked"] >= len(WAITS) or any(w.done() for w in waiting.values()))
        assert not any(w.done() for w in waiting.values()), "a wait ended before the query"
        assert faces["canner"].cancel(qid).status_code == 200
        assert waiting["kakao"].result().json()["queryInfo"]["state"] == "ABORTED"
        assert waiting["jackdb"].result().json()["success"] is False
        assert waiting["data360"].result().status_code == 408


def test_lists_hold_all(faces):
    ids = {by: face.submit("SELECT 'listed'") for by, face in faces.items()}
    for by, qid in ids.items():
        faces[by].wait(qid)
    spelled = {"kakao": {by: faces["canner"].call("GET", f"/query/{qid}").json()["statementId"] for by, qid in ids.items()},
               "canner": {by: faces["canner"].call("GET", f"/query/{qid}").json()["id"] for by, qid in ids.items()}}
    spelled["jackdb"] = spelled["canner"]
    for name, face in faces.items():
        if face.listed:
            assert set(spelled[name].values()) <= face.listed(), f"{name}'s list misses some"


READS = {"kakao": ["/v1/data-query/query/{id}?page=1"],
         "jackdb": ["/api/v2/query/{id}/result/0", "/api/v2/query/{id}/result/0/rows", "/api/v2/query/{id}?wait=1"],
         "canner": ["/api/v1/query/{id}/result?workspaceId={w}", "/api/v1/query/{id}/result/signedUrls?workspaceId={w}", "/web/api/v1/sql/{id}?workspaceId={w}"],
         "data360": ["/api/v3/query/{id}/rows", "/api/v3/query/{id}/chunks/0", "/api/v3/query/{id}/metadata"],
         "kylin": [f"/kylin/api/async_query/{{id}}/{what}?project=w2" for what in ("metadata", "file_status", "result_download", "result_path")]}


@pytest.mark.parametrize("by", NAMES)
def test_another_workspace_sees_nothing(faces, strangers, by):
    done, slow = faces[by].submit(SQL), faces[by].submit(SLOW)
    faces[by].wait(done)
    try:
        for name, face in strangers.items():
            for qid in (done, slow):
                assert face.state(qid) == "UNKNOWN", f"{name} sees what {by} submitted in another workspace"
                assert face.download(qid).status_code == 404
                for path in READS[name]:
                    answer = face.d.http("GET", path.format(id=qid, w=face.key["workspaceId"]), key=face.key, dialect=name)
                    assert answer.status_code == 404 or (name == "kylin" and answer.json()["code"] == "999"), f"{name} {path}: {answer.text}"
                    assert "second" not in answer.text
                for act in (face.cancel, face.delete):
                    if act:
                        answer = act(qid)  # refused, or said to be done with nothing happening (Data 360, Kylin)
                        assert answer.status_code in (404, 204) or (name == "kylin" and answer.json()["data"] in (False, "", None)), f"{name}: {answer.text}"
                        assert "second" not in answer.text
            if face.listed:
                assert not {done, slow} & face.listed()
        assert all(face.state(done) == "FINISHED" and face.state(slow) == "RUNNING" for face in faces.values())
    finally:
        faces["kakao"].cancel(slow)
