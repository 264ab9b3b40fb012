"""Every example of the source page "Data Query Open API", as it stands there, slips included: the requests are run by curl with nothing
replaced but the endpoint, the credential and names that only exist at the vendor's; of the answers, keys, their order, types and the rules
that their values show are compared."""
import datetime
import json
import re
import shlex
import subprocess

import pytest

from quern_client import BLOCK, CURL

HOST = r"https://(?:https://)?(?:data-query\.kr-central-2\.kakaocloud\.com|<data query API endpoint>)"  # with the page's own double scheme


def curl(q, text, replace=(), key=None):
    """Runs a curl command of the page; (status, parsed body)."""
    key = (key or q.key)["headers"]["kakao"]
    for old, new in (("{credential-id}", key["Credential-ID"]), ("{credential-secret}", key["Credential-Secret"]), *replace):
        assert old in text, old
        text = text.replace(old, new)
    text = re.sub(HOST, q.url("").rstrip("/"), text)
    words = shlex.split(text.replace("\\\n", " ").replace("'POST'\n", "'POST' "))  # one line of the page lacks its backslash
    assert words[0] == "curl"
    done = subprocess.run([*CURL, "-w", "\n%{http_code}", *words[1:]], stdout=subprocess.PIPE, check=True)
    body, code = done.stdout.decode().rsplit("\n", 1)
    return int(code), json.loads(body) if body else None


def shape(value):
    """Keys in their order, and types."""
    if isinstance(value, dict):
        return [(k, shape(v)) for k, v in value.items()]
    if isinstance(value, list):
        return ["list", shape(value[0])] if value else ["list"]
    return type(value).__name__


@pytest.fixture(scope="module")
def tables(q):
    """The page's nation and region, in a database of the embedded catalog."""
    for sql in ("CREATE SCHEMA IF NOT EXISTS test_database", "CREATE OR REPLACE TABLE test_database.nation AS SELECT 1 AS nationkey, 'ALGERIA' AS name",
                "CREATE OR REPLACE TABLE test_database.region AS SELECT 7 AS regionkey"):
        body = q.kakao_query(sql)
        assert body["queryInfo"]["state"] == "FINISHED", body


# ---- run query

RUN = """curl -X 'POST'
'https://https://data-query.kr-central-2.kakaocloud.com/v1/data-query/query' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}' \\
--header 'Content-Type: application/json' \\
--header 'x-data-source: test_datasource' \\
--header 'x-database: test_database' \\
--data-raw '{
"query": "select * from nation, test_datasource.test_database.region limit 100",
"bucketName": "test-bucket",
"path": "data_query/result"
}'"""
RUN_ANSWER = json.loads('{"queryInfo": {"queryId": "data-query-20240903-011848-HcejcLZBHz", "state": "QUEUED"}}')
HERE = (("test-bucket", "b1"), ("test_datasource", "data_catalog"))


def test_run(q, tables):
    code, body = curl(q, RUN, HERE)
    assert code == 202 and shape(body) == shape(RUN_ANSWER) and body["queryInfo"]["state"] == "QUEUED"
    qid = body["queryInfo"]["queryId"]
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9A-Za-z]{10}", qid)
    done = q.kakao_wait("data-query-" + qid)  # the answer's own spelling works in paths
    # the header's names are nation's, region is named in full
    assert done["queryData"] == [["1", "ALGERIA", "7"]], done
    today = datetime.datetime.fromtimestamp(done["queryInfo"]["queryStats"]["createdAt"] / 1000, datetime.timezone(datetime.timedelta(hours=9)))
    assert done["resultConfig"]["path"] == f"data_query/result/{today:%Y/%m/%d}" and qid.startswith(f"{today:%Y%m%d-%H%M%S}-")


def test_run_as_the_page_explains_it(q, tables):
    """'As a result, the executed query is equivalent to' the names in full (there with test_database2, a slip)."""
    code, body = curl(q, RUN, (*HERE, ("select * from nation,", "select * from data_catalog.test_database.nation,")))
    assert q.kakao_wait(body["queryInfo"]["queryId"])["queryData"] == [["1", "ALGERIA", "7"]]


def test_run_with_the_documented_body(q):
    text = """curl -X POST 'https://data-query.kr-central-2.kakaocloud.com/v1/data-query/query' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}' \\
--header 'Content-Type: application/json' \\
--header 'X-Data-Source: {data source name}' \\
--header 'X-Database: {database name}' \\
--data-raw '{Request body}'"""
    # (a statement of its own: another test's may be taken up, and then its age counts)
    body = '{"query": "select 1 as documented_body", "resultConfig": {"bucketName": "b1", "path": "string"}, "reuseConfig": {"reuse": true, "maxReuseAge": 1}}'
    names = (("{data source name}", "data_catalog"), ("{database name}", "main"))
    code, answer = curl(q, text, (*names, ("{Request body}", body)))
    assert code == 202
    done = q.kakao_wait(answer["queryInfo"]["queryId"])
    # the sample's expireAt is its createdAt and one minute
    assert done["reuseConfig"] == {"reuse": True, "expireAt": done["queryInfo"]["queryStats"]["createdAt"] + 60000}
    code, answer = curl(q, text, (*names, ("{Request body}", '{"query": "string", "resultConfig": {"bucketName": "string", "path": "string"}}')))
    assert code == 404  # the placeholder's bucket


def test_statements_that_return_no_data(q):
    """'Some queries do not return data': CREATE TABLE, CREATE SCHEMA, DROP TABLE, DROP SCHEMA, SHOW SCHEMAS, SHOW TABLES."""
    for sql in ("CREATE SCHEMA example", "CREATE TABLE example.t (a integer)", "SHOW SCHEMAS", "SHOW TABLES FROM example", "DROP TABLE example.t", "DROP SCHEMA example"):
        done = q.kakao_query(sql)
        assert done["queryInfo"]["state"] == "FINISHED", (sql, done)
        assert done["resultConfig"]["isStored"] is False and done["resultConfig"]["storageUrl"].startswith("b1/results/"), (sql, done)


# ---- retrieve query result

RESULT = """curl -X GET 'https://data-query.kr-central-2.kakaocloud.com/v1/data-query/query/20241126-011848-HcejcLZBHz?page=0' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}'"""
RESULT_ANSWER = json.loads("""{
"queryInfo": {"queryId": "20250327-153053-NvgfWymHmr", "state": "FINISHED",
"queryStats": {"progressPercentage": 100, "inputRows": 232313, "inputDataSize": "25.6MB", "outputRows": 100, "outputDataSize": "12.81KB",
"createdAt": 1743057053000, "completedAt": 1743057054000, "queryExecutionTime": "439ms", "elapsedTime": "668ms", "queuedTime": "102ms", "planningTime": "84ms"},
"queryTextPreview": "select * from orders limit 100", "isScanned": true},
"resultConfig": {"bucketName": "hailey-test", "path": "string/2025/03/27", "storageUrl": "hailey-test/string/2025/03/27", "storeType": "BASIC", "isStored": true},
"reuseConfig": {"reuse": true, "expireAt": 1743057113000},
"columnData": [{"name": "orderkey", "index": 1, "type": "bigint"}, {"name": "custkey", "index": 2, "type": "bigint"}],
"queryData": [["20956642", "680917", "O", "91063.82", "1996-11-09", "3-MEDIUM", "Clerk#000005503", "0",
"instructions sleep quickly. final ideas use slyly. carefully iron"]],
"totalPages": 1, "totalElements": 100, "number": 0, "size": 100, "numberOfElements": 100}""")
ORDERS = ("select 20956642 + range as orderkey, 680917::bigint as custkey, 'O' as orderstatus, 91063.82::double as totalprice, date '1996-11-09' as orderdate, "
          "'3-MEDIUM' as orderpriority, 'Clerk#000005503' as clerk, 0 as shippriority, "
          "'instructions sleep quickly. final ideas use slyly. carefully iron' as comment from range(1000) order by 1 limit 100")


def test_result(q):
    qid = q.kakao_run(ORDERS, path="string", reuse=1)
    q.kakao_wait(qid)
    code, body = curl(q, RESULT, (("20241126-011848-HcejcLZBHz", qid),))
    assert code == 200 and shape(body) == shape(RESULT_ANSWER)
    info, config = body["queryInfo"], body["resultConfig"]
    created = info["queryStats"]["createdAt"]
    assert body["queryData"][0] == RESULT_ANSWER["queryData"][0] and body["columnData"][:2] == RESULT_ANSWER["columnData"]
    for key in ("totalPages", "totalElements", "number", "size", "numberOfElements"):
        assert body[key] == RESULT_ANSWER[key]
    assert info["queryTextPreview"] == ORDERS[:300]
    assert body["reuseConfig"]["expireAt"] == created + 60000
    for answer in (body, RESULT_ANSWER):  # what the sample's values show holds for ours
        stats, config = answer["queryInfo"]["queryStats"], answer["resultConfig"]
        kst = datetime.datetime.fromtimestamp(stats["createdAt"] / 1000, datetime.timezone(datetime.timedelta(hours=9)))
        assert answer["queryInfo"]["queryId"].startswith(f"{kst:%Y%m%d-%H%M%S}-") and stats["createdAt"] % 1000 == 0
        assert config["path"] == f"string/{kst:%Y/%m/%d}" and config["storageUrl"] == config["bucketName"] + "/" + config["path"]
        for size in (stats["inputDataSize"], stats["outputDataSize"]):
            assert re.fullmatch(r"(0|[1-9]\d*(\.\d?[1-9])?)(B|KB|MB|GB|TB|PB)", size)
        for time in ("queryExecutionTime", "elapsedTime", "queuedTime", "planningTime"):
            assert re.fullmatch(r"(0|[1-9]\d*|\d+\.\d?[1-9])(ns|us|ms|s|m|h|d)", stats[time])


def test_result_of_the_sample_id_is_unknown_here(q):
    assert curl(q, RESULT)[0] == 404
    assert curl(q, RESULT, (("HcejcLZBHz?page=0", "HcejcLZBHz?page={page-number}"),))[0] == 400  # the template, not filled in


# ---- retrieve query list

LIST = """curl -X GET 'https://data-query.kr-central-2.kakaocloud.com/v1/data-query/query?page=0&size=3&sort=elapsedTime,desc&states=FAILED&states=FINISHED' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}'"""
ITEM = ('{"queryInfo":{"queryId":"%s","state":"FINISHED","queryStats":{"scannedDataSize":"0B","createdAt":%d,"elapsedTime":"%s"},"queryTextPreview":"select ...",'
        '"isScanned":false},"resultConfig":{"storageUrl":"testor1-bucket/data_query/result/2024/11/19"},"reuseConfig":{"reuse":false},'
        '"creatorName":"testor1@kakaoenterprise.com"}')
LIST_ANSWER = json.loads('{"content":[' + ",".join(ITEM % x for x in (("20250314-143349-49C99wBfqS", 1741930429000, "9.83m"),
                                                                     ("20250314-143350-7DtipSZrfh", 1741930430000, "9.52m"),
                                                                     ("20250317-084931-6sCSgTNeAf", 1742168971000, "9.16m"))) +
                         '],"pageable":{"pageNumber":0,"pageSize":3,"sort":{"unsorted":false,"sorted":true,"empty":false},"offset":0,"unpaged":false,"paged":true},'
                         '"totalPages":6,"totalElements":104,"last":false,"numberOfElements":20,"size":3,"number":0,'
                         '"sort":{"unsorted":false,"sorted":true,"empty":false},"first":true,"empty":false}')


def test_list(q):
    for n in range(3):
        q.kakao_query(f"select 'example {n}'")
    q.kakao_abort(q.kakao_run(BLOCK))
    code, body = curl(q, LIST)
    assert code == 200 and len(body["content"]) == 3
    for item in body["content"]:  # the longest of all that ran here, whatever they are
        assert shape({**body, "content": [item]}) == shape(LIST_ANSWER)
    assert {i["queryInfo"]["state"] for i in body["content"]} <= {"FAILED", "FINISHED"}
    assert body["pageable"] == LIST_ANSWER["pageable"] and body["sort"] == LIST_ANSWER["sort"] and body["size"] == 3 and body["number"] == 0
    # the sample's own totals contradict each other (104 of 3 a page are not 6 pages, nor 20 on one): ours are the arithmetic
    assert body["numberOfElements"] == len(body["content"]) == 3 and body["totalPages"] == -(-body["totalElements"] // 3)
    everything = q.http("GET", "/v1/data-query/query?size=2000&sort=elapsedTime,desc&states=FAILED,FINISHED").json()
    assert [i["queryInfo"]["queryId"] for i in everything["content"]][:3] == [i["queryInfo"]["queryId"] for i in body["content"]]
    for item in LIST_ANSWER["content"]:  # ids carry the creation in Korean time
        info = item["queryInfo"]
        kst = datetime.datetime.fromtimestamp(info["queryStats"]["createdAt"] / 1000, datetime.timezone(datetime.timedelta(hours=9)))
        assert info["queryId"].startswith(f"{kst:%Y%m%d-%H%M%S}-")


def test_list_without_parameters(q):
    code, body = curl(q, """curl -X GET 'https://data-query.kr-central-2.kakaocloud.com/v1/data-query/query' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}'""")
    assert code == 200 and body["size"] == 20 and body["sort"] == {"unsorted": True, "sorted": False, "empty": True}


# ---- abort

ABORT = """curl -X PUT 'https://data-query.kr-central-2.kakaocloud.com/v1/data-query/query/20241104-071200-TkMfjvIieD' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}'"""


def test_abort_with_and_without_the_last_part(q):
    for last in ("", "/abort"):  # the example lacks what the page's URI has
        qid = q.kakao_run(BLOCK)
        code, body = curl(q, ABORT, (("20241104-071200-TkMfjvIieD", qid + last),))
        assert code == 200 and body["queryInfo"]["state"] == "ABORTED"
        assert curl(q, ABORT, (("20241104-071200-TkMfjvIieD", qid + last),))[0] == 409
    assert curl(q, ABORT)[0] == 404


# ---- data sources

SOURCES = """curl -X GET 'https://data-query.kr-central-2.kakaocloud.com/v1/data-query/data-source' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}'"""
CREATE = """curl -X GET 'https://data-query.kr-central-2.kakaocloud.com/v1/data-query/data-source' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}' \\
--header 'Content-Type: application/json' \\
--data-raw '{
"type": "MYSQL",
"name": "test_mysql",
"scope": "PRIVATE",
"description": "test mysql",
"instanceId": "fbc16e9a-6352-11ef-952c-0a27e22384db",
"username": "admin",
"password": "YWRtaW4K"
}'"""
CREATE_POSTGRESQL = """curl -X POST 'https://data-query.kr-central-2.kakaocloud.com/v1/data-query/data-source' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}' \\
--data-raw '{
"type": "POSTGRESQL",
"name": "test_postgresql",
"scope": "PRIVATE",
"description": "test postgresql",
"instanceId": "99fbe528-8014-47ee-b5bb-15c059562611",
"username": "admin",
"password": "YWRtaW4K",
"databaseName": "postgres"
}'"""
DELETE = """curl -X DELETE 'https://<data query API endpoint>/v1/data-query/data-source/test_data_source' \\
-H 'Credential-ID: {credential-id}' \\
-H 'Credential-Secret: {credential-secret}'"""
DELETE_WITH_BODY = """curl -X DELETE 'https://data-query.kr-central-2.kakaocloud.com/v1/data-query/data-source/{data-source-name}' \\
--header 'Credential-ID: {credential-id}' \\
--header 'Credential-Secret: {credential-secret}' \\
--data-raw '{Request body}'"""


def test_data_sources(q):
    catalog = {"scope": "NONE", "creatorName": "-", "type": "DATA_CATALOG", "name": "data_catalog"}
    assert curl(q, SOURCES) == (200, [catalog])
    # the page's example of a create says GET: that lists and makes nothing
    assert curl(q, CREATE) == (200, [catalog])
    code, made = curl(q, CREATE, (("-X GET", "-X POST"),))
    assert code == 200 and list(made) == ["scope", "creatorName", "type", "description", "name"]
    assert curl(q, CREATE, (("-X GET", "-X POST"),))[0] == 409
    code, made = curl(q, CREATE_POSTGRESQL)  # without a Content-Type, so that curl sends a form's
    assert code == 200 and made["type"] == "POSTGRESQL"
    assert curl(q, CREATE, (("-X GET", "-X POST"), ("test_mysql", "no_text"), ('"description": "test mysql",\n', "")))[0] == 200
    assert curl(q, CREATE, (("-X GET", "-X POST"), ("test_mysql", "empty_text"), ("test mysql", ""), ("PRIVATE", "PUBLIC")))[0] == 200
    code, rows = curl(q, SOURCES)
    # the sample list: catalogs have no description, one that was not given is left out, an empty one is kept
    assert [list(r) for r in rows] == [["scope", "creatorName", "type", "name"]] + [["scope", "creatorName", "type", "description", "name"]] * 2 + [
        ["scope", "creatorName", "type", "name"], ["scope", "creatorName", "type", "description", "name"]]
    assert [(r["scope"], r["type"], r.get("description")) for r in rows] == [
        ("NONE", "DATA_CATALOG", None), ("PRIVATE", "MYSQL", "test mysql"), ("PRIVATE", "POSTGRESQL", "test postgresql"), ("PRIVATE", "MYSQL", None),
        ("PUBLIC", "MYSQL", "")]
    assert [r["name"] for r in curl(q, SOURCES, key=q.member)[1]] == ["data_catalog", "empty_text"]
    assert curl(q, DELETE)[0] == 404
    assert curl(q, DELETE, (("test_data_source", "data_catalog"),))[0] == 400
    for name in ("test_mysql", "test_postgresql", "no_text"):
        assert curl(q, DELETE, (("test_data_source", name),)) == (200, {})
    assert curl(q, DELETE_WITH_BODY, (("{data-source-name}", "empty_text"),))[0] == 200
    assert curl(q, SOURCES) == (200, [catalog])


def test_header_names_in_every_spelling(q):
    """The page writes Credential-ID and Credential-id."""
    key = q.key["headers"]["kakao"]
    for a, b in (("Credential-id", "Credential-secret"), ("credential-id", "CREDENTIAL-SECRET")):
        headers = {a: key["Credential-ID"], b: key["Credential-Secret"]}
        assert q.http("GET", "/v1/data-query/data-source", key=False, headers=headers).status_code == 200
    assert q.http("GET", "/v1/data-query/data-source", key=False, headers={"Credential-id": key["Credential-ID"]}).status_code == 401
