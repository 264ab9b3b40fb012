"""Helpers of the black-box tests: a daemon under test, a keep-alive HTTP client, and the two dialects' few calls.

QUERN_BUILD names the folder with quernd and quern-engine (default build-asan), QUERN_CACHE the folder that tools/setup fills.
Nothing here asserts on time; every wait has a generous limit whose end is an error with the daemon's log.
"""
import json as jsonlib
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid

import requests

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.environ.get("QUERN_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "quern")
BUILD = os.path.join(ROOT, os.environ.get("QUERN_BUILD") or "build-asan")
RELEASE = os.path.join(ROOT, os.environ.get("QUERN_BUILD_RELEASE") or "build")
FLIGHTS = os.path.join(CACHE, "data", "flights-3m.parquet")
NODE_MODULES = os.path.join(CACHE, "node_modules")
PATIENCE = 240  # seconds after which a wait counts as hung; a slow machine with a sanitizer takes its time
# What would be answered differently on a machine that is slow just now, or has little memory. A test that is about one of them sets its own.
PATIENT = {"QUERN_DATA360_ADAPTIVE_TIMEOUT": "25s", "QUERN_DATA360_PLAN_WAIT": "25s", "QUERN_ENGINE_SILENCE": "60s",
           "QUERN_HTTP_IDLE": "1h",  # else a request may leave just when its connection's idle minute is over
           "QUERN_ENGINE_MEMORY_SHARE": "100"}  # else there are fewer slots where memory is small
CURL = ("curl", "-q", "-s", "--noproxy", "*", "--max-time", str(PATIENCE))  # whatever the machine's own configuration of curl says
# Runs until it is ended, obeys an interrupt, and costs no processor time. Tests that need an engine that works keep a join of their own.
BLOCK = "SELECT count(sleep_ms(1000000000)) AS slept"
SANITIZER = re.compile(r"ERROR: \w*Sanitizer|WARNING: \w*Sanitizer|SUMMARY: \w*Sanitizer|runtime error:")


def sanitized(build=BUILD):
    """True when this build carries a sanitizer, so that loops can be shorter."""
    return os.path.basename(build.rstrip("/")) != "build"


# --- processes --------------------------------------------------------------------------------------------------


def process_table():
    """pid -> (ppid, start time, state, name) of everything that runs."""
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", errors="replace") as f:
                text = f.read()
        except OSError:
            continue
        name = text[text.index("(") + 1:text.rindex(")")]
        rest = text[text.rindex(")") + 2:].split()
        table[int(entry)] = (int(rest[1]), int(rest[19]), rest[0], name)
    return table


def descendants(pid):
    """{(pid, start time): name} of all children, grandchildren and so on of pid."""
    table = process_table()
    found, level = {}, {pid}
    while level:
        level = {p for p, row in table.items() if row[0] in level and (p, row[1]) not in found}
        found.update({(p, table[p][1]): table[p][3] for p in level})
    return found


def render_process(d, but=None):
    """The daemon's render process: the child whose private folder holds the file to be filled, another one than `but`; None while there is none."""
    for pid, _ in descendants(d.process.pid):
        try:
            if pid != but and os.path.exists(os.path.join(os.readlink(f"/proc/{pid}/cwd"), "out")):
                return pid
        except OSError:
            pass
    return None


def still_there(processes):
    table = process_table()
    return {p: n for p, n in processes.items() if p[0] in table and table[p[0]][1] == p[1] and table[p[0]][2] not in "ZX"}


def wait_until(what, probe, limit=PATIENCE, pause=0.02):
    """Calls probe until it answers something true, and returns that."""
    end = time.monotonic() + limit
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit} s for: {what}")
        time.sleep(pause)


def at_rest(d):
    """Nothing runs or waits for a slot (a delivery may be under way). Seen twice: between the queue and its slot a query may be counted nowhere."""
    def seen():
        found = d.metrics()
        return found["quern_queries_running"] == found["quern_queries_queued"] == 0

    return seen() and seen()


def engines_only(d):
    """No other program runs below the daemon. (A child has the daemon's own name until it has become the engine.)"""
    wait_until("no child but engines", lambda: set(descendants(d.process.pid).values()) <= {"quern-engine"})


def kill_all(pids, number=signal.SIGKILL):
    """A signal to each; one may be leaving just now."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def records_of(path, whole):
    """Lines of an audit file as bytes; of one that is being written only those that are whole."""
    with open(path, "rb") as f:
        lines = f.read().splitlines(keepends=True)
    return lines if whole or not lines or lines[-1].endswith(b"\n") else lines[:-1]


def unrecorded(d):
    """Files of the spool that no record names: results and what is unfinished."""
    with sqlite3.connect(f"file:{os.path.join(d.data, 'registry.db')}?mode=ro", uri=True, timeout=30) as db:
        named = {f"{uuid.UUID(bytes=bytes(i))}-{ordinal}.seg" for i, ordinal in db.execute(
            "SELECT q.id, r.ordinal FROM query q JOIN result r ON r.query = q.seq WHERE r.sealed AND q.gone_ms = 0")}
    spool = os.path.join(d.data, "spool")
    return [os.path.join(os.path.basename(folder), f) for folder, _, files in os.walk(spool) for f in files if f not in named]


# --- the daemon -------------------------------------------------------------------------------------------------


class Daemon:
    """One daemon on a free port with a data folder of its own. start, stop (SIGTERM, exit 0 wanted), kill (SIGKILL), restart."""

    def __init__(self, env=None, build=None, data=None, folder=None, args=(), listen="127.0.0.1:0", limits=None):
        self.build = build or BUILD
        self.own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="quern-test-")
        self.data = data or os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log")
        self.env = {**PATIENT, **os.environ, **(env or {})}
        self.args = list(args)
        self.listen = listen
        self.limits = limits or {}  # {resource.RLIMIT_...: (soft, hard)} of the daemon
        self.process = None
        self.port = None
        self.scheme = "http"
        self.key = None
        self.bucket_dir = None
        self.exit_codes = []
        self.children = {}
        self.local = threading.local()

    # -- administration

    def admin(self, *words, check=True):
        """Runs quernd admin; the JSON it prints, or (check=False) the finished process."""
        command = [os.path.join(self.build, "quernd"), "admin", "--data", self.data, "--json", *words]
        env = dict(os.environ)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, env=env)
        if not check:
            return done
        assert done.returncode == 0, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
        return jsonlib.loads(done.stdout) if done.stdout.strip() else None

    def new_key(self, workspace="w1", user="alice", role="admin"):
        return self.admin("key", "create", "--workspace", workspace, "--user", user, "--role", role)

    def prepare(self, flights=True, bucket=True):
        """Workspace w1 with an admin key, bucket b1 and dataset flights."""
        self.key = self.new_key()
        if bucket:
            self.bucket_dir = os.path.join(self.folder, "bucket")
            os.makedirs(self.bucket_dir, exist_ok=True)
            self.admin("bucket", "create", "b1", "--url", "file://" + self.bucket_dir, "--workspace", "w1")
        if flights:
            self.admin("dataset", "add", "flights", "--url", "file://" + FLIGHTS, "--workspace", "w1")
        return self

    # -- life

    def start(self, env=None, wait=True):
        assert self.process is None
        use = dict(self.env)
        use.update(env or {})
        mark = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(self.build, "quernd"), "serve", "--data", self.data, "--listen", self.listen, *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=use, preexec_fn=self.set_limits if self.limits else None)
        self.local = threading.local()
        if wait:
            self.wait_ready(mark)
        return self

    def set_limits(self):
        for which, pair in self.limits.items():
            resource.setrlimit(which, pair)

    def wait_ready(self, mark=0):
        def probe():
            with open(self.log_path, "rb") as f:
                f.seek(mark)
                found = re.search(rb"listening on (https?)://[^\s]+:(\d+)\n", f.read())
            if found:
                self.scheme = found.group(1).decode()
                return int(found.group(2))
            if self.process.poll() is not None:
                code = self.process.returncode
                self.process = None
                raise StartFailed(f"quernd ended with {code} at start:\n{self.log()[-4000:]}")
            return None

        self.port = wait_until("the daemon's start", probe)

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def note_children(self):
        if self.process:
            self.children.update(descendants(self.process.pid))

    def stop(self, signal_number=signal.SIGTERM, code=0):
        """SIGTERM; the exit code must be `code` (None: any)."""
        if not self.process:
            return None
        self.note_children()
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            got = self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.process = None
            raise AssertionError(f"quernd did not end after SIGTERM:\n{self.log()[-4000:]}")
        self.process = None
        self.exit_codes.append(got)
        assert code is None or got == code, f"exit code {got}:\n{self.log()[-4000:]}"
        self.no_children()
        return got

    def kill(self):
        self.note_children()
        self.process.kill()
        self.process.wait()
        self.process = None

    def restart(self, env=None):
        if self.process:
            self.stop()
        return self.start(env)

    def no_children(self):
        try:
            wait_until("engine processes to end with the daemon", lambda: not still_there(self.children))
        except AssertionError as e:
            raise AssertionError(f"{e}: {still_there(self.children)}") from None
        self.children = {}

    def check_log(self):
        found = SANITIZER.search(self.log()) if os.path.exists(self.log_path) else None
        assert not found, "a sanitizer spoke:\n" + self.log()[max(0, found.start() - 200):][:6000]

    def finish(self, code=0):
        """The end of every test: stop, exit code, no child left, no sanitizer line; then the folder goes."""
        try:
            self.stop(code=code)
            self.no_children()
            self.check_log()
        finally:
            if self.process:
                self.process.kill()
                self.process.wait()
                self.process = None
            if self.own_folder and not os.environ.get("QUERN_KEEP"):
                shutil.rmtree(self.folder, ignore_errors=True)

    # -- HTTP

    def url(self, path):
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def session(self):
        session = getattr(self.local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            session.headers.update({"Accept": None, "User-Agent": "quern-tests"})
            self.local.session = session
        return session

    def http(self, method, path, key=None, dialect="kakao", json=None, data=None, headers=None, timeout=PATIENCE, stream=False):
        """One request on this thread's keep-alive connection. key: JSON of `key create` (default: the admin of w1);
        key=False sends no credential."""
        sent = {}
        key = self.key if key is None else key
        if key and dialect:
            sent.update(key["headers"][dialect])
        if json is not None:
            data = jsonlib.dumps(json)
            sent["Content-Type"] = "application/json"
        if isinstance(data, str):
            data = data.encode()
        sent.update(headers or {})
        return self.session().request(method, self.url(path), data=data, headers=sent, timeout=timeout, stream=stream,
                                      allow_redirects=False)

    def metrics(self):
        """Prometheus text as {"name{labels}": value}."""
        found = {}
        for line in self.http("GET", "/metrics", key=False).text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found

    # -- Kakao

    def kakao_run(self, sql, key=None, source="data_catalog", database="main", path="results", bucket="b1", reuse=None, check=True):
        body = {"query": sql, "resultConfig": {"bucketName": bucket, "path": path}}
        if reuse:
            body["reuseConfig"] = {"reuse": True, "maxReuseAge": reuse}
        headers = {}
        if source:
            headers["X-Data-Source"] = source
        if database:
            headers["X-Database"] = database
        answer = self.http("POST", "/v1/data-query/query", key=key, json=body, headers=headers)
        if not check:
            return answer
        assert answer.status_code == 202, f"{answer.status_code} {answer.text}"
        return answer.json()["queryInfo"]["queryId"]

    def kakao_get(self, qid, page=None, key=None):
        answer = self.http("GET", f"/v1/data-query/query/{qid}" + (f"?page={page}" if page is not None else ""), key=key)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return answer.json()

    def kakao_wait(self, qid, key=None, states=("FINISHED", "FAILED", "ABORTED"), limit=PATIENCE):
        """Polls until the query is in one of the states; its body."""
        last = {}

        def probe():
            last["body"] = self.kakao_get(qid, key=key)
            return last["body"] if last["body"]["queryInfo"]["state"] in states else None

        try:
            return wait_until(f"query {qid} in {states}", probe, limit)
        except AssertionError as e:
            raise AssertionError(f"{e}; last: {last}\n{self.log()[-3000:]}") from None

    def kakao_query(self, sql, **more):
        return self.kakao_wait(self.kakao_run(sql, **more), key=more.get("key"))

    def kakao_abort(self, qid, key=None):
        return self.http("PUT", f"/v1/data-query/query/{qid}/abort", key=key)

    # -- Data 360

    def d360_submit(self, sql, mode="ADAPTIVE", key=None, check=True, headers=None, **fields):
        body = {"sql": sql, "transferMode": mode, **fields}
        answer = self.http("POST", "/api/v3/query", key=key, dialect="data360", json=body, headers=headers)
        if check:
            assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return answer

    @staticmethod
    def d360_status_of(answer):
        return jsonlib.loads(answer.headers["x-hyperdb-status"])

    def d360_get(self, path, key=None, headers=None, stream=False):
        return self.http("GET", "/api/v3/query/" + path, key=key, dialect="data360", headers=headers, stream=stream)

    def d360_wait(self, qid, key=None, limit=PATIENCE):
        """Long-polls until the query is complete or its status is an error; the last answer."""
        end = time.monotonic() + limit
        while True:
            answer = self.d360_get(f"{qid}?waitTimeMs=2000", key=key)
            if answer.status_code != 200 or answer.json()["completionStatus"] in ("FINISHED", "RESULTS_PRODUCED"):
                return answer
            assert time.monotonic() < end, f"query {qid} does not end: {answer.text}\n{self.log()[-3000:]}"

    def d360_rows(self, qid, offset=0, limit=None, key=None):
        path = f"{qid}/rows?offset={offset}" + (f"&limit={limit}" if limit is not None else "")
        answer = self.d360_get(path, key=key)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return answer.json()["data"]

    # -- Kylin

    def kylin(self, method, path, key=None, accept="v4-public", headers=None, **more):
        """A call below /kylin/api/; accept: v2, v4, v4-public, or None for no Accept."""
        sent = {"Accept": f"application/vnd.apache.kylin-{accept}+json"} if accept else {}
        sent.update(headers or {})
        return self.http(method, "/kylin/api/" + path, key=key, dialect="kylin", headers=sent, **more)

    def kylin_submit(self, sql, key=None, accept="v4-public", project="w1", headers=None, **fields):
        """Id of an accepted query."""
        answer = self.kylin("POST", "async_query", key=key, accept=accept, headers=headers, json={"sql": sql, "project": project, **fields})
        assert answer.status_code == 200 and answer.json()["code"] == "000", f"{answer.status_code} {answer.text}"
        return answer.json()["data"]["queryID" if accept == "v2" else "query_id"]

    def kylin_get(self, qid, what, key=None, project="w1", query="", **more):
        return self.kylin("GET", f"async_query/{qid}/{what}?project={project}{query}", key=key, **more)

    def kylin_wait(self, qid, key=None, project="w1"):
        """Polls until it is no longer RUNNING; `data` of the last status."""
        def probe():
            answer = self.kylin_get(qid, "status", key=key, project=project)
            assert answer.status_code == 200 and answer.json()["code"] == "000", f"{answer.status_code} {answer.text}"
            data = answer.json()["data"]
            return data if data["status"] != "RUNNING" else None

        return wait_until(f"query {qid} to end", probe)

    def kylin_query(self, sql, **more):
        """Id of a query that is SUCCESSFUL."""
        qid = self.kylin_submit(sql, **more)
        done = self.kylin_wait(qid, key=more.get("key"), project=more.get("project", "w1"))
        assert done["status"] == "SUCCESSFUL", done
        return qid

    # -- JackDB

    def jackdb(self, method, path, key=None, form=None, **more):
        """One request below /api/v2; form: arguments to send as JackDB's pages do."""
        headers = {"Accept": "application/vnd.jackdb.v2+json", **(more.pop("headers", None) or {})}
        if form is not None:
            more["data"] = urllib.parse.urlencode(form)
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        return self.http(method, "/api/v2" + path, key=key, dialect="jackdb", headers=headers, **more)

    def jackdb_execute(self, command, key=None, source="data_catalog", check=True, headers=None, **arguments):
        """The answer of the execute; its Query object when checked."""
        answer = self.jackdb("POST", f"/data-source/{source}/execute", key=key, form={"command": command, **arguments}, headers=headers)
        if not check:
            return answer
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return answer.json()

    def jackdb_get(self, path, key=None):
        answer = self.jackdb("GET", "/query/" + path, key=key)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def jackdb_wait(self, qid, key=None):
        """Polls until the query is complete; its Query object."""
        def probe():
            query = self.jackdb_get(qid, key=key)
            return query if query["success"] is not None else None

        return wait_until(f"query {qid} to complete", probe)

    def jackdb_done(self, answer, key=None):
        """The Query object of an execute's answer, once it is complete: on a slow machine the longest `wait` may be over before."""
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        query = answer.json()
        return query if query["success"] is not None else self.jackdb_wait(query["id"], key=key)

    def jackdb_query(self, command, key=None, **more):
        return self.jackdb_wait(self.jackdb_execute(command, key=key, **more)["id"], key=key)

    def jackdb_results(self, query, key=None):
        """All results of a complete query."""
        return [self.jackdb_get(f"{query['id']}/result/{i}", key=key) for i in range(query["numResults"])]

    # -- neutral

    def download(self, qid, fmt="csv", key=None, dialect="kakao", headers=None, stream=False, **query):
        extra = "".join(f"&{k}={v}" for k, v in query.items())
        return self.http("GET", f"/quern/v1/query/{qid}/download?format={fmt}{extra}", key=key, dialect=dialect, headers=headers,
                         stream=stream)

    def abort_all(self, key=None):
        """Ends what a failed test left running, so that the next one has its slot."""
        left = self.http("GET", "/v1/data-query/query?states=RUNNING,QUEUED&size=2000", key=key).json()["content"]
        for item in left:
            self.kakao_abort(item["queryInfo"]["queryId"], key=key)

    def works(self):
        """A query runs now: no slot is lost."""
        body = self.kakao_query("SELECT 42 AS answer")
        assert body["queryInfo"]["state"] == "FINISHED", body
        assert body["queryData"] == [["42"]], body


class StartFailed(AssertionError):
    pass
