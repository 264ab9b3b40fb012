"""Three million real rows through JSON, CSV, NDJSON and Arrow (pyarrow and npm apache-arrow), equal to the engine's own
answer: the same multiset of rows, column by column and row by row."""
import hashlib
import json
import os
import subprocess

import duckdb
import pyarrow as pa
import pyarrow.csv
import pytest

from quern_client import FLIGHTS, NODE_MODULES

HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS = ("date", "delay", "distance", "origin", "destination")
TYPES = {"date": "TIMESTAMP", "delay": "BIGINT", "distance": "BIGINT", "origin": "VARCHAR", "destination": "VARCHAR"}
DIGEST = ("SELECT count(*), " + ", ".join(f"count({c}), sum(hash({c})::HUGEINT)" for c in COLUMNS) +
          ", sum(hash(struct_pack(" + ", ".join(f"{c} := {c}" for c in COLUMNS) + "))::HUGEINT) FROM ({})")
LIST = ", ".join(f"CAST({c} AS {t}) AS {c}" for c, t in TYPES.items())


def digest(source, **tables):
    con = duckdb.connect()
    con.execute("SET memory_limit = '4GB'")
    con.execute("SET threads = 2")
    for name, table in tables.items():
        con.register(name, table)
    return con.execute(DIGEST.format(f"SELECT {LIST} FROM {source}")).fetchone()


@pytest.fixture(scope="module")
def want():
    found = digest(f"read_parquet('{FLIGHTS}')")
    assert found[0] == 3000000
    return found


@pytest.fixture(scope="module")
def qid(q):
    answer = q.d360_submit("SELECT date, delay, distance, origin, destination FROM flights", mode="ASYNC")
    assert [c["name"] for c in answer.json()["metadata"]["columns"]] == list(COLUMNS)
    found = q.d360_status_of(answer)["queryId"]
    done = q.d360_wait(found)
    assert done.status_code == 200 and done.json()["rowCount"] == 3000000, done.text
    return found


def save(q, qid, fmt, path, **query):
    with q.download(qid, fmt, stream=True, **query) as answer:
        assert answer.status_code == 200, answer.text
        with open(path, "wb") as f:
            for part in answer.iter_content(1 << 20):
                f.write(part)
    return answer


def test_csv(q, qid, want, tmp_path):
    path = str(tmp_path / "all.csv")
    answer = save(q, qid, "csv", path)
    assert answer.headers["Content-Type"].startswith("text/csv")
    options = pa.csv.ConvertOptions(column_types={"date": pa.timestamp("us"), "delay": pa.int64(), "distance": pa.int64(), "origin": pa.string(),
                                                  "destination": pa.string()}, strings_can_be_null=False)
    table = pa.csv.read_csv(path, convert_options=options)
    assert tuple(table.column_names) == COLUMNS
    assert digest("t", t=table) == want


def typed(path, fmt):
    columns = ", ".join(f"'{c}': '{t}'" for c, t in TYPES.items())
    return f"read_json('{path}', format = '{fmt}', columns = {{{columns}}}, timestampformat = '%Y-%m-%d %H:%M:%S.%f')"


@pytest.mark.parametrize("fmt, shape", [("json", "array"), ("ndjson", "newline_delimited")])
def test_json(q, qid, want, tmp_path, fmt, shape):
    path = str(tmp_path / "all.json")
    answer = save(q, qid, fmt, path)
    assert answer.headers["Content-Type"].split(";")[0] in ("application/json", "application/x-ndjson")
    with open(path, "rb") as f:
        head = f.read(400).decode()
    assert head.startswith("[{" if fmt == "json" else "{"), head
    if fmt == "ndjson":
        assert tuple(json.loads(head.split("\n")[0])) == COLUMNS
    assert digest(typed(path, shape)) == want


def test_arrow_pyarrow(q, qid, want, tmp_path):
    path = str(tmp_path / "all.arrow")
    answer = save(q, qid, "arrow", path)
    assert answer.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
    with pa.OSFile(path) as f:
        table = pa.ipc.open_stream(f).read_all()
    table.validate(full=True)
    assert table.schema.field("date").type == pa.timestamp("us")
    assert table.schema.field("delay").type == pa.int64() and table.schema.field("origin").type == pa.string()
    assert digest("t", t=table) == want


def test_arrow_javascript(q, qid, want, tmp_path):
    """The other reader sees the same bytes as pyarrow, value by value."""
    path = str(tmp_path / "all.arrow")
    save(q, qid, "arrow", path)
    done = subprocess.run(["node", "--max-old-space-size=4096", os.path.join(HERE, "read_arrow.js"), path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env={**os.environ, "NODE_PATH": NODE_MODULES})
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    assert seen["rows"] == 3000000 and [c["name"] for c in seen["columns"]] == list(COLUMNS)
    with pa.OSFile(path) as f:
        batches = list(pa.ipc.open_stream(f))
    assert seen["batches"] == len(batches)
    for i, column in enumerate(seen["columns"]):
        digest_here = hashlib.sha256()
        for batch in batches:
            array = batch.column(i)
            if pa.types.is_string(array.type):
                digest_here.update(("\0".join(array.to_pylist()) + "\0").encode())
            else:
                values = array.buffers()[1]
                digest_here.update(memoryview(values)[array.offset * 8:(array.offset + len(array)) * 8])
            column["nulls"] -= array.null_count
        assert column["nulls"] == 0
        assert column["hash"] == digest_here.hexdigest(), f"{column['name']} ({column['type']}) differs between the two readers"
    assert digest("t", t=pa.Table.from_batches(batches)) == want


def test_data360_rows_in_json_and_arrow(q, qid):
    """The dialect's own pages agree with the stored result at every place that is looked at."""
    import io
    arrow = pa.ipc.open_stream(io.BytesIO(q.download(qid, "arrow").content)).read_all()
    for offset in (0, 1, 99, 2047, 2048, 122879, 122880, 1500000, 2999899):
        rows = q.d360_rows(qid, offset, 100)
        part = arrow.slice(offset, 100)
        want = [[d.isoformat(timespec="seconds" if d.microsecond == 0 else "auto"), *rest]
                for d, *rest in zip(*(part.column(c).to_pylist() for c in COLUMNS))]
        assert [[str(r[0])[:19], *r[1:]] for r in rows] == [[w[0][:19], *w[1:]] for w in want], offset
        answer = q.d360_get(f"{qid}/rows?offset={offset}&limit=100", headers={"Accept": "application/vnd.apache.arrow.stream"})
        assert answer.status_code == 200
        slice_ = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
        assert slice_.num_rows == 100
        assert slice_.column("delay").to_pylist() == part.column("delay").to_pylist()
        assert slice_.column("origin").to_pylist() == part.column("origin").to_pylist()
    beyond = q.d360_get(f"{qid}/rows?offset=3000001&limit=10")
    assert beyond.status_code == 400 and "out of range" in beyond.json()["message"].lower()


def test_kakao_delivers_the_file(q, want, tmp_path):
    qid = q.kakao_run("SELECT date, delay, distance, origin, destination FROM flights", path="/all/flights/")
    body = q.kakao_wait(qid)
    assert body["queryInfo"]["state"] == "FINISHED" and body["queryInfo"]["queryStats"]["outputRows"] == 3000000, body["queryInfo"]
    assert body["totalElements"] == 1000 and body["resultConfig"]["isStored"] is True
    base = os.path.join(q.bucket_dir, body["resultConfig"]["path"], qid)
    assert os.path.exists(base + ".csv") and os.path.exists(base + ".metadata")
    columns = ", ".join(f"'{c}': '{t}'" for c, t in TYPES.items())
    source = f"read_csv('{base}.csv', header = true, quote = '\"', escape = '\"', columns = {{{columns}}})"
    assert digest(source) == want
    with open(base + ".metadata") as f:
        assert json.load(f)["rowCount"] == 3000000
