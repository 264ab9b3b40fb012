"""Every example of JackDB's Query page (specs/source): the same curl command lines against our server, the same shapes back."""
import json
import re
import subprocess

import pytest

from quern_client import CURL, PATIENCE

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
PEOPLE = """SELECT * FROM (VALUES ('alice', 123, DATE '2022-08-01'), ('bob', 456, NULL), ('carl', 789, DATE '2022-08-01')) t(name, id, day)"""


def curl(d, *words):
    """As the page writes it: -H Accept, -u "${KEY}@api:${SECRET}", then what is given; (status, body)."""
    command = [*CURL, "-w", "\n%{http_code} %{content_type}", "-H", "Accept: application/vnd.jackdb.v2+json",
               "-u", f"{d.key['keyId']}@api:{d.key['secret']}", *words]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE).stdout
    body, _, tail = out.rpartition("\n")
    status, _, kind = tail.partition(" ")
    assert kind.startswith("application/json"), tail
    return int(status), json.loads(body)


@pytest.fixture(scope="module")
def done(q):
    query = q.jackdb_query(f"{PEOPLE}; SELECT 1 AS one; SELECT 2 AS two")
    assert query["success"] is True
    return query


def test_retrieve_a_query(q, done):
    status, body = curl(q, q.url(f"/api/v2/query/{done['id']}"))
    assert status == 200
    assert list(body) == ["id", "createdAt", "startedAt", "completedAt", "success", "numResults"]
    assert UUID.match(body["id"]) and body["id"] == done["id"]
    for key in ("createdAt", "startedAt", "completedAt"):
        assert TIME.match(body[key]), body
    assert body["createdAt"] <= body["startedAt"] <= body["completedAt"]
    assert body["success"] is True and body["numResults"] == 3


def test_retrieve_a_result(q, done):
    status, body = curl(q, q.url(f"/api/v2/query/{done['id']}/result/0"))
    assert status == 200
    assert list(body) == ["queryId", "ordinalPosition", "type", "startedAt", "completedAt", "detail"]
    assert body["queryId"] == done["id"] and body["ordinalPosition"] == 0 and body["type"] == "query"
    assert TIME.match(body["startedAt"]) and TIME.match(body["completedAt"])
    assert body["detail"] == {
        "columns": [{"ordinalPosition": 0, "name": "name", "type": "VARCHAR", "format": "string"},
                    {"ordinalPosition": 1, "name": "id", "type": "INTEGER", "format": "integer"},
                    {"ordinalPosition": 2, "name": "day", "type": "DATE", "format": "date"}],
        "hasMore": False, "numRows": 3}
    assert list(body["detail"]) == ["columns", "hasMore", "numRows"]


def test_rows_as_on_the_page(q, done):
    status, body = curl(q, q.url(f"/api/v2/query/{done['id']}/result/0/rows"))
    assert status == 200
    assert body == [["alice", "123", "2022-08-01"], ["bob", "456", None], ["carl", "789", "2022-08-01"]]


def test_rows_requests_of_the_page(q):
    """Default limit 1000; seek is zero-origin, so that seek=500 gives the 501st row first (specs section 7)."""
    query = q.jackdb_query("SELECT range AS n FROM range(1600)")
    rows = q.url(f"/api/v2/query/{query['id']}/result/0/rows")
    assert [r[0] for r in curl(q, rows)[1]] == [str(i) for i in range(1000)]
    assert [r[0] for r in curl(q, rows + "?seek=500")[1]] == [str(i) for i in range(500, 1500)]
    assert [r[0] for r in curl(q, rows + "?seek=500&limit=100")[1]] == [str(i) for i in range(500, 600)]
    assert [r[0] for r in curl(q, rows + "?seek=250&limit=100")[1]][:1] == ["250"]


def test_cancel_of_the_page(q):
    started = q.jackdb_execute("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1")
    assert curl(q, "-X", "POST", q.url(f"/api/v2/query/{started['id']}/cancel")) == (200, {})
    assert q.jackdb_wait(started["id"])["success"] is False


def test_delete_of_the_page(q):
    query = q.jackdb_query("SELECT 1")
    assert curl(q, "-X", "DELETE", q.url(f"/api/v2/query/{query['id']}")) == (200, {})
    assert curl(q, q.url(f"/api/v2/query/{query['id']}")) == (404, {"error": {"message": "Query not found"}})


def test_formats_of_the_page(q):
    """The section Column Data Formats, its own values."""
    query = q.jackdb_query("""SELECT 'testing' AS a, 123 AS b, 123.456 AS c, DATE '2015-01-17' AS d, TIMESTAMP '2015-01-17 12:33:52' AS e,
        TIMESTAMPTZ '2015-01-17 12:33:52Z' AS f, 'JackDB is the best'::BLOB AS g""")
    result = q.jackdb_get(f"{query['id']}/result/0")
    assert [c["format"] for c in result["detail"]["columns"]] == ["string", "integer", "numeric", "date", "timestamp", "timestamptz", "bytea"]
    # the page's timestamp samples lack the fraction that its formats have: the formats win (specs section 7)
    assert q.jackdb_get(f"{query['id']}/result/0/rows") == [["testing", "123", "123.456", "2015-01-17", "2015-01-17T12:33:52.000",
                                                            "2015-01-17T12:33:52.000Z", "4a61636b4442206973207468652062657374"]]


def test_life_of_the_page(q):
    """`null` while in progress; numResults null until there is one."""
    started = q.jackdb_execute("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1")
    try:
        assert started["success"] is None and started["completedAt"] is None and started["numResults"] is None
        assert TIME.match(started["createdAt"])
        body = curl(q, q.url(f"/api/v2/query/{started['id']}"))[1]
        assert list(body) == ["id", "createdAt", "startedAt", "completedAt", "success", "numResults"]
        assert body["success"] is None and body["completedAt"] is None and body["numResults"] is None
    finally:
        q.jackdb("POST", f"/query/{started['id']}/cancel")
