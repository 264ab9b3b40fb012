"""Runs the rows of sql_pg.tsv on a real PostgreSQL and prints what it shows otherwise: python3 against_postgres.py /folder/of/its/socket [words of a row].

Not a test (it needs that server, and psql): it is how values and types of the table were, and can be, compared. Names of columns and places of errors
are left out; of numeric and of timestamps the same value may have another text, which the row then says. The server's intervalstyle must be iso_8601.
"""
import json
import os
import subprocess
import sys

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sql_pg.tsv")
NAMES = {"double precision": "float8", "real": "float4", "text": "varchar", "character varying": "varchar", "timestamp without time zone": "timestamp",
         "timestamp with time zone": "timestamptz", "boolean": "bool", "smallint": "smallint"}


def query(folder, sql):
    """Rows of texts, types, SQLSTATE."""
    def psql(end):
        return subprocess.run(["psql", "-XAtq", "-h", folder, "-U", "postgres", "-F", "\x1f", "-P", "null=\x01", "-v", "VERBOSITY=sqlstate"], input=sql + end, text=True, capture_output=True)
    run = psql(";\n")
    if run.stderr:
        return None, None, run.stderr.split()[-1]
    types = [line.split("\x1f")[1].partition("(")[0] for line in psql(" \\gdesc\n").stdout.splitlines()]
    return [[None if c == "\x01" else c for c in line.split("\x1f")] for line in run.stdout.splitlines()], [NAMES.get(t, t) for t in types], None


def wanted(cell):
    if cell is None or isinstance(cell, str):
        return cell
    return {True: "t", False: "f"}[cell] if isinstance(cell, bool) else str(cell)


def same(want, rows, types):
    """Doubles as such: their texts differ."""
    def cell(value, kind):
        return float(value) if value is not None and kind.startswith("float") else value
    return [[cell(wanted(c), t) for c, t in zip(row, types)] for row in want] == [[cell(c, t) for c, t in zip(row, types)] for row in rows]


def main(folder, *words):
    count = different = 0
    for number, line in enumerate(open(TABLE, encoding="utf-8"), 1):
        cells = line.rstrip("\n").split("\t") + ["", "", ""]
        sql, want, more = cells[0].replace("\\n", "\n").rstrip(";"), cells[1], cells[3]
        if line.startswith("#") or not sql or any(w not in line for w in words):
            continue
        rows, types, error = query(folder, sql)
        count += 1
        ours = [t.partition("(")[0] for t in more.partition("types=")[2].partition(" names=")[0].split(";")] if "types=" in more else types
        if error and want.partition("@")[0] == "!" + error:
            continue
        if not error and not want.startswith("!") and ours == types and same(json.loads(want, parse_float=str), rows, types):
            continue
        different += 1
        print(f"{number}: {sql}\n   ours:       {want}  {more}\n   PostgreSQL: {'!' + error if error else rows}  {types}")
    print(f"{count} rows, {different} differ")


if __name__ == "__main__":
    main(*sys.argv[1:])
