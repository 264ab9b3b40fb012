"""Data sources by the JackDB dialect (specs/jackdb.md section 5)."""
import re
import time

import pytest

SHOWN = ["id", "name", "alias", "type", "createdAt", "updatedAt"]


@pytest.fixture
def made(q):
    ids = []

    def make(check=True, key=None, **form):
        form = {"name": "My DB", "alias": f"db_{time.time_ns()}", "configUri": "postgresql://bob:s3cr%40t@db.example.com:5433/sales", **form}
        answer = q.jackdb("POST", "/data-source", key=key, form={k: v for k, v in form.items() if v is not None})
        if answer.status_code == 200:
            ids.append(answer.json()["id"])
        if not check:
            return answer
        assert answer.status_code == 200, answer.text
        return answer.json()

    yield make
    for source in ids:
        q.jackdb("DELETE", f"/data-source/{source}")


def test_the_catalog_is_always_there(q):
    listed = q.jackdb("GET", "/data-source").json()
    assert list(listed[0]) == SHOWN
    assert listed[0]["alias"] == "data_catalog" and listed[0]["type"] == "catalog"
    assert re.fullmatch(r"D[0-9A-Za-z]{15,16}", listed[0]["id"])
    assert q.jackdb("GET", f"/data-source/{listed[0]['id']}").json() == q.jackdb("GET", "/data-source/data_catalog").json()
    answer = q.jackdb("DELETE", "/data-source/data_catalog")
    assert answer.status_code == 400 and answer.json()["error"]["message"]


def test_create(q, made):
    body = made(alias="sales_db")
    assert list(body) == SHOWN[:4] + ["configUri"] + SHOWN[4:]
    assert re.fullmatch(r"D[0-9A-Za-z]{15,16}", body["id"])
    assert (body["name"], body["alias"], body["type"]) == ("My DB", "sales_db", "postgresql")
    # completed as the product does; the password in clear here and nowhere else
    assert body["configUri"] == "postgresql://bob:s3cr%40t@db.example.com:5433/sales?validateSsl=false&ssl=true"
    for path in (body["id"], "sales_db", ":alias=sales_db", ":alias:sales_db", ":id=" + body["id"]):
        shown = q.jackdb("GET", f"/data-source/{path}").json()
        assert shown == {**body, "configUri": "postgresql://bob:***@db.example.com:5433/sales?validateSsl=false&ssl=true"}
    listed = [s for s in q.jackdb("GET", "/data-source").json() if s["id"] == body["id"]]
    assert len(listed) == 1 and list(listed[0]) == SHOWN
    assert not re.search("s3cr(%40|@)t", q.jackdb("GET", "/data-source").text)  # (ids have neither)
    assert q.jackdb("GET", f"/data-source/{body['id']}", key=q.member).status_code == 200
    assert q.jackdb("GET", f"/data-source/{body['id']}", key=q.other).status_code == 404
    assert any(s["name"] == "sales_db" for s in q.http("GET", "/v1/data-query/data-source").json())  # Kakao calls it by its alias


def test_options_of_the_uri(q, made):
    body = made(configUri="mysql://h/d?ssl=false&user=u&password=p%26q&x=1")
    assert body["configUri"] == "mysql://u:p%26q@h/d?ssl=false&x=1&validateSsl=false" and body["type"] == "mysql"
    assert q.jackdb("GET", f"/data-source/{body['id']}").json()["configUri"] == "mysql://u:***@h/d?ssl=false&x=1&validateSsl=false"
    assert made(configUri="postgres://h", alias=f"short_{time.time_ns()}")["type"] == "postgresql"
    assert made(configUri="trino://t:8080/hive", alias=f"t_{time.time_ns()}")["type"] == "trino"


def test_alias_comes_from_the_name(q, made):
    name = f"Über DB {time.time_ns()}"
    body = made(name=name, alias=None)
    assert body["name"] == name and re.fullmatch(r"[0-9A-Za-z_]+", body["alias"])
    assert q.jackdb("GET", f"/data-source/{body['alias']}").json()["name"] == name


def test_json_body(q, made):
    answer = q.jackdb("POST", "/data-source", json={"name": "j", "alias": f"j_{time.time_ns()}", "configUri": "mysql://h/d"})
    assert answer.status_code == 200
    assert q.jackdb("DELETE", f"/data-source/{answer.json()['id']}").json() == {}


def test_alias_is_taken(q, made):
    body = made()
    for alias in (body["alias"], body["alias"].upper(), "data_catalog", "memory", "information_schema"):
        answer = made(check=False, alias=alias)
        assert answer.status_code == 409, answer.text
        word = "reserved" if alias in ("memory", "information_schema") else "exists already"
        assert word in answer.json()["error"]["message"]


@pytest.mark.parametrize("form,word", [
    ({"name": None}, "name"), ({"configUri": None}, "configUri"), ({"configUri": "x"}, "configUri"), ({"configUri": "://h"}, "configUri"),
    ({"configUri": "oracle://h/d"}, "configUri"), ({"configUri": "catalog://h"}, "configUri"), ({"configUri": "mysql:///d"}, "host"),
    ({"configUri": "mysql://h/d#f"}, "fragment"), ({"configUri": "mysql://u:%zz@h/d"}, "percent"), ({"configUri": "mysql://h /d"}, "blanks"),
    ({"configUri": "mysql://h/d?sslPassword=geheim"}, "secret"), ({"alias": "no spaces"}, "alias"), ({"alias": "x" * 73}, "alias"),
    ({"name": "n" * 5000}, "name is longer"), ({"name": "한글 이름", "alias": None}, "alias is required"), ({"name": "  ", "alias": None}, "alias is required"),
    ({"configUri": "mysql://:3306/d"}, "host"), ({"configUri": "mysql://h:99999/d"}, "port"), ({"configUri": "mysql://h:0/d"}, "port"),
    ({"configUri": "mysql://h:x/d"}, "port"), ({"configUri": "mysql://h:/d"}, "port"), ({"configUri": "mysql://h1,h2/d"}, "host"),
    ({"configUri": "mysql://h/d?ssl=maybe"}, "true or false"), ({"configUri": "mysql://h/d?validateSsl"}, "true or false"),
    ({"configUri": "mysql://h/d?ssl=true&SSL=false"}, "once"), ({"configUri": "mysql://[::1/d"}, "host"), ({"configUri": "mysql://" + "h" * 256 + "/d"}, "host")])
def test_bad_sources(q, made, form, word):
    answer = made(check=False, **form)
    assert answer.status_code == 400 and word in answer.json()["error"]["message"], answer.text
    assert "geheim" not in answer.text


@pytest.mark.parametrize("uri", ["postgresql://bob:geheim/42@h/d", "postgresql://bob:42/geheim@h/d", "postgresql://bob:42?geheim@h/d", "postgresql://bob:geheim#1@h/d",
                                 "postgresql://bob:x@y/geheim@h/d"])
def test_a_password_that_is_not_encoded_is_refused_and_never_shown(q, made, uri):
    """Its "/" would end the host, and the rest would be kept and shown as the database."""
    answer = made(check=False, configUri=uri)
    assert answer.status_code == 400 and "configUri" in answer.json()["error"]["message"] and "geheim" not in answer.text, answer.text


@pytest.mark.parametrize("uri,shown", [("mysql://[::1]:3306/d", "mysql://[::1]:3306/d"), ("mysql://db_1.example-2.com:65535", "mysql://db_1.example-2.com:65535"),
                                       ("mysql://u:a%2Fb%40c@10.0.0.1/d?x=a@b", "mysql://u:***@10.0.0.1/d")])
def test_hosts(q, made, uri, shown):
    assert q.jackdb("GET", f"/data-source/{made(configUri=uri)['id']}").json()["configUri"].startswith(shown + "?")


def test_delete(q, made):
    body = made()
    assert q.jackdb("DELETE", f"/data-source/{body['id']}", key=q.reader).status_code == 403
    assert q.jackdb("DELETE", f"/data-source/{body['id']}", key=q.member).status_code == 403  # somebody else's
    answer = q.jackdb("DELETE", f"/data-source/:alias={body['alias']}")
    assert (answer.status_code, answer.json()) == (200, {})
    for method in ("GET", "DELETE"):
        answer = q.jackdb(method, f"/data-source/{body['id']}")
        assert (answer.status_code, answer.json()) == (404, {"error": {"message": "Data source not found"}})
    assert q.jackdb("POST", "/data-source", key=q.reader, form={"name": "x", "configUri": "mysql://h/d"}).status_code == 403


def test_a_source_that_cannot_be_reached_is_no_http_error(q, made):
    body = made()
    query = q.jackdb_query("SELECT * FROM orders", source=body["alias"])
    assert query["success"] is False
    error = q.jackdb_results(query)[0]
    assert error["type"] == "error" and error["detail"]["error"]
