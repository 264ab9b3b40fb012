"""What the known clients of Data 360 v3 do on the wire, replayed call by call: none of them can be installed and pointed at a plain-HTTP server of one's own
(the Python connector that speaks v3 is not published, the DuckDB extension insists on the vendor's host, dashql is a web application). Each class is one
client's behaviour as the specification's section 5 and specs/clients.md describe it, with its own strictness: what would make it fail makes the test fail."""
import concurrent.futures
import io
import json
import os
import re
import subprocess

import pyarrow as pa
import pytest

from quern_client import NODE_MODULES, ROOT, Daemon

ARROW = "application/vnd.apache.arrow.stream"
ROWS = 300000
MANY = f"SELECT range AS n, 'text ' || range AS t, range * 1.5::DECIMAL(10,2) AS d FROM range({ROWS}) ORDER BY 1"
TYPES = ("SELECT true AS b, 1::SMALLINT AS s, 2 AS i, 3::BIGINT AS l, 1.5::REAL AS f4, 2.5::DOUBLE AS f8, 1.50::DECIMAL(38,18) AS n, 'x' AS v, '\\x00'::BLOB AS y, "
         "DATE '2024-01-15' AS d, TIME '14:30:00' AS t, TIMESTAMP '2024-06-10 08:00:00' AS ts, TIMESTAMPTZ '2024-06-10 08:00:00+00' AS tz, INTERVAL 1 DAY AS iv, '{\"a\":1}'::JSON AS j")
SMOKE = "SELECT n FROM generate_series(1,10) AS t(n)"


@pytest.fixture(scope="module")
def d():
    """The submit waits only 60 ms, so that what takes longer is pending; one statement a time, so that a queue is easily made."""
    daemon = Daemon(env={"QUERN_DATA360_ADAPTIVE_TIMEOUT": "60ms", "QUERN_SERVER_DRAIN": "0"})
    try:
        daemon.prepare().start()
        yield daemon
    finally:
        daemon.finish()


class Client:
    def __init__(self, d, **headers):
        self.d = d
        self.headers = {**d.key["headers"]["data360"], **{k.replace("_", "-"): v for k, v in headers.items()}}

    def call(self, method, path="", body=None, **headers):
        sent = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body), "application/json"
        return self.d.http(method, "/api/v3/query" + path, key=False, data=data, headers=sent)


class Connector(Client):
    """The Python connector: Arrow by default, status from the header, rows by offset, never chunks; a request may last 30 s, is repeated on 5xx, an error is its message."""

    def __init__(self, d, accept=ARROW):
        super().__init__(d, User_Agent="salesforce-cdp-connector/2.0.0b2", ctx_dataspace_ds_name="default", x_hyperdb_workload="python-connector-v2")
        self.accept = accept

    def execute(self, sql, parameters=None, settings=None):
        body = {"sql": sql, "transferMode": "ADAPTIVE", "queryRowLimit": 1000000, **({"parameters": parameters} if parameters else {}), **({"settings": settings} if settings else {})}
        answer = self.call("POST", body=body, Accept=self.accept)
        assert answer.status_code < 500, "it would run the statement four times"
        if answer.status_code != 200:
            raise RuntimeError(answer.json()["message"])
        status = json.loads(answer.headers["x-hyperdb-status"])
        rows, pending = self.rows_of(answer.content, posted=True)
        assert status["completionStatus"] in ("FINISHED", "RESULTS_PRODUCED") or pending or rows, "a pending body must be empty, or hold the first rows"
        while status["completionStatus"] not in ("FINISHED", "RESULTS_PRODUCED"):
            answer = self.call("GET", f"/{status['queryId']}?waitTimeMs=5000", Accept="application/json")
            if answer.status_code != 200:
                raise RuntimeError(answer.json()["message"])
            status = answer.json()
        while len(rows) < status["rowCount"]:
            answer = self.call("GET", f"/{status['queryId']}/rows?offset={len(rows)}&limit=1000000&byteLimit=20971520", Accept=self.accept)
            if answer.status_code != 200:
                assert "out of range" in answer.json()["message"].lower(), answer.text
                break
            more, _ = self.rows_of(answer.content)
            assert more, "no progress"
            rows += more
        assert self.call("DELETE", "/" + status["queryId"], Accept="application/json").status_code == 204
        return rows

    def rows_of(self, body, posted=False):
        """(rows, pending)"""
        if self.accept != ARROW:
            told = json.loads(body)
            assert isinstance(told["metadata"]["columns"], list)
            return told["data"] or [], told["data"] is None
        if not body:
            return [], True
        table = pa.ipc.open_stream(io.BytesIO(body)).read_all()
        assert not any(pa.types.is_dictionary(f.type) or pa.types.is_large_string(f.type) for f in table.schema)
        columns = [c.to_pylist() for c in (table.column(i) for i in range(table.num_columns))]
        return [list(r) for r in zip(*columns)], False


@pytest.mark.parametrize("accept", [ARROW, "application/json"])
def test_connector(d, accept):
    client = Connector(d, accept)
    assert client.execute(SMOKE) == [[n] for n in range(1, 11)]
    rows = client.execute(MANY)
    assert len(rows) == ROWS and [r[0] for r in rows] == list(range(ROWS)) and rows[-1][1] == f"text {ROWS - 1}"
    assert client.execute("SELECT 1 AS a WHERE 1 = 0") == []
    # parameters as the connector sends them: native values, its own type names, a NULL as varchar
    got = client.execute("SELECT ?, ?, ?, ?", [{"type": "numeric", "value": 30}, {"type": "boolean", "value": True}, {"type": "varchar", "value": "é"}, {"type": "varchar", "value": None}])
    assert [str(v) for v in got[0]] == ["30", "True", "é", "None"]
    assert client.execute("SELECT 1 AS a", settings={"time_zone": "Etc/UTC", "lc_time": "en_US", "query_timeout": "600s", "date_style": "ISO"}) == [[1]]
    for sql, text in (("SELECT * FROM no_such", "no_such"), ("SELEC", "SELEC"), ("SELECT 1/0", "division"), ("SELECT :a", "conflicting parameter style 'named'")):
        with pytest.raises(RuntimeError, match=re.compile(text, re.I)):
            client.execute(sql)
    with pytest.raises(RuntimeError, match="set to 'qmark'"):
        client.execute("SELECT :a")


class Dashql(Client):
    """The web client: any body of the POST is chunk 0, then chunks in order, four at a time, all glued to one stream; a poll of 250 ms when it ran out of chunks."""

    def execute(self, sql, **headers):
        answer = self.call("POST", body={"sql": sql, "settings": {"timezone": "Etc/UTC"}}, Accept=ARROW, **headers)
        if answer.status_code != 200:
            raise RuntimeError(answer.json()["message"])
        status = json.loads(answer.headers["x-hyperdb-status"])
        stream, chunk = answer.content, 1 if answer.content else 0
        schema = bool(answer.content)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            while True:
                batch = range(chunk, min(chunk + 4, status["chunkCount"]))
                paths = [f"/{status['queryId']}/chunk/{n}?omitSchema={'true' if schema or n > chunk else 'false'}" for n in batch]
                for answer in pool.map(lambda p: self.call("GET", p, Accept=ARROW), paths):
                    assert answer.status_code == 200, answer.text
                    stream += answer.content
                    schema = True
                chunk += len(batch)
                if chunk < status["chunkCount"]:
                    continue
                if status["completionStatus"] in ("FINISHED", "RESULTS_PRODUCED"):
                    break
                answer = self.call("GET", f"/{status['queryId']}?waitTimeMs=250", Accept=ARROW)
                assert answer.headers["Content-Type"].startswith("application/json"), "it parses JSON whatever it asked for"
                if answer.status_code != 200:
                    raise RuntimeError(answer.json()["message"])
                status = answer.json()
        assert self.call("DELETE", "/" + status["queryId"]).status_code == 204
        return stream


@pytest.mark.parametrize("headers", [{}, {"x_hyperdb_external_client_context": "test"}], ids=["no x-hyperdb header", "with one"])
def test_dashql(d, headers, tmp_path):
    client = Dashql(d)
    for sql, count in ((SMOKE, 10), (MANY, ROWS), ("SELECT 1 AS n WHERE 1 = 0", 0), (f"SELECT range AS n FROM range({ROWS * 3})", ROWS * 3)):
        stream = client.execute(sql, **headers)
        table = pa.ipc.open_stream(io.BytesIO(stream)).read_all()
        assert table.num_rows == count
        first = 1 if sql == SMOKE else 0
        assert sorted(table.column("n").to_pylist()) == list(range(first, first + count))
        if sql == MANY:  # the library that it reads with
            path = tmp_path / "stream"
            path.write_bytes(stream)
            done = subprocess.run(["node", os.path.join(ROOT, "tests", "api", "read_arrow.js"), str(path)], stdout=subprocess.PIPE, env={**os.environ, "NODE_PATH": NODE_MODULES}, check=True)
            assert json.loads(done.stdout)["rows"] == ROWS
    slow = "SELECT a.range AS n FROM range(3000) a, range(2000) b WHERE (a.range * b.range) % 1999 = 7 ORDER BY 1"
    assert pa.ipc.open_stream(io.BytesIO(client.execute(slow, **headers))).read_all().num_rows > 0
    with pytest.raises(RuntimeError, match="Division by zero"):
        client.execute("SELECT sum(a.range // (b.range - b.range)) FROM range(2000) a, range(2000) b WHERE a.range * b.range > 1", **headers)


class DuckdbExtension(Client):
    """The strictest of all: ASYNC, polls, metadata, every chunk as an Arrow stream of its own, and all counts and types checked against each other."""

    ARROW_OF = {"bool": pa.bool_(), "smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64(), "float4": pa.float32(), "float8": pa.float64(), "varchar": pa.utf8(), "json": pa.utf8(),
                "bytea": pa.binary(), "date": pa.date64(), "time": pa.time64("us"), "timestamp": pa.timestamp("us"), "interval": pa.month_day_nano_interval()}

    def execute(self, sql):
        answer = self.call("POST", body={"sql": sql, "transferMode": "ASYNC", "settings": {"timezone": "Etc/UTC", "language": "en_US"}, "queryRowLimit": -1})
        assert answer.status_code == 200, answer.text
        status = json.loads(answer.headers.get("x-hyperdb-status") or answer.headers["status"])
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", status["queryId"])
        while status["completionStatus"] != "FINISHED":
            answer = self.call("GET", f"/{status['queryId']}?waitTimeMs=250")
            assert answer.status_code == 200, answer.text
            status = answer.json()
            for name in ("chunkCount", "rowCount"):
                assert isinstance(status[name], int) and status[name] >= 0
            assert status["completionStatus"] in ("RUNNING", "RESULTS_PRODUCED", "FINISHED"), "read as failed"
        columns = self.call("GET", f"/{status['queryId']}/metadata").json()["metadata"]["columns"]
        for c in columns:
            assert isinstance(c["name"], str) and isinstance(c["type"], str) and isinstance(c["nullable"], bool)
            assert ("precision" in c, "scale" in c) == ((True, True) if c["type"] == "numeric" else (False, False)), c
            if c["type"] == "numeric":
                assert 1 <= c["precision"] <= 38 and 0 <= c["scale"] <= c["precision"]
        tables = []
        for n in range(status["chunkCount"]):
            body = self.call("GET", f"/{status['queryId']}/chunks/{n}", Accept=ARROW).content
            source = io.BytesIO(body)
            reader = pa.ipc.open_stream(source)
            tables.append(reader.read_all())
            assert not source.read(), "bytes behind the stream"
            for field, c in zip(reader.schema, columns, strict=True):
                assert field.name == c["name"] and field.nullable is c["nullable"]
                wanted = {"numeric": pa.decimal128(c.get("precision") or 1, c.get("scale") or 0), "timestamptz": pa.timestamp("us", "Utc")}.get(c["type"]) or self.ARROW_OF[c["type"]]
                assert field.type == wanted, (field, c)
            told = self.call("GET", f"/{status['queryId']}/chunks/{n}").json()
            assert told["returnedRows"] == len(told["data"]) == tables[-1].num_rows
        assert sum(t.num_rows for t in tables) == status["rowCount"]
        assert self.call("GET", f"/{status['queryId']}/chunks/{status['chunkCount']}").status_code == 400
        return columns, tables


def test_duckdb_extension(d):
    client = DuckdbExtension(d)
    columns, tables = client.execute(TYPES)
    assert [c["type"] for c in columns] == ["bool", "smallint", "integer", "bigint", "float4", "float8", "numeric", "varchar", "bytea", "date", "time", "timestamp", "timestamptz", "interval", "json"]
    _, tables = client.execute(MANY)
    assert len(tables) > 1 and pa.concat_tables(tables).column("n").to_pylist() == list(range(ROWS))
    _, tables = client.execute("SELECT 1 AS a WHERE 1 = 0")
    assert sum(t.num_rows for t in tables) == 0
    # an abort has 250 ms: the answer must not wait for the work to stop
    answer = client.call("POST", body={"sql": "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1", "transferMode": "ASYNC"})
    qid = json.loads(answer.headers["x-hyperdb-status"])["queryId"]
    assert client.call("DELETE", "/" + qid).status_code == 204
    assert client.call("GET", f"/{qid}?waitTimeMs=10000").status_code == 408


def test_documented_actions(d):
    """sf-pi: run, status, rows, metadata, chunk, cancel with exactly the documented paths and parameters, JSON only."""
    client = Client(d, Accept="application/json")
    answer = client.call("POST", body={"sql": MANY})
    status = json.loads(answer.headers["x-hyperdb-status"])
    qid = status["queryId"]
    while status["completionStatus"] not in ("FINISHED", "RESULTS_PRODUCED"):
        status = client.call("GET", f"/{qid}?waitTimeMs=10000").json()
    rows, offset = [], 0
    while offset < status["rowCount"]:
        page = client.call("GET", f"/{qid}/rows?offset={offset}&limit=100000&byteLimit=1000000").json()
        assert page["returnedRows"] == len(page["data"]) > 0
        rows += page["data"]
        offset += page["returnedRows"]
    assert [r[0] for r in rows] == list(range(ROWS))
    assert [c["name"] for c in client.call("GET", f"/{qid}/metadata").json()["metadata"]["columns"]] == ["n", "t", "d"]
    assert sum(client.call("GET", f"/{qid}/chunks/{n}?omitSchema=true").json()["returnedRows"] for n in range(status["chunkCount"])) == ROWS
    assert client.call("DELETE", "/" + qid).status_code == 204 and client.call("GET", "/" + qid).status_code == 404
