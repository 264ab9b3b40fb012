"""Kylin: the calls of the source page "Async Query API", `stop`, and the generation behind the V2 Accept header. Codes and texts are written
out here: they are what programs look at."""
import csv
import datetime
import io
import json
import os
import re
import urllib.parse
import zoneinfo

import pytest

from quern_client import wait_until

SLOW = "select count(*) from range(100000000) a, range(100000) b where a.range + b.range = -1"
ID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
UNKNOWN = "65920080-7d5b-4c1e-9a54-0d9f1be3a111"
NO_QUERY = "Can’t find the query by this query ID in this project. Please check and try again."
NOT_READY = "KE-020040001(Asynchronous query illegal parameters):" + NO_QUERY
ONLY = "Access denied. Only task submitters or admin users can "
CANNOT_CLEAN = "Can’t clean file folder at the moment. Please ensure that the related file on HDFS could be accessed."


def failed(answer, status, msg, error_code, suggestion, exception=None):
    """The whole error envelope, keys in order."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["code", "data", "msg", "stacktrace", "exception", "url", "suggestion", "error_code"]
    assert body["code"] == "999" and body["data"] is None and body["stacktrace"] == ""
    assert body["msg"] == msg
    assert body["exception"] == (msg if exception is None else exception)
    assert body["error_code"] == error_code and body["suggestion"] == suggestion
    assert body["url"].startswith("http://127.0.0.1:") and "/kylin/api/" in body["url"]
    return body


def said(answer, code, data, msg=""):
    """A whole answer with HTTP status 200, keys in order."""
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["code", "data", "msg"]
    assert answer.json() == {"code": code, "data": data, "msg": msg}


def text_of(q, qid, query="", **more):
    answer = q.kylin_get(qid, "result_download", query=query, **more)
    assert answer.status_code == 200, answer.text
    return answer.content.decode()


# --- submit ---------------------------------------------------------------------------------------------------------


def test_the_documented_round(q):
    """Submit, status, metadata, file_status, download, path, delete, as the page's curl lines do it, v4 and v4-public mixed."""
    body = '{ "sql":"select 1 as TRANS_ID, date \'2012-01-02\' as PART_DT limit 100", "project":"w1" }'
    answer = q.kylin("POST", "async_query", accept="v4", data=body,
                     headers={"Accept-Language": "en", "Content-Type": "application/json;charset=utf-8"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/vnd.apache.kylin-v4+json;charset=UTF-8"
    data = answer.json()["data"]
    assert list(answer.json()) == ["code", "data", "msg"] and list(data) == ["query_id", "status", "info"]
    assert answer.json()["code"] == "000" and answer.json()["msg"] == "" and ID.match(data["query_id"])
    assert (data["status"], data["info"]) in (("RUNNING", "query still running"), ("SUCCESSFUL", "query success"))
    qid = data["query_id"]
    assert q.kylin_wait(qid) == {"query_id": qid, "status": "SUCCESSFUL", "info": "await fetching results"}
    said(q.kylin_get(qid, "metadata"), "000", [["TRANS_ID", "PART_DT"], ["INTEGER", "DATE"]])
    said(q.kylin_get(qid, "file_status"), "000", 13)
    answer = q.kylin_get(qid, "result_download", query="&include_header=true")
    assert answer.text == "TRANS_ID,PART_DT\n1,2012-01-02\n"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="result.csv"'
    assert answer.headers["Content-Type"] == "application/csv;charset=utf-8"
    path = q.kylin_get(qid, "result_path").json()["data"]
    assert path.startswith("file:///") and path.endswith(f"/w1/async_query_result/{qid}")
    said(q.kylin("DELETE", f"async_query/{qid}?project=w1"), "000", True)
    said(q.kylin_get(qid, "status"), "000", {"query_id": qid, "status": "MISSING", "info": "query status is lost"})


def test_slips_of_the_source_document(q):
    """A backtick behind the URL of file_status; Older_than with a capital in the table of parameters."""
    qid = q.kylin_query("select 1")
    said(q.kylin("GET", f"async_query/{qid}/file_status?project=w1`"), "000", 2)
    said(q.kylin("GET", f"async_query/{qid}/file_status?project=w1%60"), "000", 2)
    said(q.kylin("DELETE", "async_query?project=w1&Older_than=2021-04-26%2010:00:00"), "000", True)
    failed(q.kylin("GET", f"async_query/{qid}/file_status?project=w`1"), 500,
           "KE-010001201: Can't find project \"w`1\". Please check and try again.", "KE-010001201", "")


@pytest.mark.parametrize("accept, content_type", [
    (None, "application/json;charset=UTF-8"), ("v4", "application/vnd.apache.kylin-v4+json;charset=UTF-8"),
    ("v4-public", "application/vnd.apache.kylin-v4-public+json;charset=UTF-8"),
])
def test_v4_shapes(q, accept, content_type):
    answer = q.kylin("POST", "async_query", accept=accept, json={"sql": "select 1", "project": "w1"})
    assert answer.headers["Content-Type"] == content_type and "query_id" in answer.json()["data"]
    answer = q.kylin("GET", "async_query/x/result_path?project=w1", accept=accept)
    assert answer.status_code == 500 and answer.headers["Content-Type"] == content_type


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, */*;q=0.1",
                                    "text/html, application/vnd.apache.kylin-v4-public+json;q=0.5"])
def test_other_accept_headers_are_v4(q, accept):
    answer = q.kylin("POST", "async_query", headers={"Accept": accept}, json={"sql": "select 1", "project": "w1"})
    assert answer.status_code == 200 and "query_id" in answer.json()["data"]


@pytest.mark.parametrize("accept, content_type", [
    ("application/vnd.apache.kylin-v2+json;q=0.1, application/vnd.apache.kylin-v4+json", "application/vnd.apache.kylin-v4+json;charset=UTF-8"),
    ("application/vnd.apache.kylin-v4-public+json;charset=utf-8;q=0.5,APPLICATION/VND.APACHE.KYLIN-V2+JSON ; q=0.6", "application/vnd.apache.kylin-v2+json;charset=UTF-8"),
    ("application/vnd.apache.kylin-v4+json, application/vnd.apache.kylin-v2+json", "application/vnd.apache.kylin-v4+json;charset=UTF-8"),
    ("application/vnd.apache.kylin-v2+json;q=0, */*", "application/json;charset=UTF-8"), ("application/vnd.apache.kylin-v3+json", "application/json;charset=UTF-8"),
])
def test_accept_by_weight(q, accept, content_type):
    answer = q.kylin("GET", f"async_query/{UNKNOWN}/status?project=w1", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == content_type and ("queryID" in answer.json()["data"]) == ("-v2" in content_type)


def test_unknown_fields_and_other_field_types(q):
    body = {"sql": "select 1 as a from range(5)", "project": "W1", "limit": "3", "offset": "1", "include_header": "True", "separator": None,
            "user_defined_tag": "t" * 256, "spark_queue": "q", "executeAs": "x", "forcedToPushDown": True, "acceptPartial": False,
            "backdoorToggles": {"a": "b"}, "what": {"is": ["this"]}, "queryId": "mine"}
    answer = q.kylin("POST", "async_query", json=body)
    qid = answer.json()["data"]["query_id"]
    assert qid != "mine"
    q.kylin_wait(qid)
    assert text_of(q, qid) == "a\n1\n1\n1\n"


def test_missing_content_type_is_json(q):
    answer = q.kylin("POST", "async_query", data='{"sql":"select 1","project":"w1"}')
    assert answer.status_code == 200 and answer.json()["code"] == "000"


@pytest.mark.parametrize("field, value, info", [
    ("format", "pdf", "Format pdf unsupported. Only [csv, json, xlsx, parquet] are supported"),
    ("format", "", "Format  unsupported. Only [csv, json, xlsx, parquet] are supported"),
    ("encode", "utf8", "Encode utf8 unsupported. Only [utf-8, gbk] are supported"),
    ("file_name", "a/b", "file_name must be 1 to 200 bytes without \"/\", \"\\\", \"..\" and control characters"),
    ("file_name", "a\\b", None), ("file_name", "..", None), ("file_name", "a..b", None), ("file_name", "a\r\nb", None), ("file_name", "", None),
    ("file_name", "a\x85b", None), ("file_name", "a\u2028b", None), ("file_name", "a\u202egpj", None), ("file_name", "a\u2066b", None), ("file_name", "\x7f", None),
    ("file_name", "x" * 201, None),
])
def test_illegal_parameters_are_200_with_a_code(q, field, value, info):
    for more in ({}, {"queryId": "echo"}):
        answer = q.kylin("POST", "async_query", json={"sql": "select 1", "project": "w1", field: value, **more})
        assert answer.status_code == 200 and answer.json()["msg"] == ""
        assert answer.json()["code"] == "KE-020040001(Asynchronous query illegal parameters)"
        data = answer.json()["data"]
        assert data["query_id"] == more.get("queryId") and data["status"] == "FAILED" and data["info"]
        assert info is None or data["info"] == info


def test_encode_is_checked_before_format(q):
    answer = q.kylin("POST", "async_query", json={"sql": "select 1", "project": "w1", "format": "pdf", "encode": "utf8"})
    assert answer.json()["data"]["info"].startswith("Encode utf8")


@pytest.mark.parametrize("value", ["CSV", "Csv", "JSON"])
def test_format_in_any_case(q, value):
    qid = q.kylin_query("select 1 as a", format=value, encode="UTF-8")
    assert text_of(q, qid) == ("1\n" if value.lower() == "csv" else '["{\\"a\\":1}"]')


@pytest.mark.parametrize("body, why", [
    ("{", "the request body is no valid JSON"), ("[]", "the request body must be a JSON object, not an array"), ('"x"', "must be a JSON object"),
    ('{"sql":"select 1","project":"w1","format":null}', "format must not be null"),
    ('{"sql":"select 1","project":"w1","encode":null}', "encode must not be null"),
    ('{"sql":{},"project":"w1"}', "sql must be a string, not an object"), ('{"sql":"select 1","project":[]}', "project must be a string"),
    ('{"sql":"select 1","project":"w1","limit":"x"}', "limit must be an integer"),
    ('{"sql":"select 1","project":"w1","limit":1.5}', "limit must be an integer"),
    ('{"sql":"select 1","project":"w1","limit":9223372036854775808}', "limit must be at most 9223372036854775807"),
    ('{"sql":"select 1","project":"w1","limit":"99999999999999999999"}', "limit must be at most 9223372036854775807"),
    ('{"sql":"select 1","project":"w1","offset":true}', "offset must be an integer"),
    ('{"sql":"select 1","project":"w1","include_header":"maybe"}', "include_header must be a boolean: true or false"),
    ('{"sql":"select 1","project":"w1","includeHeader":[]}', "includeHeader must be a boolean"),
    ('{"sql":"select 1","project":"w1","separator":{}}', "separator must be a string"),
    ('{"sql":"select 1","project":"w1","file_name":[]}', "file_name must be a string"),
])
def test_bodies_that_cannot_be_read(q, body, why):
    answer = q.kylin("POST", "async_query", data=body, headers={"Content-Type": "application/json"})
    text = answer.json()["exception"]
    assert why in text
    failed(answer, 500, "KE-000030001(Failed Parse Json): " + text, None, None, exception=text)


def test_foreign_requests(q):
    for headers, data, why in [({"Content-Type": "application/x-www-form-urlencoded"}, '{"sql":"select 1","project":"w1"}',
                                "Content type 'application/x-www-form-urlencoded' not supported"),
                               ({"Content-Type": "text/plain"}, '{"sql":"select 1","project":"w1"}', "Content type 'text/plain' not supported"),
                               ({"Content-Type": "application/json"}, "", "Required request body is missing")]:
        answer = q.kylin("POST", "async_query", data=data, headers=headers)
        failed(answer, 500, "KE-000000001(UNKNOWN ERRORCODE): " + why, None, None, exception=why)


def test_tag_too_long(q):
    msg = "Can’t add the tag, as the length exceeds the maximum 256 characters. Please modify it."
    answer = q.kylin("POST", "async_query", json={"sql": "select 1", "project": "w1", "user_defined_tag": "标" * 257})
    failed(answer, 400, msg, None, None)


@pytest.mark.parametrize("sql, info", [
    ("", "SQL can’t be empty. Please check and try again."), (" \n\t", "SQL can’t be empty. Please check and try again."),
    (None, "SQL can’t be empty. Please check and try again."),
    ("create table t (a int)", "This SQL is not supported at the moment. Please try a different SQL."),
    ("insert into t values (1)", None), ("set threads = 1", "This SQL is not supported at the moment. Please try a different SQL."),
    ("select 1; select 2", None), ("selec 1", None), ("select 1 / 0", None), ("select\n\n no_such", None),
])
def test_bad_statements_fail_later(q, sql, info):
    """Errors of the statement are never an error of the submit."""
    qid = q.kylin_submit(sql)
    done = q.kylin_wait(qid)
    assert done["status"] == "FAILED" and done["info"] and "\n" not in done["info"], done
    assert info is None or done["info"] == info
    for call in ("metadata", "file_status", "result_download"):
        failed(q.kylin_get(qid, call), 500, NOT_READY, "KE-020040001", None)


def test_place_of_an_error(q):
    done = q.kylin_wait(q.kylin_submit("select\n no_such"))
    assert done["info"].startswith("line 2:2: ") and "no_such" in done["info"]


def test_idempotency_key(q):
    headers = {"Idempotency-Key": "kylin-" + os.urandom(8).hex()}
    first = q.kylin_submit("select 7", headers=headers)
    assert q.kylin_submit("select 7", headers=headers) == first
    answer = q.kylin("POST", "async_query", headers=headers, json={"sql": "select 7", "project": "w1", "format": "json"})
    assert answer.status_code == 409 and answer.json()["code"] == "999"


# --- project --------------------------------------------------------------------------------------------------------

EMPTY = "KE-010001002(Empty Project Name):Can’t find project information. Please select a project."
NONE = "KE-010031302: The project name can’t be empty. Please check and try again."
BY_ID = [("GET", "{}/status"), ("GET", "{}/metadata"), ("GET", "{}/file_status"), ("GET", "{}/result_download"), ("GET", "{}/result_path"),
         ("DELETE", "{}"), ("DELETE", "stop/{}")]


@pytest.mark.parametrize("method, path", BY_ID)
def test_project_of_a_call(q, method, path):
    path = "async_query/" + path.format(UNKNOWN)
    stop = "stop/" in path
    failed(q.kylin(method, path), 500, NONE, "KE-010031302", "unknown msg")
    failed(q.kylin(method, path + "?project="), 500, EMPTY, "KE-010001002", None)
    failed(q.kylin(method, path + "?project=nope"), 500, "KE-010001201: Can't find project \"nope\". Please check and try again.", "KE-010001201", "")
    failed(q.kylin(method, path + "?project=w2"), 500, "KE-010001201: Can't find project \"w2\". Please check and try again.", "KE-010001201", "")
    for body, msg, code in [('{"project":""}', EMPTY, "KE-010001002"), ("{}", EMPTY, "KE-010001002")]:
        answer = q.kylin(method, path, data=body)
        failed(answer, 500, NONE if stop else msg, "KE-010031302" if stop else code, "unknown msg" if stop else None)
    if not stop:
        assert q.kylin(method, path, data="{").json()["msg"].startswith("KE-000030001(Failed Parse Json): ")
        # an empty one in the URL does not fall back to the body
        failed(q.kylin(method, path + "?project=", data='{"project":"w1"}'), 500, EMPTY, "KE-010001002", None)


def test_project_in_the_body(q):
    """Reminder 3 of the page: GET and DELETE take the project from the body too."""
    qid = q.kylin_query("select 1 as a", include_header=True)
    body = '{"project":"W1"}'
    for call in ("status", "metadata", "file_status", "result_download", "result_path"):
        answer = q.kylin("GET", f"async_query/{qid}/{call}", data=body)
        assert answer.status_code == 200 and '"401"' not in answer.text, f"{call}: {answer.text}"
    said(q.kylin("DELETE", f"async_query/{qid}", data=body), "000", True)


def test_a_name_of_any_length_is_answered(q):
    """What a message repeats of the request is cut, not the message."""
    for answer in (q.kylin("POST", "async_query", json={"sql": "select 1", "project": "é" * 100000}),
                   q.kylin("GET", "async_query/x/status", data=json.dumps({"project": "é" * 100000}))):
        msg = "KE-010001201: Can't find project \"" + "é" * 2048 + "\". Please check and try again."
        failed(answer, 500, msg, "KE-010001201", "")


def test_project_of_a_submit(q):
    for body in ({"sql": "select 1"}, {"sql": "select 1", "project": ""}, {"sql": "select 1", "project": None}):
        failed(q.kylin("POST", "async_query", json=body), 500, EMPTY, "KE-010001002", None)
    for name in ("nope", "w2"):
        failed(q.kylin("POST", "async_query", json={"sql": "select 1", "project": name}), 500,
               f"KE-010001201: Can't find project \"{name}\". Please check and try again.", "KE-010001201", "")


# --- limit and offset -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sql, fields, want", [
    ("select range from range(10)", {"limit": 3}, [0, 1, 2]),
    ("select range from range(10)", {"limit": 0, "offset": 0}, list(range(10))),
    ("select range from range(10)", {"limit": -1, "offset": -5}, list(range(10))),
    ("select range from range(10)", {"limit": None, "offset": None}, list(range(10))),
    ("select range from range(10)", {"offset": 7}, [7, 8, 9]),
    ("select range from range(10) order by 1 desc", {"offset": 7, "limit": 2}, [2, 1]),
    ("select range from range(10) limit 5", {"limit": 3}, [0, 1, 2]),
    ("select range from range(10) limit 3", {"limit": 5}, [0, 1, 2]),
    ("select range from range(10) limit 3", {"offset": 5}, [5, 6, 7]),
    ("select range from range(10) limit 3 offset 2", {"offset": 5}, [2, 3, 4]),
    ("select range from (select range from range(10) limit 6)", {"limit": 4}, [0, 1, 2, 3]),
    ("select range from (select range from range(10) offset 4)", {"offset": 2}, [6, 7, 8, 9]),
    ("select range from range(10) -- offset 1", {"offset": 8}, [8, 9]),
    ("select range from range(10);; ", {"offset": 8}, [8, 9]),
    ("select 'offset 1' from range(3)", {"offset": 1}, ["offset 1"] * 2),
    ("with t as (select range from range(4)) select range as \"offset\" from t", {"offset": 3}, [3]),
    ("values (1), (2), (3)", {"offset": 1}, [2, 3]), ("(select 1 union all select 2)", {"offset": 1}, [2]),
    ("select 1 union all select 2 union all select 3", {"offset": 1, "limit": 1}, [2]),
    ("select range as offset from range(4)", {"offset": 3}, [3]),
    ("\ufeffselect range from range(4)", {"offset": 3}, [3]), ("select\u00a0range from\u3000range(4)", {"offset": 3}, [3]),
    ("(select range from range(4)) limit\u00a03 offset 1", {"offset": 3}, [1, 2, 3]),
    ("select range from range(9) fetch first 2 rows only", {"offset": 3}, [3, 4]),
])
def test_limit_and_offset(q, sql, fields, want):
    qid = q.kylin_query(sql, **fields)
    assert text_of(q, qid).split() == " ".join(str(v) for v in want).split()


# --- files ----------------------------------------------------------------------------------------------------------

ROWS = ("select * from (values (1, 'plain', 'x'), (2, 'a,b', ''), (3, 'say \"hi\"', null), (4, 'two\nlines', ' y '), (5, 'a#b', '#'), "
        "(6, 'a|b$c@d', '<>'), (7, '=1+1', '中文')) t(id, text, more)")


@pytest.mark.parametrize("separator", [",", "#", "$", "@", "|", ";", "\t", "<>", "||", "中", "e", "1", "-", " ", "separator", "x" * 3000, ""])
def test_separators(q, separator):
    qid = q.kylin_query(ROWS, separator=separator, include_header=True)
    text = text_of(q, qid)
    separator = separator or ","
    lines = []
    for values in [(1, "plain", "x"), (2, "a,b", ""), (3, 'say "hi"', ""), (4, "two\nlines", " y "), (5, "a#b", "#"), (6, "a|b$c@d", "<>"),
                   (7, "=1+1", "中文")]:
        cells = [str(v) for v in values]
        cells = ['"' + c.replace('"', '""') + '"' if any(s in c for s in ('"', "\n", "\r")) or (c + separator).find(separator) < len(c) else c for c in cells]
        lines.append(separator.join(cells))
    header = separator.join('"' + n + '"' if (n + separator).find(separator) < len(n) else n for n in ("id", "text", "more"))
    assert text == "\n".join([header] + lines) + "\n"
    if len(separator) == 1:
        rows = list(csv.reader(io.StringIO(text), delimiter=separator))
        assert [row[1] for row in rows[1:]] == ["plain", "a,b", 'say "hi"', "two\nlines", "a#b", "a|b$c@d", "=1+1"]


def split_csv(text, separator):
    """Rows as a reader sees them that takes the first separator it meets; quotes count at a field's beginning."""
    rows, row, at = [], [], 0
    while at < len(text):
        cell = ""
        if text[at] == '"':
            at += 1
            while text[at:at + 2] == '""' or text[at] != '"':
                cell += text[at]
                at += 2 if text[at] == '"' else 1
            at += 1
        else:
            end = min(i for i in (text.find(separator, at), text.find("\n", at)) if i >= 0)
            cell, at = text[at:end], end
        row.append(cell)
        if text.startswith(separator, at):
            at += len(separator)
            if text[at:at + 1] != "\n":
                continue
            row.append("")
        assert text[at] == "\n", text[at - 20:at + 20]
        at += 1
        rows.append(row)
        row = []
    return rows


@pytest.mark.parametrize("encode", ["utf-8", "gbk"])
@pytest.mark.parametrize("separator", ["||", "--", "aba", "ababa", "aabaa", "<>", "?", "€", "€|", "?€", "中-中", "😀"])
def test_a_reader_splits_where_the_separator_was_written(q, separator, encode):
    """Fields that end like a separator begins; separators that GBK lacks or that look like what it makes of other characters."""
    values = ["a|", "|b", "-", "a-", "--", "a", "ab", "aba", "abab", "aab", "<", "?", "a€b", "€", "中", "中-", "文?", "é|", "", "say \"hi\"", "two\nlines", "€€", "😀"]

    def seen(text):
        return text.encode("gbk", "replace").decode("gbk") if encode == "gbk" else text

    pairs = [(a, b) for a in values for b in values]
    sql = "select a, b, a as c from (values " + ", ".join(f"({i}, $${a}$$, $${b}$$)" for i, (a, b) in enumerate(pairs)) + ") t(i, a, b) order by i"
    qid = q.kylin_query(sql, separator=separator, encode=encode, include_header=True)
    answer = q.kylin_get(qid, "result_download")
    rows = split_csv(answer.content.decode(encode), seen(separator))
    assert rows[0] == ["a", "b", "c"] and rows[1:] == [[seen(a), seen(b), seen(a)] for a, b in pairs]
    said(q.kylin_get(qid, "file_status"), "000", len(answer.content))


@pytest.mark.parametrize("separator", ["a" * 20000 + "b", "ab" * 10000])
def test_fields_that_nearly_hold_a_long_separator(q, separator):
    """Every place of such a field begins like the separator; looking at it is linear all the same (src/encoders/csv.c)."""
    values = ["a" * 30000, "ab" * 15000, separator[:-1], separator[1:], separator + "x"]
    sql = "select t, t as u from (values " + ", ".join(f"({i}, '{v}')" for i, v in enumerate(values)) + ") v(i, t) order by i"
    qid = q.kylin_query(sql, separator=separator)
    assert split_csv(text_of(q, qid), separator) == [[v, v] for v in values]


def test_separator_too_long_names_the_limit(q):
    answer = q.kylin("POST", "async_query", json={"sql": "select 1", "project": "w1", "separator": "x" * 65537})
    assert answer.status_code == 500 and "separator is longer than 65536 bytes" in answer.json()["msg"]


def test_values_as_text(q):
    qid = q.kylin_query("select date '2021-02-01', timestamp '2021-02-01 10:20:30.120', timestamp '2021-02-01 10:20:30', "
                        "timestamp '2021-02-01 10:20:30.123456', true, 0.1::double, 1e10::double, 2.50::decimal(10,2), ['a', 'b'], "
                        "map {'k': 1}, cast(null as integer), ''")
    assert text_of(q, qid) == ('2021-02-01,2021-02-01 10:20:30.12,2021-02-01 10:20:30,2021-02-01 10:20:30.123,true,0.1,1.0E10,2.50,'
                               '"[""a"",""b""]","{""k"":1}",,\n')
    # a column with nothing in it is an empty line
    assert text_of(q, q.kylin_query("select null from range(2)")) == "\n\n"


def test_nanoseconds_are_cut_like_every_timestamp(q):
    sql = ("select '2021-02-01 10:20:30.123456789'::timestamp_ns a, '2021-02-01 10:20:30.120'::timestamp_ns b, '2021-02-01 10:20:30'::timestamp_ns c, "
           "['2021-02-01 10:20:30.1'::timestamp_ns] d, null::timestamp_ns e")
    assert text_of(q, q.kylin_query(sql)) == '2021-02-01 10:20:30.123,2021-02-01 10:20:30.12,2021-02-01 10:20:30,"[""2021-02-01 10:20:30.1""]",\n'
    row = json.loads(json.loads(text_of(q, q.kylin_query(sql, format="json")))[0])
    assert row == {"a": "2021-02-01T10:20:30.123+0000", "b": "2021-02-01T10:20:30.120+0000", "c": "2021-02-01T10:20:30.000+0000",
                   "d": ["2021-02-01T10:20:30.100+0000"]}
    answer = q.kylin("POST", "query", json={"sql": sql, "project": "w1"})
    assert answer.json()["data"]["results"] == [["2021-02-01 10:20:30.123", "2021-02-01 10:20:30.120", "2021-02-01 10:20:30.000",
                                         "[2021-02-01 10:20:30.100]", None]]


def test_empty_result_is_successful(q):
    qid = q.kylin_query("select 1 as a, 2 as b where false", include_header=True)
    assert text_of(q, qid) == "a,b\n"
    said(q.kylin_get(qid, "file_status"), "000", 4)
    assert text_of(q, q.kylin_query("select 1 where false", format="json")) == "[]"


def test_json_is_an_array_of_objects_as_text(q):
    sql = ("select 1 as c, 'say \"hi\"' as t, timestamp '2021-02-01 00:00:00' as ts, date '2021-02-01' as d, null as n, 2.5::decimal(4,2) as x, "
           "'中文' as z")
    qid = q.kylin_query(sql, format="json", include_header=True, separator="|")
    answer = q.kylin_get(qid, "result_download")
    assert answer.headers["Content-Type"] == "application/json;charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="result.json"'
    rows = answer.json()
    assert [json.loads(row) for row in rows] == [{"c": 1, "t": 'say "hi"', "ts": "2021-02-01T00:00:00.000+0000", "d": "2021-02-01", "x": 2.5,
                                                  "z": "中文"}]


def test_header_on_submit_and_on_download(q):
    """Either place, any spelling; the download's word wins."""
    with_header, without = "a\n1\n", "1\n"
    plain = q.kylin_query("select 1 as a")
    asked = [q.kylin_query("select 1 as a", **{name: value}) for name, value in
             (("include_header", True), ("includeHeader", True), ("include_header", "on"), ("include_header", 1))]
    assert text_of(q, plain) == without
    for qid in asked:
        assert text_of(q, qid) == with_header
        assert text_of(q, qid, "&include_header=False") == without
    for word, want in (("true", True), ("True", True), ("on", True), ("yes", True), ("1", True), ("false", False), ("off", False), ("no", False), ("0", False)):
        for name in ("include_header", "includeHeader"):
            answer = q.kylin_get(plain, "result_download", query=f"&{name}={word}")
            assert answer.text == (with_header if want else without) and int(answer.headers["Content-Length"]) == len(answer.content)
    answer = q.kylin_get(plain, "result_download", query="&include_header=maybe")
    failed(answer, 400, "KE-010000003(Invalid Parameter):include_header must be true or false", "KE-010000003", None)


def test_header_cells_are_quoted_like_values(q):
    qid = q.kylin_query('select 1 as "a,b", 2 as "say ""hi""", 3 as plain', include_header=True)
    assert text_of(q, qid) == '"a,b","say ""hi""",plain\n1,2,3\n'
    qid = q.kylin_query('select 1 as "a,b", 2 as c', include_header=True, separator="<>")
    assert text_of(q, qid) == "a,b<>c\n1<>2\n"
    said(q.kylin_get(qid, "metadata"), "000", [["a,b", "c"], ["INTEGER", "INTEGER"]])


def test_header_quoting_never(make_daemon):
    d = make_daemon(env={"QUERN_KYLIN_HEADER_QUOTING": "never"})
    assert text_of(d, d.kylin_query('select 1 as "a,b", \'x,y\' as "say ""hi"""', include_header=True)) == 'a,b,say "hi"\n1,"x,y"\n'
    # what a query was submitted with stays: its file is made, its size is known
    qid = d.kylin_query('select 1 as "a,b"', include_header=True)
    d.restart(env={"QUERN_KYLIN_HEADER_QUOTING": "auto"})
    for query in ("", "&include_header=true"):
        answer = d.kylin_get(qid, "result_download", query=query)
        assert answer.text == "a,b\n1\n" and answer.headers["Content-Length"] == "6"


@pytest.mark.parametrize("name, plain, star", [
    ("report", "report.csv", None), ("my report", "my report.csv", None), ("中文 报告", "__ __.csv", "%E4%B8%AD%E6%96%87%20%E6%8A%A5%E5%91%8A.csv"),
    ('say "hi"', "say _hi_.csv", "say%20%22hi%22.csv"), ("100%", "100_.csv", "100%25.csv"), ("a;b=c", "a;b=c.csv", None),
])
def test_file_names(q, name, plain, star):
    qid = q.kylin_query("select 1", file_name=name)
    want = f'attachment; filename="{plain}"' + (f"; filename*=UTF-8''{star}" if star else "")
    assert q.kylin_get(qid, "result_download").headers["Content-Disposition"] == want


def test_file_status_is_the_download_to_the_byte(q):
    for sql, fields in [("select * from flights limit 50000", {}), ("select * from flights limit 50000", {"include_header": True, "separator": "<|>"}),
                        ("select * from flights limit 20000", {"format": "json"}), ("select '中' || range from range(1000)", {"include_header": True}),
                        ("select 1 where false", {}), ("explain select 1", {})]:
        qid = q.kylin_query(sql, **fields)
        size = q.kylin_get(qid, "file_status").json()["data"]
        answer = q.kylin_get(qid, "result_download")
        assert len(answer.content) == size and answer.headers["Content-Length"] == str(size)
        # and it is the file in the folder, there since before the status was SUCCESSFUL
        folder = urllib.parse.unquote(q.kylin_get(qid, "result_path").json()["data"][len("file://"):])
        assert os.listdir(folder) == [f"{qid}.{fields.get('format', 'csv')}"]
        with open(os.path.join(folder, os.listdir(folder)[0]), "rb") as f:
            assert f.read() == answer.content


def test_download_is_resumable(q):
    qid = q.kylin_query("select range, 'text ' || range from range(100000)", include_header=True)
    whole = q.kylin_get(qid, "result_download")
    for query in ("", "&include_header=false"):
        whole = q.kylin_get(qid, "result_download", query=query)
        n = len(whole.content)
        for at in (1, 1000, n // 2, n - 1):
            part = q.kylin_get(qid, "result_download", query=query, headers={"Range": f"bytes={at}-", "If-Range": whole.headers["ETag"]})
            assert part.status_code == 206 and part.content == whole.content[at:]


def test_the_file_is_there_before_successful(q):
    """Looked for without a pause, as soon as the status says so."""
    for i in range(5):
        qid = q.kylin_submit(f"select {i}")
        path = q.kylin_get(qid, "result_path").json()["data"][len("file://"):]
        while q.kylin_get(qid, "status").json()["data"]["status"] == "RUNNING":
            pass
        assert os.path.exists(f"{path}/{qid}.csv")


def test_gbk(q):
    """Real GBK; what it does not have becomes "?", and the status says how many. JSON too."""
    qid = q.kylin_query("select '中文' as \"列\", 'a,b' as b", encode="GBK", include_header=True)
    answer = q.kylin_get(qid, "result_download")
    assert answer.headers["Content-Type"] == "application/csv;charset=gbk"
    assert answer.content == '列,b\n中文,"a,b"\n'.encode("gbk")
    said(q.kylin_get(qid, "file_status"), "000", len(answer.content))
    assert q.kylin_get(qid, "status").json()["data"]["info"] == "await fetching results"
    plain = q.kylin_get(qid, "result_download", query="&include_header=false")
    assert plain.content == '中文,"a,b"\n'.encode("gbk") and plain.headers["Content-Length"] == str(len(plain.content))
    qid = q.kylin_query("select '한中😀' as a", encode="gbk", format="json")
    answer = q.kylin_get(qid, "result_download")
    assert answer.headers["Content-Type"] == "application/json;charset=gbk"
    assert answer.content == '["{\\"a\\":\\"?中?\\"}"]'.encode("gbk")
    info = q.kylin_get(qid, "status").json()["data"]["info"]
    assert info == 'await fetching results (2 characters are not in GBK and became "?")'


def test_types(q):
    sql = ("select true, 1::tinyint, 1::smallint, 1::integer, 1::bigint, 1::hugeint, 1::utinyint, 1::usmallint, 1::uinteger, 1::ubigint, 1::real, "
           "1::double, 1.5::decimal(18,4), 'x', 'x'::blob, date '2020-01-01', time '10:00:00', timestamp '2020-01-01', "
           "timestamp '2020-01-01 00:00:00 UTC', uuid(), [1], {'a': 1}, map {'a': 1}, interval '1' day")
    names, types = q.kylin_get(q.kylin_query(sql), "metadata").json()["data"]
    assert len(names) == len(types)
    assert types == ["BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DECIMAL(38,0)", "SMALLINT", "INTEGER", "BIGINT", "DECIMAL(20,0)",
                     "FLOAT", "DOUBLE", "DECIMAL(18,4)", "VARCHAR", "BINARY", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP", "VARCHAR", "VARCHAR",
                     "VARCHAR", "VARCHAR", "VARCHAR"]


# --- the life of a query --------------------------------------------------------------------------------------------


def test_running_and_stop(q):
    qid = q.kylin_submit(SLOW)
    said(q.kylin_get(qid, "status"), "000", {"query_id": qid, "status": "RUNNING", "info": "still running"})
    for call in ("metadata", "file_status", "result_download"):
        failed(q.kylin_get(qid, call), 500, NOT_READY, "KE-020040001", None)
    assert q.kylin_get(qid, "result_path").json()["data"].endswith(f"/w1/async_query_result/{qid}")
    said(q.kylin("DELETE", f"async_query/stop/{qid}?project=w1"), "000", "", f"Async Query（id={qid}） will be canceled")
    # the answer waited until the end was recorded
    said(q.kylin_get(qid, "status"), "000", {"query_id": qid, "status": "FAILED", "info": "Stopped by user."})
    said(q.kylin("DELETE", f"async_query/stop/{qid}?project=w1"), "999", "Query is not running", "Query is not running. please check")


def test_delete_ends_a_running_query(q):
    qid = q.kylin_submit(SLOW)
    said(q.kylin("DELETE", f"async_query/{qid}?project=w1"), "000", True)
    assert q.kylin_get(qid, "status").json()["data"]["status"] == "MISSING"
    assert q.kakao_wait(qid)["queryInfo"]["state"] == "ABORTED"  # to the other dialects it was canceled


def test_unknown_queries_to_an_admin(q):
    for qid in (UNKNOWN, "x", "20240101-000000-aaaaaaaaaa", "%20"):
        plain = urllib.parse.unquote(qid)
        said(q.kylin_get(qid, "status"), "000", {"query_id": plain, "status": "MISSING", "info": "query status is lost"})
        for call in ("metadata", "file_status", "result_download"):
            failed(q.kylin_get(qid, call), 500, NOT_READY, "KE-020040001", None)
        failed(q.kylin_get(qid, "result_path"), 500, "KE-010031301: " + NO_QUERY, "KE-010031301", "unknown msg")
        failed(q.kylin("DELETE", f"async_query/stop/{qid}?project=w1"), 500, "KE-010031301: " + NO_QUERY, "KE-010031301", "unknown msg")
        said(q.kylin("DELETE", f"async_query/{qid}?project=w1"), "000", False, "KE-010031301: " + NO_QUERY)


def test_deleted_twice_and_the_file_with_it(q):
    qid = q.kylin_query("select 1")
    path = q.kylin_get(qid, "result_path").json()["data"][len("file://"):]
    assert os.listdir(path) == [f"{qid}.csv"]
    said(q.kylin("DELETE", f"async_query/{qid}?project=w1"), "000", True)
    said(q.kylin("DELETE", f"async_query/{qid}?project=w1"), "000", False, "KE-010031301: " + NO_QUERY)
    wait_until("the delivered file to go", lambda: not os.path.exists(path))
    assert q.download(qid).status_code == 410


def test_a_trailing_slash(q):
    """One client in the wild writes its DELETEs so."""
    answer = q.kylin("POST", "async_query/", json={"sql": "select 1", "project": "w1"})
    qid = answer.json()["data"]["query_id"]
    q.kylin_wait(qid)
    said(q.kylin("GET", f"async_query/{qid}/file_status/?project=w1"), "000", 2)
    assert q.kylin("GET", "async_query//status?project=w1").status_code == 404
    assert q.kylin("GET", f"async_query/{qid}//status?project=w1").status_code == 404


def test_queries_of_other_dialects(q):
    """One query, every dialect: what Kakao submitted reads as plain CSV."""
    qid = q.kakao_query("select 1 as a, 'x,y' as b")["queryInfo"]["queryId"]
    said(q.kylin_get(qid, "metadata"), "000", [["a", "b"], ["INTEGER", "VARCHAR"]])
    assert text_of(q, qid) == '1,"x,y"\n'
    said(q.kylin_get(qid, "file_status"), "000", 8)
    failed(q.kylin_get(qid, "result_path"), 500, "KE-010031301: " + NO_QUERY, "KE-010031301", "unknown msg")
    ours = q.kylin_query("select 42")
    assert q.kakao_get(ours)["queryData"] == [["42"]] and q.download(ours, header="false").text == "42\n"
    assert q.d360_rows(ours) == [[42]]


def test_the_default_bucket(make_daemon):
    """The workspace's default bucket at the time of the submit; one that may not be written to refuses the submit."""
    d = make_daemon()
    own = d.kylin_query("select 1")
    folder = os.path.join(d.folder, "lake one")
    d.admin("bucket", "create", "lake", "--url", "file://" + folder.replace(" ", "%20"), "--workspace", "w1", "--default")
    qid = d.kylin_query("select 2")
    assert q_path(d, qid) == f"file://{folder.replace(' ', '%20')}/w1/async_query_result/{qid}"
    assert os.listdir(os.path.join(folder, "w1", "async_query_result", qid)) == [f"{qid}.csv"]
    assert q_path(d, own).endswith(f"/buckets/1/w1/async_query_result/{own}")  # it stays where it is
    kakao = d.kakao_get(qid)["resultConfig"]
    assert (kakao["bucketName"], kakao["storageUrl"], kakao["isStored"]) == ("lake", "lake/w1/async_query_result", True)
    assert d.kakao_get(own)["resultConfig"]["isStored"] is False
    said(d.kylin("DELETE", f"async_query/{qid}?project=w1"), "000", True)
    wait_until("the delivered file to go", lambda: not os.path.exists(os.path.join(folder, "w1")))
    os.rename(folder, folder + " gone")
    done = d.kylin_wait(d.kylin_submit("select 3"))
    assert done["status"] == "FAILED" and "bucket" in done["info"] and folder not in done["info"], done


def q_path(d, qid):
    return d.kylin_get(qid, "result_path").json()["data"]


# --- who may --------------------------------------------------------------------------------------------------------


def test_owner_and_admin_read(q):
    qid = q.kylin_query("select 1", key=q.member)
    for key in (q.member, q.key):
        assert q.kylin_get(qid, "status", key=key).json()["data"]["status"] == "SUCCESSFUL"
        assert text_of(q, qid, key=key) == "1\n"
        assert q.kylin_get(qid, "result_path", key=key).json()["code"] == "000"
    for key in (q.member2, q.reader):
        said(q.kylin_get(qid, "status", key=key), "401", None, ONLY + "get the query status")
        said(q.kylin_get(qid, "metadata", key=key), "401", None, ONLY + "get the metadata")
        said(q.kylin_get(qid, "file_status", key=key), "401", 0, ONLY + "get the file status")
        said(q.kylin_get(qid, "result_path", key=key), "401", "", ONLY + "get the query path")
        msg = "KE-010024001(No access):" + ONLY + "download the query results"
        failed(q.kylin_get(qid, "result_download", key=key), 500, msg, "KE-010024001", None)


def test_owner_and_admin_end(q):
    denied = "Access denied. Only admin users can "
    qid = q.kylin_submit(SLOW, key=q.member)
    said(q.kylin("DELETE", f"async_query/stop/{qid}?project=w1", key=q.member2), "401", "Access denied.", denied + "stop the query")
    said(q.kylin("DELETE", f"async_query/{qid}?project=w1", key=q.member2), "401", False, denied + "delete the query results")
    assert q.kylin_get(qid, "status").json()["data"]["status"] == "RUNNING"
    assert q.kylin("DELETE", f"async_query/stop/{qid}?project=w1", key=q.member).json()["code"] == "000"
    assert q.kylin_wait(qid)["info"] == "Stopped by user."
    said(q.kylin("DELETE", f"async_query/{qid}?project=w1", key=q.member), "000", True)
    qid = q.kylin_query("select 1", key=q.member)
    said(q.kylin("DELETE", f"async_query/{qid}?project=w1"), "000", True)  # an admin deletes anybody's


def test_reader_runs_and_ends_nothing(q):
    qid = q.kylin_query("select 1")
    no = "KE-010024001(No access):The user doesn't have access."
    for answer in (q.kylin("POST", "async_query", key=q.reader, json={"sql": "select 1", "project": "w1"}),
                   q.kylin("DELETE", f"async_query/{qid}?project=w1", key=q.reader),
                   q.kylin("DELETE", f"async_query/stop/{qid}?project=w1", key=q.reader),
                   q.kylin("DELETE", f"async_query/{UNKNOWN}?project=w1", key=q.reader)):
        failed(answer, 400, no, "KE-010024001", None)
    assert text_of(q, qid) == "1\n"


def test_unknown_queries_to_others(q):
    """Nobody but an admin can be told that something is not there, but for the status, which is MISSING to everybody."""
    key = q.member
    said(q.kylin_get(UNKNOWN, "status", key=key), "000", {"query_id": UNKNOWN, "status": "MISSING", "info": "query status is lost"})
    said(q.kylin_get(UNKNOWN, "metadata", key=key), "401", None, ONLY + "get the metadata")
    said(q.kylin_get(UNKNOWN, "file_status", key=key), "401", 0, ONLY + "get the file status")
    said(q.kylin_get(UNKNOWN, "result_path", key=key), "401", "", ONLY + "get the query path")
    msg = "KE-010024001(No access):" + ONLY + "download the query results"
    failed(q.kylin_get(UNKNOWN, "result_download", key=key), 500, msg, "KE-010024001", None)
    said(q.kylin("DELETE", f"async_query/{UNKNOWN}?project=w1", key=key), "000", False, "KE-010031301: " + NO_QUERY)


def test_workspaces_see_nothing_of_each_other(q):
    qid = q.kylin_query("select 'ours'")
    for call in ("status", "metadata", "file_status", "result_download", "result_path"):
        theirs = q.kylin_get(qid, call, key=q.other, project="w2")
        unknown = q.kylin_get(UNKNOWN, call, key=q.other, project="w2")
        assert (theirs.status_code, theirs.text.replace(qid, "ID")) == (unknown.status_code, unknown.text.replace(UNKNOWN, "ID")), call
        assert q.kylin_get(qid, call, key=q.other).json()["error_code"] == "KE-010001201"  # nor the project
    for path in ("async_query/{}?project=w2", "async_query/stop/{}?project=w2"):
        theirs, unknown = (q.kylin("DELETE", path.format(i), key=q.other) for i in (qid, UNKNOWN))
        assert theirs.text.replace(qid, "ID") == unknown.text.replace(UNKNOWN, "ID")
    said(q.kylin("DELETE", "async_query", key=q.other), "000", True)
    assert text_of(q, qid) == "ours\n"


@pytest.mark.parametrize("headers, msg, code", [
    ({}, "KE-010003207: Can't authenticate. Please login again.", "KE-010003207"),
    ({"Authorization": "Basic QURNSU46S1lMSU4="}, "KE-010003208: Invalid username or password. Please check and try again.", "KE-010003208"),
    ({"Authorization": "Basic x"}, "KE-010003208: Invalid username or password. Please check and try again.", "KE-010003208"),
    ({"Authorization": "Bearer x"}, "KE-010003208: Invalid username or password. Please check and try again.", "KE-010003208"),
])
def test_credentials(q, headers, msg, code):
    answer = q.kylin("GET", f"async_query/{UNKNOWN}/status?project=w1", key=False, headers=headers)
    body = failed(answer, 401, msg, code, "")
    assert body["url"].endswith(f"/kylin/api/async_query/{UNKNOWN}/status?project=w1")
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8" and "WWW-Authenticate" not in answer.headers


def test_scheme_in_any_case(q):
    credential = q.key["headers"]["kylin"]["Authorization"].split()[1]
    answer = q.kylin("GET", f"async_query/{UNKNOWN}/status?project=w1", key=False, headers={"Authorization": "bAsIc " + credential})
    assert answer.status_code == 200


def test_errors_of_the_server_are_in_the_envelope(q):
    for answer, status in ((q.kylin("GET", "nothing"), 404), (q.kylin("PUT", "async_query"), 405)):
        assert answer.status_code == status
        failed(answer, status, answer.json()["msg"], None, None, exception=answer.json()["exception"])


def test_limits_are_in_the_envelope(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_QUEUE_PER_WORKSPACE": "1", "QUERN_HTTP_MAX_BODY": "2 KiB", "QUERN_AUTH_MAX_FAILURES": "1"})
    first = d.kylin_submit(SLOW)
    d.kakao_wait(first, states=("RUNNING",))
    second = d.kylin_submit("select 1")
    answer = d.kylin("POST", "async_query", json={"sql": "select 2", "project": "w1"})
    assert answer.headers["Retry-After"]
    body = failed(answer, 429, answer.json()["msg"], "KE-020040002", None)
    assert body["msg"].startswith("KE-020040002(Busy Async Query):") and "queue.per_workspace" in body["msg"]
    answer = d.kylin("POST", "async_query", json={"sql": "select '" + "x" * 3000 + "'", "project": "w1"})
    assert "http.max_body" in failed(answer, 413, answer.json()["msg"], None, None, exception=answer.json()["exception"])["msg"]
    wrong = {"Authorization": "Basic QURNSU46S1lMSU4="}
    assert [d.kylin("GET", "projects", key=False, headers=wrong).status_code for _ in range(2)] == [401, 429]
    assert d.kylin("GET", "projects").status_code == 200
    assert d.kylin("DELETE", f"async_query/stop/{first}?project=w1").json()["code"] == "000"
    assert d.kylin_wait(second)["status"] == "SUCCESSFUL"


def test_a_restart_goes_on_with_what_was_accepted(make_daemon):
    """Queued at the end of one daemon, SUCCESSFUL with its file in the next; and what was SUCCESSFUL stays so."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0"})
    done = d.kylin_query("select 'before'", encode="gbk")
    d.kylin_submit(SLOW)
    queued = d.kylin_submit("select 'after' as a", include_header=True, separator="|")
    d.kill()
    d.start()
    assert text_of(d, done) == "before\n"
    running = [i["queryInfo"]["queryId"] for i in d.http("GET", "/v1/data-query/query?states=RUNNING,QUEUED").json()["content"]]
    for qid in running:
        if d.kylin_get(qid, "status").json()["data"]["query_id"] != queued:
            d.kylin("DELETE", f"async_query/stop/{qid}?project=w1")
    assert d.kylin_wait(queued)["status"] == "SUCCESSFUL" and text_of(d, queued) == "a\nafter\n"
    said(d.kylin_get(queued, "file_status"), "000", 8)


def test_what_expires_is_missing_and_its_file_goes(make_daemon):
    d = make_daemon(env={"QUERN_RESULT_RETENTION": "1 s", "QUERN_RETENTION_QUIET": "0"})
    d.admin("pause")  # it shall not expire before its path is known
    qid = d.kylin_submit("select 1")
    path = q_path(d, qid)[len("file://"):]
    d.admin("resume")
    wait_until("the result to expire", lambda: d.kylin_get(qid, "status").json()["data"]["status"] == "MISSING")
    wait_until("the delivered file to go", lambda: not os.path.exists(path))
    assert os.path.isdir(os.path.dirname(os.path.dirname(os.path.dirname(path))))  # the bucket itself stays


# --- batch deletes --------------------------------------------------------------------------------------------------


@pytest.fixture
def own(make_daemon):
    return make_daemon(env={"QUERN_KYLIN_TIME_ZONE": "+08:00"})


def test_batch_deletes(own):
    d = own
    member = d.new_key(user="bob", role="member")
    msg = "KE-010024001(No access):Access denied. Only admin users can delete the query results"
    failed(d.kylin("DELETE", "async_query", key=member), 500, msg, "KE-010024001", None)
    said(d.kylin("DELETE", "async_query"), "000", True)  # also when there is nothing
    kakao = d.kakao_query("select 1")["queryInfo"]["queryId"]
    ids = [d.kylin_query(f"select {i}", key=member) for i in range(3)] + [d.kylin_submit(SLOW)]
    paths = [d.kylin_get(i, "result_path").json()["data"][len("file://"):] for i in ids]
    said(d.kylin("DELETE", "async_query?older_than=2020-01-01%2000:00:00"), "000", False, CANNOT_CLEAN)
    said(d.kylin("DELETE", "async_query?project=w1"), "000", False, CANNOT_CLEAN)
    # a parameter in the wrong place never makes "some" into "all"
    for body in ({"project": "w1"}, {"older_than": "2020-01-01 00:00:00"}, {"Older_than": "2020-01-01 00:00:00"}):
        said(d.kylin("DELETE", "async_query", json=body), "000", False, CANNOT_CLEAN)
    for path, body in (("async_query", {"project": "w1", "older_than": "2020-01-01 00:00:00"}),
                       ("async_query?older_than=2020-01-01%2000:00:00", {"project": "w1"}),
                       ("async_query?project=w1", {"Older_than": "2020-01-01 00:00:00"})):
        said(d.kylin("DELETE", path, json=body), "000", True)
    assert d.kylin("DELETE", "async_query", json={"project": "w2", "older_than": "2020-01-01 00:00:00"}).json()["error_code"] == "KE-010001201"
    assert d.kylin("DELETE", "async_query", data="{").json()["msg"].startswith("KE-000030001(Failed Parse Json): ")
    said(d.kylin("DELETE", "async_query?project=w1&older_than=2020-01-01%2000:00:00"), "000", True)
    said(d.kylin("DELETE", "async_query/?project=&older_than=2020-01-01+00%3A00%3A00"), "000", True)
    assert [d.kylin_get(i, "status").json()["data"]["status"] for i in ids] == ["SUCCESSFUL"] * 3 + ["RUNNING"]
    answer = d.kylin("DELETE", "async_query?project=w2&older_than=2020-01-01%2000:00:00")
    assert answer.json()["error_code"] == "KE-010001201"
    said(d.kylin("DELETE", "async_query?project=w1&older_than=2100-01-01%2000:00:00"), "000", True)
    assert [d.kylin_get(i, "status").json()["data"]["status"] for i in ids] == ["MISSING"] * 4
    wait_until("the files to go", lambda: not any(os.path.exists(p) for p in paths))
    assert d.kakao_get(kakao)["queryData"] == [["1"]]  # another dialect's results are not Kylin's to delete
    qid = d.kylin_query("select 1")
    said(d.kylin("DELETE", "async_query/"), "000", True)
    assert d.kylin_get(qid, "status").json()["data"]["status"] == "MISSING"


def test_batch_delete_of_many(make_daemon):
    """More than one page of the registry, all of them queued: each is canceled and gone."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    ids = [d.kylin_submit(SLOW)] + [d.kylin_submit(f"select {i}") for i in range(600)]
    said(d.kylin("DELETE", "async_query"), "000", True)
    for qid in ids[:3] + ids[248:253] + ids[498:503] + ids[-3:]:
        assert d.kylin_get(qid, "status").json()["data"]["status"] == "MISSING"
    wait_until("the queue to be empty", lambda: d.metrics()["quern_queries_queued"] == 0)
    assert text_of(d, d.kylin_query("select 7")) == "7\n"


@pytest.mark.parametrize("when", ["2021-13-45 99:99:99", "2021-02-29 00:00:00", "2021-02-30 00:00:00", "2021-1-1 00:00:00", " 2021-01-01 00:00:00",
                                  "2021-01-01 00:00:00abc", "2021-01-01T00:00:00", "2021-01-01", "2021-01-01 00:00", "2011-11/11 11:11:11", "",
                                  "2021-01-01 24:00:00", "0000-00-00 00:00:00", "2021-01-01  00:00:00"])
def test_older_than_is_strict(q, when):
    answer = q.kylin("DELETE", "async_query?project=w1&older_than=" + urllib.parse.quote(when))
    failed(answer, 500, "KE-010031303: The time format is invalid. Please enter the date in the format “yyyy-MM-dd HH:mm:ss”.", "KE-010031303",
           "unknown msg")


@pytest.mark.parametrize("zone, name", [("+08:00", "Asia/Shanghai"), ("Asia/Shanghai", "Asia/Shanghai"), ("america/new_york", "America/New_York")])
def test_older_than_is_in_the_time_zone_of_the_configuration(make_daemon, zone, name):
    """Two hours ago by the clock of a zone in the east are hours from now by that of UTC: read as UTC it would delete all. (Two: more than
    a clock that is set for summer or winter meanwhile.)"""
    d = make_daemon(env={"QUERN_KYLIN_TIME_ZONE": zone})
    qid = d.kylin_query("select 1")
    now = datetime.datetime.now(zoneinfo.ZoneInfo(name))
    for hours, status in ((-2, "SUCCESSFUL"), (2, "MISSING")):
        when = (now + datetime.timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S")
        said(d.kylin("DELETE", "async_query?project=w1&older_than=" + urllib.parse.quote(when)), "000", True)
        assert d.kylin_get(qid, "status").json()["data"]["status"] == status


# --- the generation before ------------------------------------------------------------------------------------------


def test_v2(q):
    answer = q.kylin("POST", "async_query", accept="v2", json={"sql": "select 1 as a, 2 as b", "project": "w1", "separator": "|", "include_header": True,
                                                               "format": "json", "file_name": "x/y", "encode": "nope"})
    assert answer.headers["Content-Type"] == "application/vnd.apache.kylin-v2+json;charset=UTF-8"
    data = answer.json()["data"]
    assert list(data) == ["queryID", "status", "info"]
    assert (data["status"], data["info"]) in (("RUNNING", "still running"), ("SUCCESSFUL", "query success"))
    qid = data["queryID"]
    q.kylin_wait(qid)
    for suffix in ("", "?project=w1"):
        def get(what):
            return q.kylin("GET", f"async_query/{qid}/{what}{suffix}", accept="v2")
        said(get("status"), "000", {"queryID": qid, "status": "SUCCESSFUL", "info": "await fetching results"})
        said(get("metadata"), "000", [["a", "b"], ["INTEGER", "INTEGER"]])
        said(get("filestatus"), "000", 8)
        answer = get("result_download")
        assert answer.text == "a|b\n1|2\n" and answer.headers["Content-Disposition"] == 'attachment; filename="result.csv"'


def test_v2_of_what_is_not_there(q):
    said(q.kylin("GET", f"async_query/{UNKNOWN}/status", accept="v2"), "000", {"queryID": UNKNOWN, "status": "MISSING", "info": "query status is lost"})
    for call in ("metadata", "filestatus", "result_download"):
        failed(q.kylin("GET", f"async_query/{UNKNOWN}/{call}", accept="v2"), 500, "KE-010031301: " + NO_QUERY, "KE-010031301", "unknown msg")
    assert q.kylin("GET", f"async_query/{UNKNOWN}/status?project=nope", accept="v2").json()["error_code"] == "KE-010001201"


def test_v2_denies_like_v4(q):
    """Kylin's own V2 shows metadata to anybody and ends in an error at a stranger's status; both are mended."""
    qid = q.kylin_query("select 1")
    said(q.kylin("GET", f"async_query/{qid}/metadata", accept="v2", key=q.member), "401", None, ONLY + "get the metadata")
    said(q.kylin("GET", f"async_query/{qid}/status", accept="v2", key=q.member), "401", None, ONLY + "get the query status")


@pytest.mark.parametrize("method, path", [("GET", "{}/file_status"), ("GET", "{}/result_path"), ("DELETE", "{}"), ("DELETE", "stop/{}"), ("DELETE", "")])
def test_v2_has_no_such_call(q, method, path):
    path = ("async_query/" + path).rstrip("/").format(UNKNOWN)
    answer = q.kylin(method, path + "?project=w1", accept="v2")
    why = f"/kylin/api/{path} API of version v2 is no longer supported"
    failed(answer, 500, "KE-000000001(UNKNOWN ERRORCODE): " + why, None, None, exception=why)
