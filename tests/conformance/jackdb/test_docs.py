"""The examples of docs/jackdb.md are what the server says: each call is made here and its answer, with ids and times made equal, must stand there.
QUERN_WRITE_DOCS=1 writes them."""
import json
import os
import re
import urllib.parse

from pages import wrap
from quern_client import ROOT, wait_until

PATH = os.path.join(ROOT, "docs", "jackdb.md")
BEGIN, END = "<!-- examples: made by tests/conformance/jackdb/test_docs.py -->", "<!-- end of examples -->"


def even(text):
    """Ids and times, which differ from run to run, made equal."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-11-26T12:00:00.000Z", text)
    return re.sub(r"\bD[0-9A-Za-z]{16}\b", "DSOURCE", text)


class Book:
    def __init__(self, d):
        self.d, self.out = d, []

    def show(self, title, method, path, form=None, body=None, headers=(), status=200, told=(), fresh=False):
        answer = self.d.jackdb(method, path, form=form, json=body, headers=dict(headers))
        assert answer.status_code == status, answer.text
        lines = [f"{method} /api/v2{even(path)}"] + [f"{k}: {v}" for k, v in headers]
        if form is not None:
            lines.append(urllib.parse.urlencode(form))
        if body is not None:
            lines.append(json.dumps(body))
        lines += ["", str(status)] + [f"{k}: {even(answer.headers[k])}" for k in told]
        text = answer.text
        if "wait" in (form or body or {}) and answer.json()["success"] is None:  # a slow machine: as if it had waited longer
            text = json.dumps(self.d.jackdb_done(answer), separators=(",", ":"))
        if fresh:  # how far it has come by the time of the answer differs from run to run
            text = json.dumps({**answer.json(), "startedAt": None, "completedAt": None, "success": None, "numResults": None}, separators=(",", ":"))
        lines.append(wrap(even(text)))
        self.out.append(f"### {title}\n\n```\n" + "\n".join(lines) + "\n```\n")
        return answer.json() if answer.headers["Content-Type"].startswith("application/json") else None


def test_examples(make_daemon):
    d = make_daemon()
    book = Book(d)
    sources = book.show("Data sources", "GET", "/data-source")
    execute = f"/data-source/{sources[0]['id']}/execute"
    sent = book.show("Execute: only the command is required", "POST", execute, {"command": "SELECT 1 AS one; SELECT 'x' AS t, NULL AS n"}, told=("Location",), fresh=True)
    d.jackdb_wait(sent["id"])
    book.show("Query", "GET", f"/query/{sent['id']}")
    book.show("Result", "GET", f"/query/{sent['id']}/result/1")
    book.show("Rows", "GET", f"/query/{sent['id']}/result/1/rows")
    done = book.show("Execute with every argument", "POST", "/data-source/data_catalog/execute", {
        "command": "CREATE TABLE t(a INT); INSERT INTO t SELECT range FROM range(5); SELECT * FROM t", "retention": 3600, "timeout": 60, "wait": 30,
        "autocommit": "true", "stopOnError": "true", "maxRows": 3}, headers=[("Idempotency-Key", "my-own-key")])
    book.show("An update", "GET", f"/query/{done['id']}/result/1")
    book.show("A result that maxRows cut", "GET", f"/query/{done['id']}/result/2")
    book.show("Rows from the second on", "GET", f"/query/{done['id']}/result/2/rows?seek=1&limit=100")
    book.show("Rows as CSV", "GET", f"/query/{done['id']}/result/2/rows", headers=[("Accept", "text/csv")])
    bound = book.show("Parameters", "POST", "/data-source/data_catalog/execute", body={"command": "SELECT a FROM t WHERE a > ? ORDER BY a", "parameters": [2], "wait": 30})
    assert d.jackdb_get(f"{bound['id']}/result/0/rows") == [["3"], ["4"]]
    bad = book.show("An SQL error is not an HTTP error", "POST", "/data-source/data_catalog/execute", {"command": "SELECT 1; SELECT * FROM nowhere", "wait": 30})
    book.show("Its last result", "GET", f"/query/{bad['id']}/result/1?expand=errorDetail")
    slow = d.jackdb_execute("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1")
    wait_until("the start", lambda: d.jackdb_get(slow["id"])["startedAt"])
    book.show("In progress", "GET", f"/query/{slow['id']}?expand=status")
    book.show("Cancel", "POST", f"/query/{slow['id']}/cancel")
    book.show("What a canceled query says", "GET", f"/query/{slow['id']}?include=results")
    book.show("Delete", "DELETE", f"/query/{slow['id']}")
    book.show("... and afterwards", "GET", f"/query/{slow['id']}", status=404)
    book.show("Queries, newest first", "GET", "/query?seek=0&limit=2")
    book.show("A bad argument", "POST", "/data-source/data_catalog/execute", {"command": "SELECT 1", "retention": -1}, status=400)
    made = book.show("Create a data source", "POST", "/data-source", {"name": "Sales", "alias": "sales", "configUri": "postgresql://bob:secret@db.example.com:5432/sales"})
    book.show("A data source", "GET", "/data-source/:alias=sales")
    book.show("Delete a data source", "DELETE", f"/data-source/{made['id']}")
    text = "\n".join(book.out)
    with open(PATH) as f:
        page = f.read()
    assert page.count(BEGIN) == page.count(END) == 1
    before, rest = page.split(BEGIN)
    there, behind = rest.split(END)
    if os.environ.get("QUERN_WRITE_DOCS"):
        with open(PATH, "w") as f:
            f.write(before + BEGIN + "\n\n" + text + "\n" + END + behind)
        return
    assert there.strip() == text.strip(), "docs/jackdb.md is stale: run this test with QUERN_WRITE_DOCS=1"
