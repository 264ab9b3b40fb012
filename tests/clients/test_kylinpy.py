"""kylinpy, unmodified, in each of the generations that it speaks: projects, tables, columns and their types, a query, pages, an error."""
import base64
import datetime

import pytest
from kylinpy import create_kylin
from kylinpy.client import HTTPError
from kylinpy.exceptions import KylinQueryError, NoSuchTableError
from kylinpy.kylindb import Connection

from quern_client import PATIENCE

VERSIONS = ["v1", "v2", "v4"]
FLIGHTS = [("date", "TIMESTAMP"), ("delay", "BIGINT"), ("distance", "BIGINT"), ("origin", "VARCHAR"), ("destination", "VARCHAR")]


def credential(key):
    return base64.b64decode(key["headers"]["kylin"]["Authorization"].split()[1]).decode().split(":", 1)


def dsn(q, version, key=None, more=""):
    user, password = credential(key or q.key)
    return f"kylin://{user}:{password}@127.0.0.1:{q.port}/w1?version={version}&timeout={PATIENCE}{more}"


@pytest.mark.parametrize("version", VERSIONS)
def test_projects_and_login(q, version):
    kylin = create_kylin(dsn(q, version))
    assert [p["name"] for p in kylin.projects()] == ["w1"]
    user = kylin.service.get_authentication()
    assert user["username"] == "alice"
    with pytest.raises(HTTPError) as wrong:
        create_kylin(f"kylin://alice:wrong@127.0.0.1:{q.port}/w1?version={version}&timeout={PATIENCE}").service.get_authentication()
    assert wrong.value.status_code == 401 and "Invalid username or password" in str(wrong.value)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("pushdown", ["", "&is_pushdown=1"])
def test_tables_and_columns(q, version, pushdown):
    kylin = create_kylin(dsn(q, version, more=pushdown))
    assert "main" in kylin.get_all_schemas() and "flights" in kylin.get_all_tables("main")
    source = kylin.get_table_source("flights", "main")
    assert [(c.name, c.datatype) for c in source.columns] == FLIGHTS
    with pytest.raises(NoSuchTableError):
        kylin.get_table_source("no_such", "main")


@pytest.mark.parametrize("version", VERSIONS)
def test_query(q, version):
    kylin = create_kylin(dsn(q, version))
    answer = kylin.query("select origin, count(*) as n from flights group by 1 order by 2 desc, 1 limit 3")
    assert answer["results"] == [["ORD", "166341"], ["DFW", "157162"], ["ATL", "124711"]]
    assert [(c["label"], c["columnTypeName"], c["columnType"]) for c in answer["columnMetas"]] == [("origin", "VARCHAR", 12), ("n", "BIGINT", -5)]
    assert answer["isException"] is False and answer["exceptionMessage"] is None
    # pages
    assert kylin.query("select range from range(100) order by 1", limit=3, offset=50)["results"] == [["50"], ["51"], ["52"]]
    assert len(kylin.query("select * from range(60000)")["results"]) == 50000  # its own default limit


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sql, why", [("select no_such from flights", "no_such"), ("selec 1", "syntax error"), ("select 1 / 0", "Division by zero"),
                                      ("create table x (a integer)", "This SQL is not supported at the moment"), (" ", "SQL can’t be empty")])
def test_errors(q, version, sql, why):
    with pytest.raises(KylinQueryError, match=why):
        create_kylin(dsn(q, version)).query(sql)


@pytest.mark.parametrize("version", VERSIONS)
def test_unknown_project(q, version):
    user, password = credential(q.key)
    kylin = create_kylin(f"kylin://{user}:{password}@127.0.0.1:{q.port}/w2?version={version}&timeout={PATIENCE}")
    with pytest.raises(KylinQueryError, match="Can't find project \"w2\""):
        kylin.query("select 1")
    with pytest.raises(HTTPError, match="Can't find project \"w2\""):
        kylin.get_all_tables()


def test_cursor(q):
    """Its DB-API: values of every type that it has a word for."""
    user, password = credential(q.key)
    cursor = Connection.connect(host="127.0.0.1", port=q.port, username=user, password=password, project="w1", timeout=PATIENCE).cursor()
    cursor.execute("select 7 as i, 9000000000 as b, 2.5::decimal(10,2) as d, 0.5e0 as f, 'it''s 中' as s, true as t, false as u, "
                   "date '2021-02-03' as day, timestamp '2021-02-03 04:05:06.789' as at, cast(null as integer) as nothing, "
                   "time '10:20:30' as clock, 'x'::blob as bytes, [1, 2] as list, uuid() as id")
    assert [tuple(c[:2]) for c in cursor.description[:10]] == [
        ("i", "integer"), ("b", "bigint"), ("d", "decimal"), ("f", "double"), ("s", "varchar"), ("t", "boolean"), ("u", "boolean"), ("day", "date"),
        ("at", "timestamp"), ("nothing", "integer")]
    assert list(cursor.description[2][4:6]) == [10, 2]
    row = cursor.fetchone()
    assert row[:10] == (7, 9000000000, 2.5, 0.5, "it's 中", True, False, datetime.date(2021, 2, 3), datetime.datetime(2021, 2, 3, 4, 5, 6), None)
    assert row[10] == "10:20:30.000" and row[11] == "78" and row[12] == "[1, 2]"
    assert cursor.fetchone() is None
    cursor.execute("select range from range(5)")
    assert cursor.rowcount == 5 and cursor.fetchmany(2) == [(0,), (1,)] and cursor.fetchall() == [(2,), (3,), (4,)]
