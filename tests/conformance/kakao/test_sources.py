"""Kakao Data Query: data sources (specs: 3.5 list, 3.6 create, 3.7 delete, 8 scope)."""
import base64
import os

import pytest

SOURCES = "/v1/data-query/data-source"
CATALOG = {"scope": "NONE", "creatorName": "-", "type": "DATA_CATALOG", "name": "data_catalog"}
MYSQL = {"type": "MYSQL", "name": "test_mysql", "scope": "PRIVATE", "description": "test mysql",
         "instanceId": "fbc16e9a-6352-11ef-952c-0a27e22384db", "username": "admin", "password": "YWRtaW4K"}
POSTGRES = {"type": "POSTGRESQL", "name": "test_postgresql", "scope": "PUBLIC", "instanceId": "99fbe528-8014-47ee-b5bb-15c059562611",
            "username": "admin", "password": "YWRtaW4K", "databaseName": "postgres"}


def changed(base, **fields):
    body = {**base, **fields}
    return {k: v for k, v in body.items() if v is not ...}


def listed(q, key=None):
    answer = q.http("GET", SOURCES, key=key)
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def clean(q):
    yield q
    for key in (q.key, q.member, q.member2, q.other):
        for source in listed(q, key):
            if source["type"] != "DATA_CATALOG":
                q.http("DELETE", f"{SOURCES}/{source['name']}", key=key)
    assert all(listed(q, key) == [CATALOG] for key in (q.key, q.member, q.member2, q.other))


def test_create_list_delete(clean):
    q = clean
    made = q.http("POST", SOURCES, json=MYSQL, key=q.member)
    assert made.status_code == 200
    private = {"scope": "PRIVATE", "creatorName": "bob", "type": "MYSQL", "description": "test mysql", "name": "test_mysql"}
    assert made.json() == private and list(made.json()) == ["scope", "creatorName", "type", "description", "name"]
    # a form type, as the page's own PostgreSQL example sends it; no description: no field; an empty one is kept
    made = q.http("POST", SOURCES, data=__import__("json").dumps(POSTGRES), headers={"Content-Type": "application/x-www-form-urlencoded"},
                  key=q.member)
    assert made.status_code == 200
    public = {"scope": "PUBLIC", "creatorName": "bob", "type": "POSTGRESQL", "name": "test_postgresql"}
    assert made.json() == public
    assert q.http("POST", SOURCES, json=changed(MYSQL, name="empty_text", description=""), key=q.member).json()["description"] == ""
    empty = {"scope": "PRIVATE", "creatorName": "bob", "type": "MYSQL", "description": "", "name": "empty_text"}
    assert listed(q, q.member) == [CATALOG, private, public, empty]
    # others: no PRIVATE one, not even the admin; another workspace: nothing
    assert listed(q, q.member2) == [CATALOG, public] and listed(q, q.reader) == [CATALOG, public] and listed(q) == [CATALOG, public]
    assert listed(q, q.other) == [CATALOG]
    assert q.http("DELETE", f"{SOURCES}/test_mysql", key=q.member2).status_code == 404
    assert q.http("DELETE", f"{SOURCES}/test_mysql", key=q.key).status_code == 404
    assert q.http("DELETE", f"{SOURCES}/test_postgresql", key=q.member2).status_code == 403
    assert q.http("DELETE", f"{SOURCES}/test_postgresql", key=q.other).status_code == 404
    gone = q.http("DELETE", f"{SOURCES}/test_mysql", key=q.member, data="{Request body}")
    assert gone.status_code == 200 and gone.json() == {}
    assert q.http("DELETE", f"{SOURCES}/test_mysql", key=q.member).status_code == 404
    assert listed(q, q.member) == [CATALOG, public, empty]
    assert q.http("DELETE", f"{SOURCES}/test_postgresql", key=q.key).status_code == 200  # an admin may


def test_names_are_one_space(clean):
    q = clean
    assert q.http("POST", SOURCES, json=MYSQL, key=q.member).status_code == 200
    for key in (q.member, q.member2, q.key):  # whoever has it, and whatever its kind
        for body in (MYSQL, changed(POSTGRES, name="test_mysql")):
            answer = q.http("POST", SOURCES, json=body, key=key)
            assert answer.status_code == 409 and answer.json()["error"]["code"] == 409
    assert q.http("POST", SOURCES, json=changed(MYSQL, name="data_catalog")).status_code == 409
    assert q.http("POST", SOURCES, json=MYSQL, key=q.other).status_code == 200  # another workspace has its own


@pytest.mark.parametrize("body, field", [
    ([], None), ("text", None), (changed(MYSQL, type=...), "type"), (changed(MYSQL, type="mysql"), "type"),
    (changed(MYSQL, type="DATA_CATALOG"), "type"), (changed(MYSQL, type="ORACLE"), "type"), (changed(MYSQL, type=1), "type"),
    (changed(MYSQL, name=...), "name"), (changed(MYSQL, name="ab"), "name"), (changed(MYSQL, name="x" * 73), "name"),
    (changed(MYSQL, name="Abc"), "name"), (changed(MYSQL, name="a-b"), "name"), (changed(MYSQL, name="a b"), "name"),
    (changed(MYSQL, name="abc\0d"), None), (changed(MYSQL, name=None), "name"),
    (changed(MYSQL, scope=...), "scope"), (changed(MYSQL, scope="NONE"), "scope"), (changed(MYSQL, scope="private"), "scope"),
    (changed(MYSQL, description=1), "description"), (changed(MYSQL, description="x" * 5000), "description"),
    (changed(MYSQL, instanceId=...), "instanceId"), (changed(MYSQL, instanceId=" "), "instanceId"),
    (changed(MYSQL, username=...), "username"), (changed(MYSQL, username=""), "username"),
    (changed(MYSQL, password=...), "password"), (changed(MYSQL, password=""), "password"), (changed(MYSQL, password="*secret*"), "password"),
    (changed(MYSQL, password="Cg=="), "password"),  # a newline alone
    (changed(POSTGRES, databaseName=...), "databaseName"), (changed(POSTGRES, databaseName=" "), "databaseName"),
])
def test_bad_bodies_are_400(q, body, field):
    answer = q.http("POST", SOURCES, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == 400 and (field or "") in error["message"] and "secret" not in error["message"]
    assert listed(q) == [CATALOG]


def test_accepted_spellings(clean):
    q = clean
    for i, more in enumerate([{"name": "x" * 72}, {"name": "123"}, {"description": None}, {"databaseName": 7}, {"unknown": {}},
                              {"password": "YWRtaW4"}, {"password": base64.b64encode("pässwörd".encode()).decode()}]):
        answer = q.http("POST", SOURCES, json={**changed(MYSQL, name=f"spelling_{i}"), **more})
        assert answer.status_code == 200, answer.text


def test_order_of_checks_and_roles(q):
    assert q.http("POST", SOURCES, json=[], key=False).status_code == 401
    assert q.http("GET", SOURCES, key=False).status_code == 401
    assert q.http("POST", SOURCES, json=[], key=q.reader).status_code == 400
    assert q.http("POST", SOURCES, json=MYSQL, key=q.reader).status_code == 403
    assert q.http("DELETE", f"{SOURCES}/nothing_here", key=q.reader).status_code == 403
    assert q.http("DELETE", f"{SOURCES}/nothing_here").status_code == 404
    assert q.http("DELETE", f"{SOURCES}/data_catalog").status_code == 400
    assert q.http("PATCH", SOURCES).status_code == 405


def test_a_query_that_names_one_fails(clean):
    q = clean
    assert q.http("POST", SOURCES, json=changed(MYSQL, name="my_shop"), key=q.member).status_code == 200

    def error(sql, key, **more):
        body = q.kakao_query(sql, key=key, **more)
        assert body["queryInfo"]["state"] == "FAILED"
        return body["queryInfo"]["error"]

    for sql in ("select * from my_shop.sales.orders", 'select * from flights, "my_shop".sales.orders o', "insert into my_shop.sales.orders values (1)",
                "create table my_shop.sales.fresh (a integer)", "drop table my_shop.sales.orders", "select * from my_shop.orders", "show schemas from MY_SHOP",
                "show tables from my_shop.sales", "describe my_shop.sales.orders"):
        e = error(sql, q.member)
        assert e["name"] == "NOT_SUPPORTED" and "my_shop" in e["message"].lower() and "not enabled yet" in e["message"], (sql, e)
    e = error("select * from orders", q.member, source="my_shop", database="sales")
    assert e["name"] == "NOT_SUPPORTED" and "not enabled yet" in e["message"]
    # to those who do not see it, it does not exist
    for sql in ("select * from my_shop.sales.orders", "create table my_shop.sales.fresh (a integer)", "drop table my_shop.sales.orders", "show schemas from my_shop"):
        e = error(sql, q.member2)
        assert "not enabled" not in e["message"] and e["name"] == "CATALOG_NOT_FOUND", (sql, e)
    e = error("select 1", q.member2, source="my_shop", database="sales")
    assert e["name"] == "CATALOG_NOT_FOUND" and e["message"] == "Catalog 'my_shop' not found"
    # a word that is no source does not matter, and the rest of the workspace works
    assert "not enabled" not in error("select my_shop from nowhere", q.member)["message"]
    assert q.kakao_query("select 'my_shop.a' as x", key=q.member)["queryData"] == [["my_shop.a"]]
    # Data 360 says it at once
    answer = q.d360_submit("select * from my_shop.sales.orders", key=q.member, check=False)
    assert answer.status_code in (400, 501) and answer.json()["error"] == "0A000" and "not enabled yet" in answer.json()["message"]


def test_kept_over_a_restart_and_sealed(make_daemon):
    d = make_daemon()
    password = "correct horse battery staple"
    assert d.http("POST", SOURCES, json=changed(MYSQL, password=base64.b64encode(password.encode()).decode())).status_code == 200
    before = listed(d)
    assert len(before) == 2
    row = [s for s in d.admin("source", "list") if s["kind"] != "catalog"]
    assert [(s["name"], s["kind"], s["scope"], s["creator"], s["instance"]) for s in row] == [
        ("test_mysql", "mysql", "PRIVATE", "alice", MYSQL["instanceId"])]
    bad = d.admin("source", "test", "test_mysql", "--workspace", "w1", check=False)
    assert bad.returncode == 1 and "not enabled yet" in bad.stderr
    d.restart()
    assert listed(d) == before
    for folder, _, files in os.walk(d.folder):
        for name in (f for f in files if f != "admin.sock"):
            try:
                with open(os.path.join(folder, name), "rb") as f:
                    text = f.read()
            except FileNotFoundError:
                continue  # what is temporary may be gone by now
            assert password.encode() not in text and base64.b64encode(password.encode()) not in text, name
    assert d.admin("source", "remove", "test_mysql", "--workspace", "w1")["removed"] is True
    assert listed(d) == [CATALOG]
    d.stop()
    assert len(d.admin("source", "list", "--workspace", "w1")) == 1


def test_registered_instances_are_the_only_ones(make_daemon):
    d = make_daemon()
    d.admin("instance", "add", MYSQL["instanceId"], "--type", "mysql", "--host", "127.0.0.1")
    d.admin("instance", "add", POSTGRES["instanceId"], "--type", "postgresql", "--host", "db.example", "--port", "5433", "--tls", "verify")
    assert [(i["type"], i["host"], i["port"], i["tls"]) for i in d.admin("instance", "list")] == [
        ("mysql", "127.0.0.1", 3306, "prefer"), ("postgresql", "db.example", 5433, "verify")]
    assert d.http("POST", SOURCES, json=MYSQL).status_code == 200
    assert d.http("POST", SOURCES, json=POSTGRES).status_code == 200
    for instance in ("unknown", POSTGRES["instanceId"]):
        answer = d.http("POST", SOURCES, json=changed(MYSQL, name="another", instanceId=instance))
        assert answer.status_code == 400 and "instanceId" in answer.json()["error"]["message"]
    d.admin("instance", "remove", MYSQL["instanceId"])
    assert d.http("POST", SOURCES, json=changed(MYSQL, name="another")).status_code == 400
