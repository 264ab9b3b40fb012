"""Idempotency-Key on every submit of every dialect (design.md section 7, docs/reuse.md).

Same key and same request: the same query and the same answer, whatever the queue, a drain or a restart say in between; other request: 409
with a text that names the header. Every field of a body that makes another request is tried.
"""
import concurrent.futures
import json
import os
import threading
import time

import pytest

from quern_client import BLOCK, Daemon, wait_until

KAKAO = "/v1/data-query/query"
EXECUTE = "/data-source/data_catalog/execute"
SQL = "select 7 as n"


def unique():
    return f"k-{os.urandom(8).hex()}"


def kakao(d, headers, key=None, sql=SQL, database="main", path="idem", **more):
    return d.http("POST", KAKAO, key=key, headers={"X-Data-Source": "data_catalog", "X-Database": database, **headers},
                  json={"query": sql, "resultConfig": {"bucketName": "b1", "path": path}, **more})


def jackdb(d, headers, key=None, sql=SQL, **more):
    return d.jackdb("POST", EXECUTE, key=key, headers=headers, json={"command": sql, **more})


def workspace(d, key):
    return (key or d.key)["workspaceId"]


def canner(d, headers, key=None, sql=SQL, **more):
    return d.http("POST", "/api/v1/query", key=key, dialect="canner", headers=headers, json={"workspaceId": workspace(d, key), "sql": sql, **more})


def saved(d, headers, key=None, sql=SQL, **more):
    made = d.__dict__.setdefault("saved_ids", {})
    if sql not in made:
        answer = d.http("POST", "/api/v1/sql", dialect="canner", json={"workspaceId": workspace(d, None), "title": "t", "sql": sql})
        made[sql] = answer.json()["id"]
    return d.http("POST", f"/api/v1/sql/{made[sql]}", key=key, dialect="canner", headers=headers,
                  json={"workspaceId": workspace(d, key), **more})


def graphql(d, headers, key=None, sql=SQL, **more):
    data = {"sql": sql, "cacheRefresh": True, "cacheTTL": 0, **more}
    text = "mutation createSqlQuery($data: SqlQueryCreateInput!, $where: SqlQueryWhereInput!) { createSqlQuery(data: $data, where: $where) { id } }"
    return d.http("POST", "/web/graphql", key=key, dialect="canner", headers=headers,
                  json={"operationName": "createSqlQuery", "query": text, "variables": {"data": data, "where": {"workspaceId": workspace(d, key)}}})


def data360(d, headers, key=None, sql=SQL, **more):
    return d.d360_submit(sql, mode=more.pop("transferMode", "ASYNC"), key=key, check=False, headers=headers, **more)


def named(d, headers, key=None, value=1, type="INTEGER"):
    return data360(d, headers, key=key, sql="select :a as n", paramStyle="NAMED", parameters=[{"name": "a", "type": type, "value": value}])


def ranged(d, headers, **more):
    return data360(d, headers, **{"transferMode": "ADAPTIVE", "resultRange": {"rowLimit": 5}, **more})


def kylin(d, headers, key=None, sql=SQL, **more):
    return d.kylin("POST", "async_query", key=key, headers=headers, json={"sql": sql, "project": "w1", **more})


def kylin_sync(d, headers, key=None, sql=SQL, **more):
    return d.kylin("POST", "query", key=key, headers=headers, json={"sql": sql, "project": "w1", **more})


def id_of(answer):
    body = answer.json()
    if "createSqlQuery" in str(body):
        return body["data"]["createSqlQuery"]["id"]
    if not body.get("queryId") and "x-hyperdb-status" in answer.headers:
        return json.loads(answer.headers["x-hyperdb-status"])["queryId"]
    data = body.get("data") if isinstance(body.get("data"), dict) else {}
    return body.get("queryId") or body.get("id") or body.get("queryInfo", {}).get("queryId") or data.get("query_id") or data.get("queryId")


# name: (submit, status of an accepted one, fields of which each makes another request)
FACES = {
    "kakao": (kakao, 202, [{"sql": "select 8"}, {"database": "information_schema"}, {"path": "other"},
                           {"reuseConfig": {"reuse": True, "maxReuseAge": 5}}]),
    "jackdb": (jackdb, 200, [{"sql": "select 8"}, {"maxRows": 3}, {"retention": 77}, {"timeout": 99}, {"autocommit": False},
                             {"stopOnError": False}]),
    "canner": (canner, 200, [{"sql": "select 8"}, {"cacheRefresh": False, "cacheTTL": 60}]),
    "canner graphql": (graphql, 200, [{"sql": "select 8"}, {"cacheRefresh": False, "cacheTTL": 60}, {"source": "NOTEBOOK"}]),
    "canner saved": (saved, 200, [{"sql": "select 8"}, {"cacheRefresh": False, "cacheTTL": 60}]),
    "data360": (data360, 200, [{"sql": "select 8"}, {"transferMode": "ADAPTIVE"}, {"queryRowLimit": 3}, {"settings": {"timezone": "Asia/Seoul"}},
                               {"settings": {"lc_time": "ko_KR"}}, {"settings": {"query_timeout": "9s"}}]),
    "data360 range": (ranged, 200,
                      [{"resultRange": {"rowLimit": 6}}, {"resultRange": {"rowLimit": 5, "byteLimit": 5000}}, {"resultRange": None}]),
    "data360 named": (named, 200, [{"value": 2}, {"type": "BIGINT"}]),
    "kylin": (kylin, 200, [{"sql": "select 8"}, {"format": "json"}, {"limit": 3}, {"offset": 1}, {"separator": ";"}, {"file_name": "other"},
                           {"include_header": True}, {"encode": "gbk"}]),
    "kylin sync": (kylin_sync, 200, [{"sql": "select 8"}, {"limit": 3}, {"offset": 1}]),
}


@pytest.mark.parametrize("face", FACES)
def test_other_request_is_409(q, face):
    submit, status, others = FACES[face]
    headers = {"Idempotency-Key": unique()}
    first = submit(q, headers)
    assert first.status_code == status, first.text
    for other in others:
        answer = submit(q, headers, **other)
        assert refused(answer) and (answer.status_code == 409 or graph_conflict(answer)) and "Idempotency-Key" in answer.text, \
            f"{other}: {answer.status_code} {answer.text}"
    again = submit(q, headers)
    assert again.status_code == status and id_of(again) == id_of(first), again.text
    # the key belongs to the user: of another it is another
    theirs = submit(q, headers, key=q.member2)
    assert theirs.status_code == status and id_of(theirs) != id_of(first), theirs.text


def graph_conflict(answer):
    """GraphQL wraps its errors in a 200."""
    return answer.status_code == 200 and answer.json().get("errors")


@pytest.mark.parametrize("face", FACES)
def test_the_same_at_the_same_instant(q, face):
    """Sixteen at once, half of them with another request: one query, and each answer is its own or a conflict."""
    submit, status, others = FACES[face]
    headers = {"Idempotency-Key": unique()}
    gate = threading.Barrier(16)

    def one(i):
        gate.wait()
        return submit(q, headers, **(others[0] if i % 2 else {}))

    if face == "canner saved":
        submit(q, {}), submit(q, {}, **others[0])  # both are there
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, range(16)))
    won = [i for i, a in enumerate(answers) if not refused(a)]
    assert len(won) == 8 and len({i % 2 for i in won}) == 1, [a.text for a in answers]
    assert len({id_of(answers[i]) for i in won}) == 1
    assert all("Idempotency-Key" in answers[i].text for i in range(16) if i not in won)


@pytest.fixture(scope="module")
def narrow():
    """One slot, a queue of one place: both taken by another user's queries."""
    d = Daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_PLAN_SLOTS": "0", "QUERN_QUEUE_PER_WORKSPACE": "1", "QUERN_DATA360_PLAN_WAIT": "0",
                    "QUERN_DATA360_ADAPTIVE_TIMEOUT": "0"})
    try:
        d.prepare(flights=False)
        d.bob = d.new_key(user="bob", role="member")
        d.start()
        yield d
    finally:
        d.finish()


def ends(d, qid):
    """Kakao knows every query by every spelling of its id."""
    return d.kakao_wait(qid)["queryInfo"]["state"]


@pytest.mark.parametrize("face", FACES)
def test_a_lost_answer_is_given_again_whatever_there_is_no_room_for(narrow, face):
    """A full queue and a drain refuse what is new; what was accepted before is found under its key. A kill changes nothing."""
    d = narrow
    submit, status, others = FACES[face]
    headers = {"Idempotency-Key": unique()}
    first = submit(d, headers)
    assert not refused(first), first.text
    ends(d, id_of(first))  # or it might have the queue's one place yet
    d.admin("pause")
    waiting = d.kakao_run(SQL, key=d.bob)
    assert submit(d, {"Idempotency-Key": unique()}).status_code == 429 or graph_conflict(submit(d, {"Idempotency-Key": unique()}))
    full = submit(d, headers, **others[0])
    assert refused(full) and "Idempotency-Key" in full.text, full.text  # not "the queue is full": it would never be accepted
    again = submit(d, headers)
    assert not refused(again) and id_of(again) == id_of(first), again.text
    d.admin("resume")
    ends(d, waiting)
    d.admin("drain")
    new = submit(d, {"Idempotency-Key": unique()})
    assert (new.status_code == 503 and new.headers["Retry-After"]) or graph_conflict(new), new.text
    again = submit(d, headers)
    assert not refused(again) and id_of(again) == id_of(first), again.text
    d.admin("undrain")
    d.kill()
    d.start()
    again = submit(d, headers)
    assert not refused(again) and id_of(again) == id_of(first), again.text
    assert refused(submit(d, headers, **others[0]))
    d.works()


def refused(answer):
    return answer.status_code >= 400 or bool(answer.json().get("errors"))
