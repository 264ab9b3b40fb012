"""What the known V3 clients do on the wire (specs/data360.md section 5), step by step, over a result of several chunks, one that is done when the
submit is answered and one that still runs then."""
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from quern_client import PATIENCE

BASE, ARROW = "/api/v3/query", "application/vnd.apache.arrow.stream"
ROWS = 500000
FAST = f"SELECT range AS n, 'text ' || range AS t FROM range({ROWS}) ORDER BY 1"
SLOW = f"SELECT range AS n, 'text ' || range AS t FROM range({ROWS}) UNION ALL SELECT {ROWS} + b, 'last' FROM (SELECT count(sleep_ms(1500)) AS b)"
BOTH = pytest.mark.parametrize("sql, rows", [(FAST, ROWS), (SLOW, ROWS + 1), ("SELECT 1 AS n, 'x' AS t WHERE false", 0)], ids=["fast", "slow", "empty"])


def table(*bodies):
    return pa.ipc.open_stream(io.BytesIO(b"".join(bodies))).read_all()


def numbers(t, rows):
    assert sorted(t.column("n").to_pylist()) == list(range(rows))


@BOTH
@pytest.mark.parametrize("arrow", [True, False])
def test_python_connector(q, sql, rows, arrow):
    """5.2: submit, poll the status with a JSON Accept, then rows by offset until rowCount; errors with "out of range" are an empty page."""
    common = {"User-Agent": "salesforce-cdp-connector/2.0.0b2", "ctx-dataspace-ds_name": "default", "x-hyperdb-workload": "python-connector-v2_tests",
              "X-hyperdb-adaptive-timeout": "300ms"}
    accept = {"Accept": ARROW if arrow else "application/json"}
    answer = q.d360_submit(sql, headers={**common, **accept}, queryRowLimit=1000000)
    status = json.loads(answer.headers["x-hyperdb-status"])
    parts, have = [], 0

    def take(body):
        if arrow:
            if not body.content:
                return 0  # "still running"
            parts.append(table(body.content))
            return parts[-1].num_rows
        data = body.json()["data"]
        parts.append(pa.table({"n": [r[0] for r in data or []], "t": [r[1] for r in data or []]}))
        return len(data or [])

    have += take(answer)
    while status["completionStatus"] not in ("RESULTS_PRODUCED", "FINISHED"):
        poll = q.d360_get(f"{status['queryId']}?waitTimeMs=5000", headers={"Accept": "application/json"})
        assert poll.status_code == 200
        status = poll.json()
    while have < status["rowCount"]:
        page = q.d360_get(f"{status['queryId']}/rows?offset={have}&limit=1000000&byteLimit=20971520", headers=accept)
        if page.status_code == 400 and "out of range" in page.json()["message"].lower():
            break
        got = take(page)
        assert got > 0
        have += got
    assert status["rowCount"] == rows and have == rows
    numbers(pa.concat_tables([p.cast(pa.schema([("n", pa.int64()), ("t", pa.utf8())])) for p in parts if p.num_rows] or [pa.table({"n": pa.array([], pa.int64())})]), rows)
    assert q.http("DELETE", f"{BASE}/{status['queryId']}", dialect="data360", headers={"Accept": "application/json"}).status_code == 204


@BOTH
def test_browser_client(q, make_patient, sql, rows):
    """5.3: any body of the submit is chunk 0, then chunks 1, 2, ... four at a time by the singular path, without schema; all bodies are one stream."""
    d = make_patient
    answer = d.d360_submit(sql, headers={"Accept": ARROW})
    status = json.loads(answer.headers["x-hyperdb-status"])
    qid, bodies, n = status["queryId"], [answer.content], 1 if answer.content else 0
    end = time.monotonic() + PATIENCE
    with ThreadPoolExecutor(4) as pool:
        while time.monotonic() < end:
            some = range(n, min(n + 4, status["chunkCount"]))
            answers = list(pool.map(lambda k: d.d360_get(f"{qid}/chunk/{k}?omitSchema={'true' if bodies[0] or k else 'false'}", headers={"Accept": ARROW}), some))
            assert all(a.status_code == 200 for a in answers)
            bodies += [a.content for a in answers]
            n += len(answers)
            if n >= status["chunkCount"]:
                if status["completionStatus"] != "RUNNING":
                    break
                poll = d.d360_get(f"{qid}?waitTimeMs=250", headers={"Accept": ARROW})
                assert poll.headers["Content-Type"].startswith("application/json")
                status = poll.json()
    numbers(table(*bodies), rows)
    assert d.http("DELETE", f"{BASE}/{qid}", dialect="data360").status_code == 204


@BOTH
def test_database_client(q, sql, rows):
    """5.4: ASYNC, status every 250 ms (no status header there, or it would believe that the query runs for ever), metadata, chunks as Arrow; it checks
    every count: chunks, rows, and that the fields are those of the metadata."""
    answer = q.d360_submit(sql, mode="ASYNC", settings={"timezone": "Etc/UTC", "language": "en_US"}, queryRowLimit=-1)
    assert answer.json()["data"] is None and answer.json()["returnedRows"] == 0
    status = json.loads(answer.headers.get("x-hyperdb-status") or answer.headers["status"])
    assert all(isinstance(status[k], int) for k in ("chunkCount", "rowCount"))
    qid, end = status["queryId"], time.monotonic() + PATIENCE
    assert 1 <= len(qid) <= 128 and all(c.isalnum() or c in "_-" for c in qid)
    while status["completionStatus"] != "FINISHED":
        poll = q.d360_get(qid)
        assert not {"x-hyperdb-status", "status", "location"} & {h.lower() for h in poll.headers} and time.monotonic() < end
        status = poll.json()
        time.sleep(0.25)
    columns = q.d360_get(f"{qid}/metadata").json()["metadata"]["columns"]
    assert all(set(c) >= {"name", "type", "nullable"} and isinstance(c["nullable"], bool) for c in columns)
    parts = []
    for n in range(status["chunkCount"]):
        t = table(q.d360_get(f"{qid}/chunks/{n}", headers={"Accept": ARROW}).content)
        assert [(f.name, f.nullable) for f in t.schema] == [(c["name"], c["nullable"]) for c in columns]
        parts.append(t)
    assert sum(t.num_rows for t in parts) == status["rowCount"] == rows
    assert q.d360_get(f"{qid}/chunks/{status['chunkCount']}").status_code == 400
    if parts:
        numbers(pa.concat_tables(parts), rows)
    assert q.http("DELETE", f"{BASE}/{qid}", dialect="data360").status_code == 204


def test_a_submit_repeated_in_another_format(make_patient):
    """What chunk 0 is was settled by the first answer, lost or not: the repeat's body agrees with it, so that no client misses rows."""
    d, endless = make_patient, "SELECT count(sleep_ms(1000000000)) AS n"
    for first, chunks in [("application/json", 0), (ARROW, 1)]:
        answers = {}
        for accept in (first, ARROW, "application/json"):
            a = d.d360_submit(endless, headers={"Accept": accept, "Idempotency-Key": first})
            status = d.d360_status_of(a)
            assert (status["completionStatus"], status["chunkCount"], status["rowCount"]) == ("RUNNING", chunks, 0)
            answers[accept] = a.content
        assert json.loads(answers["application/json"])["data"] is None
        assert answers[ARROW] == b"" if chunks == 0 else table(answers[ARROW]).num_rows == 0
        assert d.http("DELETE", f"{BASE}/{status['queryId']}", dialect="data360").status_code == 204


@pytest.fixture(scope="module")
def make_patient():
    """A daemon whose submits give up after 300 ms: this client sends no x-hyperdb header."""
    from quern_client import Daemon
    d = Daemon(env={"QUERN_DATA360_ADAPTIVE_TIMEOUT": "300"})
    try:
        yield d.prepare().start()
    finally:
        d.finish()
