"""Kakao Data Query: result pages and the query list."""
import re
import time

import pytest

LIST = "/v1/data-query/query"
SIZE = re.compile(r"^\d+(\.\d{1,2})?(B|KB|MB|GB|TB|PB)$")
TIME = re.compile(r"^\d+(\.\d{1,2})?(ns|us|ms|s|m|h|d)$")


def test_finished_page(q):
    sql = "select range as n, 'row ' || range as t from range(250) order by 1"
    done = q.kakao_query(sql)
    assert list(done) == ["queryInfo", "resultConfig", "reuseConfig", "columnData", "queryData", "totalPages", "totalElements",
                          "number", "size", "numberOfElements"]
    info = done["queryInfo"]
    assert list(info) == ["queryId", "state", "queryStats", "queryTextPreview", "isScanned"]
    stats = info["queryStats"]
    assert list(stats) == ["progressPercentage", "inputRows", "inputDataSize", "outputRows", "outputDataSize", "createdAt",
                           "completedAt", "queryExecutionTime", "elapsedTime", "queuedTime", "planningTime"]
    assert stats["progressPercentage"] == 100 and stats["outputRows"] == 250
    assert stats["createdAt"] % 1000 == 0 and stats["completedAt"] % 1000 == 0 and stats["completedAt"] >= stats["createdAt"]
    assert SIZE.match(stats["inputDataSize"]) and SIZE.match(stats["outputDataSize"])
    for key in ("queryExecutionTime", "elapsedTime", "queuedTime", "planningTime"):
        assert TIME.match(stats[key])
    assert info["queryTextPreview"] == sql
    assert done["columnData"] == [{"name": "n", "index": 1, "type": "bigint"}, {"name": "t", "index": 2, "type": "varchar"}]
    assert done["reuseConfig"] == {"reuse": False}
    assert done["queryData"][0] == ["0", "row 0"] and len(done["queryData"]) == 100
    assert (done["totalPages"], done["totalElements"], done["number"], done["size"], done["numberOfElements"]) == (3, 250, 0, 100, 100)
    qid = info["queryId"]
    last = q.kakao_get(qid, page=2)
    assert last["queryData"][-1] == ["249", "row 249"] and last["numberOfElements"] == 50
    past = q.kakao_get(qid, page=9)
    assert past["queryData"] == [] and past["totalElements"] == 250 and past["numberOfElements"] == 0


def test_at_most_a_thousand_rows(q):
    done = q.kakao_query("select range from range(5000) order by 1")
    assert done["queryInfo"]["queryStats"]["outputRows"] == 5000
    assert done["totalElements"] == 1000 and done["totalPages"] == 10
    assert q.kakao_get(done["queryInfo"]["queryId"], page=9)["queryData"][-1] == ["999"]


@pytest.mark.parametrize("page", ["-1", "10", "x", "1.5", ""])
def test_bad_pages_are_400(q, page):
    qid = q.kakao_run("select 1")
    assert q.http("GET", f"{LIST}/{qid}?page={page}").status_code == 400


def test_unknown_is_404(q):
    assert q.http("GET", f"{LIST}/20240903-011848-HcejcLZBHz").status_code == 404
    assert q.http("GET", f"{LIST}/junk").status_code == 404
    qid = q.kakao_run("select 1")
    assert q.http("GET", f"{LIST}/{qid}", key=q.other).status_code == 404
    assert q.http("GET", f"{LIST}/{qid}", key=q.reader).status_code == 200


def test_cells_are_strings_or_null(q):
    done = q.kakao_query("select 1, 1.50::decimal(5,2), 100.0::double, true, date '1996-11-09', null, 'x', timestamp '2024-11-26 01:18:48', "
                         "[1, 2], '\\xAA'::blob")
    assert done["queryInfo"]["state"] == "FINISHED", done
    assert done["queryData"] == [["1", "1.50", "100.0", "true", "1996-11-09", None, "x", "2024-11-26 01:18:48.000", "[1, 2]", "aa"]]
    assert [c["type"] for c in done["columnData"]][:5] == ["integer", "decimal(5,2)", "double", "boolean", "date"]


def test_preview_counts_characters(q):
    sql = "select '" + "\u00e9" * 400 + "'"
    done = q.kakao_query(sql)
    assert done["queryInfo"]["queryTextPreview"] == sql[:300]


def test_failed_tells_why(q):
    done = q.kakao_query("select * from data_catalog.main.no_such_table")
    assert done["queryInfo"]["state"] == "FAILED"
    error = done["queryInfo"]["error"]
    assert error["name"] == "TABLE_NOT_FOUND" and error["code"] == 46 and error["type"] == "USER_ERROR"
    assert done["columnData"] == [] and done["queryData"] == [] and done["totalElements"] == 0
    assert done["resultConfig"]["isStored"] is False
    done = q.kakao_query("selec 1")
    assert done["queryInfo"]["error"]["name"] == "SYNTAX_ERROR"
    assert re.match(r"line 1:\d+: ", done["queryInfo"]["error"]["message"])


def test_explain_is_text(q):
    done = q.kakao_query("explain select 1")
    assert done["queryInfo"]["state"] == "FINISHED" and done["resultConfig"]["storeType"] == "TEXT"


def test_wait_is_a_long_poll(q):
    qid = q.kakao_run("select 7")
    begun = time.monotonic()
    answer = q.http("GET", f"{LIST}/{qid}?wait=30")
    assert answer.json()["queryInfo"]["state"] == "FINISHED" or time.monotonic() - begun >= 30, answer.text
    assert q.http("GET", f"{LIST}/{qid}?wait=x").status_code == 400


def test_reuse_expiry_counts_from_creation(q):
    done = q.kakao_query("select 'reuse me'", reuse=10)
    created = done["queryInfo"]["queryStats"]["createdAt"]
    assert done["reuseConfig"] == {"reuse": True, "expireAt": created + 600000}


def test_list_envelope(q):
    for n in range(3):
        q.kakao_query(f"select 'list {n}'")
    body = q.http("GET", LIST + "?size=2").json()
    assert list(body) == ["content", "pageable", "totalPages", "totalElements", "last", "numberOfElements", "size", "number", "sort",
                          "first", "empty"]
    assert body["pageable"] == {"pageNumber": 0, "pageSize": 2, "sort": {"unsorted": True, "sorted": False, "empty": True},
                                "offset": 0, "unpaged": False, "paged": True}
    assert body["numberOfElements"] == 2 and body["first"] is True and body["empty"] is False
    assert body["totalPages"] == (body["totalElements"] + 1) // 2
    assert [i["queryInfo"]["queryTextPreview"] for i in body["content"]] == ["select 'list 2'", "select 'list 1'"]
    item = body["content"][0]
    assert sorted(item) == ["creatorName", "queryInfo", "resultConfig", "reuseConfig"]
    assert sorted(item["queryInfo"]["queryStats"]) == ["createdAt", "elapsedTime", "scannedDataSize"]
    assert item["creatorName"] == "alice"
    past = q.http("GET", LIST + "?page=100000").json()
    assert past["content"] == [] and past["empty"] is True and past["last"] is True and past["first"] is False


def test_list_filters_and_sort(q):
    failed = q.kakao_query("select no_such_column")["queryInfo"]["queryId"]
    body = q.http("GET", LIST + "?states=FAILED&states=ABORTED&size=2000").json()
    assert failed in [i["queryInfo"]["queryId"] for i in body["content"]]
    assert {i["queryInfo"]["state"] for i in body["content"]} <= {"FAILED", "ABORTED"}
    assert q.http("GET", LIST + f"?queryId=data-query-{failed}").json()["totalElements"] == 1
    assert q.http("GET", LIST + f"?queryId={failed}&states=FINISHED").json()["totalElements"] == 0
    assert q.http("GET", LIST + "?queryId=20240903-011848-HcejcLZBHz").status_code == 404
    mine = q.kakao_query("select 'by bob'", key=q.member)["queryInfo"]["queryId"]
    body = q.http("GET", LIST + "?creatorName=bob").json()
    assert mine in [i["queryInfo"]["queryId"] for i in body["content"]] and {i["creatorName"] for i in body["content"]} == {"bob"}
    body = q.http("GET", LIST + "?sort=createdAt,asc&size=2000").json()
    times = [i["queryInfo"]["queryStats"]["createdAt"] for i in body["content"]]
    assert times == sorted(times) and body["sort"] == {"unsorted": False, "sorted": True, "empty": False}
    assert q.http("GET", LIST + "?sort=state,createdAt,DESC,ignorecase").status_code == 200
    theirs = {i["queryInfo"]["queryId"] for i in q.http("GET", LIST + "?size=2000", key=q.other).json()["content"]}
    assert not theirs & {failed, mine}, "another workspace sees them"


@pytest.mark.parametrize("bad", ["page=-1", "page=x", "size=-1", "size=x", "states=DONE", "sort=nope", "sort=createdAt,nope"])
def test_list_bad_parameters_are_400(q, bad):
    assert q.http("GET", f"{LIST}?{bad}").status_code == 400


def test_list_sizes(q):
    assert q.http("GET", LIST + "?size=0").json()["size"] == 20
    assert q.http("GET", LIST + "?size=5000").json()["size"] == 2000
