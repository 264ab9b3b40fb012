"""What an operator has: audit trail, slow-query lines, metrics by workspace, admin commands, drain, backup and restore."""
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time

from quern_client import BLOCK, records_of, wait_until

SECRET_TEXT = "'a text that nobody may find in a log'"


def trail(d, flush=True):
    """All records, after the chain was checked by other means than the daemon's."""
    if flush and d.process:
        d.admin("audit", "verify")
    records, before = [], "0" * 64
    for path in sorted(glob.glob(os.path.join(d.data, "audit", "audit-*.log"))) + [os.path.join(d.data, "audit", "audit.log")]:
        for line in records_of(path, whole=not d.process):
            record = json.loads(line)
            assert line.endswith(b"\n") and record["prev"] == before and record["seq"] == len(records) + 1, line
            before = hashlib.blake2b(line[:-1], digest_size=32).hexdigest()
            records.append(record)
    return records


def events(d, word, **fields):
    return [r for r in trail(d) if r["event"] == word and all(r.get(k) == v for k, v in fields.items())]


def seen(d, word, **fields):
    """The same where the record follows its answer: the end of a download is known to the client first."""
    return wait_until(f"a record {word} {fields}", lambda: events(d, word, **fields))


def d360_id(d, sql, key=None, mode="ASYNC"):
    return d.d360_status_of(d.d360_submit(sql, mode=mode, key=key))["queryId"]


# --- audit --------------------------------------------------------------------------------------------------------------------------------


def test_audit_events(make_daemon):
    d = make_daemon()
    member, reader, other = d.new_key(user="bob", role="member"), d.new_key(user="dave", role="reader"), d.new_key(workspace="w2", user="erin")
    qid = d360_id(d, f"SELECT {SECRET_TEXT} AS t", key=member)
    again = d360_id(d, f"SELECT {SECRET_TEXT} AS t", key=member)
    assert d.d360_wait(qid, key=member).status_code == 200 and d.d360_wait(again, key=member).status_code == 200
    body = d.download(qid, "csv", key=member).content
    d.d360_submit("SELECT 1", key=reader, check=False)
    wrong = json.loads(json.dumps(member))
    wrong["headers"]["data360"]["Authorization"] = wrong["headers"]["data360"]["Authorization"][:-7] + "x" * 7
    assert d.d360_submit("SELECT 1", key=wrong, check=False).status_code == 401
    headers = {"Credential-ID": member["secret"], "Credential-Secret": member["keyId"]}  # a secret in the wrong place
    assert d.http("GET", "/v1/data-query/query", key=False, headers=headers).status_code == 401
    headers = {"Credential-ID": member["keyId"], "Credential-Secret": "wrong"}
    assert d.http("GET", "/v1/data-query/query", key=False, headers=headers).status_code == 401
    assert d.d360_get(qid, key=other).status_code == 404
    running = d360_id(d, BLOCK, key=member)
    d.http("DELETE", f"/api/v3/query/{running}", key=member, dialect="data360")
    d.admin("key", "revoke", reader["keyId"])
    failed = d.d360_submit("SELECT no_such_column", check=False).json()["details"]["queryId"]
    seen(d, "result_download", query=qid)
    seen(d, "query_end", query=running)

    found = {word: events(d, word) for word in ("query_submit", "query_end", "query_cancel", "query_delete", "result_download", "authz_fail", "authn_login_fail",
                                                "authn_token_created", "authn_token_revoked", "user_created", "workspace_created", "sys_startup", "bucket_created")}
    submit = [r for r in found["query_submit"] if r["query"] == qid][0]
    assert (submit["workspace"], submit["user"], submit["dialect"]) == ("w1", "bob", "data360") and re.fullmatch("[0-9a-f]{64}", submit["statement"])
    assert [r["statement"] for r in found["query_submit"] if r["query"] == again] == [submit["statement"]]
    ends = {r["query"]: r for r in found["query_end"]}
    assert ends[qid]["ending"] == "finished" and ends[qid]["rows"] == "1" and ends[qid]["statement"] == submit["statement"]
    assert ends[failed]["ending"] == "sql_error" and ends[running]["ending"].startswith("canceled")
    assert [r["by"] for r in found["query_cancel"] if r["query"] == running] == ["bob"]
    assert [r["query"] for r in found["query_delete"]] == [running]
    read = found["result_download"][0]
    assert (read["query"], read["user"], read["format"], read["bytes"], read["complete"]) == (qid, "bob", "csv", str(len(body)), "yes")
    assert any(r["user"] == "dave" for r in found["authz_fail"])
    assert any(r["user"] == "erin" and r["query"] == qid and r["of_workspace"] == "w1" for r in found["authz_fail"])
    assert len(found["authn_login_fail"]) == 3 and sum(r.get("key") == member["keyId"] for r in found["authn_login_fail"]) == 1
    assert {r["peer"] for r in found["authn_login_fail"]} == {"127.0.0.1"}
    assert len(found["authn_token_created"]) == 4 and {r["user"] for r in found["user_created"]} == {"alice", "bob", "dave", "erin"}
    assert found["authn_token_revoked"][0]["key"] == reader["keyId"] and len(found["workspace_created"]) == 2
    assert found["bucket_created"] and found["sys_startup"][0]["previous"] == "none"
    text = "".join(open(p).read() for p in glob.glob(os.path.join(d.data, "audit", "*"))) + d.log()
    for secret in [SECRET_TEXT[1:-1], "no_such_column", "range(1000000)"] + [k["secret"] for k in (d.key, member, reader, other)]:
        assert secret not in text
    d.stop()
    assert trail(d)[-1]["event"] == "sys_shutdown"


def test_nothing_hides_in_log_and_trail(make_daemon):
    """Names may hold any character but controls: neither the log nor the trail shows them as what turns a line around, breaks it or hides."""
    d = make_daemon(env={"QUERN_LOG_SLOW_QUERY": "1ms", "QUERN_LOG_SQL": "yes"})
    name = "eve\u202eadmin\u2028b\u200b\U000e0041"
    key = d.new_key(user=name, role="member")
    d.kakao_query("SELECT count(sleep_ms(5)) AS \"a\u202e\nlevel=error msg=forged\x1b[2J\u2028\"", key=key)
    assert any(r["user"] == name for r in events(d, "query_submit"))  # it is the same name
    for path in [d.log_path, *glob.glob(os.path.join(d.data, "audit", "*"))]:
        with open(path, "rb") as f:
            text = f.read()
        assert not {c for c in text if c < 32 and c != 10}, path
        for hidden in "\u202e\u2028\u200b\U000e0041":
            assert hidden.encode() not in text, (path, ascii(hidden))
    assert wait_until("the line", lambda: "slow query" in d.log()) and not re.search(r"^level=error", d.log(), re.M)


def test_audit_of_first_addresses_and_of_admins_who_look(make_daemon):
    """A key from a new address, an admin at somebody else's query: once each, not at every request; again after a restart."""
    d = make_daemon(env={"QUERN_HTTP_TRUSTED_PROXIES": "127.0.0.1", "QUERN_ACCESS_QUERIES": "owner"})
    member, other = d.new_key(user="bob", role="member"), d.new_key(user="carol", role="member")
    qid = d360_id(d, "SELECT 1 AS a", key=member)
    d.d360_wait(qid, key=member)
    for address in ("192.0.2.7", "2001:db8::1", "192.0.2.7"):
        for _ in range(3):
            assert d.d360_get(qid, key=member, headers={"X-Forwarded-For": address}).status_code == 200
    d.new_key(user="dave", role="reader")  # the table of keys is read again: nothing is new by that
    assert d.d360_get(qid, key=member, headers={"X-Forwarded-For": "2001:db8::1"}).status_code == 200
    for _ in range(3):
        assert d.d360_get(qid).status_code == 200
    assert d.d360_get(qid, key=other).status_code == 404
    assert [(r["user"], r["key"], r["peer"]) for r in events(d, "authn_login_success", user="bob")] == [
        ("bob", member["keyId"], peer) for peer in ("127.0.0.1", "192.0.2.7", "2001:db8::1")]
    assert [(r["query"], r["user"], r["by"], r["key"]) for r in events(d, "authz_admin")] == [(qid, "bob", "alice", d.key["keyId"])]
    mine = d360_id(d, "SELECT 1 AS a")
    d.d360_wait(mine)
    assert len(events(d, "authz_admin")) == 1 and not events(d, "authz_admin", query=mine)
    assert {r.get("source") for r in events(d, "query_submit")} == {"data_catalog"}
    d.restart()
    d.d360_get(qid)
    assert len(events(d, "authz_admin")) == 2 and len(events(d, "authn_login_success", user="alice")) == 2


def test_audit_all_reads(make_daemon):
    d = make_daemon(env={"QUERN_AUDIT_READS": "all"})
    qid = d360_id(d, "SELECT range FROM range(10)")
    d.d360_wait(qid)
    d.d360_rows(qid, 0, 3)
    read = seen(d, "result_read", query=qid)
    assert read[-1]["dialect"] == "data360" and int(read[-1]["bytes"]) > 0
    large = d360_id(d, "SELECT range FROM range(2000000)")
    d.d360_wait(large)
    with d.download(large, "csv", stream=True, headers={"Connection": "close"}) as answer: # a client that leaves
        answer.raw.read(1000)
    cut = seen(d, "result_download", query=large)
    assert cut[0]["complete"] == "no"


def test_audit_of_a_dialects_own_download(make_daemon):
    d = make_daemon()
    qid = d.kylin_query("select 1 as a", include_header=True)
    assert d.kylin_get(qid, "result_download").text == "a\n1\n"
    read = seen(d, "result_download")
    assert [(r["query"], r["dialect"], r["format"], r["bytes"], r["complete"]) for r in read] == [(qid, "kylin", "csv", "4", "yes")]


def test_audit_survives_kill_and_tells(make_daemon):
    d = make_daemon()
    d.works()
    d.admin("audit", "verify")
    d.kill()
    d.start()
    d.works()
    starts = events(d, "sys_startup")
    assert [r["previous"] for r in starts] == ["none", "unclean"]
    d.restart()
    assert events(d, "sys_startup")[-1]["previous"] == "clean"
    d.stop()
    assert d.admin("audit", "verify")["ok"] is True
    path = os.path.join(d.data, "audit", "audit.log")
    good = open(path, "rb").read()
    lines = good.splitlines(keepends=True)
    for bad, line in ((b"".join(lines[:3] + [lines[3].replace(b"event", b"Event")] + lines[4:]), "line 5"), (b"".join(lines[:3] + lines[4:]), "line 4"),
                      (b"".join(lines[:-1]), "end is missing")):
        with open(path, "wb") as f:
            f.write(bad)
        done = d.admin("audit", "verify", check=False)
        # The command itself is no event, and so it repairs nothing.
        assert done.returncode == 1 and line in done.stderr, done.stderr
        with open(path, "wb") as f:
            f.write(good)
        assert d.admin("audit", "verify")["ok"] is True


def test_audit_required(make_daemon):
    d = make_daemon(env={"QUERN_AUDIT_REQUIRED": "yes", "QUERN_AUDIT_QUEUE": "16"})
    refused = []

    def probe():
        answer = d.d360_submit("SELECT 1", mode="ASYNC", check=False)
        if answer.status_code == 503:
            refused.append(answer.text)
        return len(refused) >= 1

    wait_until("a refusal for the audit log's sake", probe, pause=0)
    assert "audit.required" in refused[0] and "audit.queue" in refused[0]
    wait_until("that it is taken again", lambda: d.d360_submit("SELECT 1", mode="ASYNC", check=False).status_code == 200)


# --- log and metrics -----------------------------------------------------------------------------------------------------------------------


def slow_lines(d):
    return [line for line in d.log().splitlines() if 'msg="slow query"' in line]


def test_slow_queries(make_daemon):
    d = make_daemon(env={"QUERN_LOG_SLOW_QUERY": "1ms"})
    qid = d360_id(d, f"SELECT count(*), {SECRET_TEXT} FROM range(1000000)")
    d.d360_wait(qid)
    line = wait_until("the line", lambda: [s for s in slow_lines(d) if qid in s])[0]
    assert re.search(r"workspace=w1 user=alice ms=\d+ queued_ms=\d+ run_ms=\d+ rows=1 ending=finished", line) and "sql=" not in line
    assert SECRET_TEXT[1:-1] not in d.log()
    d.restart(env={"QUERN_LOG_SQL": "yes"})
    qid = d360_id(d, f"SELECT {SECRET_TEXT}\n, 1")
    line = wait_until("the line", lambda: [s for s in slow_lines(d) if qid in s])[0]
    assert f'sql="SELECT {SECRET_TEXT}\\n, 1"' in line, line
    d.restart(env={"QUERN_LOG_SLOW_QUERY": "1h"})
    before = len(slow_lines(d))
    d.works()
    assert len(slow_lines(d)) == before


def test_metrics_by_workspace(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    other = d.new_key(workspace='w"2\\', user="erin")
    d.works()
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    waiting = [d360_id(d, "SELECT 1", key=other) for _ in range(3)]
    found = d.metrics()
    assert found['quern_workspace_queries_ended_total{workspace="w1"}'] == 1  # counted before anybody is told of the end
    assert found['quern_workspace_queries_running{workspace="w1"}'] == 1 and found['quern_workspace_queries_queued{workspace="w1"}'] == 0
    assert found['quern_workspace_queries_queued{workspace="w\\"2\\\\"}'] == 3
    d.kakao_abort(running)
    for qid in waiting:
        d.d360_wait(qid, key=other)
    found = d.metrics()
    assert found['quern_workspace_queries_ended_total{workspace="w\\"2\\\\"}'] == 3
    assert all(v == 0 for k, v in found.items() if k.startswith(("quern_workspace_queries_running", "quern_workspace_queries_queued")))


def size_of(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError: # it went between the listing and now
        return 0


def test_spool_bytes_by_workspace(make_daemon):
    d = make_daemon(env={"QUERN_RESULT_RETENTION": "1h"})

    def stored():
        files = sum(size_of(f) for f in glob.glob(os.path.join(d.data, "spool", "??", "*.seg")))
        return d.metrics().get('quern_workspace_spool_bytes{workspace="w1"}', 0), files

    ids = [d360_id(d, f"SELECT range + {i} AS n FROM range(50000)") for i in range(3)]
    for qid in ids:
        d.d360_wait(qid)
    wait_until("that the metric is right", lambda: len(set(stored())) == 1)
    files = stored()[1]
    assert files > 3 * 50000
    d.http("DELETE", f"/api/v3/query/{ids[0]}", dialect="data360")
    wait_until("that the file goes", lambda: stored()[1] < files)
    wait_until("that the metric follows", lambda: len(set(stored())) == 1)
    d.restart()
    wait_until("that the metric is right after a start", lambda: len(set(stored())) == 1 and stored()[0] > 0)
    d.restart(env={"QUERN_RESULT_RETENTION": "1s"}) # what ended before keeps its hour
    last = d360_id(d, "SELECT range FROM range(50000)")
    d.d360_wait(last)
    wait_until("that it expires", lambda: d.d360_get(last).status_code == 404)
    assert [r["query"] for r in seen(d, "retention_delete", what="result")] == [last]  # gone for all at once, the janitor comes later
    path = os.path.join(d.data, "spool", last[-2:], f"{last}-0.seg")
    wait_until("that its file and bytes go", lambda: not os.path.exists(path) and len(set(stored())) == 1)


def test_metrics_of_many_workspaces(make_daemon):
    d = make_daemon(start=False)
    keys = [d.new_key(workspace=f"more{i}", user="u") for i in range(66)]
    d.start()
    for key in (keys[0], keys[62], keys[63], keys[65]):
        d.d360_wait(d360_id(d, "SELECT 1", key=key), key=key)
    ended = {k: v for k, v in d.metrics().items() if k.startswith("quern_workspace_queries_ended")}
    assert ended == {f'quern_workspace_queries_ended_total{{workspace="{w}"}}': n for w, n in (("more0", 1), ("more62", 1), ("other", 2))}


# --- commands ------------------------------------------------------------------------------------------------------------------------------


def test_query_list_and_cancel(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    other = d.new_key(workspace="w2", user="erin")
    done = d360_id(d, "SELECT range FROM range(3)")
    d.d360_wait(done)
    running = d360_id(d, BLOCK)
    queued = d360_id(d, BLOCK, key=other)
    wait_until("that it runs", lambda: [q["id"] for q in d.admin("query", "list", "--state", "running")] == [running])
    listed = d.admin("query", "list")
    assert {q["id"] for q in listed} == {queued, running, done}
    assert [q["id"] for q in listed if q["workspace"] == "w1"] == [running, done], "newest first"
    assert {q["id"] for q in d.admin("query", "list", "--workspace", "w2")} == {queued}
    assert {q["id"] for q in d.admin("query", "list", "--state", "QUEUED,finished")} == {queued, done}
    assert len(d.admin("query", "list", "--limit", "1")) == 1
    row = [q for q in listed if q["id"] == done][0]
    assert (row["workspace"], row["user"], row["state"], row["ending"], row["rows"]) == ("w1", "alice", "FINISHED", "finished", 3)
    for words, text in ((["list", "--state", "sleeping"], "--state"), (["list", "--limit", "0"], "--limit")):
        bad = d.admin("query", *words, check=False)
        assert bad.returncode == 2 and text in bad.stderr
    assert d.admin("query", "list", "--workspace", "w9", check=False).returncode == 1
    for qid in (queued, running):
        assert d.admin("query", "cancel", qid) == {"id": qid, "state": "CANCELED"}
    assert {q["id"] for q in d.admin("query", "list", "--state", "canceled")} == {queued, running}
    for qid, text in ((running, "ended"), (done, "ended"), ("00000000-0000-4000-8000-000000000000", "not found"), ("x", "not found")):
        bad = d.admin("query", "cancel", qid, check=False)
        assert bad.returncode == 1 and text in bad.stderr, bad.stderr
    assert {r["by"] for r in events(d, "query_cancel")} == {"admin"}
    d.works()
    d.stop()
    assert len(d.admin("query", "list")) == 4
    assert "no daemon runs" in d.admin("query", "cancel", done, check=False).stderr


def test_sources(make_daemon):
    d = make_daemon()
    assert d.admin("source", "list") == [{"workspace": "w1", "name": "data_catalog", "kind": "catalog", "scope": "NONE",
                                           "creator": None, "instance": None, "createdAt": None}]
    assert d.admin("source", "test", "data_catalog", "--workspace", "w1")["ok"] is True
    bad = d.admin("source", "test", "orders", "--workspace", "w1", check=False)
    assert bad.returncode == 1 and "no data source" in bad.stderr
    assert "no workspace" in d.admin("source", "test", "data_catalog", "--workspace", "w9", check=False).stderr
    assert len(events(d, "source_tested", workspace="w1", source="data_catalog", ok="yes")) == 1


def test_key_expiry_and_rotation(make_daemon):
    d = make_daemon()

    def answers(key):
        return d.http("GET", "/v1/data-query/query", key=key).status_code

    begun = time.monotonic()
    short = d.admin("key", "create", "--workspace", "w1", "--user", "bob", "--role", "member", "--expires", "3s")
    assert answers(short) == 200 or time.monotonic() - begun >= 3
    wait_until("the key's end", lambda: answers(short) == 401, pause=0.2)
    assert [k["state"] for k in d.admin("key", "list") if k["keyId"] == short["keyId"]] == ["expired"]
    first, second = d.new_key(user="bob", role="member"), d.new_key(user="bob", role="member") # an expired one does not count
    bad = d.admin("key", "create", "--workspace", "w1", "--user", "bob", "--role", "member", check=False)
    assert bad.returncode == 1 and "auth.keys_per_user = 2" in bad.stderr and '"bob" has 2 live keys' in bad.stderr, bad.stderr
    d.new_key(workspace="w2", user="bob", role="member") # of another workspace: another count
    bad = d.admin("key", "rotate", first["keyId"], "--grace", "1h", check=False)
    assert bad.returncode == 1 and "auth.keys_per_user" in bad.stderr
    new = d.admin("key", "rotate", first["keyId"])
    assert (answers(first), answers(second), answers(new)) == (401, 200, 200) and new["role"] == "member" and new["user"] == "bob"
    d.admin("key", "revoke", second["keyId"])
    begun = time.monotonic()
    newer = d.admin("key", "rotate", new["keyId"], "--grace", "3s", "--expires", "30d")
    assert answers(newer) == 200
    assert answers(new) == 200 or time.monotonic() - begun >= 3, "both work during the grace"
    wait_until("the end of the grace", lambda: answers(new) == 401, pause=0.2)
    assert answers(newer) == 200
    assert d.admin("key", "rotate", new["keyId"], check=False).returncode == 1
    for value in ("soon", "0", "-1d"):
        assert d.admin("key", "create", "--workspace", "w1", "--user", "x", "--role", "member", "--expires", value, check=False).returncode == 2
    d.restart()
    assert (answers(new), answers(newer)) == (401, 200)


def test_workspace_limits_are_kept(make_daemon):
    d = make_daemon()
    d.admin("workspace", "set", "w1", "slots=2")
    assert d.admin("workspace", "set", "w1", "spool_bytes=512MiB")["spool_bytes"] == 512 << 20
    assert d.admin("workspace", "set", "w1", "run_timeout=30s")["run_timeout"] == 30000
    d.restart()
    row = d.admin("workspace", "list")[0]
    assert (row["slots"], row["spool_bytes"], row["run_timeout"], row["queue"], row["rows"]) == (2, 512 << 20, 30000, None, None)
    assert d.admin("workspace", "set", "w1", "slots=default")["slots"] is None
    for words, code in ((["w1", "slots=0"], 1), (["w1", "slots=many"], 1), (["w1", "color=red"], 2), (["w1", "slots"], 2), (["w1"], 2), (["w9", "slots=1"], 1)):
        assert d.admin("workspace", "set", *words, check=False).returncode == code, words


def test_drain_and_pause(make_daemon):
    d = make_daemon()
    assert d.admin("drain", check=True)["running"] == 0
    answer = d.d360_submit("SELECT 1", check=False)
    assert answer.status_code == 503 and "drain" in answer.text
    answer = d.http("GET", "/readyz", key=False)
    assert answer.status_code == 503 and "Retry-After" in answer.headers
    assert {k: answer.json()[k] for k in ("ready", "draining", "reason")} == {"ready": False, "draining": True, "reason": "draining"}
    assert d.admin("undrain")["draining"] is False
    assert d.http("GET", "/readyz", key=False).status_code == 200
    d.works()
    assert d.admin("pause")["paused"] is True
    waiting = d360_id(d, "SELECT 1")
    assert d.admin("drain")["queued"] == 1
    assert d.admin("undrain")["paused"] is True, "a drain does not end a pause"
    time.sleep(0.3)
    assert d.admin("query", "list", "--state", "queued")[0]["id"] == waiting
    d.admin("resume")
    assert d.d360_wait(waiting).status_code == 200
    running = d360_id(d, BLOCK)
    wait_until("that it runs", lambda: d.admin("query", "list", "--state", "running"))
    state = {}
    drain = threading.Thread(target=lambda: state.update(d.admin("drain")))
    drain.start()
    time.sleep(0.3)
    assert drain.is_alive(), "it waits for what runs, and others are served meanwhile"
    d.admin("query", "cancel", running)
    drain.join()
    assert state["running"] == 0 and state["draining"] is True
    assert d.admin("drain", "--wait", "x", check=False).returncode == 2
    words = [r["event"] for r in trail(d) if r["event"].startswith("sys_")]
    assert words == ["sys_startup", "sys_drain", "sys_undrain", "sys_pause", "sys_drain", "sys_undrain", "sys_resume", "sys_drain"]
    d.stop()
    assert "no daemon runs" in d.admin("drain", check=False).stderr


# --- backup ----------------------------------------------------------------------------------------------------------------------------------


LOAD_ROWS = 5000  # a file each; the copy may be in memory


def restore(make_daemon, d, folder):
    copy = make_daemon(start=False, prepare=False, data=folder)
    copy.key = d.key
    return copy.start()


def check_backup(make_daemon, place):
    d = make_daemon(flights=True)
    large = d360_id(d, "SELECT range AS n, 'row ' || range AS t FROM range(200000)")
    small = d360_id(d, "SELECT 42 AS answer")
    gone = d360_id(d, "SELECT range FROM range(100000)")
    for qid in (large, small, gone):
        d.d360_wait(qid)
    assert d.kakao_query("CREATE TABLE kept AS SELECT range AS n FROM range(1000)")["queryInfo"]["state"] == "FINISHED"
    d.http("DELETE", f"/api/v3/query/{gone}", dialect="data360")
    bodies = {qid: d.download(qid, "csv").content for qid in (large, small)}
    stop, acknowledged, wrong = threading.Event(), [], []

    def load(n):
        key = d.key
        while not stop.is_set():
            answer = d.d360_submit(f"SELECT range + {n} AS x FROM range({LOAD_ROWS})", mode="ASYNC", key=key, check=False)
            if answer.status_code != 200:
                wrong.append(answer.text)
                return
            qid = d.d360_status_of(answer)["queryId"]
            acknowledged.append(qid)
            d.d360_wait(qid)
            if n % 2: # half of them are deleted at once: files go while the backup is made
                d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360")

    threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    wait_until("some load", lambda: len(acknowledged) > 20)
    before = list(acknowledged)
    folder = os.path.join(place, "copy")
    made = d.admin("backup", "--to", folder)
    stop.set()
    for t in threads:
        t.join()
    assert not wrong, wrong[:1]
    assert made["results"] >= 1 and made["queries"] >= len(before), made
    assert os.stat(folder).st_mode & 0o77 == 0 and os.path.exists(os.path.join(folder, "backup.json"))
    assert not os.path.exists(os.path.join(d.data, "backup.tmp"))
    again = d.admin("backup", "--to", folder, check=False)
    assert again.returncode == 1 and "not empty" in again.stderr
    d.works()
    d.stop()
    copy = restore(make_daemon, d, folder)
    for qid, body in bodies.items():
        assert copy.download(qid, "csv").content == body
    known = {q["id"]: q for q in copy.admin("query", "list", "--limit", "10000")}
    assert set(before) <= set(known), "what was acknowledged before the backup is in it"
    assert copy.d360_get(gone).status_code == 404
    for qid in known:
        answer = copy.d360_wait(qid)
        if answer.status_code == 200 and answer.json()["rowCount"] == LOAD_ROWS:
            assert len(copy.d360_rows(qid, 0, LOAD_ROWS)) == LOAD_ROWS, "every result that the copy names is there"
    assert "damaged" not in copy.log() and "could not" not in copy.log()
    copy.works()
    assert copy.kakao_query("SELECT count(*) FROM flights")["queryData"] == [["3000000"]]
    assert copy.kakao_query("SELECT count(*), sum(n) FROM kept")["queryData"] == [["1000", "499500"]] and made["catalogs"] == 1
    assert copy.admin("audit", "verify")["ok"] is True
    assert len({r["seq"] for r in trail(copy)}) > len(before)
    copy.stop()
    # The original is not touched by what happened to the copy.
    d.start()
    assert d.download(large, "csv").content == bodies[large]
    return made


def test_backup_by_links(make_daemon):
    d = make_daemon(start=False, prepare=False)
    place = tempfile.mkdtemp(dir=os.path.dirname(d.folder))
    try:
        assert check_backup(make_daemon, place)["linked"] == "yes"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_backup_to_another_file_system(make_daemon):
    import pytest

    d = make_daemon(start=False, prepare=False)
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(os.path.dirname(d.folder)).st_dev:
        pytest.skip("no second file system at /dev/shm")
    place = tempfile.mkdtemp(dir="/dev/shm")
    try:
        assert check_backup(make_daemon, place)["linked"] == "no"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_backup_without_a_daemon(make_daemon):
    d = make_daemon()
    qid = d360_id(d, "SELECT range FROM range(50000)")
    d.d360_wait(qid)
    body = d.download(qid, "csv").content
    d.stop()
    folder = os.path.join(d.folder, "copy")
    d.admin("backup", "--to", folder)
    assert "absolute" in d.admin("backup", "--to", "here", check=False).stderr
    copy = restore(make_daemon, d, folder)
    assert copy.download(qid, "csv").content == body
    copy.works()
