"""Two workspaces see nothing of each other; inside one, roles say who may do what. What belongs to another workspace
answers exactly as what does not exist."""
import pytest

from quern_client import BLOCK, wait_until

UNKNOWN = {"kakao": "20240101-000000-aaaaaaaaaa", "data360": "3f1c0a52-7d5b-4c1e-9a54-0d9f1be3a111"}


@pytest.fixture(scope="module")
def theirs(q):
    """A finished and a running query of w1, by their ids."""
    done = q.kakao_query("SELECT 'secret of w1' AS s")["queryInfo"]["queryId"]
    running = q.kakao_run(BLOCK)
    yield done, running
    q.kakao_abort(running)


def same(a, b, ids):
    """Two answers that must not tell what exists: same status, same body but for the id, time and request id."""
    import re

    def plain(answer):
        text = answer.text
        for i in ids:
            text = text.replace(i, "ID")
        text = re.sub(r'"(timestamp|requestId)":"[^"]*"', "", text)
        return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)

    assert a.status_code == b.status_code, f"{a.status_code} {a.text} / {b.status_code} {b.text}"
    assert plain(a) == plain(b)
    drop = {"date", "content-length", "x-request-id"}
    assert {k.lower() for k in a.headers} - drop == {k.lower() for k in b.headers} - drop


@pytest.mark.parametrize("method, path, dialect", [
    ("GET", "/v1/data-query/query/{id}", "kakao"), ("GET", "/v1/data-query/query/{id}?page=1", "kakao"), ("PUT", "/v1/data-query/query/{id}/abort", "kakao"),
    ("GET", "/v1/data-query/query?queryId={id}", "kakao"), ("GET", "/api/v3/query/{id}", "data360"), ("GET", "/api/v3/query/{id}/rows?offset=0", "data360"),
    ("GET", "/api/v3/query/{id}/chunks/0", "data360"), ("GET", "/api/v3/query/{id}/metadata", "data360"), ("DELETE", "/api/v3/query/{id}", "data360"),
    ("GET", "/quern/v1/query/{id}/download?format=csv", "kakao"), ("GET", "/quern/v1/query/{id}/download?format=arrow", "data360"),
])
def test_foreign_is_absent(q, theirs, method, path, dialect):
    unknown = UNKNOWN["kakao"]
    absent = q.http(method, path.replace("{id}", unknown), key=q.other, dialect=dialect)
    for qid in theirs:
        foreign = q.http(method, path.replace("{id}", qid), key=q.other, dialect=dialect)
        same(foreign, absent, (qid, unknown))
        assert "secret of w1" not in foreign.text
    done, running = theirs
    assert q.kakao_get(running)["queryInfo"]["state"] in ("QUEUED", "RUNNING"), "another workspace ended it"
    assert q.kakao_get(done)["queryData"] == [["secret of w1"]], "another workspace deleted it"


def test_lists_are_apart(q, theirs):
    assert q.d360_submit("SELECT 'of w2' AS s", key=q.other).json()["data"] == [["of w2"]]
    listed = q.http("GET", "/v1/data-query/query?size=2000", key=q.other).json()
    ids = {c["queryInfo"]["queryId"] for c in listed["content"]}
    assert ids and not ids & set(theirs)
    assert {i["creatorName"] for i in listed["content"]} == {"erin"}


def test_buckets_and_datasets_are_apart(q):
    answer = q.kakao_run("SELECT 1", key=q.other, check=False)
    assert answer.status_code == 404, f"the bucket of w1: {answer.status_code} {answer.text}"
    answer = q.d360_submit("SELECT count(*) FROM flights", key=q.other, check=False)
    assert answer.status_code == 400 and answer.json()["error"] == "42P01", answer.text
    answer = q.d360_submit("SELECT table_name FROM information_schema.tables", key=q.other)
    assert "flights" not in answer.text
    assert q.d360_submit("SELECT 1", key=q.other).json()["data"] == [[1]]


def test_roles(q):
    assert q.kakao_run("SELECT 1", key=q.reader, check=False).status_code == 403
    assert q.d360_submit("SELECT 1", key=q.reader, check=False).status_code == 403
    qid = q.kakao_query("SELECT 11 AS v", key=q.member)["queryInfo"]["queryId"]
    for key in (q.key, q.member, q.member2, q.reader):
        assert q.kakao_get(qid, key=key)["queryData"] == [["11"]], "every key may read its workspace's results"
    long = BLOCK
    running = q.kakao_run(long, key=q.member)
    assert q.kakao_abort(running, key=q.reader).status_code == 403
    assert q.kakao_abort(running, key=q.member2).status_code == 403
    assert q.http("DELETE", f"/api/v3/query/{running}", key=q.reader, dialect="data360").status_code == 403
    assert q.kakao_get(running)["queryInfo"]["state"] in ("QUEUED", "RUNNING")
    assert q.kakao_abort(running, key=q.member).status_code == 200
    running = q.kakao_run(long, key=q.member)
    assert q.kakao_abort(running, key=q.key).status_code == 200, "the admin may end anybody's"


def test_owner_only_access(make_daemon):
    d = make_daemon(env={"QUERN_ACCESS_QUERIES": "owner"})
    member, member2 = d.new_key(user="bob", role="member"), d.new_key(user="carol", role="member")
    qid = d.kakao_query("SELECT 5 AS v", key=member)["queryInfo"]["queryId"]
    assert d.kakao_get(qid, key=d.key)["queryData"] == [["5"]]
    assert d.http("GET", f"/v1/data-query/query/{qid}", key=member2).status_code == 404
    assert d.d360_get(qid, key=member2).status_code == 404
    assert d.download(qid, key=member2).status_code == 404
    assert d.http("GET", "/v1/data-query/query", key=member2).json()["totalElements"] == 0
    assert d.http("GET", "/v1/data-query/query", key=member).json()["totalElements"] == 1


def test_credentials(q):
    good = q.key["headers"]["kakao"]
    secret = next(k for k in good if k.lower() == "credential-secret")
    bad = {**good, secret: good[secret][:-1] + ("x" if good[secret][-1] != "x" else "y")}
    for headers in ({}, {k: "" for k in good}, bad, {secret: good[secret]}, {**good, secret: good[secret] + "x"}):
        answer = q.http("GET", "/v1/data-query/query", key=False, headers=headers)
        assert answer.status_code == 401 and answer.json()["error"]["code"] == 401, answer.text
    answer = q.http("GET", f"/api/v3/query/{UNKNOWN['data360']}", key=False, headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401
    assert q.http("GET", "/v1/data-query/query").status_code == 200


def test_right_credentials_do_not_count_against_a_key(make_daemon):
    """Exactly auth.max_failures wrong ones a minute are answered 401, however many right ones came; requests without any do not count."""
    d = make_daemon(bucket=False, env={"QUERN_AUTH_MAX_FAILURES": "5"})
    wrong = {"headers": {"kakao": {**d.key["headers"]["kakao"], "Credential-Secret": "wrong"}}}
    other = d.new_key(user="bob")

    def status(key):
        return d.http("GET", "/v1/data-query/query", key=key)

    for _ in range(20):
        assert status(d.key).status_code == 200 and status(False).status_code == 401
    assert [status(wrong).status_code for _ in range(5)] == [401] * 5
    limited = status(wrong)
    assert limited.status_code == 429 and 1 <= int(limited.headers["Retry-After"]) <= 60 and "auth.max_failures" in limited.text
    assert status(d.key).status_code == 200 and status(other).status_code == 200
    wrong["headers"]["kakao"]["Credential-ID"] = other["keyId"]
    assert status(wrong).status_code == 401, "another key id has a count of its own"


def test_failed_credentials_are_limited(make_daemon):
    d = make_daemon(bucket=False)
    good = d.key["headers"]["kakao"]
    bad = {k: v for k, v in good.items()}
    secret = next(k for k in good if k.lower() == "credential-secret")
    bad[secret] = "wrong" + good[secret]

    def limited():
        return d.http("GET", "/v1/data-query/query", key=False, headers=bad).status_code == 429

    wait_until("429 after many wrong secrets", limited, pause=0)
    assert d.http("GET", "/v1/data-query/query").status_code == 200, "a correct credential is never refused for it"
    assert d.http("GET", "/v1/data-query/query", key=False).status_code == 401
