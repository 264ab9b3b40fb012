"""Backups that meet trouble: a daemon that is killed in the middle, writers of the catalog, a full disk, a folder that will not do.

What a backup holds when all goes well is tests/api/test_operators.py's."""
import glob
import os
import shutil
import subprocess
import tempfile
import threading

import pytest

from quern_client import wait_until

LARGE = "SELECT range AS n, 'row ' || range AS t FROM range(300000)"


@pytest.fixture
def elsewhere():
    """A folder on another file system, so that a backup makes its links beside the originals first and copies them."""
    place = tempfile.mkdtemp(dir="/dev/shm")
    yield place
    shutil.rmtree(place, ignore_errors=True)


def results(d):
    return [f for f in glob.glob(d.data + "/spool/*/*") if os.path.isfile(f) and not f.startswith(d.data + "/spool/tmp/")]


def test_what_a_killed_backup_left_is_gone(make_daemon, elsewhere):
    d = make_daemon()
    qid = d.kakao_run(LARGE)
    d.kakao_wait(qid)
    body = d.download(qid).content
    stage = d.data + "/backup.tmp"

    def left():
        """As a daemon leaves it that dies between the links and the copies."""
        for f in results(d):
            link = f.replace(d.data, stage)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.link(f, link)

    left()
    assert glob.glob(stage + "/spool/*/*")
    made = d.admin("backup", "--to", elsewhere + "/a")
    assert made["linked"] == "no" and made["results"] == 1 and not os.path.exists(stage)
    left()
    d.kill()
    d.start()
    assert not os.path.exists(stage), "its links would hold the room of results for ever"
    # and for real, at odd moments
    for n in range(4):
        p = subprocess.Popen([d.build + "/quernd", "admin", "--data", d.data, "backup", "--to", f"{elsewhere}/b{n}"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("the stage, or the end", lambda: os.path.exists(stage) or p.poll() is not None, pause=0.0005 * n)
        d.kill()
        done = p.wait() == 0
        assert os.path.exists(f"{elsewhere}/b{n}/backup.json") or not done
        d.start()
        assert not os.path.exists(stage)
    assert d.admin("backup", "--to", elsewhere + "/z")["results"] == 1
    assert d.download(qid).content == body


def test_not_into_the_data_folder(make_daemon):
    d = make_daemon()
    d.kakao_query(LARGE)
    os.makedirs(d.data + "/empty")
    for to in ("", "/inside", "/spool/x", "/catalog/x", "/empty", "/../data/inside"):
        refused = d.admin("backup", "--to", d.data + to, check=False)
        assert refused.returncode != 0 and ("outside the data folder" in refused.stderr or "not empty" in refused.stderr), to
    assert os.path.isdir(d.data + "/empty") and not os.path.exists(d.data + "/inside") and not os.path.exists(d.data + "/spool/x")
    os.symlink(d.data, d.folder + "/alias")
    assert "outside" in d.admin("backup", "--to", d.folder + "/alias/inside", check=False).stderr


def test_writers_go_on_while_it_is_made(make_daemon, elsewhere):
    """In the copy each catalog is as of one instant: every write is in it wholly or not at all, and those that were over before are."""
    d = make_daemon()
    d.kakao_query("CREATE TABLE pairs (a INTEGER, b VARCHAR)")
    stop, done, wrong = threading.Event(), [], []

    def write():
        while not stop.is_set():
            n = len(done)
            body = d.kakao_query(f"INSERT INTO pairs SELECT {n}, repeat('x', 500) FROM range(2000)")
            if body["queryInfo"]["state"] != "FINISHED":
                wrong.append(body)
                return
            done.append(n)

    writer = threading.Thread(target=write)
    writer.start()
    copies = []
    try:
        for i in range(1):
            wait_until("some writes", lambda: len(done) > len(copies) * 3 + 1 or wrong)
            before = len(done)
            folder = f"{elsewhere}/{i}"
            d.admin("backup", "--to", folder)
            copies.append((folder, before))
    finally:
        stop.set()
        writer.join()
    assert not wrong, wrong
    d.stop()
    for folder, before in copies:
        copy = make_daemon(start=False, prepare=False, data=folder)
        copy.key = d.key
        copy.start()
        rows = copy.kakao_query("SELECT a, count(*) FROM pairs GROUP BY a ORDER BY a")["queryData"]
        assert [r[0] for r in rows] == [str(n) for n in range(len(rows))] and len(rows) >= before
        assert {r[1] for r in rows} == {"2000"}
        assert copy.kakao_query("INSERT INTO pairs VALUES (-1, 'again')")["queryInfo"]["state"] == "FINISHED"
        copy.stop()


def test_a_write_between_registry_and_catalog_is_not_done_twice(make_daemon, elsewhere):
    """The registry's instant has the INSERT queued, the catalog's has its rows."""
    d = make_daemon()
    d.kakao_query("CREATE TABLE t AS SELECT 1 AS a")
    assert d.kakao_query("SELECT count(*) FROM t", reuse=60)["queryData"] == [["1"]]
    reader = d.kakao_run("SELECT count(sleep_ms(1000000000)) FROM t")
    d.kakao_wait(reader, states=("RUNNING",))
    writer = d.kakao_run("INSERT INTO t VALUES (2)")
    wait_until("the writer to stand in line", lambda: d.metrics()["quern_catalog_waiting"] == 1)
    backup = subprocess.Popen([d.build + "/quernd", "admin", "--data", d.data, "backup", "--to", elsewhere + "/copy"])
    wait_until("the backup to stand in line", lambda: d.metrics()["quern_catalog_waiting"] == 2)
    d.kakao_abort(reader)
    assert d.kakao_wait(writer)["queryInfo"]["state"] == "FINISHED" and backup.wait() == 0
    waits = d.kakao_run("SELECT 7")  # not in the copy
    d.kakao_wait(waits)
    d.stop()
    copy = make_daemon(start=False, prepare=False, data=elsewhere + "/copy")
    copy.key = d.key
    copy.start()
    copy.kakao_abort(reader)  # a read-only query runs again
    told = copy.kakao_wait(writer)["queryInfo"]
    assert told["state"] == "FAILED" and "interrupted by restart" in str(told), told
    assert copy.kakao_query("SELECT a FROM t ORDER BY a")["queryData"] == [["1"], ["2"]]
    assert copy.kakao_query("SELECT count(*) FROM t", reuse=60)["queryData"] == [["2"]], "what is older than the write is not reused"
    assert copy.http("GET", f"/v1/data-query/query/{waits}").status_code == 404


def test_no_room_for_the_copy(make_daemon, elsewhere):
    d = make_daemon()
    qid = d.kakao_run(LARGE)
    d.kakao_wait(qid)
    small = elsewhere + "/small"
    os.makedirs(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        failed = d.admin("backup", "--to", small + "/copy", check=False)
        assert failed.returncode == 1 and "No space left" in failed.stderr
        assert not os.path.exists(small + "/copy/backup.json") and not os.path.exists(d.data + "/backup.tmp")
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    d.admin("audit", "verify")  # writes what waits
    words = [line for line in open(d.data + "/audit/audit.log") if '"backup_failed"' in line]
    assert len(words) == 1
    d.works()
    assert d.admin("backup", "--to", elsewhere + "/copy")["results"] == 1
