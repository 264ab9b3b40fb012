"""Runs the rows of sql_trino.tsv on a real Trino server and prints what it shows otherwise: python3 against_trino.py http://127.0.0.1:8080 [words of a row].

Not a test (it needs that server): it is how values and types of the table were, and can be, compared. Rows about our own catalog are left out, and
so are places of errors; types are compared where a row names them.
"""
import json
import os
import sys
import urllib.request

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sql_trino.tsv")
OURS = ("SHOW", "DESC", "EXPLAIN")
HEADERS = {"X-Trino-User": "quern", "X-Trino-Catalog": "memory", "X-Trino-Schema": "default", "X-Trino-Time-Zone": "UTC", "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME"}


def query(url, sql):
    """Columns, rows, error."""
    page = json.load(urllib.request.urlopen(urllib.request.Request(url + "/v1/statement", sql.encode(), HEADERS)))
    columns, rows = [], []
    while True:
        columns = page.get("columns", columns)
        rows += page.get("data") or []
        if "error" in page or "nextUri" not in page:
            return columns, rows, page.get("error")
        page = json.load(urllib.request.urlopen(page["nextUri"]))


def text(value, inside=False):
    if value is None:
        return "null" if inside else "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(text(v, True) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}={text(v, True)}" for k, v in value.items()) + "}"
    return str(value)


def main(url, *words):
    count = different = 0
    for number, line in enumerate(open(TABLE, encoding="utf-8"), 1):
        cells = line.rstrip("\n").split("\t") + ["", "", ""]
        sql, want, more = cells[0].replace("\\n", "\n").rstrip(";"), cells[1], cells[3]
        if line.startswith("#") or not sql or "flights" in sql or sql.startswith(OURS) or any(w not in line for w in words):
            continue
        columns, rows, error = query(url, sql)
        count += 1
        types = ";".join(c["type"].replace(", ", ",") for c in columns)
        got = "!" + error["errorName"] if error else " / ".join(" | ".join(map(text, row)) for row in rows)
        if got == (want.partition("@")[0] if error else want) and more.partition("types=")[2] in ("", types):
            continue
        different += 1
        print(f"{number}: {sql}\n   ours:  {want}  {more}\n   Trino: {got}  {error['message'][:200] if error else types}")
    print(f"{count} rows, {different} differ")


if __name__ == "__main__":
    main(*sys.argv[1:])
