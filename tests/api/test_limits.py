"""Limits and quotas: what is refused names limit and key and says when to come back; what was cancelled leaves the queue; the configuration is one table."""
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from quern_client import BLOCK, BUILD, PATIENCE, ROOT, descendants, still_there, wait_until


def quota(d, workspace="w1", **limits):
    """Sets quotas of a workspace: by the administrator's command, else (a daemon that is not running) in the registry itself."""
    for key, value in limits.items():
        done = d.admin("workspace", "set", workspace, f"{key}={value}", check=False)
        if done.returncode == 0:
            continue
        assert d.process is None, done.stderr
        with sqlite3.connect(os.path.join(d.data, "registry.db")) as db:
            db.execute("INSERT INTO workspace_limit SELECT id, ?, ? FROM workspace WHERE name = ?", (key, value, workspace))


def refused(answer, status, *words):
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    for word in words:
        assert word in answer.text, f"{word} is not in {answer.text}"
    assert int(answer.headers["Retry-After"]) > 0, answer.headers


def stored(d):
    """Bytes of w1's results, as counted when one was sealed or went. (quern_spool_bytes is of the last second, in which one may have been half written.)"""
    return d.metrics().get('quern_workspace_spool_bytes{workspace="w1"}', 0)


def queued(d):
    return d.metrics()["quern_queries_queued"]


# --- the queue


@pytest.mark.parametrize("dialect", ["kakao", "data360"])
def test_full_queue_names_its_key(make_daemon, dialect):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_PLAN_SLOTS": "0", "QUERN_QUEUE_PER_WORKSPACE": "2", "QUERN_QUEUE_TOTAL": "4", "QUERN_SERVER_DRAIN": "0",
                         "QUERN_DATA360_PLAN_WAIT": "100ms"})
    other = d.new_key(workspace="w2", user="erin")
    d.admin("bucket", "create", "b2", "--url", "file://" + d.bucket_dir, "--workspace", "w2")

    def submit(key=None):
        if dialect == "kakao":
            return d.kakao_run("SELECT 1", key=key, bucket="b2" if key else "b1", check=False)
        return d.d360_submit("SELECT 1", mode="ASYNC", key=key, check=False)

    good = 202 if dialect == "kakao" else 200
    blocker = d.kakao_run(BLOCK)
    d.kakao_wait(blocker, states=("RUNNING",))
    assert [submit().status_code for _ in range(2)] == [good] * 2
    refused(submit(), 429, "queue.per_workspace")
    assert [submit(other).status_code for _ in range(2)] == [good] * 2
    refused(submit(other), 429, "queue.total")
    d.kakao_abort(blocker)
    wait_until("the queue to empty", lambda: queued(d) == 0)
    assert submit().status_code == good
    d.works()


def test_canceled_leaves_the_queue_at_once(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_QUEUE_PER_WORKSPACE": "3", "QUERN_SERVER_DRAIN": "0"})
    blocker = d.kakao_run(BLOCK)
    d.kakao_wait(blocker, states=("RUNNING",))
    waiting = [d.kakao_run(f"SELECT {i}") for i in range(3)]
    refused(d.kakao_run("SELECT 9", check=False), 429, "queue.per_workspace")
    for qid in (waiting[1], waiting[0], waiting[2]):
        before = queued(d)
        assert d.kakao_abort(qid).status_code == 200
        assert queued(d) == before - 1
    again = [d.kakao_run(f"SELECT {i}") for i in range(3)]  # there is room for all three
    d.kakao_abort(blocker)
    assert [d.kakao_wait(qid)["queryInfo"]["state"] for qid in again] == ["FINISHED"] * 3


# --- quotas


def test_slots_and_queue_of_a_workspace(make_daemon):
    """A workspace at its quota of slots waits although slots are free, and holds nobody else back."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "3", "QUERN_ENGINE_MEMORY": "512MiB", "QUERN_SERVER_DRAIN": "0"}, start=False)
    other = d.new_key(workspace="w2", user="erin")
    d.admin("bucket", "create", "b2", "--url", "file://" + d.bucket_dir, "--workspace", "w2")
    quota(d, slots=1, queue=2)
    d.start()
    blocker = d.kakao_run(BLOCK)
    d.kakao_wait(blocker, states=("RUNNING",))
    mine = [d.kakao_run(f"SELECT {i}") for i in range(2)]
    refused(d.kakao_run("SELECT 1", check=False), 429, "quota queue")
    theirs = d.kakao_wait(d.kakao_run("SELECT 1", key=other, bucket="b2"), key=other)
    assert theirs["queryInfo"]["state"] == "FINISHED"
    assert [d.kakao_get(qid)["queryInfo"]["state"] for qid in mine] == ["QUEUED"] * 2
    assert d.kakao_abort(blocker).status_code == 200
    assert [d.kakao_wait(qid)["queryInfo"]["state"] for qid in mine] == ["FINISHED"] * 2


def test_rows_and_time_of_a_workspace(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "2", "QUERN_ENGINE_GRACE": "500ms"}, start=False)
    quota(d, rows=1000)
    d.start()
    error = d.kakao_query("SELECT range AS n FROM range(1001)")["queryInfo"]
    assert error["state"] == "FAILED" and "quota rows (1000)" in error["error"]["message"], error
    assert d.kakao_query("SELECT range AS n FROM range(1000)")["queryInfo"]["state"] == "FINISHED"
    quota(d, run_timeout=1000)  # only now: the others take as long as they take
    error = d.kakao_query(BLOCK)["queryInfo"]
    assert error["state"] == "FAILED" and "quota run_timeout" in error["error"]["message"], error
    quota(d, run_timeout="default")
    d.works()


def test_stored_bytes_of_a_workspace(make_daemon):
    """Over the quota a result fails, a submit is refused when it is used up; the total survives a restart and shrinks with a delete."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "2"}, start=False)
    quota(d, spool_bytes=3_000_000)
    d.start()
    keep = d.d360_status_of(d.d360_submit("SELECT range AS n FROM range(200000)", mode="ASYNC"))["queryId"]
    assert d.d360_wait(keep).status_code == 200
    used = wait_until("the total", lambda: stored(d))  # counted before anybody is told of the end
    assert 1_600_000 <= used < 3_000_000, used
    error = d.kakao_query("SELECT range AS n FROM range(1000000)")["queryInfo"]
    assert error["state"] == "FAILED" and "quota spool_bytes" in error["error"]["message"], error

    def second():  # what the failed one took is given back with its file, a moment after its end is told
        answer = d.d360_submit("SELECT range AS n FROM range(160000)", mode="ASYNC", check=False)  # may fail before it is answered
        return answer.status_code == 200 and d.d360_wait(d.d360_status_of(answer)["queryId"]).status_code == 200

    wait_until("the failed result to be given back", second)
    wait_until("the total", lambda: stored(d) > used)
    d.restart()
    wait_until("the total", lambda: stored(d) > used)
    d.stop()
    with sqlite3.connect(os.path.join(d.data, "registry.db")) as db:
        db.execute("UPDATE workspace_limit SET value = 2000000 WHERE key = 'spool_bytes'")
    d.start()
    refused(d.kakao_run("SELECT 1", check=False), 429, "quota spool_bytes")
    refused(d.d360_submit("SELECT 1", check=False), 429, "quota spool_bytes")
    assert d.http("DELETE", f"/api/v3/query/{keep}", dialect="data360").status_code == 204
    wait_until("room", lambda: d.kakao_run("SELECT 1", check=False).status_code == 202)
    d.works()


def test_stored_bytes_at_exactly_the_limit(make_daemon):
    """Full is full: at the quota a submit is refused, one byte below it is taken. The quota changes without a restart."""
    d = make_daemon()
    d.d360_wait(d.d360_status_of(d.d360_submit("SELECT range AS n FROM range(200000)", mode="ASYNC"))["queryId"])
    used = int(wait_until("the total", lambda: stored(d)))
    d.admin("workspace", "set", "w1", f"spool_bytes={used}")
    refused(d.kakao_run("SELECT 1", check=False), 429, "quota spool_bytes")
    d.admin("workspace", "set", "w1", f"spool_bytes={used + 1}")
    d.works()
    d.admin("workspace", "set", "w1", "spool_bytes=default")
    d.works()


def test_a_result_that_fills_the_quota(make_daemon):
    """The last byte of the quota may be used, the one behind it not."""
    d = make_daemon()
    one_row = "SELECT range AS n, rpad('', 100000, 'x') AS t FROM range(1)"  # one batch, so that its file always has the same size

    def run():
        answer = d.d360_submit(one_row, mode="ASYNC", check=False)
        if answer.status_code != 200:  # it failed before the submit was answered
            return None, answer
        qid = d.d360_status_of(answer)["queryId"]
        return qid, d.d360_wait(qid)

    assert run()[1].status_code == 200
    size = int(wait_until("the total", lambda: stored(d)))
    d.admin("workspace", "set", "w1", f"spool_bytes={2 * size - 1}")
    answer = run()[1]
    assert answer.status_code == 400 and "quota spool_bytes" in answer.text, answer.text
    d.admin("workspace", "set", "w1", f"spool_bytes={2 * size}")
    # what the failed one took is given back with its file, a moment after its end is told
    qid = wait_until("the last byte to be had", lambda: (lambda qid, answer: answer.status_code == 200 and qid)(*run()))
    wait_until("the total", lambda: stored(d) == 2 * size)
    refused(d.kakao_run("SELECT 1", check=False), 429, "quota spool_bytes")
    assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
    wait_until("room", lambda: d.kakao_run("SELECT 1", check=False).status_code == 202)


# --- memory


def test_walls_keep_to_the_share(make_daemon):
    """Slots are lowered until the walls fit; the sum holds at every instant, also with warm processes of many workspaces."""
    with open("/proc/meminfo") as f:
        total = int(f.readline().split()[1]) // 1024
    wall = total // 4 // 3  # three fit into a quarter, or two in a control group's rounding
    d = make_daemon(env={"QUERN_ENGINE_MEMORY": f"{wall}MiB", "QUERN_ENGINE_MEMORY_SHARE": "25", "QUERN_ENGINE_SLOTS": "8", "QUERN_SERVER_DRAIN": "0"}, bucket=False, start=False)
    keys = [d.new_key(workspace=f"m{i}", user=f"u{i}") for i in range(5)]
    d.start()
    assert "engine.slots lowered from 8 to" in d.log() and "engine.memory_share" in d.log()
    most = 0
    for n in range(3):
        left = [(k, d.d360_status_of(d.d360_submit(f"SELECT {n}", mode="ASYNC", key=k))["queryId"]) for k in keys]
        while left:
            most = max(most, len(still_there(descendants(d.process.pid))))
            left = [(k, q) for k, q in left if d.d360_get(q, key=k).json()["completionStatus"] not in ("FINISHED", "RESULTS_PRODUCED")]
    assert 1 <= most <= 3, f"{most} processes with a wall of {wall} MiB in a quarter of {total} MiB"


# --- the configuration


def test_configuration_page_is_fresh():
    text = subprocess.run([os.path.join(BUILD, "quernd"), "config-help", "--markdown"], stdout=subprocess.PIPE, check=True, text=True).stdout
    with open(os.path.join(ROOT, "docs", "configuration.md")) as f:
        assert f.read() == text, "docs/configuration.md is stale: build/quernd config-help --markdown > docs/configuration.md"


@pytest.mark.parametrize("text, line, key", [
    ("[engine]\nslots = many\n", "line 2", "engine.slots"), ("[engine]\n\nslots = 0\n", "line 3", "engine.slots"), ("[engine]\nslotz = 1\n", "line 2", "slotz"),
    ("[nonsense]\na = 1\n", "line 2", "nonsense"), ("[spool]\nmin_free = 1 MB\n", "line 2", "spool.min_free"), ("[log]\nlevel = loud\n", "line 2", "log.level"),
    ("[log]\nlevel = info\nlevel = warn\n", "line 3", "log.level"), ("[log]\nwhat is this\n", "line 2", ""),
])
def test_check_config_names_line_and_key(tmp_path, text, line, key):
    path = tmp_path / "quern.ini"
    path.write_text(text)
    done = subprocess.run([os.path.join(BUILD, "quernd"), "check-config", "--config", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and line in done.stderr and key in done.stderr, done.stderr


@pytest.mark.parametrize("text, key", [
    ("[http]\nlisten = nowhere\n", "http.listen"), ("[http]\nlisten = 127.0.0.1:http\n", "http.listen"), ("[http]\nlisten = 127.0.0.1:99999\n", "http.listen"),
    ("[http]\nlisten = 0.0.0.0:80\n", "http.plain_non_loopback"), ("[http]\nadmin_listen = :\n", "http.admin_listen"), ("[http]\ncors_origins = example.org\n", "http.cors_origins"),
    ("[http]\ntrusted_proxies = 10.0.0.0/33\n", "http.trusted_proxies"), ("[http]\ntls_key = key.pem\n", "http.tls_certificate"),
    ("[http]\ntls_key = k\ntls_certificate = c\n", "certificate"), ("[http]\npublic_url = sql.example.com\n", "http.public_url"),
    ("[http]\npublic_url = https://sql.example.com/\n", "http.public_url"), ("[http]\npublic_url = javascript://x\n", "http.public_url"),
    ("[http]\npublic_url = https://[::1\n", "http.public_url"), ("[http]\npublic_url = https://x:123456\n", "http.public_url"),
    ("[kylin]\ntime_zone = Mars/Olympus\n", "kylin.time_zone"), ("[kylin]\ntime_zone = +25:00\n", "kylin.time_zone"),
])
def test_check_config_refuses_what_a_start_would(tmp_path, text, key):
    """Both refuse the same, and a start before it touches the data folder."""
    path = tmp_path / "quern.ini"
    path.write_text(text)
    for command in (["check-config"], ["serve", "--data", str(tmp_path / "data")]):
        done = subprocess.run([os.path.join(BUILD, "quernd"), *command, "--config", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        assert done.returncode == 1 and key in done.stderr, (command, done.stderr)
    assert not (tmp_path / "data").exists()


def test_check_config_takes_what_is_good(tmp_path):
    path = tmp_path / "quern.ini"
    path.write_text("[http]\nlisten = [::1]:0\nadmin_listen = 0.0.0.0:9\ntrusted_proxies = 10.0.0.0/8, ::1\npublic_url = https://[2001:db8::1]:8443\n[kylin]\ntime_zone = +08:00\n")
    done = subprocess.run([os.path.join(BUILD, "quernd"), "check-config", "--config", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "QUERN_ENGINE_SLOTZ": "1", "QUERN_OTHER": "1"})
    assert done.returncode == 0 and "good" in done.stdout, done
    assert "QUERN_ENGINE_SLOTZ" in done.stderr and "QUERN_OTHER" not in done.stderr, done.stderr


def test_every_number_refuses_what_is_none(tmp_path):
    """Each key of the page with what an operator may write by mistake: the answer names line and key."""
    page = subprocess.run([os.path.join(BUILD, "quernd"), "config-help", "--markdown"], stdout=subprocess.PIPE, check=True, text=True).stdout
    section, found = None, []
    for line in page.splitlines():
        section = line[3:] if line.startswith("## ") else section
        row = re.match(r"\| `(\w+)` \| .*? \| (.*?) \|", line)
        if row and row.group(2) != "text":
            found.append((section, row.group(1)))
    assert len(found) > 80
    path = tmp_path / "quern.ini"
    for i, (section, name) in enumerate(found):
        for bad in (["", "-1", "99999999999999999999"], ["-9223372036854775809", "10 parsecs", "\uff11\uff12"], ["1.5", "\u00fc", "0x10"])[i % 3]:
            path.write_text(f"[{section}]\n{name} = {bad}\n")
            done = subprocess.run([os.path.join(BUILD, "quernd"), "check-config", "--config", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 1 and "line 2" in done.stderr and f"{section}.{name}" in done.stderr, (section, name, bad, done.stderr)


def test_reload_says_what_changed(make_daemon, tmp_path):
    path = tmp_path / "quern.ini"
    path.write_text("[queue]\nper_workspace = 7\n")
    d = make_daemon(args=["--config", str(path)])

    def hup(text, wanted):
        path.write_text(text)
        mark = len(d.log())
        d.process.send_signal(signal.SIGHUP)
        wait_until(wanted, lambda: wanted in d.log()[mark:])
        return d.log()[mark:]

    said = hup("[queue]\nper_workspace = 1\n[engine]\nslots = 3\n", "configuration reloaded")
    assert "queue.per_workspace" in said and "only after a restart: engine.slots" in said, said
    said = hup("[queue]\nper_workspace = -1\n", "reload refused")
    assert "line 2" in said and "queue.per_workspace" in said
    said = hup("[queue]\nper_workspace = 1\n[engine]\nslots = 3\n", "configuration reloaded")
    assert "queue.per_workspace" not in said
    d.works()
    os.unlink(path)
    for make in (os.mkfifo, os.mkdir):  # neither is waited for: the daemon still stops when it is told to
        make(path)
        mark = len(d.log())
        d.process.send_signal(signal.SIGHUP)
        wait_until("a refusal", lambda: "reload refused" in d.log()[mark:])
        os.unlink(path) if make is os.mkfifo else os.rmdir(path)
    d.works()
    d.stop()


# --- stop and start


def test_stop_fails_no_request_under_way(make_daemon):
    """SIGTERM while queries run, polls wait and a download is read: all of them are answered whole, then the exit code is 0."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "2", "QUERN_SERVER_DRAIN": "1000s"})
    big = d.d360_status_of(d.d360_submit("SELECT range AS n, repeat('x', 100) AS x FROM range(300000)", mode="ASYNC"))["queryId"]
    assert d.d360_wait(big).status_code == 200
    slow = d.d360_status_of(d.d360_submit("SELECT count(sleep_ms(5000))", mode="ASYNC"))["queryId"]
    wrong, answers, told = [], [], threading.Event()

    def poll():
        try:
            for _ in range(2):
                answers.append(d.d360_get(f"{slow}?waitTimeMs=20000").status_code)
        except Exception as e:  # refused once the listener is closed: allowed after the first answer
            if not answers:
                wrong.append(repr(e))

    def read():
        try:
            answer = d.download(big, "csv", dialect="data360", key=d.key, stream=True)
            lines = 0
            for i, part in enumerate(answer.iter_content(65536)):
                lines += part.count(b"\n")
                if i % 16 == 0:
                    told.wait(PATIENCE)  # until the daemon was told to stop
                    time.sleep(0.05)
            if lines != 300001:
                wrong.append(f"{lines} lines")
        except Exception as e:
            wrong.append(repr(e))

    threads = [threading.Thread(target=poll), threading.Thread(target=read)]
    for t in threads:
        t.start()
    wait_until("the download to begin, and the poll", lambda: (m := d.metrics())["quern_http_streams"] > 0 and (m["quern_http_parked"] > 0 or answers or wrong))
    d.note_children()
    d.process.send_signal(signal.SIGTERM)
    wait_until("draining", lambda: "draining" in d.log())
    told.set()
    for t in threads:
        t.join()
    assert not wrong, wrong
    assert answers and set(answers) == {200}, answers
    assert d.process.wait(timeout=PATIENCE) == 0
    d.process = None


def test_unclean_stop_is_told(make_daemon):
    d = make_daemon(env={"QUERN_LOG_LEVEL": "info"})
    d.works()
    d.kill()
    mark = len(d.log())
    d.start()
    said = d.log()[mark:]
    assert "start after an unclean stop" in said and "registry" in said and " ms" in said, said
    d.works()
    d.stop()
    mark = len(d.log())
    d.start()
    assert "unclean" not in d.log()[mark:]


def test_second_daemon_refuses(make_daemon):
    d = make_daemon()
    done = subprocess.run([os.path.join(d.build, "quernd"), "serve", "--data", d.data, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
    assert done.returncode == 1 and b"quernd:" in done.stderr, done
    d.works()
