"""The SQL of the dialects' families, row by row of sql_trino.tsv (Kakao, profile TRINO) and sql_pg.tsv (Data 360, profile PG)."""
import json
import os

import pytest

FOLDER = os.path.dirname(os.path.abspath(__file__))


def table(name):
    rows = []
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if line and not line.startswith("#"):
                cells = line.split("\t") + [""]
                rows.append(pytest.param(cells[0].replace("\\n", "\n"), cells[1], cells[3], id=f"{number}-{cells[0][:50]}"))
    return rows


def as_text(rows):
    return " / ".join(" | ".join("NULL" if cell is None else cell for cell in row) for row in rows)


class Number(float):
    """With all its digits."""

    def __new__(cls, text):
        self = super().__new__(cls, text)
        self.text = text
        return self


def shown(data):
    """JSON of the data, numbers to their last digit."""
    if isinstance(data, list):
        return "[" + ", ".join(map(shown, data)) + "]"
    return data.text if isinstance(data, Number) else json.dumps(data, ensure_ascii=False)


def check_error(error, want):
    name, _, place = want[1:].partition("@")
    assert error["name"] == name, error
    if place:
        assert error["message"].startswith(f"line {place}:"), error


@pytest.mark.parametrize("sql, want, more", table("sql_trino.tsv"))
def test_trino(q, sql, want, more):
    body = q.kakao_query(sql)
    if want.startswith("!"):
        assert body["queryInfo"]["state"] == "FAILED", body
        check_error(body["queryInfo"]["error"], want)
        return
    assert body["queryInfo"]["state"] == "FINISHED", body["queryInfo"].get("error")
    if want.startswith("*"):
        assert any(row[0].startswith(want[1:]) for row in body["queryData"]), body["queryData"]
    else:
        assert as_text(body["queryData"] or []) == want
    names = more.partition("names=")[2].partition(" kind=")[0]
    if names:
        assert ",".join(c["name"] for c in body["columnData"]) == names
    types = more.partition("types=")[2]
    if types:
        assert ";".join(c["type"] for c in body["columnData"]) == types
    assert body["resultConfig"]["storeType"] == ("TEXT" if "kind=TEXT" in more else "BASIC")


@pytest.mark.parametrize("sql, want, more", table("sql_pg.tsv"))
def test_pg(q, sql, want, more):
    answer = q.d360_submit(sql, check=False)
    if want.startswith("!"):
        state, _, place = want[1:].partition("@")
        assert answer.status_code == 400, answer.text
        detail = json.dumps(answer.json())
        assert f'"{state}"' in detail, detail
        return
    assert answer.status_code == 200, answer.text
    body = json.loads(answer.content, parse_float=Number)
    assert shown(body["data"]) == want
    columns = body["metadata"]["columns"]
    types = more.partition("types=")[2].partition(" names=")[0]
    if types:
        assert ";".join(c["type"] + (f"({c['precision']},{c['scale']})" if "scale" in c else "") for c in columns) == types
    names = more.partition("names=")[2]
    if names:
        assert ";".join(c["name"] for c in columns) == names


PARAMETERS = [("SELECT ? / 2", [("integer", 7)], "integer", [[3]]), ("SELECT ? / ?", [("numeric", "7.5"), ("integer", "2")], "numeric", [[3.75]]),
              ("SELECT avg(?)", [("numeric", "1.25")], "numeric", [[1.25]]), ("SELECT (? / 2) / 3 + 1", [("numeric", "7.50")], "numeric", [[2.25]]),
              ("SELECT a % ? FROM (VALUES (7), (8)) t(a) WHERE a / ? > 1", [("bigint", 4), ("integer", 3)], "bigint", [[3], [0]]),
              ("SELECT a / ? FROM (VALUES (1), (NULL)) t(a)", [("double", 2)], "float8", [[0.5], [None]]), ("SELECT 7.5 / ?", [("integer", None)], None, [[None]])]


@pytest.mark.parametrize("mode", ["ADAPTIVE", "ASYNC"])
@pytest.mark.parametrize("sql, given, kind, want", PARAMETERS)
def test_arithmetic_of_parameters(q, sql, given, kind, want, mode):
    """The result's type follows from that of the values."""
    answer = q.d360_submit(sql, mode=mode, parameters=[{"type": t, "value": v} for t, v in given])
    qid = q.d360_status_of(answer)["queryId"]
    assert q.d360_wait(qid).status_code == 200
    assert q.d360_get(f"{qid}/rows?offset=0").json()["data"] == want
    column = q.d360_get(f"{qid}/metadata").json()["metadata"]["columns"][0]
    assert kind in (None, column["type"])
