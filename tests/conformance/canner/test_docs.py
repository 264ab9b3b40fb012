"""The examples of docs/canner.md are what the server says: each call is made here and its answer, with ids and times made equal, must stand there.
QUERN_WRITE_DOCS=1 writes them."""
import json
import os
import re

from pages import wrap
from quern_client import ROOT

PATH = os.path.join(ROOT, "docs", "canner.md")
BEGIN, END = "<!-- examples: made by tests/conformance/canner/test_docs.py -->", "<!-- end of examples -->"
FIXED = {"duration": 12, "cpuTimeMillis": 10, "wallTimeMillis": 10, "queuedTimeMillis": 1, "elapsedTimeMillis": 12, "peakMemoryBytes": 0, "processedRows": 2,
         "processedBytes": 0}


def even(value, workspace):
    """Ids, times and measures that differ from run to run, made equal."""
    if isinstance(value, dict):
        return {k: FIXED[k] if k in FIXED and isinstance(v, int) else even(v, workspace) for k, v in value.items()}
    if isinstance(value, list):
        return [even(v, workspace) for v in value]
    if isinstance(value, str):
        value = value.replace(workspace, "WORKSPACE")
        value = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", value)
        value = re.sub(r"\d{8}-\d{6}-[0-9A-Za-z]{10}", "STATEMENT", value)
        value = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-11-26T12:00:00.000Z", value)
        value = re.sub(r"expires=\d+", "expires=1795694400", value)
        value = re.sub(r"signature=[\w-]+", "signature=SIGNATURE", value)
        value = re.sub(r"http://127\.0\.0\.1:\d+", "http://HOST", value)
    return value


class Book:
    def __init__(self, canner):
        self.c, self.out = canner, []

    def show(self, title, method, path, body=None, headers=(), status=200, later=None):
        """later: makes of an answer what it is when the query ends within canner.hold, for a machine that is slower."""
        c = self.c
        absolute = path if path.startswith("/web") else "/api/v1" + path
        answer = c.d.http(method, absolute, key=c.key, dialect="canner", json=body, headers=dict(headers))
        assert answer.status_code == status, answer.text
        lines = [f"{method} {even(absolute, c.workspace)}"] + [f"{k}: {v}" for k, v in headers]
        if body is not None:
            lines.append(wrap(json.dumps(even(body, c.workspace))))
        got = later(answer.json()) if later else answer.json()
        lines += ["", f"{status}", wrap(json.dumps(even(got, c.workspace), separators=(",", ":")))]
        self.out.append(f"### {title}\n\n```\n" + "\n".join(lines) + "\n```\n")
        return got


def test_examples(canner, make_daemon):
    # waits long enough that what is fast has ended in its first answer
    d = make_daemon(env={"QUERN_CANNER_HOLD": "5s"})
    canner = type(canner)(d)

    def ended(got):
        return got if got["status"] == "FINISHED" else canner.wait(got["id"])

    def ended_there(got):
        made = got["data"]["createSqlQuery"]
        return got if made["status"] == "FINISHED" else canner.wait(made["id"]) and {
            "data": {"createSqlQuery": canner.graphql("sqlQuery", {"id": made["id"]})["data"]["sqlQuery"]}}

    w, book = canner.workspace, Book(canner)
    slow = d.kakao_run("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1")
    canner.run("select 1")
    book.show("Service", "GET", "/service/SQL_ENGINE")
    book.show("Switch a service on (`false`: off)", "PUT", "/service/SQL_ENGINE", {"state": True})
    saved = book.show("Save SQL", "POST", "/sql", {"workspaceId": w, "title": "Two rows", "description": "an example", "sql": "SELECT * FROM (VALUES (1, 'one'), (2, 'two')) t(n, word)"})
    listed = book.show("Saved SQL of the workspace (`limit`, `offset`: ours)", "GET", f"/sqls?workspaceId={w}&limit=1")
    assert listed[0]["id"] == saved["id"]
    ran = book.show("Run saved SQL", "POST", f"/sql/{saved['id']}", {"workspaceId": w}, later=ended)
    canner.wait(ran["id"])
    book.show("Saved SQL with the statistics of its latest run", "GET", f"/sql/{saved['id']}?workspaceId={w}")
    sent = book.show("Submit", "POST", "/query", {"workspaceId": w, "sql": "SELECT 42 AS answer", "cacheRefresh": True, "cacheTTL": 86400}, [("Idempotency-Key", f"docs-{saved['id'][:8]}")], later=ended)
    canner.wait(sent["id"])
    book.show("Query", "GET", f"/query/{sent['id']}?workspaceId={w}")
    book.show("Result", "GET", f"/query/{sent['id']}/result?workspaceId={w}&limit=10000&offset=0")
    book.show("The result as Parquet files, behind links that need no credential", "GET", f"/query/{sent['id']}/result/signedUrls?workspaceId={w}")
    book.show("Queries, newest first", "GET", f"/queries?workspaceId={w}&limit=1&offset=0")
    canner.wait(slow, ("RUNNING",))
    book.show("Cancel", "PUT", f"/query/{slow}/cancel", {"workspaceId": w})
    bad = canner.run("SELECT * FROM nowhere")
    book.show("A query that failed", "GET", f"/query/{bad['id']}?workspaceId={w}")
    book.show("Its result", "GET", f"/query/{bad['id']}/result?workspaceId={w}", status=400)
    book.show("A bad parameter", "GET", f"/queries?workspaceId={w}&limit=some-string", status=400)
    book.show("GraphQL, as the Python client submits", "POST", "/web/graphql", {
        "operationName": "createSqlQuery", "query": "mutation createSqlQuery(...) { ... }",
        "variables": {"data": {"sql": "SELECT 1", "cacheRefresh": True, "cacheTTL": 86400, "source": "NOTEBOOK"}, "where": {"workspaceId": w}}}, later=ended_there)
    book.show("GraphQL, an error", "POST", "/web/graphql", {
        "operationName": "sqlQuery", "query": "query sqlQuery(...) { ... }", "variables": {"where": {"id": "65920080-7d5b-4c1e-9a54-0d9f1be3a111"}}})
    text = re.sub(r"docs-[0-9a-f]{8}", "my-own-key", "\n".join(book.out))
    with open(PATH) as f:
        page = f.read()
    assert page.count(BEGIN) == page.count(END) == 1
    before, rest = page.split(BEGIN)
    there, behind = rest.split(END)
    if os.environ.get("QUERN_WRITE_DOCS"):
        with open(PATH, "w") as f:
            f.write(before + BEGIN + "\n\n" + text + "\n" + END + behind)
        return
    assert there.strip() == text.strip(), "docs/canner.md is stale: run this test with QUERN_WRITE_DOCS=1"
