"""Which web pages of other origins may read answers: off by default, exact origins, everybody, preflights of every route."""
import pytest

PAGE = "https://console.example"
OTHER = "https://console.example.evil"
ASK = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,x-data-source"}
LIST = "/v1/data-query/query"


def cors_headers(answer):
    return {k.lower(): v for k, v in answer.headers.items() if k.lower().startswith("access-control-")}


def test_off_by_default(q):
    answer = q.http("GET", LIST, headers={"Origin": PAGE})
    assert answer.status_code == 200 and not cors_headers(answer) and "Vary" not in answer.headers
    answer = q.http("OPTIONS", LIST, key=False, headers={"Origin": PAGE, **ASK})
    assert answer.status_code == 405 and not cors_headers(answer)


@pytest.fixture(scope="module")
def exact(request):
    from quern_client import Daemon
    daemon = Daemon(env={"QUERN_HTTP_CORS_ORIGINS": f"{PAGE}, http://localhost:3000"})
    try:
        daemon.prepare(flights=False).start()
        yield daemon
    finally:
        daemon.finish()


def test_exact_origins(exact):
    for origin in (PAGE, "http://localhost:3000"):
        answer = exact.http("GET", LIST, headers={"Origin": origin})
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Vary"] == "Origin"
        exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"x-hyperdb-status", "status", "Retry-After", "X-Request-Id"} <= exposed
    for origin in (OTHER, "http://console.example", PAGE + ":443", PAGE.upper(), "null", ""):
        answer = exact.http("GET", LIST, headers={"Origin": origin})
        assert answer.status_code == 200 and not cors_headers(answer)
        assert answer.headers["Vary"] == "Origin"
    assert exact.http("GET", LIST).headers["Vary"] == "Origin"


def test_errors_can_be_read_too(exact):
    for method, path, key, status in (("GET", LIST, False, 401), ("GET", "/nowhere", None, 404), ("DELETE", LIST, None, 405)):
        answer = exact.http(method, path, key=key, headers={"Origin": PAGE})
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE


def test_preflight(exact):
    answer = exact.http("OPTIONS", LIST, key=False, headers={"Origin": PAGE, **ASK})
    assert answer.status_code == 204 and answer.content == b""
    found = cors_headers(answer)
    assert found["access-control-allow-origin"] == PAGE
    assert {"GET", "POST"} <= {m.strip() for m in found["access-control-allow-methods"].split(",")}
    assert found["access-control-allow-headers"] == ASK["Access-Control-Request-Headers"]
    assert int(found["access-control-max-age"]) > 0
    # the connection lives on
    assert exact.http("GET", LIST).status_code == 200


def test_preflight_of_others_and_of_nothing(exact):
    assert exact.http("OPTIONS", LIST, key=False, headers={"Origin": OTHER, **ASK}).status_code == 405
    assert exact.http("OPTIONS", LIST, key=False, headers={"Origin": PAGE}).status_code == 405  # not a preflight
    assert exact.http("OPTIONS", "/nowhere", key=False, headers={"Origin": PAGE, **ASK}).status_code == 404
    answer = exact.http("OPTIONS", LIST, key=False, headers={"Origin": PAGE, **ASK, "Access-Control-Request-Headers": "a\tb(c)"})
    assert "access-control-allow-headers" not in cors_headers(answer)


def test_pages_of_this_machine_are_for_no_page(exact):
    for path in ("/healthz", "/readyz", "/metrics"):
        answer = exact.http("GET", path, key=False, headers={"Origin": PAGE})
        assert answer.status_code == 200 and not cors_headers(answer)


def test_any_origin(make_daemon):
    daemon = make_daemon(env={"QUERN_HTTP_CORS_ORIGINS": "*"})
    answer = daemon.http("GET", LIST, headers={"Origin": OTHER})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert daemon.http("OPTIONS", LIST, key=False, headers={"Origin": OTHER, **ASK}).status_code == 204
    assert not cors_headers(daemon.http("GET", "/metrics", key=False, headers={"Origin": OTHER}))


@pytest.mark.parametrize("value", ["console.example", "https://console.example/path", "*, https://a.b", "https://"])
def test_a_bad_list_is_refused_at_start(make_daemon, value):
    from quern_client import StartFailed
    daemon = make_daemon(env={"QUERN_HTTP_CORS_ORIGINS": value}, start=False, bucket=False)
    with pytest.raises(StartFailed, match="http.cors_origins"):
        daemon.start()
