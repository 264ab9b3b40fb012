"""Kakao Data Query: the facts of specs/kakao.md sections 2 to 10 that no other file shows."""
import datetime
import json
import os
import re
import time

import pytest

from quern_client import BLOCK, wait_until

RUN = "/v1/data-query/query"
OK = {"query": "select 1", "resultConfig": {"bucketName": "b1", "path": "facts"}}


# ---- common rules (section 2)


@pytest.mark.parametrize("method, path, status", [
    ("POST", RUN, 400), ("GET", RUN + "/x", 404), ("GET", RUN + "?page=x", 400), ("PUT", RUN + "/x/abort", 404), ("GET", "/v1/data-query/nothing", 404),
    ("PATCH", RUN, 405), ("DELETE", RUN + "/x", 405), ("POST", RUN + "/x/abort", 405), ("DELETE", "/v1/data-query/data-source/x", 404)])
def test_error_bodies(q, method, path, status):
    answer = q.http(method, path, data="[]" if method == "POST" else None)
    assert answer.status_code == status and answer.headers["Content-Type"].startswith("application/json")
    assert list(answer.json()) == ["error"] and list(answer.json()["error"]) == ["code", "message"]
    assert answer.json()["error"]["code"] == status and answer.json()["error"]["message"]
    assert ("Allow" in answer.headers) == (status == 405)
    assert q.http(method, path, key=False).status_code in (401, 404, 405)


@pytest.mark.parametrize("headers", [{}, {"Credential-ID": ""}, {"Credential-ID": "x", "Credential-Secret": ""}, {"Credential-ID": "x x", "Credential-Secret": "-"},
                                     {"Credential-ID": "x", "Credential-Secret": "y"}, {"Credential-Secret": "y"}])
def test_401_comes_first(q, headers):
    for method, path, body in (("POST", RUN, "no json"), ("GET", RUN + "/unknown", None), ("PUT", RUN + "/unknown/abort", None)):
        answer = q.http(method, path, key=False, data=body, headers=headers)
        assert answer.status_code == 401 and answer.json()["error"]["code"] == 401


@pytest.mark.parametrize("content_type", [None, "application/json", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream"])
def test_json_whatever_the_content_type(q, content_type):
    answer = q.http("POST", RUN, data=json.dumps({**OK, "unknown": [1], "resultConfig": {**OK["resultConfig"], "more": 1}}),
                    headers={"Content-Type": content_type} if content_type else {})
    assert answer.status_code == 202


# ---- run (section 3.1)


@pytest.mark.parametrize("path, folder", [("a/b", "a/b/"), ("/a/b/", "a/b/"), ("", ""), ("/", ""), ("with blank/ünï", "with blank/ünï/"), ("a//b///c/", "a/b/c/")])
def test_paths(q, path, folder):
    done = q.kakao_wait(q.http("POST", RUN, json={"query": "select 1", "resultConfig": {"bucketName": "b1", "path": path}}).json()["queryInfo"]["queryId"])
    config = done["resultConfig"]
    assert re.fullmatch(re.escape(folder) + r"\d{4}/\d\d/\d\d", config["path"]) and config["storageUrl"] == "b1/" + config["path"] and config["isStored"] is True, done


@pytest.mark.parametrize("path", ["..", "a/..", "./a", "a/./b", "a\u0001b", "x" * 400, "a\\b", "x" * 256, "a/.quern-b"])  # the last three fit no bucket
def test_bad_paths(q, path):
    answer = q.http("POST", RUN, json={"query": "select 1", "resultConfig": {"bucketName": "b1", "path": path}})
    assert answer.status_code == 400 and "path" in answer.json()["error"]["message"]


def test_nested_body_wins(q):
    body = {**OK, "bucketName": "nothing", "path": "flat"}
    done = q.kakao_wait(q.http("POST", RUN, json=body).json()["queryInfo"]["queryId"])
    assert done["resultConfig"]["bucketName"] == "b1" and done["resultConfig"]["path"].startswith("facts/")


def test_age_counts_only_with_reuse(q):
    for reuse in ({"reuse": False, "maxReuseAge": 0}, {"reuse": False, "maxReuseAge": "x"}, {"maxReuseAge": 99999}, {}, None):
        answer = q.http("POST", RUN, json={**OK, "reuseConfig": reuse})
        assert answer.status_code == 202, reuse
        assert q.kakao_wait(answer.json()["queryInfo"]["queryId"])["reuseConfig"] == {"reuse": False}
    for age in (1, 1440):
        assert q.http("POST", RUN, json={**OK, "reuseConfig": {"reuse": True, "maxReuseAge": age}}).status_code == 202


def test_499(make_daemon):
    d = make_daemon()
    d.admin("bucket", "create", "locked", "--url", "file://" + d.bucket_dir, "--workspace", "w1", "--read-only")
    answer = d.kakao_run("select 1", bucket="locked", check=False)
    assert answer.status_code == 499 and answer.json()["error"]["code"] == 499 and "locked" in answer.json()["error"]["message"]
    assert d.kakao_run("select 1", bucket="unlocked", check=False).status_code == 404
    os.rename(d.bucket_dir, d.bucket_dir + ".away")  # a share that is not mounted: nobody lacks a right
    answer = d.kakao_run("select 1", check=False)
    assert answer.status_code == 503 and answer.headers["Retry-After"], answer.text
    assert answer.json()["error"]["message"] == "bucket b1 cannot be reached now"
    os.rename(d.bucket_dir + ".away", d.bucket_dir)
    assert d.kakao_query("select 1")["queryInfo"]["state"] == "FINISHED"


def test_defaults_of_names(q):
    """A database alone is accepted and matters only to a name that needs it."""
    assert q.kakao_query("select 1", source=None, database="main")["queryInfo"]["state"] == "FINISHED"
    for source, database, sql in (("data_catalog", None, "select count(*) from main.flights"), ("data_catalog", "main", "select count(*) from flights"),
                                  ("DATA_CATALOG", "MAIN", "select count(*) from FLIGHTS"), (None, None, 'select count(*) from data_catalog."main".flights')):
        assert q.kakao_query(sql, source=source, database=database)["queryData"] == [["3000000"]], (source, database, sql)


def test_information_schema_of_the_catalog(q):
    """In full, as names must be without headers, and by the default; what it says is the same."""
    for source, name in ((None, "data_catalog.information_schema"), ("data_catalog", "information_schema"), (None, "DATA_CATALOG . Information_Schema")):
        sql = f"select column_name from {name}.columns where table_name = 'flights' and table_catalog = 'data_catalog' order by ordinal_position"
        assert q.kakao_query(sql, source=source, database=None)["queryData"] == [["date"], ["delay"], ["distance"], ["origin"], ["destination"]]
    error = q.kakao_query("select *\nfrom data_catalog.information_schema.nothing", source=None, database=None)["queryInfo"]["error"]
    assert error["name"] == "TABLE_NOT_FOUND" and error["message"].startswith("line 2:6: "), error


NO_SCHEMA, NO_CATALOG = (57, "MISSING_SCHEMA_NAME"), (56, "MISSING_CATALOG_NAME")


@pytest.mark.parametrize("source, database, sql, error, place", [
    (None, None, "select * from zz", NO_SCHEMA, "1:15"), (None, None, "select *\nfrom \"main\" . \"flights\"", NO_CATALOG, "2:6"),
    (None, None, "with x as (select 1 a) select 'é', y.* from y", NO_SCHEMA, "1:45"), (None, None, "explain select * from main.zz", NO_CATALOG, "1:23"),
    (None, "main", "select * from flights", NO_CATALOG, "1:15"), (None, "main", "select * from main.flights", NO_CATALOG, "1:15"),
    (None, None, "create table zz as select 1 a", NO_SCHEMA, None), (None, None, "create or replace view main.zz as select 1 a", NO_CATALOG, None),
    (None, "main", "create table if not exists zz (a int)", NO_CATALOG, None), (None, None, "create schema zz", NO_CATALOG, None),
    (None, None, "insert into zz values (1)", NO_SCHEMA, None), (None, None, "drop table main.zz", NO_CATALOG, None), (None, None, "drop table data_catalog.main.zz", (46, "TABLE_NOT_FOUND"), None),
    (None, None, "show tables", NO_CATALOG, "1:12"), ("data_catalog", None, "show tables", NO_SCHEMA, "1:12"), (None, None, "describe zz", NO_CATALOG, "1:10"),
    (None, None, "select x.a from (select 1 b) y", (46, "TABLE_NOT_FOUND"), "1:8"), (None, None, "select * from data_catalog.nope.zz", (45, "SCHEMA_NOT_FOUND"), "1:15"),
    (None, None, "select * from nope.main.zz", (44, "CATALOG_NOT_FOUND"), None), (None, None, "create table nope.main.zz (a int)", (44, "CATALOG_NOT_FOUND"), None),
    ("nope", "main", "select 1", (44, "CATALOG_NOT_FOUND"), None), ("nope", None, "select 1", (44, "CATALOG_NOT_FOUND"), None),
    ("data_catalog", "nope", "select * from flights", (45, "SCHEMA_NOT_FOUND"), None)])
def test_names_that_lack_a_part(q, source, database, sql, error, place):
    """Trino's error says which default is missing, and where."""
    got = q.kakao_query(sql, source=source, database=database)["queryInfo"]["error"]
    assert (got["code"], got["name"], got["type"]) == (*error, "USER_ERROR"), got
    assert got["message"].startswith(f"line {place}: ") if place else not got["message"].startswith("line "), got
    words = {"MISSING_SCHEMA_NAME": "Schema must be specified when session schema is not set", "MISSING_CATALOG_NAME": "Catalog must be specified when session catalog is not set"}
    assert got["message"].endswith(words.get(got["name"], got["message"])), got


# ---- states (sections 3.2, 4)


def test_pages_of_each_state(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0"})
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    queued = d.kakao_run("select 1")
    for qid, state, least in ((running, "RUNNING", 0), (queued, "QUEUED", 0)):
        first = d.kakao_get(qid)
        stats = first["queryInfo"]["queryStats"]
        assert first["queryInfo"]["state"] == state and "completedAt" not in stats and 0 <= stats["progressPercentage"] < 100
        assert stats["outputRows"] == 0 and stats["outputDataSize"] == "0B" and stats["inputDataSize"] == "0B"
        assert first["columnData"] == [] and first["queryData"] == [] and first["totalElements"] == first["totalPages"] == 0
        assert first["resultConfig"]["isStored"] is False and first["resultConfig"]["storageUrl"].startswith("b1/results/")
        wait_until("the clock to go on", lambda: d.kakao_get(qid)["queryInfo"]["queryStats"]["elapsedTime"] != stats["elapsedTime"])
    assert d.kakao_abort(queued).status_code == 200 and d.kakao_abort(running).status_code == 200
    for qid in (running, queued):
        last = d.kakao_get(qid)
        stats = last["queryInfo"]["queryStats"]
        assert last["queryInfo"]["state"] == "ABORTED" and stats["completedAt"] >= stats["createdAt"] and "error" not in last["queryInfo"]
        assert last["columnData"] == [] and last["queryData"] == [] and last["resultConfig"]["isStored"] is False
        assert d.kakao_get(qid)["queryInfo"]["queryStats"]["elapsedTime"] == stats["elapsedTime"]


def test_a_finished_query_is_readable_and_its_files_are_there(q):
    """completedAt is the time the result was stored."""
    for n in range(5):
        done = q.kakao_wait(q.kakao_run(f"select range from range({n * 40})"))
        folder = os.path.join(q.bucket_dir, done["resultConfig"]["path"])
        qid = done["queryInfo"]["queryId"]
        with open(os.path.join(folder, qid + ".csv")) as f:
            assert len(f.read().splitlines()) == n * 40 + 1
        with open(os.path.join(folder, qid + ".metadata")) as f:
            about = json.load(f)
        assert about["queryId"] == qid and about["rowCount"] == n * 40 and about["columns"] == [{"name": "range", "index": 1, "type": "bigint"}]
        assert about["storeType"] == "BASIC" and about["createdAt"] == done["queryInfo"]["queryStats"]["createdAt"]
        assert done["totalElements"] == n * 40 and len(done["queryData"]) == min(100, n * 40)


# ---- files and store types (section 5)


@pytest.mark.parametrize("sql, kind, stored", [
    ("select 1", "BASIC", True), ("values (1)", "BASIC", True), ("explain select 1", "TEXT", True), ("explain analyze select 1", "TEXT", True),
    ("show create table flights", "TEXT", True), ("show tables", "BASIC", False), ("show schemas", "BASIC", False), ("describe flights", "BASIC", False)])
def test_store_types(q, sql, kind, stored):
    done = q.kakao_query(sql, path="types")
    config = done["resultConfig"]
    assert done["queryInfo"]["state"] == "FINISHED" and config["storeType"] == kind, done
    if kind == "TEXT":
        assert len(done["columnData"]) == 1 and done["columnData"][0]["type"] == "varchar"
    name = os.path.join(q.bucket_dir, config["path"], done["queryInfo"]["queryId"] + ".csv")
    assert config["isStored"] is os.path.exists(name)
    if kind == "TEXT":
        with open(name) as f:
            assert [line for line in f.read().split("\n")][0] == done["queryData"][0][0].split("\n")[0]
    if sql.startswith(("select", "values")):
        assert config["isStored"] is stored


# ---- reuse (section 6)


def test_reuse_gives_a_query_of_its_own(q):
    sql = f"select count(*) as n, {int(time.time())} as mark from flights where delay > 5"
    first = q.kakao_query(sql, reuse=10, path="reuse/one")
    second = q.kakao_query(sql, reuse=20, path="reuse/two")
    a, b = first["queryInfo"], second["queryInfo"]
    assert a["queryId"] != b["queryId"] and a["isScanned"] is True and b["isScanned"] is False
    assert b["queryStats"]["inputRows"] == 0 and b["queryStats"]["inputDataSize"] == "0B" and first["queryData"] == second["queryData"]
    assert second["reuseConfig"] == {"reuse": True, "expireAt": a["queryStats"]["createdAt"] + 20 * 60000}
    for done, path in ((first, "reuse/one"), (second, "reuse/two")):  # the files are where this run asked for them
        assert done["resultConfig"]["path"].startswith(path)
        assert os.path.exists(os.path.join(q.bucket_dir, done["resultConfig"]["path"], done["queryInfo"]["queryId"] + ".csv"))
    assert q.kakao_query(sql)["queryInfo"]["isScanned"] is True  # not asked for


# ---- list (section 3.3)


def number(text):
    value, unit = re.fullmatch(r"([\d.]+)([A-Za-z]+)", text).groups()
    return float(value) * {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


@pytest.mark.parametrize("sql", ["select count(*) from flights where delay > 3", "show tables", "describe flights", "explain select 1", "select 1/0", "select * from nothing",
                                  "create or replace table data_catalog.main.stages as select 1 a"])
def test_stages_add_up(q, sql):
    """elapsedTime holds queuedTime, planningTime and queryExecutionTime, none of them counted twice; also of queries that another dialect planned ahead."""
    d360 = q.d360_submit(sql, check=False)
    ids = [q.kakao_run(sql)] + ([q.d360_status_of(d360)["queryId"]] if d360.status_code == 200 else [])
    for qid in ids:
        stats = q.kakao_wait(qid)["queryInfo"]["queryStats"]
        parts = sum(number(stats[key]) for key in ("queuedTime", "planningTime", "queryExecutionTime"))
        assert parts <= number(stats["elapsedTime"]) * 1.02 + 2e-5, stats  # each is rounded to two decimals


def test_empty_list_parameters_are_none(q):
    """As the page's own table writes the call."""
    assert q.http("GET", RUN + "?queryId=&creatorName=&states=&page=&size=&sort=").json().keys() == q.http("GET", RUN).json().keys()
    assert q.http("GET", RUN + "?page=&size=").json()["size"] == 20


FIELDS = {
    "queryId": lambda i: i["queryInfo"]["queryId"], "queryTextPreview": lambda i: i["queryInfo"]["queryTextPreview"], "state": lambda i: i["queryInfo"]["state"],
    "createdAt": lambda i: i["queryInfo"]["queryStats"]["createdAt"], "elapsedTime": lambda i: number(i["queryInfo"]["queryStats"]["elapsedTime"]),
    "inputDataSize": lambda i: number(i["queryInfo"]["queryStats"]["scannedDataSize"]), "scannedDataSize": lambda i: number(i["queryInfo"]["queryStats"]["scannedDataSize"]),
    "creatorName": lambda i: i["creatorName"], "storageUrl": lambda i: i["resultConfig"]["storageUrl"]}


@pytest.mark.parametrize("field", FIELDS)
def test_sort_fields(mixed, field):
    """Both ways, by the value and not by its text."""
    for direction in ("asc", "desc", "ASC", "Desc"):
        body = mixed.http("GET", f"{RUN}?size=2000&sort={field},{direction}").json()
        values = [FIELDS[field](i) for i in body["content"]]
        if field == "state":  # an order of its own, so equal states stand together
            assert len([1 for a, b in zip(values, values[1:]) if a != b]) == len(set(values)) - 1
            continue
        fits = [a <= b if direction.lower() == "asc" else a >= b for a, b in zip(values, values[1:])]
        assert all(fits) and len(values) == body["totalElements"] > 10, (field, direction, values)
    assert mixed.http("GET", f"{RUN}?size=2000&sort={field}").json()["content"] == mixed.http("GET", f"{RUN}?size=2000&sort={field},asc").json()["content"]


@pytest.fixture(scope="module")
def mixed():
    from quern_client import Daemon
    d = Daemon()
    try:
        d.prepare()
        member = d.new_key(user="bob", role="member")
        d.start()
        for n in range(4):
            d.kakao_query(f"select {9 - n}, sum(delay) from flights where distance > {n}", path=f"p{n % 2}")
            d.kakao_query(f"select {n}", key=member)
            d.kakao_query(f"select nothing_{n}")
        d.kakao_query("select * from flights limit 1000")
        d.kakao_abort(d.kakao_run(BLOCK))
        d.d360_submit("select 1")  # without a bucket
        yield d
    finally:
        d.finish()


def test_ids_carry_the_time_of_creation_in_korea(mixed):
    for item in mixed.http("GET", f"{RUN}?size=2000").json()["content"]:
        info = item["queryInfo"]
        kst = datetime.datetime.fromtimestamp(info["queryStats"]["createdAt"] / 1000, datetime.timezone(datetime.timedelta(hours=9)))
        assert re.fullmatch(rf"{kst:%Y%m%d-%H%M%S}-[0-9A-Za-z]{{10}}", info["queryId"])
        for spelling in (info["queryId"], "data-query-" + info["queryId"]):
            assert mixed.kakao_get(spelling)["queryInfo"]["queryId"] == info["queryId"]
            assert mixed.http("GET", f"{RUN}?queryId={spelling}").json()["totalElements"] == 1


def test_roles(q):
    """A reader looks, a member runs and ends its own, an admin ends all."""
    qid = q.kakao_run(BLOCK, key=q.member)
    assert q.kakao_get(qid, key=q.reader)["queryInfo"]["queryId"] == qid
    assert q.http("GET", RUN, key=q.reader).status_code == 200
    assert [q.kakao_abort(qid, key=k).status_code for k in (q.reader, q.member2, q.other, q.key)] == [403, 403, 404, 200]
