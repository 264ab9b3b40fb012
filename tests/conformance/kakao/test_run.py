"""Kakao Data Query: run, abort, refusals. Facts: the source page "Data Query Open API"."""
import os
import re

import pytest

from quern_client import BLOCK

RUN = "/v1/data-query/query"
OK = {"query": "select 1", "resultConfig": {"bucketName": "b1", "path": "results"}}
ID = re.compile(r"^\d{8}-\d{6}-[A-Za-z0-9]{10}$")


def test_run_answers_202_with_two_fields(q):
    answer = q.http("POST", RUN, json=OK)
    assert answer.status_code == 202
    assert answer.headers["Content-Type"].startswith("application/json")
    info = answer.json()
    assert list(info) == ["queryInfo"] and sorted(info["queryInfo"]) == ["queryId", "state"]
    assert ID.match(info["queryInfo"]["queryId"]) and info["queryInfo"]["state"] == "QUEUED"


def test_flat_body_and_any_content_type(q):
    body = '{"query":"select 1","bucketName":"b1","path":"flat/"}'
    answer = q.http("POST", RUN, data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 202
    done = q.kakao_wait(answer.json()["queryInfo"]["queryId"])
    assert re.fullmatch(r"flat/\d{4}/\d\d/\d\d", done["resultConfig"]["path"])


def changed(**fields):
    body = {"query": "select 1", "resultConfig": {"bucketName": "b1", "path": "p"}}
    body.update(fields)
    return {k: v for k, v in body.items() if v is not ...}


@pytest.mark.parametrize("body", [
    changed(query=...), changed(query="  "), changed(query=1), changed(query=None),
    changed(resultConfig=...), changed(resultConfig="b1"), changed(resultConfig={"bucketName": "b1"}),
    changed(resultConfig={"path": "p"}), changed(resultConfig={"bucketName": "b1", "path": None}),
    changed(resultConfig={"bucketName": "b1", "path": "a/../b"}), changed(resultConfig={"bucketName": "b1", "path": "x" * 433}),
    changed(reuseConfig={"reuse": "yes"}), changed(reuseConfig={"reuse": True}),
    changed(reuseConfig={"reuse": True, "maxReuseAge": 0}), changed(reuseConfig={"reuse": True, "maxReuseAge": 1441}),
    changed(reuseConfig={"reuse": True, "maxReuseAge": 1.5}), changed(reuseConfig={"reuse": True, "maxReuseAge": "5"}),
    changed(query="select '" + "x" * 1000000 + "'"), [], "text",
])
def test_bad_bodies_are_400(q, body):
    answer = q.http("POST", RUN, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == 400 and error["message"]


def test_order_of_checks(q):
    assert q.http("POST", RUN, json=[], key=False).status_code == 401
    assert q.http("POST", RUN, json=[], key=q.reader).status_code == 400
    assert q.http("POST", RUN, json=OK, key=q.reader).status_code == 403
    unknown = changed(resultConfig={"bucketName": "nope", "path": "p"})
    assert q.http("POST", RUN, json=unknown, key=q.reader).status_code == 403
    assert q.http("POST", RUN, json=unknown).status_code == 404
    assert q.http("POST", RUN, json=OK, key=q.other).status_code == 404  # another workspace's bucket


def test_wrong_method_and_route(q):
    assert q.http("PATCH", RUN).status_code == 405
    assert q.http("GET", "/v1/data-query/nothing").status_code == 404


def test_names_need_a_default_or_all_parts(q):
    done = q.kakao_query("select count(*) from flights", source=None, database=None)
    assert done["queryInfo"]["state"] == "FAILED"
    done = q.kakao_query("select count(*) from data_catalog.main.flights", source=None, database=None)
    assert done["queryInfo"]["state"] == "FINISHED", done
    assert done["queryData"] == [["3000000"]]


def test_result_files(q):
    done = q.kakao_query("select 1 as a, cast(null as varchar) as b, '' as c", path="files")
    config = done["resultConfig"]
    assert config["isStored"] is True and config["storeType"] == "BASIC"
    folder = os.path.join(q.bucket_dir, config["path"])
    qid = done["queryInfo"]["queryId"]
    with open(os.path.join(folder, qid + ".csv"), newline="") as f:
        assert f.read() == '"a","b","c"\n"1",,""\n'
    assert os.path.exists(os.path.join(folder, qid + ".metadata"))
    assert config["storageUrl"] == "b1/" + config["path"]
    assert qid[:8] == "".join(config["path"].split("/")[1:])  # both dates are KST


def test_abort(q):
    qid = q.kakao_run(BLOCK)
    assert q.kakao_abort(qid, key=q.reader).status_code == 403
    assert q.kakao_abort(qid, key=q.member).status_code == 403
    assert q.kakao_abort(qid, key=q.other).status_code == 404
    answer = q.kakao_abort("data-query-" + qid)
    assert answer.status_code == 200 and answer.json() == {"queryInfo": {"queryId": qid, "state": "ABORTED"}}
    assert q.kakao_get(qid)["queryInfo"]["state"] == "ABORTED"
    assert q.kakao_abort(qid).status_code == 409
    assert q.kakao_abort("20240903-011848-HcejcLZBHz").status_code == 404
    assert q.kakao_abort("junk").status_code == 404


def test_abort_by_the_short_uri(q):
    qid = q.kakao_run(BLOCK)
    assert q.http("PUT", f"{RUN}/{qid}").status_code == 200


def test_data_sources(q):
    path = "/v1/data-query/data-source"
    assert q.http("GET", path).json() == [
        {"scope": "NONE", "creatorName": "-", "type": "DATA_CATALOG", "name": "data_catalog"}]
    body = {"type": "MYSQL", "name": "test_mysql", "scope": "PRIVATE", "instanceId": "i", "username": "admin", "password": "YWRtaW4K"}
    assert q.http("POST", path, json=dict(body, name="Bad Name")).status_code == 400
    assert q.http("POST", path, json=dict(body, name="data_catalog")).status_code == 409
    assert q.http("POST", path, json=body, key=q.reader).status_code == 403
    assert q.http("DELETE", path + "/data_catalog").status_code == 400
    assert q.http("DELETE", path + "/no_such").status_code == 404
