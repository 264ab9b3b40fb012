"""What canner-python-client 0.37.2 does, request for request (its packages do not install on a current Python): GraphQL, then signed URLs,
then Parquet files that its reader (fastparquet 0.4.1) knows, read here by pyarrow."""
import dataclasses
import datetime
import decimal
import io
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest
import requests

from quern_client import PATIENCE, wait_until

ANYBODY = requests.Session()  # without a credential, also none of a .netrc
ANYBODY.trust_env = False


@dataclasses.dataclass
class SqlQuery:  # the client's data class: no other key than these is taken
    id: str
    status: str
    error: Any
    statementId: str
    location: Any = None
    rowCount: Any = -1
    columns: Any = None


class Client:
    """bootstrap(endpoint, workspace_id, token=...)"""

    def __init__(self, endpoint, workspace, token):
        self.endpoint, self.workspace = endpoint.rstrip("/"), workspace
        self.session = requests.Session()
        self.session.trust_env = False
        self.headers = {"Authorization": f"Token {token}"}
        self.asked = []

    def graphql(self, operation, variables):
        self.asked.append(operation)
        answer = self.session.post(f"{self.endpoint}/graphql", headers=self.headers,
                                   json={"operationName": operation, "query": "query %s { ... }" % operation, "variables": variables})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        if body.get("errors"):
            raise RuntimeError(body["errors"][0]["message"], body["errors"][0]["extensions"]["code"])
        return body["data"][operation]

    def get(self, path):
        self.asked.append(path.split("?")[0])
        answer = self.session.get(f"{self.endpoint}/{path}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def gen_query(self, sql, refresh=False, ttl=86400):
        data = {"sql": sql, "cacheRefresh": refresh, "cacheTTL": ttl, "source": "NOTEBOOK"}
        return SqlQuery(**self.graphql("createSqlQuery", {"data": data, "where": {"workspaceId": self.workspace}}))

    def wait_for_finish(self, query, timeout=PATIENCE, period=1):
        start = time.monotonic()
        while time.monotonic() - start < timeout:
            query = SqlQuery(**self.graphql("sqlQuery", {"where": {"id": query.id}}))
            if query.status in ("FINISHED", "FAILED"):
                if query.status == "FAILED":
                    raise RuntimeError(query.error["message"])
                return query
            time.sleep(period)
        raise RuntimeError("timeout")

    def signed_urls(self, query):
        return self.get(f"api/v1/query/{query.id}/result/signedUrls?workspaceId={self.workspace}")["signedUrls"]

    def get_by_storage(self, query, limit=None, offset=0):
        """Rows of the files one after the other, until enough are there."""
        urls = self.signed_urls(query)
        columns = self.get(f"api/v1/query/{query.id}?workspaceId={self.workspace}")["columns"]
        rows = []
        for column in columns:
            column["typeSignature"]["rawType"]  # read unconditionally
        for url in urls:
            answer = ANYBODY.get(url)  # no Authorization header
            assert answer.status_code == 200, answer.text
            table = pq.read_table(io.BytesIO(answer.content))
            rows += [list(row.values()) for row in table.to_pylist()]
            if limit is not None and len(rows) >= limit + offset:
                break
        self.graphql("sqlQuery", {"where": {"id": query.id}})
        return [[c["name"] for c in columns]] + rows[offset:None if limit is None else offset + limit]

    def get_by_rest(self, query, limit, offset):
        return self.graphql("sqlResultPagination", {"where": {"id": query.id, "limit": limit, "offset": offset, "source": "NOTEBOOK"}})["result"]


@pytest.fixture(params=["", "/web"], ids=["cluster", "standalone"])
def client(q, request):
    return Client(q.url(request.param), q.key["workspaceId"], q.key["token"])


def test_the_whole_sequence(client):
    query = client.wait_for_finish(client.gen_query("select range as n, 'row ' || range as t from range(1000) order by 1", refresh=True))
    assert isinstance(query.statementId, str) and query.rowCount == 1000
    got = client.get_by_storage(query)
    assert got[0] == ["n", "t"] and got[1:] == [[i, f"row {i}"] for i in range(1000)]
    assert client.asked[0] == "createSqlQuery" and client.asked[1] == "sqlQuery"
    assert client.asked[-3:] == [f"api/v1/query/{query.id}/result/signedUrls", f"api/v1/query/{query.id}", "sqlQuery"]
    assert client.get_by_rest(query, 2, 500) == [[500, "row 500"], [501, "row 501"]]
    assert client.get_by_rest(query, 5000, query.rowCount - 5000) == got[1:]  # get_last(5000)


def test_failures_and_empty_results(client):
    with pytest.raises(RuntimeError, match="line 1:1: "):
        client.wait_for_finish(client.gen_query("slect 1"))
    empty = client.wait_for_finish(client.gen_query("select 1 as x where false"))
    assert client.get_by_storage(empty) == [["x"]] and client.signed_urls(empty) == []
    assert client.get_by_rest(empty, 0, 0) == []


def test_types(client):
    query = client.wait_for_finish(client.gen_query(
        "select true b, 7::tinyint t, 9007199254740993::bigint i, 1.50::decimal(18,4) d, 1.5::double f, 'ü' s, '\\xAA'::blob y, date '1996-11-09' a,"
        " timestamp '2024-11-26 01:18:48.123456' p, null::integer n, [1, 2] l, {'x': 1, 'y': 'z'} r"))
    row = client.get_by_storage(query)[1]
    assert row == [True, 7, 9007199254740993, decimal.Decimal("1.5000"), 1.5, "ü", b"\xaa", datetime.date(1996, 11, 9),
                   datetime.datetime(2024, 11, 26, 1, 18, 48, 123456), None, [1, 2], {"x": 1, "y": "z"}]


def test_the_form_of_the_files(client):
    """Format version 1, gzip, plain encoding: no dictionaries."""
    query = client.wait_for_finish(client.gen_query("select range % 3 as k, 'same' as s, range::double as f from range(100000)"))
    data = ANYBODY.get(client.signed_urls(query)[0]).content
    meta = pq.ParquetFile(io.BytesIO(data)).metadata
    assert meta.format_version == "1.0" and meta.num_rows == 100000
    for group in range(meta.num_row_groups):
        for i in range(meta.num_columns):
            column = meta.row_group(group).column(i)
            assert column.compression == "GZIP" and set(column.encodings) <= {"PLAIN", "RLE", "BIT_PACKED"} and not column.has_dictionary_page


def test_parts_are_consecutive_rows(make_daemon):
    d = make_daemon(env={"QUERN_CANNER_PART_ROWS": "1000"})
    client = Client(d.url("/web"), d.key["workspaceId"], d.key["token"])
    query = client.wait_for_finish(client.gen_query("select range as n from range(3500) order by 1"))
    urls = client.signed_urls(query)
    assert len(urls) == 4 and all(u.startswith(f"http://127.0.0.1:{d.port}/web/api/v1/result/{query.id}/part-{i}.parquet?") for i, u in enumerate(urls))
    tables = [pq.read_table(io.BytesIO(ANYBODY.get(u).content)) for u in urls]
    assert [len(t) for t in tables] == [1000, 1000, 1000, 500]
    assert [n for t in tables for n in t["n"].to_pylist()] == list(range(3500))
    many = client.wait_for_finish(client.gen_query("select range as n from range(10000001)"))
    refused = d.http("GET", f"/api/v1/query/{many.id}/result/signedUrls?workspaceId={client.workspace}", dialect="canner")
    assert refused.status_code == 400 and "canner.part_rows" in refused.json()["message"]
    assert client.get_by_storage(query, limit=10, offset=995)[1:] == [[i] for i in range(995, 1005)]


def test_links_cannot_be_altered(client, q):
    query = client.wait_for_finish(client.gen_query("select 'mine' as x"))
    other = client.wait_for_finish(client.gen_query("select 'other' as x"))
    url = client.signed_urls(query)[0]
    assert ANYBODY.get(url).status_code == 200
    ends = parse_qs(urlsplit(url).query)
    expires, signature = ends["expires"][0], ends["signature"][0]
    plain = url.split("?")[0]
    wrong = [plain, f"{plain}?expires={expires}", f"{plain}?signature={signature}", f"{plain}?expires=&signature={signature}",
             url.replace(f"expires={expires}", f"expires={int(expires) + 1}"), url.replace(f"expires={expires}", f"expires=0{expires}"),
             url.replace(query.id, other.id), url.replace("part-0", "part-1"), url.replace("part-0", "part-00"), url.replace("part-0.parquet", "part-0.parquet%20"),
             url[:-1] + ("A" if url[-1] != "A" else "B"), url + "A", url.replace(signature, signature.swapcase()), url.replace(".parquet", ".csv")]
    for bad in wrong:
        answer = ANYBODY.get(bad)
        assert answer.status_code == 403 and answer.json()["code"] == "LINK_INVALID", f"{bad}: {answer.status_code} {answer.text[:200]}"
    # the mark is over the query, however its id is spelled: another spelling is the same file
    assert ANYBODY.get(url.replace(query.id, query.statementId)).content == ANYBODY.get(url).content


def test_links_are_of_one_server(client, make_daemon):
    """The mark is the installation's: another daemon knows neither it nor the query; a restart changes nothing."""
    d = make_daemon()
    mine = Client(d.url(""), d.key["workspaceId"], d.key["token"])
    url = mine.signed_urls(mine.wait_for_finish(mine.gen_query("select 1 as x")))[0]
    before = ANYBODY.get(url).content
    d.restart()
    again = ANYBODY.get(f"http://127.0.0.1:{d.port}/" + url.split("/", 3)[3])
    assert again.status_code == 200 and pq.read_table(io.BytesIO(again.content)).to_pylist() == pq.read_table(io.BytesIO(before)).to_pylist()
    foreign = ANYBODY.get(client.endpoint + "/" + url.split("/", 3)[3])
    assert foreign.status_code == 403 and foreign.json()["code"] == "LINK_INVALID"


def test_links_expire(make_daemon):
    d = make_daemon(env={"QUERN_CANNER_LINK_AGE": "1s", "QUERN_HTTP_PUBLIC_URL": "https://sql.example.com"})
    client = Client(d.url(""), d.key["workspaceId"], d.key["token"])
    query = client.wait_for_finish(client.gen_query("select 1 as x"))
    url = client.signed_urls(query)[0]
    assert url.startswith("https://sql.example.com/api/v1/result/")
    local = f"http://127.0.0.1:{d.port}/" + url.split("/", 3)[3]
    wait_until("the link's end", lambda: ANYBODY.get(local).status_code == 403)
    assert ANYBODY.get(local).json()["code"] == "LINK_EXPIRED"


def test_a_link_of_a_result_that_is_gone(client, q):
    query = client.wait_for_finish(client.gen_query("select 1 as x"))
    url = client.signed_urls(query)[0]
    assert ANYBODY.get(url).status_code == 200
    assert q.http("DELETE", f"/api/v3/query/{query.id}", dialect="data360").status_code == 204
    answer = ANYBODY.get(url)
    assert answer.status_code == 404 and answer.json()["code"] == "RESULT_EXPIRED"


def test_who_may_ask_for_links(canner):
    done = canner.run("select 1")
    path = f"/query/{done['id']}/result/signedUrls"
    stranger = canner.by(canner.d.other)
    assert stranger.call("GET", path).status_code == 404
    assert canner.by(canner.d.reader).ok("GET", path)["signedUrls"]
    canner.refused(400, "BAD_USER_INPUT", "GET", path, workspace=False)
    slow = canner.submit("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1")
    canner.refused(400, "QUERY_NOT_FINISHED", "GET", f"/query/{slow['id']}/result/signedUrls")
    canner.ok("PUT", f"/query/{slow['id']}/cancel", {})
    canner.refused(400, "USER_CANCELED", "GET", f"/query/{slow['id']}/result/signedUrls")


def test_ranges_of_a_file(client):
    query = client.wait_for_finish(client.gen_query("select range as n, md5(range::varchar) as t from range(50000)"))
    url = client.signed_urls(query)[0]
    whole = ANYBODY.get(url)
    assert whole.headers["Content-Length"] == str(len(whole.content)) and whole.headers["ETag"] and "part-0.parquet" in whole.headers["Content-Disposition"]
    tail = ANYBODY.get(url, headers={"Range": "bytes=-1000"})
    assert tail.status_code == 206 and tail.content == whole.content[-1000:]
    head = ANYBODY.head(url)
    assert head.status_code == 200 and head.headers["Content-Length"] == str(len(whole.content))
