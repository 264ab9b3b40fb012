"""docs/kylin.md says what the server says: every block of it is sent, in order, and must be answered as it stands there.
QUERN_WRITE_DOCS=1 writes the answers into the page instead."""
import os
import re

from quern_client import ROOT

PAGE = os.path.join(ROOT, "docs", "kylin.md")
BLOCK = re.compile(r"```http\n(.*?)```", re.S)
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def plain(text):
    """Without what differs from run to run."""
    text = ID.sub("{id}", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8080", text)
    text = re.sub(r'"(duration|totalScanCount)":\d+', r'"\1":0', text)
    running = "still running" if '"queryID"' in text else "query still running"
    text = text.replace('"SUCCESSFUL","info":"query success"', f'"RUNNING","info":"{running}"')  # it may have been that fast
    return re.sub(r"file:///\S+?/buckets/\d+/", "file:///DATA/buckets/1/", text)


def ask(d, block, state):
    head, _, rest = block.partition("\n\n")
    lines = head.splitlines()
    method, path = lines[0].split(" ", 1)
    headers = dict(line.split(": ", 1) for line in lines[1:])
    body = rest.split("\n-> ")[0].strip() if not rest.startswith("-> ") else None
    answer = d.http(method, path.replace("{id}", state.get("id", "")), dialect="kylin", headers=headers, data=body)
    if method == "POST" and path.endswith("async_query") and answer.status_code == 200:
        data = answer.json()["data"]
        state["id"] = data.get("query_id") or data.get("queryID") or state.get("id")
        d.kylin_wait(state["id"])
    sent = block.split("-> ")[0]
    return f"{sent}-> {answer.status_code} {answer.headers['Content-Type']}\n{plain(answer.text).rstrip()}\n"


def test_every_example(make_daemon):
    d = make_daemon()
    with open(PAGE) as f:
        page = f.read()
    state = {}
    made = BLOCK.sub(lambda m: "```http\n" + ask(d, m.group(1), state) + "```", page)
    if os.environ.get("QUERN_WRITE_DOCS"):
        with open(PAGE, "w") as f:
            f.write(made)
    assert len(BLOCK.findall(page)) >= 15
    for shown, answered in zip(BLOCK.findall(page), BLOCK.findall(made)):
        assert shown == answered
