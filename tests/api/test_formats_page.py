"""The table of docs/formats.md is what the service does: each row's SQL is run, and each format shows what stands there."""
import datetime
import io
import json
import os
import re

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from quern_client import ROOT

PAGE = os.path.join(ROOT, "docs", "formats.md")


def table():
    """[(type, SQL, csv, json, arrow, xlsx, parquet)] of the page's table; code marks and escaped bars taken away."""
    with open(PAGE) as f:
        text = f.read()
    lines = [line for line in text.split("\n") if line.startswith("| ")]
    start = next(i for i, line in enumerate(lines) if line.startswith("| type | SQL |"))
    rows = []
    for line in lines[start + 1:]:
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 7 or set(cells[0]) == {"-"}:
            break
        rows.append(tuple(re.sub(r"^`|`$", "", c.replace("\\|", "|")) for c in cells))
    return rows


def excel(cell):
    """number 1 · text x · date 2024-02-29 · true · empty"""
    v = cell.value
    if v is None:
        return "empty"
    if isinstance(v, bool):
        return f"boolean {str(v).lower()}"
    if isinstance(v, (int, float)):
        return f"number {v}"
    if isinstance(v, (datetime.datetime, datetime.time)):
        return f"{cell.number_format}: {v.isoformat(' ') if isinstance(v, datetime.datetime) else v.isoformat()}"
    return f"text {v}"


def shown(q, cases):
    sql = "SELECT " + ", ".join(f"{expression} AS c{i}" for i, (_, expression, *_) in enumerate(cases))
    qid = q.d360_status_of(q.d360_submit(sql, mode="ASYNC"))["queryId"]
    assert q.d360_wait(qid).status_code == 200
    import csv
    text = list(csv.reader(io.StringIO(q.download(qid, "csv", header="false").content.decode(), newline="")))[0]
    line = q.download(qid, "ndjson").content.decode().rstrip("\n")
    values = json.loads(line, parse_float=lambda s: s, parse_int=lambda s: s, object_pairs_hook=lambda pairs: pairs)
    found = re.findall(r'"c\d+":((?:(?!,"c\d+":).)*)', line[:-1], re.S)
    assert len(found) == len(values) == len(cases)
    arrow = pa.ipc.open_stream(io.BytesIO(q.download(qid, "arrow").content)).read_all().schema
    sheet = openpyxl.load_workbook(io.BytesIO(q.download(qid, "xlsx", header="false").content)).active
    parquet = pq.read_table(io.BytesIO(q.download(qid, "parquet").content)).schema
    def kind(t):
        return re.sub(r"\s+", " ", re.sub(r" ?\('[a-z0-9]+'\)", "", str(t).replace("\n", " ")))
    return [(name, expression, text[i], found[i], kind(arrow.field(i).type), excel(sheet.cell(1, i + 1)), kind(parquet.field(i).type))
            for i, (name, expression, *_) in enumerate(cases)]


def test_the_page_says_what_happens(q):
    rows = table()
    assert len(rows) > 30
    for want, got in zip(rows, shown(q, rows)):
        assert got == want, f"docs/formats.md, row {want[0]}"
