"""Each dialect's ways to submit a statement and to read its rows, for tests that hold one truth against all of them.

A dialect is one class in DIALECTS: submit, describe (what its metadata says), and read, which yields (format, rows as read, rows wanted).
An answer is anything with all_names(), all_kinds(), count() and shown(what, profile), as tests/typed.py's Table.
"""
import csv
import io
import json
import os
import re

import pyarrow as pa

import typed
from quern_client import wait_until

ARROW = {"Accept": "application/vnd.apache.arrow.stream"}
ARROW_TYPES = {"bool": pa.bool_(), "smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64(), "float4": pa.float32(), "float8": pa.float64(), "varchar": pa.utf8(),
               "bytea": pa.binary(), "date": pa.date64(), "time": pa.time64("us"), "timestamp": pa.timestamp("us"), "interval": pa.month_day_nano_interval()}


def values_of(column):
    """Python values of an Arrow column; timestamps as microseconds, so that no zone and no range of datetime is between."""
    if isinstance(column, pa.ChunkedArray):
        return [v for chunk in column.chunks for v in values_of(chunk)]
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.view(pa.int64()).to_pylist()
    if pa.types.is_map(kind):
        return [None if not s.is_valid else list(zip(values_of(s.values.field(0)), values_of(s.values.field(1)))) for s in column]
    if pa.types.is_list(kind):
        return [None if not s.is_valid else values_of(s.values) for s in column]
    if pa.types.is_struct(kind):
        fields = [values_of(column.field(i)) for i in range(kind.num_fields)]
        names = [kind.field(i).name for i in range(kind.num_fields)]
        return [dict(zip(names, row)) if ok else None for row, ok in zip(zip(*fields), column.is_valid().to_pylist())]
    return column.to_pylist()


def arrow_rows(data):
    table = pa.ipc.open_stream(io.BytesIO(data)).read_all()
    table.validate(full=True)
    columns = [values_of(table.column(i)) for i in range(table.num_columns)]
    return table.schema, [list(row) for row in zip(*columns)]


FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\n]*))([,\n])')


def csv_rows(text):
    """Fields of RFC 4180, where a field that is quoted is never NULL: None for an empty one without quotes."""
    rows, row, at = [], [], 0
    while at < len(text):
        found = FIELD.match(text, at)
        assert found, f"no field of a CSV file at {text[at:at + 80]!r}"
        quoted, bare, after = found.groups()
        row.append(quoted.replace('""', '"') if quoted is not None else bare or None)
        if after == "\n":
            rows.append(row)
            row = []
        at = found.end()
    assert not row, "the last line has no end"
    return rows


def unique(names):
    """Keys of JSON objects: equal names get _1, _2, ... as far as those are free."""
    taken, found, seen = set(names), [], {}
    for name in names:
        if name not in seen:
            seen[name] = 1
            found.append(name)
            continue
        while f"{name}_{seen[name]}" in taken:
            seen[name] += 1
        made = f"{name}_{seen[name]}"
        taken.add(made)
        found.append(made)
    return found


def neutral(q, qid, answer, dialect):
    """The four formats of the download, with this dialect's credential."""
    names = answer.all_names()

    def get(fmt):
        got = q.download(qid, fmt, dialect=dialect)
        assert got.status_code == 200, f"{fmt}: {got.status_code} {got.text[:500]}"
        return got.content

    table = csv_rows(get("csv").decode())
    yield "download csv", [name or "" for name in table[0]], names
    yield "download csv", table[1:], answer.shown("text", "neutral")
    want = [dict(zip(unique(names), row)) for row in answer.shown("json", "neutral")]
    yield "download json", typed.load(get("json").decode()), want
    yield "download ndjson", [typed.load(line) for line in get("ndjson").decode().split("\n")[:-1]], want
    schema, rows = arrow_rows(get("arrow"))
    yield "download arrow", schema.names, names
    yield "download arrow", rows, answer.shown("arrow")


class Kakao:
    name = "kakao"
    styles = ()  # of parameters

    def submit(self, q, sql):
        qid = q.kakao_run(sql)
        done = q.kakao_wait(qid)
        assert done["queryInfo"]["state"] == "FINISHED", f"{done['queryInfo']}\n{sql[:4000]}"
        return qid

    def read(self, q, qid, answer):
        page = q.kakao_get(qid)
        kinds = [k.kakao for k in answer.all_kinds()]
        yield "kakao columnData", page["columnData"], [{"name": n, "index": i + 1, "type": t} for i, (n, t) in enumerate(zip(answer.all_names(), kinds))]
        yield "kakao totalElements", page["totalElements"], min(1000, answer.count())
        yield "kakao outputRows", page["queryInfo"]["queryStats"]["outputRows"], answer.count()
        want = answer.shown("text", "kakao")
        rows = []
        for number in range(min(10, page["totalPages"])):
            rows += q.kakao_get(qid, page=number)["queryData"] if number else page["queryData"]
        yield "kakao page", rows, want[:1000]
        if page["resultConfig"]["isStored"]:
            folder = os.path.join(q.bucket_dir, page["resultConfig"]["path"])
            with open(os.path.join(folder, qid + ".csv"), encoding="utf-8", newline="") as f:
                table = csv_rows(f.read())
            yield "kakao csv in the bucket", table[0], answer.all_names()
            yield "kakao csv in the bucket", table[1:], want
            with open(os.path.join(folder, qid + ".metadata"), encoding="utf-8") as f:
                told = json.load(f)
            yield "kakao metadata in the bucket", [told["columns"], told["rowCount"]], [page["columnData"], answer.count()]


class Data360:
    name = "data360"
    styles = ("QUESTION_MARK", "NAMED", "DOLLARED", "DOLLAR_NUMBERED")

    def submit(self, q, sql, **more):
        answer = q.d360_submit(sql, mode="ASYNC", check=False, **more)
        assert answer.status_code == 200, f"{answer.text}\n{sql[:4000]}\n{str(more)[:4000]}"
        qid = q.d360_status_of(answer)["queryId"]
        done = q.d360_wait(qid)
        assert done.status_code == 200, f"{done.text}\n{sql[:4000]}\n{str(more)[:4000]}"
        return qid

    def json(self, q, path):
        got = q.d360_get(path)
        assert got.status_code == 200, f"{path}: {got.status_code} {got.text[:500]}"
        return typed.load(got.content.decode())

    def arrow(self, q, path):
        got = q.d360_get(path, headers=ARROW)
        assert got.status_code == 200, f"{path}: {got.status_code} {got.text[:500]}"
        return got.content

    def read(self, q, qid, answer):
        status = q.d360_get(qid).json()
        yield "data360 rowCount", status["rowCount"], answer.count()
        described = [{"name": n, **k.described()} for n, k in zip(answer.all_names(), answer.all_kinds())]
        yield "data360 metadata", q.d360_get(f"{qid}/metadata").json()["metadata"]["columns"], described
        want = answer.shown("json", "data360")
        rows, step = [], max(7, answer.count() // 3)
        for offset in range(0, max(1, answer.count()), step):
            part = self.json(q, f"{qid}/rows?offset={offset}&limit={step}&omitSchema={'true' if offset else 'false'}")
            yield "data360 returnedRows", int(part["returnedRows"]), len(part["data"])
            yield "data360 omitSchema", "metadata" in part, not offset
            rows += part["data"]
        yield "data360 rows", rows, want
        rows, stream = [], b"" if status["chunkCount"] else self.arrow(q, f"{qid}/metadata")
        for n in range(status["chunkCount"]):
            rows += self.json(q, f"{qid}/chunks/{n}")["data"]
            stream += self.arrow(q, f"{qid}/chunks/{n}?omitSchema={'true' if n else 'false'}")
        yield "data360 chunks", rows, want
        arrow = answer.shown("arrow")
        schema, rows = arrow_rows(stream)
        yield "data360 chunks arrow", rows, arrow
        for field, told in zip(schema, described):
            if told["type"] in ARROW_TYPES:
                yield f"data360 arrow type of {field.name}", field.type, ARROW_TYPES[told["type"]]
            elif told["type"] == "numeric":
                yield f"data360 arrow type of {field.name}", field.type, pa.decimal128(told["precision"], told["scale"])
            elif told["type"] == "timestamptz":
                yield f"data360 arrow type of {field.name}", field.type, pa.timestamp("us", "Utc")
        schema, rows = arrow_rows(self.arrow(q, f"{qid}/rows?offset={answer.count() // 2}"))
        yield "data360 rows arrow", rows, arrow[answer.count() // 2:]
        yield "data360 names", schema.names, answer.all_names()


class Kylin:
    """The asynchronous query, as CSV: NULL and the empty text are both nothing."""

    name = "kylin"
    styles = ()

    def call(self, q, method, path, **more):
        got = q.http(method, "/kylin/api/async_query" + path, dialect="kylin", headers={"Accept": "application/vnd.apache.kylin-v4-public+json"}, **more)
        assert got.status_code == 200, f"{path}: {got.status_code} {got.text[:500]}"
        return got

    def submit(self, q, sql):
        told = self.call(q, "POST", "", json={"sql": sql, "project": "w1", "include_header": True}).json()
        assert told["code"] == "000", told
        qid = told["data"]["query_id"]
        state = wait_until("the query to end", lambda: (lambda s: s if s["status"] != "RUNNING" else None)(self.call(q, "GET", f"/{qid}/status?project=w1").json()["data"]))
        assert state["status"] == "SUCCESSFUL", f"{state}\n{sql[:4000]}"
        return q.kakao_get(qid)["queryInfo"]["queryId"]

    def read(self, q, qid, answer):
        table = csv_rows(self.call(q, "GET", f"/{qid}/result_download?project=w1&include_header=true").content.decode())
        yield "kylin csv", [name or "" for name in table[0]], answer.all_names()
        yield "kylin csv", table[1:], [[v or None for v in row] for row in answer.shown("text", "kylin")]


class JackDB:
    """Every value is a text or null; results are paged by seek and limit."""

    name = "jackdb"
    styles = ()

    def submit(self, q, sql):
        query = q.jackdb_query(sql)
        assert query["success"] is True, f"{query}\n{sql[:4000]}"
        return q.kakao_get(query["id"])["queryInfo"]["queryId"]

    def read(self, q, qid, answer):
        uuid = q.d360_get(qid).json()["queryId"]
        told = q.jackdb_get(f"{uuid}/result/0")["detail"]
        yield "jackdb names", [c["name"] for c in told["columns"]], answer.all_names()
        yield "jackdb numRows", told["numRows"], answer.count()
        rows, step = [], max(7, answer.count() // 2)
        while True:
            part = q.jackdb_get(f"{uuid}/result/0/rows?seek={len(rows)}&limit={step}")
            rows += part
            if len(part) < step:
                break
        yield "jackdb rows", rows, answer.shown("text", "jackdb")


class Canner:
    name = "canner"
    styles = ()

    def call(self, q, method, path, **body):
        here = q.key["workspaceId"]
        if method == "GET":
            got = q.http("GET", f"/api/v1{path}{'&' if '?' in path else '?'}workspaceId={here}", dialect="canner")
        else:
            got = q.http(method, "/api/v1" + path, dialect="canner", json={"workspaceId": here, **body})
        assert got.status_code == 200, f"{path}: {got.status_code} {got.text[:500]}"
        return typed.load(got.content.decode())

    def submit(self, q, sql):
        query = self.call(q, "POST", "/query", sql=sql)
        while query["status"] not in ("FINISHED", "FAILED"):
            query = self.call(q, "GET", f"/query/{query['id']}")
        assert query["status"] == "FINISHED", f"{query['error']}\n{sql[:4000]}"
        return query["id"]

    def read(self, q, qid, answer):
        query = self.call(q, "GET", f"/query/{qid}")
        kinds = [k.kakao for k in answer.all_kinds()]
        yield "canner columns", [(c["name"], c["type"]) for c in query["columns"]], list(zip(answer.all_names(), kinds))
        yield "canner rowCount", int(query["rowCount"]), answer.count()
        want = answer.shown("json", "canner")
        whole = self.call(q, "GET", f"/query/{qid}/result")
        yield "canner result", whole["result"], want
        yield "canner result columns", whole["columns"], query["columns"]
        half = answer.count() // 2
        page = self.call(q, "GET", f"/query/{qid}/result?offset={half}&limit=5")
        yield "canner page", page["result"], want[half:half + 5]


DIALECTS = (Kakao(), Data360(), Kylin(), JackDB(), Canner())


def compare(q, qid, answer, context):
    """The query as every dialect and every format shows it; context goes in front of what differs."""
    seen = 0
    for dialect in DIALECTS:
        downloads = neutral(q, qid, answer, dialect.name) if answer.count() < 5000 or dialect is DIALECTS[0] else ()
        for source in (dialect.read(q, qid, answer), downloads):
            for label, got, want in source:
                seen += 1
                if want == got:
                    continue
                if isinstance(got, list) and isinstance(want, list) and len(got) == len(want):
                    at, (w, g) = next((i, pair) for i, pair in enumerate(zip(want, got)) if not pair[0] == pair[1])
                    if isinstance(w, (list, tuple)) and len(w) == len(g):
                        column = next(i for i, pair in enumerate(zip(w, g)) if not pair[0] == pair[1])
                        kind = answer.all_kinds()[column] if column < len(answer.all_kinds()) else ""
                        raise AssertionError(f"{context}: {label} ({dialect.name}'s key), row {at}, column {column} {kind}:\n got {g[column]!r}\nwant {w[column]!r}")
                    raise AssertionError(f"{context}: {label} ({dialect.name}'s key), item {at}:\n got {g!r}\nwant {w!r}")
                raise AssertionError(f"{context}: {label} ({dialect.name}'s key):\n got {str(got)[:2000]}\nwant {str(want)[:2000]}")
    return seen
