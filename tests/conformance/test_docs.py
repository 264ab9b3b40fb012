"""The examples of docs/kakao.md and docs/data360.md are what the server says: each call is made here, and its answer, with ids, times and
measures made equal, must stand there. QUERN_WRITE_DOCS=1 writes them."""
import json
import os
import re

import pyarrow as pa
import pytest

from pages import wrap
from quern_client import BLOCK, ROOT

BEGIN, END = "<!-- examples: made by tests/conformance/test_docs.py -->", "<!-- end of examples -->"
FIXED = {"createdAt": 1795662000000, "completedAt": 1795662000000, "expireAt": 1795662600000, "queryExecutionTime": "9ms", "elapsedTime": "12ms", "queuedTime": "1ms",
         "planningTime": "1ms", "wallClockTime": 0.012}


def even(value):
    if isinstance(value, dict):
        return {k: FIXED.get(k, even(v)) for k, v in value.items()}
    if isinstance(value, list):
        return [even(v) for v in value]
    if isinstance(value, str):
        value = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", value)
        value = re.sub(r"\d{8}-\d{6}-[0-9A-Za-z]{10}", "20261126-210000-AbCdEfGhIj", value)
        value = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-11-26T12:00:00.000Z", value)
        value = re.sub(r"\d{4}/\d\d/\d\d", "2026/11/26", value)
    return value


def compact(value):
    return wrap(json.dumps(even(value), separators=(",", ":"), ensure_ascii=False))


class Book:
    """Calls of one page: made, checked for their status, written down."""

    def __init__(self, q, page, dialect):
        self.q, self.dialect, self.out = q, dialect, []
        self.path = os.path.join(ROOT, "docs", page)

    def show(self, title, method, path, body=None, headers=None, status=200, key=None, keep=(), arrow=False):
        answer = self.q.http(method, path, key=key, dialect=self.dialect, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        lines = [f"{method} {even(path)}"] + [f"{k}: {v}" for k, v in (headers or {}).items()]
        if body is not None:
            lines.append(compact(body))
        lines += ["", str(status)]
        lines += [f"{name}: " + compact(json.loads(answer.headers[name]) if name == "x-hyperdb-status" else answer.headers[name]) for name in keep]
        if arrow:
            table = pa.ipc.open_stream(pa.BufferReader(answer.content)).read_all()
            lines.append(f"an Arrow stream: {', '.join(f'{f.name}: {f.type}' for f in table.schema)}; {table.num_rows} rows")
        elif answer.content:
            lines.append(compact(answer.json()))
        self.out.append(f"### {title}\n\n```\n" + "\n".join(lines) + "\n```\n")
        return answer

    def check(self):
        with open(self.path) as f:
            page = f.read()
        text = f"{BEGIN}\n\n" + "\n".join(self.out) + f"\n{END}"
        before, after = page[:page.index(BEGIN)], page[page.index(END) + len(END):]
        if os.environ.get("QUERN_WRITE_DOCS"):
            with open(self.path, "w") as f:
                f.write(before + text + after)
        assert page == before + text + after or os.environ.get("QUERN_WRITE_DOCS"), f"{self.path} is out of date: QUERN_WRITE_DOCS=1"


@pytest.fixture
def d(make_daemon):
    """One for each page: it shows a list of all queries."""
    daemon = make_daemon(flights=True)
    daemon.reader = daemon.new_key(user="dave", role="reader")
    return daemon


def test_kakao(d):
    book, base = Book(d, "kakao.md", "kakao"), "/v1/data-query"
    names = {"X-Data-Source": "data_catalog", "X-Database": "main"}
    sql = "select origin, count(*) as n from flights where origin in ('SFO', 'JFK') group by origin order by 1"
    run = book.show("Run query", "POST", base + "/query", {"query": sql, "resultConfig": {"bucketName": "b1", "path": "data_query/result"},
                                                           "reuseConfig": {"reuse": True, "maxReuseAge": 10}}, names, status=202)
    qid = run.json()["queryInfo"]["queryId"]
    d.kakao_wait(qid)
    book.show("Retrieve query result", "GET", f"{base}/query/{qid}?page=0")
    failed = d.http("POST", base + "/query", json={"query": "select * from data_catalog.main.no_such_table", "bucketName": "b1", "path": ""}).json()["queryInfo"]["queryId"]
    d.kakao_wait(failed)
    book.show("A query that failed (run with the older, flat body)", "GET", f"{base}/query/{failed}")
    book.show("Retrieve query list", "GET", f"{base}/query?page=0&size=1&sort=createdAt,asc&states=FINISHED")
    blocked = d.kakao_run(BLOCK)
    d.kakao_wait(blocked, states=("RUNNING",))
    book.show("Abort query", "PUT", f"{base}/query/{blocked}/abort")
    book.show("Abort query that has ended", "PUT", f"{base}/query/{blocked}/abort", status=409)
    mysql = {"type": "MYSQL", "name": "test_mysql", "scope": "PRIVATE", "description": "test mysql", "instanceId": "fbc16e9a-6352-11ef-952c-0a27e22384db",
             "username": "admin", "password": "YWRtaW4K"}
    book.show("Create MySQL data source", "POST", base + "/data-source", mysql)
    book.show("Create PostgreSQL data source", "POST", base + "/data-source", {
        "type": "POSTGRESQL", "name": "test_postgresql", "scope": "PUBLIC", "instanceId": "99fbe528-8014-47ee-b5bb-15c059562611", "username": "admin",
        "password": "YWRtaW4K", "databaseName": "postgres"})
    book.show("A name that is taken", "POST", base + "/data-source", mysql, status=409)
    book.show("Retrieve data source list", "GET", base + "/data-source")
    book.show("Delete data source", "DELETE", base + "/data-source/test_mysql")
    book.show("Errors: a body that is wrong", "POST", base + "/query", {"query": "select 1", "bucketName": "b1", "path": "a/../b"}, status=400)
    book.show("... a bucket that is not there", "POST", base + "/query", {"query": "select 1", "bucketName": "nothing", "path": ""}, status=404)
    book.show("... a role that may not", "POST", base + "/query", {"query": "select 1", "bucketName": "b1", "path": ""}, status=403, key=d.reader)
    book.show("... no credential", "GET", base + "/query", status=401, key=False)
    book.check()


def test_data360(d):
    book, base, arrow = Book(d, "data360.md", "data360"), "/api/v3/query", {"Accept": "application/vnd.apache.arrow.stream"}
    sql = "SELECT origin, count(*) AS n, avg(delay)::numeric(6,2) AS delay FROM flights WHERE origin IN (?, ?) GROUP BY origin ORDER BY 1"
    sent = book.show("Submit, answered in time (`status` holds the same as `x-hyperdb-status`)", "POST", base, {
        "sql": sql, "transferMode": "ADAPTIVE", "paramStyle": "QUESTION_MARK", "parameters": [{"type": "varchar", "value": "JFK"}, {"type": "varchar", "value": "SFO"}],
        "settings": {"timezone": "Etc/UTC", "language": "en_US"}, "queryRowLimit": 1000}, keep=["x-hyperdb-status"])
    qid = d.d360_status_of(sent)["queryId"]
    book.show("The same as Arrow", "POST", base, {"sql": "SELECT 1::numeric(4,1) AS a, date '2026-11-26' AS b, timestamptz '2026-11-26 12:00:00+00' AS c"}, arrow, arrow=True)
    book.show("Submit with ASYNC", "POST", base, {"sql": BLOCK, "transferMode": "ASYNC"}, keep=["x-hyperdb-status"])
    book.show("Status", "GET", f"{base}/{qid}?waitTimeMs=10000")
    book.show("Rows by offset", "GET", f"{base}/{qid}/rows?offset=1&limit=1")
    book.show("Rows as Arrow", "GET", f"{base}/{qid}/rows?offset=0", headers=arrow, arrow=True)
    book.show("A chunk", "GET", f"{base}/{qid}/chunks/0?omitSchema=true")
    book.show("Metadata", "GET", f"{base}/{qid}/metadata")
    book.show("Settings: the time zone of the query", "POST", base, {"sql": "SELECT TIMESTAMPTZ '2026-07-01 12:00:00+00' AS t", "settings": {"timezone": "America/New_York"}})
    book.show("Delete", "DELETE", f"{base}/{qid}", status=204)
    book.show("... and afterwards", "GET", f"{base}/{qid}", status=404)
    book.show("Errors: with a place, and advice where there is any", "POST", base, {"sql": "SELECT *\n  FROM flightz"}, status=400)
    book.show("... a parameter", "POST", base, {"sql": "SELECT ? + 1", "parameters": [{"type": "integer", "value": "x"}]}, status=400)
    book.show("... beyond the end (clients look for \"out of range\")", "GET", f"{base}/{d.d360_status_of(d.d360_submit('SELECT 1'))['queryId']}/rows?offset=5", status=400)
    book.show("... no token", "POST", base, {"sql": "SELECT 1"}, status=401, key=False)
    d.abort_all()
    book.check()
