"""The daemon as a service: restart keeps results, one daemon per folder, drain, health and metrics, routes, administration."""
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from quern_client import BLOCK, BUILD, PATIENCE, StartFailed, wait_until

SECONDS = "SELECT count(sleep_ms(3000)) AS slept"


def test_restart_keeps_everything(make_daemon):
    d = make_daemon(flights=True)
    first = d.kakao_query("SELECT origin, count(*) AS n FROM flights GROUP BY 1 ORDER BY 2 DESC, 1")
    qid = first["queryInfo"]["queryId"]
    large = d.d360_status_of(d.d360_submit("SELECT range AS n FROM range(100000)", mode="ASYNC"))["queryId"]
    assert d.d360_wait(large).json()["rowCount"] == 100000
    failed = d.kakao_query("SELECT * FROM nothing_there")
    deleted = d.kakao_query("SELECT 1")["queryInfo"]["queryId"]
    assert d.http("DELETE", f"/api/v3/query/{deleted}", dialect="data360").status_code == 204
    bodies = {f: d.download(large, f).content for f in ("csv", "json", "ndjson", "arrow")}
    for how in (d.stop, d.kill):
        how()
        d.start()
        assert d.kakao_get(qid) == first
        assert d.kakao_get(failed["queryInfo"]["queryId"]) == failed
        for fmt, body in bodies.items():
            assert d.download(large, fmt).content == body, fmt
        assert d.d360_rows(large, 99990, 100) == [[n] for n in range(99990, 100000)]
        listed = d.http("GET", "/v1/data-query/query").json()
        assert listed["totalElements"] == 4
        assert {c["queryInfo"]["state"] for c in listed["content"]} == {"FINISHED", "FAILED"}
        gone = d.kakao_get(deleted)
        assert gone["queryInfo"]["state"] == "FINISHED" and gone["queryData"] == [], "the record of a deleted result stays"
        assert d.d360_get(deleted).status_code == 404
    d.works()


def test_second_daemon_refuses(make_daemon):
    d = make_daemon()
    second = make_daemon(start=False, prepare=False, data=d.data)
    with pytest.raises(StartFailed) as caught:
        second.start()
    assert re.search(r"lock|in use|running|holds", str(caught.value)), str(caught.value)
    d.works()


def test_restart_with_queued_and_running(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0"})
    running = d.kakao_run(SECONDS)
    queued = [d.kakao_run(f"SELECT {i} AS n") for i in range(20)]
    d.stop()
    d.start()
    assert d.kakao_wait(running)["queryData"] == [["0"]]
    for i, qid in enumerate(queued):
        assert d.kakao_wait(qid)["queryData"] == [[str(i)]]


def draining(d):
    answer = d.http("GET", "/readyz", key=False)
    return answer.text if answer.status_code == 503 else None


def test_sigterm_drains(make_daemon):
    """While something runs: new work is refused with a reason, what is queued stays for the next start, reads go on."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "1000s"})
    done = d.kakao_query("SELECT 3 AS three")["queryInfo"]["queryId"]
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    queued = d.kakao_run("SELECT 9 AS nine")
    d.note_children()
    d.process.send_signal(signal.SIGTERM)
    assert "drain" in wait_until("/readyz to say draining", lambda: draining(d))
    answer = d.kakao_run("SELECT 1", check=False)
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0, answer.text
    answer = d.d360_submit("SELECT 1", check=False)
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0, answer.text
    assert d.download(done, "csv").text.split() == ["three", "3"]
    assert d.http("GET", "/healthz", key=False).status_code == 200
    assert d.kakao_get(queued)["queryInfo"]["state"] == "QUEUED"
    assert d.kakao_abort(running).status_code == 200
    assert d.process.wait(PATIENCE) == 0, "nothing runs any more"
    d.process = None
    d.no_children()
    d.start()
    assert d.kakao_get(running)["queryInfo"]["state"] == "ABORTED"
    assert d.kakao_wait(queued)["queryData"] == [["9"]]


def test_sigterm_lets_end_what_runs(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "100s"})
    running = d.kakao_run(SECONDS)
    d.kakao_wait(running, states=("RUNNING", "FINISHED"))
    d.stop()
    d.start()
    assert d.kakao_get(running)["queryInfo"]["state"] == "FINISHED"


def test_sigterm_lets_end_what_is_between_its_run_and_its_delivery(make_daemon):
    """Neither a slot nor a delivery has it while its phase is being recorded: here for as long as somebody else has the registry."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "1000s"})
    running = d.kakao_run("SELECT count(sleep_ms(500)) AS slept")
    d.kakao_wait(running, states=("RUNNING", "FINISHED"))
    registry = sqlite3.connect(os.path.join(d.data, "registry.db"), isolation_level=None, timeout=60)
    ended = False
    while not ended:  # the daemon waits 10 s for its registry: let go in time
        registry.execute("BEGIN IMMEDIATE")
        end = time.monotonic() + 4
        while not ended and time.monotonic() < end:
            time.sleep(0.1)
            ended = d.metrics()["quern_queries_running"] == 0
        if not ended:
            registry.execute("COMMIT")
    d.note_children()
    d.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    registry.execute("COMMIT")
    registry.close()
    assert d.process.wait(PATIENCE) == 0
    d.process = None
    d.start()
    assert d.kakao_get(running)["queryInfo"]["state"] == "FINISHED"


def test_second_sigterm_ends_the_wait(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "1000s"})
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    d.process.send_signal(signal.SIGTERM)
    wait_until("draining", lambda: draining(d))
    d.stop()
    d.start()
    assert d.kakao_wait(running, states=("RUNNING", "FAILED"))["queryInfo"]["state"] == "RUNNING"
    assert d.kakao_abort(running).status_code == 200


def test_a_download_survives_the_drain(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "1000s"})
    big = d.d360_status_of(d.d360_submit("SELECT range AS n, repeat('x', 500) AS pad FROM range(100000)", mode="ASYNC"))["queryId"]
    assert d.d360_wait(big).status_code == 200
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    other = d.download(big, "csv", stream=True)
    head = other.raw.read(1000)
    d.local.session = None
    d.note_children()
    d.process.send_signal(signal.SIGTERM)
    wait_until("draining", lambda: draining(d))
    body = head + other.raw.read()
    assert body.count(b"\n") == 100001
    assert d.kakao_abort(running).status_code == 200
    assert d.process.wait(PATIENCE) == 0
    d.process = None


def test_health_and_metrics_for_this_machine_only(q):
    for path in ("/healthz", "/readyz", "/metrics"):
        assert q.http("GET", path, key=False).status_code == 200, path
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            value = "for=203.0.113.9" if header == "Forwarded" else "203.0.113.9"
            answer = q.http("GET", path, key=False, headers={header: value})
            assert answer.status_code in (401, 403, 404), f"{path} {header}: {answer.status_code}"
            assert "quern_" not in answer.text
    ready = q.http("GET", "/readyz", key=False).json()
    assert ready["ready"] is True


def other_address():
    """An address of this machine that is not loopback, or None."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.connect(("192.0.2.1", 9))
        address = s.getsockname()[0]
    except OSError:
        return None
    finally:
        s.close()
    return None if address.startswith("127.") else address


def test_plain_http_beyond_loopback_needs_a_word(make_daemon):
    address = other_address()
    if not address:
        pytest.skip("this machine has no address but loopback")
    d = make_daemon(start=False, bucket=False)
    d.args = ["--listen", f"{address}:0"]
    with pytest.raises(StartFailed) as caught:
        d.start()
    assert "http.plain_non_loopback" in str(caught.value)
    d.start(env={"QUERN_HTTP_PLAIN_NON_LOOPBACK": "yes"})
    session = d.session()
    for path in ("/healthz", "/readyz", "/metrics"):
        answer = session.get(f"http://{address}:{d.port}{path}", timeout=PATIENCE)
        assert answer.status_code in (401, 403, 404), f"{path} answers a peer that is not loopback: {answer.status_code}"
    answer = session.get(f"http://{address}:{d.port}/v1/data-query/query", headers=d.key["headers"]["kakao"], timeout=PATIENCE)
    assert answer.status_code == 200


def test_metrics_are_well_formed(q):
    q.works()
    text = q.http("GET", "/metrics", key=False).text
    seen = set()
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.match(r"# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .+", line), line
            continue
        found = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (-?[0-9.eE+-]+|NaN|[+-]?Inf)', line)
        assert found, line
        assert (found.group(1), found.group(2)) not in seen, f"twice: {line}"
        seen.add((found.group(1), found.group(2)))
    names = {n for n, _ in seen}
    assert "quern_sandbox_seccomp" in names and "quern_sandbox_landlock_abi" in names
    for key in (q.key, q.member):
        assert key["secret"] not in text and key["token"] not in text


def test_routes_json():
    done = subprocess.run([os.path.join(BUILD, "quernd"), "routes", "--json"], stdout=subprocess.PIPE, check=True)
    routes = json.loads(done.stdout)
    found = {(r["method"], r["pattern"]) for r in routes}
    for route in (("POST", "/v1/data-query/query"), ("GET", "/v1/data-query/query"), ("GET", "/v1/data-query/query/{id}"),
                  ("PUT", "/v1/data-query/query/{id}/abort"), ("POST", "/api/v3/query"), ("GET", "/api/v3/query/{id}"),
                  ("GET", "/api/v3/query/{id}/rows"), ("DELETE", "/api/v3/query/{id}"), ("GET", "/quern/v1/query/{id}/download"),
                  ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")):
        assert route in found, f"{route} of {sorted(found)}"
    names = [r["name"] for r in routes]
    assert len(names) == len(set(names)) or len({(r["name"], r["method"]) for r in routes}) <= len(routes)
    for r in routes:
        assert set(r) >= {"method", "pattern", "dialect", "name", "role", "credential"}, r


def test_every_route_answers_as_the_table_says(q):
    """Wrong method: 405 with Allow. No credential: 401 wherever one is needed."""
    done = subprocess.run([os.path.join(BUILD, "quernd"), "routes", "--json"], stdout=subprocess.PIPE, check=True)
    routes = json.loads(done.stdout)
    methods = {}
    for r in routes:
        methods.setdefault(r["pattern"], set()).add(r["method"])
    for r in routes:
        path = re.sub(r"\{[^}]*\}", "20240101-000000-aaaaaaaaaa", r["pattern"])
        if str(r["credential"]).lower() not in ("none", "null", ""):
            answer = q.http(r["method"], path, key=False, json={} if r["method"] == "POST" else None)
            assert answer.status_code == 401, f"{r}: {answer.status_code} {answer.text[:200]}"
        wrong = q.http("PATCH", path, dialect=r["dialect"] if r["dialect"] in q.key["headers"] else "kakao")
        assert wrong.status_code == 405, f"PATCH {path}: {wrong.status_code} {wrong.text[:200]}"
        allow = {m.strip() for m in wrong.headers["Allow"].split(",")}
        assert methods[r["pattern"]] <= allow, f"{path}: Allow: {allow}"


def test_configuration_is_checked():
    quernd = os.path.join(BUILD, "quernd")
    done = subprocess.run([quernd, "check-config"], env={**os.environ, "QUERN_ENGINE_SLOTS": "zero"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"engine" in done.stderr and b"slots" in done.stderr.lower()
    assert subprocess.run([quernd], stderr=subprocess.PIPE).returncode == 2
    assert subprocess.run([quernd, "serve"], stderr=subprocess.PIPE).returncode == 2
    assert subprocess.run([quernd, "nonsense"], stderr=subprocess.PIPE).returncode == 2
    assert subprocess.run([quernd, "--version"], stdout=subprocess.PIPE).returncode == 0


def test_administration_while_serving(make_daemon):
    """Keys made and taken away while the daemon runs count at once; the socket is its owner's only."""
    d = make_daemon()
    mode = os.stat(os.path.join(d.data, "admin.sock")).st_mode & 0o777
    assert mode == 0o600, oct(mode)
    assert os.stat(d.data).st_mode & 0o077 == 0
    key = d.new_key(workspace="w9", user="zoe", role="member")
    assert set(key) >= {"workspace", "workspaceId", "user", "role", "keyId", "secret", "token", "headers"}
    assert set(key["headers"]) == {"kakao", "jackdb", "canner", "data360", "kylin"}
    answer = d.http("GET", "/v1/data-query/query", key=key)
    assert answer.status_code == 200 and answer.json()["totalElements"] == 0
    listed = json.dumps(d.admin("key", "list", "--workspace", "w9"))
    assert key["keyId"] in listed and key["secret"] not in listed and key["token"] not in listed
    d.admin("key", "revoke", key["keyId"])
    assert d.http("GET", "/v1/data-query/query", key=key).status_code == 401
    bad = d.admin("key", "create", "--workspace", "w9", "--user", "zoe", "--role", "emperor", check=False)
    assert bad.returncode != 0 and bad.stderr
    d.restart()
    assert d.http("GET", "/v1/data-query/query", key=key).status_code == 401
    assert d.http("GET", "/v1/data-query/query").status_code == 200
    for root, _, names in os.walk(d.data):
        for name in names:
            if name == "admin.sock":
                continue
            try:
                with open(os.path.join(root, name), "rb") as f:
                    data = f.read()
            except FileNotFoundError:  # it went between the listing and now
                continue
            for k in (key, d.key):
                assert k["secret"].encode() not in data, f"a secret lies in {name}"
    assert key["secret"] not in d.log() and d.key["secret"] not in d.log()


def test_datasets_come_and_go(make_daemon, tmp_path):
    d = make_daemon()
    table = tmp_path / "towns.csv"
    table.write_text("name,people\nUlm,126000\nJena,111000\n")
    lines = tmp_path / "lines.json"
    lines.write_text('{"a": 1}\n{"a": 2}\n')
    assert d.kakao_query("SELECT * FROM towns")["queryInfo"]["error"]["name"] == "TABLE_NOT_FOUND"
    d.admin("dataset", "add", "towns", "--url", f"file://{table}", "--workspace", "w1")
    d.admin("dataset", "add", "lines", "--url", f"file://{lines}", "--workspace", "w1")
    assert d.kakao_query("SELECT name FROM towns ORDER BY people")["queryData"] == [["Jena"], ["Ulm"]]
    assert d.kakao_query("SELECT sum(a) FROM data_catalog.main.lines")["queryData"] == [["3"]]
    assert "towns" in json.dumps(d.admin("dataset", "list", "--workspace", "w1"))
    body = d.kakao_query("DROP VIEW data_catalog.main.towns")
    assert body["queryInfo"]["state"] == "FAILED"
    d.admin("dataset", "remove", "towns", "--workspace", "w1")
    assert d.kakao_query("SELECT * FROM towns")["queryInfo"]["error"]["name"] == "TABLE_NOT_FOUND"
    assert d.kakao_query("SELECT sum(a) FROM lines")["queryData"] == [["3"]]
    missing = d.admin("dataset", "add", "gone", "--url", "file:///nowhere/at/all.parquet", "--workspace", "w1", check=False)
    assert missing.returncode != 0


def test_many_at_once(q):
    """Eight clients through both dialects at once: each gets its own answer."""
    wrong = []

    def client(number):
        try:
            for i in range(10):
                value = number * 1000 + i
                if number % 2:
                    body = q.kakao_query(f"SELECT {value} AS v, count(*) FROM range({value})")
                    assert body["queryData"] == [[str(value), str(value)]], body
                else:
                    answer = q.d360_submit(f"SELECT {value} AS v, count(*) FROM range({value})")
                    data = answer.json()["data"]
                    if data is None:
                        qid = q.d360_status_of(answer)["queryId"]
                        assert q.d360_wait(qid).status_code == 200
                        data = q.d360_rows(qid)
                    assert data == [[value, value]], answer.text
        except Exception as e:
            wrong.append(f"client {number}: {type(e).__name__}: {e}")

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong
