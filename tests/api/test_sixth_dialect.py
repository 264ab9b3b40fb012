"""A sixth dialect is one file and one line of the table (tests/sixth): it submits, waits, reads, cancels and deletes as the five do, what it
submitted is read by each of them and the other way round, and a daemon without it still knows its queries."""
import glob
import json
import os
import shutil
import subprocess

import pytest

from faces import FACES, ROWS, SLOW, SQL, WRONG
from quern_client import BUILD, Daemon, wait_until

PROGRAM = os.path.join(BUILD, "tests", "sixth", "quernd-sixth")


class Hello:
    def __init__(self, d):
        self.d = d

    def call(self, method, path="", key=None, **more):
        return self.d.http(method, "/hello/v1/query" + path, key=key, dialect="data360", **more)

    def submit(self, sql):
        answer = self.call("POST", json={"say": sql})
        assert answer.status_code == 200 and {"id", "is"} <= set(answer.json()), answer.text  # it may have ended already
        return answer.json()["id"]

    def end(self, qid):
        return wait_until("the end", lambda: (lambda a: a if a["is"] in ("FINISHED", "FAILED", "CANCELED") else None)(self.call("GET", f"/{qid}").json()))


@pytest.fixture(scope="module")
def d(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sixth")
    shutil.copy(PROGRAM, folder / "quernd")
    shutil.copy(os.path.join(BUILD, "quern-engine"), folder / "quern-engine")
    daemon = Daemon(build=str(folder), env={"QUERN_CANNER_HOLD": "0"})
    try:
        daemon.prepare(flights=False)
        daemon.reader = daemon.new_key(user="dave", role="reader")
        daemon.stranger = daemon.new_key(workspace="w2", user="erin", role="admin")
        yield daemon.start()
    finally:
        daemon.finish()


def test_its_routes_are_in_the_table(d):
    table = json.loads(subprocess.run([os.path.join(d.build, "quernd"), "routes", "--json"], stdout=subprocess.PIPE, check=True).stdout)
    assert {r["name"] for r in table if r["dialect"] == "hello"} == {"hello.submit", "hello.status", "hello.rows", "hello.delete"}


def test_what_it_submits_is_read_by_each(d):
    hello = Hello(d)
    qid = hello.submit(SQL)
    assert hello.end(qid) == {"id": qid, "is": "FINISHED"}
    mine = hello.call("GET", f"/{qid}/rows")
    assert mine.status_code == 200 and mine.content == d.download(qid, header="false").content
    for face in (f(d, d.key) for f in FACES):
        assert face.state(qid) == "FINISHED" and face.rows(qid) == ROWS, face.name
    wrong = hello.submit(WRONG)
    assert "nowhere_at_all" in hello.end(wrong)["sorry"]
    for face in (f(d, d.key) for f in FACES):
        assert face.state(wrong) == "FAILED" and "nowhere_at_all" in face.error(wrong), face.name


@pytest.mark.parametrize("by", FACES, ids=lambda f: f.name)
def test_it_reads_cancels_and_deletes_what_each_submits(d, by):
    hello, face = Hello(d), by(d, d.key)
    done, slow = face.submit(SQL), face.submit(SLOW)
    assert hello.end(done)["is"] == "FINISHED" and b"second" in hello.call("GET", f"/{done}/rows").content
    for qid in (done, slow):
        assert hello.call("DELETE", f"/{qid}").status_code == 200
        gone = hello.call("GET", f"/{qid}")
        assert gone.status_code == 410 and set(gone.json()) == {"sorry"}
    assert face.wait(done) in ("GONE", "UNKNOWN") if face.state(done) == "RUNNING" else face.state(done) in ("GONE", "UNKNOWN")


def test_its_refusals_are_in_its_own_words(d):
    hello = Hello(d)
    qid = hello.submit("SELECT 1")
    for status, answer in ((400, hello.call("POST", json={"say": 7})), (400, hello.call("POST", data="no json")), (401, hello.call("GET", f"/{qid}", key=False)),
                           (403, hello.call("POST", key=d.reader, json={"say": "SELECT 1"})), (404, hello.call("GET", f"/{qid}", key=d.stranger)),
                           (404, hello.call("GET", "/nope")), (404, hello.call("GET", f"/{qid}/nothing")), (405, hello.call("PUT", f"/{qid}")),
                           (413, hello.call("POST", data=b"x" * ((16 << 20) + 1)))):
        assert answer.status_code == status and set(answer.json()) == {"sorry"}, f"{status}: {answer.status_code} {answer.text}"


def test_the_trail_names_it_and_another_daemon_knows_its_queries(d):
    hello = Hello(d)
    qid = hello.submit("SELECT 42 AS n")
    hello.end(qid)
    d.stop()
    text = "".join(open(path, errors="replace").read() for path in glob.glob(os.path.join(d.data, "audit", "*.log")))
    assert qid in text and '"hello"' in text
    plain = Daemon(data=d.data, folder=d.folder)
    plain.key = d.key
    try:
        plain.start()
        assert plain.kakao_wait(qid)["queryData"] == [["42"]]
        assert plain.http("GET", f"/hello/v1/query/{qid}", dialect="data360").status_code == 404
    finally:
        plain.finish()
    d.start()
    assert hello.end(qid)["is"] == "FINISHED"
