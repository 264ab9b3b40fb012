"""SQLAlchemy with kylinpy's dialect, unmodified: inspect, select, an error."""
import base64
import datetime

import pytest
import sqlalchemy as sa

from quern_client import PATIENCE

VERSIONS = ["v1", "v2", "v4"]


@pytest.fixture(params=VERSIONS)
def engine(q, request):
    user, password = base64.b64decode(q.key["headers"]["kylin"]["Authorization"].split()[1]).decode().split(":", 1)
    engine = sa.create_engine(f"kylin://{user}:{password}@127.0.0.1:{q.port}/w1?version={request.param}&timeout={PATIENCE}")
    yield engine
    engine.dispose()


def test_inspect(engine):
    inspector = sa.inspect(engine)
    assert "main" in inspector.get_schema_names()
    assert "flights" in inspector.get_table_names(schema="main")
    columns = inspector.get_columns("flights", schema="main")
    assert [(c["name"], type(c["type"])) for c in columns] == [("date", sa.TIMESTAMP), ("delay", sa.BIGINT), ("distance", sa.BIGINT),
                                                               ("origin", sa.VARCHAR), ("destination", sa.VARCHAR)]


def test_types_of_a_table(q, engine):
    q.kakao_query("create table if not exists data_catalog.main.kinds as select 1.5::decimal(18,4) as d, time '10:00:00' as t, 'x'::blob as b, "
                  "[1] as l, {'a': 1} as s, 1::hugeint as h, 1::utinyint as u, true as o, date '2020-01-01' as day, 0.5e0 as f")
    columns = {c["name"]: c["type"] for c in sa.inspect(engine).get_columns("kinds", schema="main")}
    assert isinstance(columns["d"], sa.DECIMAL) and (columns["d"].precision, columns["d"].scale) == (18, 4)
    assert (columns["h"].precision, columns["h"].scale) == (38, 0)
    assert {n: type(t) for n, t in columns.items() if n not in "dh"} == {
        "t": sa.VARCHAR, "b": sa.VARCHAR, "l": sa.VARCHAR, "s": sa.VARCHAR, "u": sa.SMALLINT, "o": sa.BOOLEAN, "day": sa.DATE, "f": sa.FLOAT}


def test_select_by_text(engine):
    with engine.connect() as connection:
        rows = connection.execute(sa.text("select origin, count(*) as n from flights group by 1 order by 2 desc, 1 limit 3")).fetchall()
        assert [tuple(r) for r in rows] == [("ORD", 166341), ("DFW", 157162), ("ATL", 124711)]
        row = connection.execute(sa.text("select date '2021-02-03' as day, true as t, cast(null as integer) as n")).fetchone()
        assert tuple(row) == (datetime.date(2021, 2, 3), True, None)


def test_a_program_that_inspects_and_then_selects(engine):
    """Names from the inspector, a page by the text's own words: expressions cannot be compiled by this dialect with SQLAlchemy 1.4."""
    inspector = sa.inspect(engine)
    names = [c["name"] for c in inspector.get_columns("flights", schema="main")]
    with engine.connect() as connection:
        rows = connection.execute(sa.text(f"select {', '.join(names)} from main.flights where origin = 'LAS' order by 1 limit 2 offset 3")).fetchall()
    assert len(rows) == 2 and list(rows[0]._mapping) == names and isinstance(rows[0][0], datetime.datetime) and rows[0][3] == "LAS"


def test_error(engine):
    with engine.connect() as connection:
        with pytest.raises(Exception, match="no_such"):
            connection.execute(sa.text("select no_such from flights"))
    with engine.connect() as connection:
        assert connection.execute(sa.text("select 1 as a")).fetchall() == [(1,)]
