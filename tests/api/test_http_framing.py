"""Raw sockets against the HTTP room: smuggling shapes, limits, slow senders, 405 and Allow, HEAD, keep-alive, request ids."""
import json
import socket
import time

import pytest

from quern_client import PATIENCE


class Raw:
    """One connection; requests are bytes, answers are read to their end."""

    def __init__(self, q):
        self.socket = socket.create_connection(("127.0.0.1", int(q.port)), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def read(self, method="GET"):
        """(status, headers, body) or None at the end of the connection."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        if not line:
            return None
        status = int(line.split()[1])
        headers = {}
        while (line := self.file.readline().rstrip(b"\r\n")):
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        body = b""
        if method == "HEAD" or status in (100, 204, 304):
            return status, headers, body
        if "content-length" in headers:
            body = self.file.read(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while (size := int(self.file.readline(), 16)):
                body += self.file.read(size)
                self.file.readline()
            self.file.readline()
        return status, headers, body

    def rest(self):
        """All bytes until the server closes."""
        try:
            return self.file.read()
        except ConnectionResetError:
            return b""

    def ended(self):
        """True when the server closes (now or within the patience)."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def raw(q):
    made = []

    def make():
        made.append(Raw(q))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


def ask(raw, data, method="GET"):
    connection = raw()
    connection.send(data)
    return connection.read(method)


def credential(q, dialect="kakao"):
    return "".join(f"{k}: {v}\r\n" for k, v in q.key["headers"][dialect].items()).encode()


HOST = b"Host: localhost\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"

SMUGGLING = {
    "two lengths": b"Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcd",
    "the same length twice": b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "length and chunked": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "blank before the colon": b"Content-Length : 4\r\n\r\nabcd",
    "tab before the colon": b"Content-Length\t: 4\r\n\r\nabcd",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "CR in a value": b"X-A: a\rb\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"X-A: a\nX-B: b\r\nContent-Length: 0\r\n\r\n",
    "folded line": b"X-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": b"X-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "control in a name": b"X\x01A: a\r\nContent-Length: 0\r\n\r\n",
    "parenthesis in a name": b"X(A): a\r\nContent-Length: 0\r\n\r\n",
    "signed length": b"Content-Length: +4\r\n\r\nabcd",
    "length list": b"Content-Length: 4, 4\r\n\r\nabcd",
    "blank behind the coding": b"Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n",
    "tab behind the coding": b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
    "two idempotency keys": b"Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n\r\n",
    "two hosts": b"Host: elsewhere\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("shape", SMUGGLING)
def test_smuggling_is_refused_and_closed(q, raw, shape):
    connection = raw()
    # what follows must never be answered as a request of its own
    connection.send(b"POST /v1/data-query/query HTTP/1.1\r\n" + HOST + SMUGGLING[shape] + HEALTH)
    # (the library writes the head of its own 400 for a malformed length twice; so all bytes are looked at)
    answer = connection.rest()
    assert not answer or answer.startswith(b"HTTP/1.1 400 "), answer
    assert b" 200 OK" not in answer


BODY = b'{"query":"select 1"}'
CHUNKED = {
    "plain": b"14\r\n" + BODY + b"\r\n0\r\n\r\n",
    "bare LF": b"14\n" + BODY + b"\n0\n\n",
    "bare LF behind an extension": b"14;a\n" + BODY + b"\r\n0\r\n\r\n",
    "CR in an extension": b"14;a\rb\r\n" + BODY + b"\r\n0\r\n\r\n",
    "quoted line end in an extension": b"14;a=\"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "extension of 300 bytes": b"14;" + b"a" * 300 + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "zeros before the size": b"0" * 100 + b"14\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size over 64 bits": b"10000000000000014\r\n" + BODY + b"\r\n0\r\n\r\n",
    "0x": b"0x14\r\n" + BODY + b"\r\n0\r\n\r\n",
    "trailer": b"14\r\n" + BODY + b"\r\n0\r\nContent-Length: 5\r\n\r\n",
    "trailer with a bare LF": b"14\r\n" + BODY + b"\r\n0\r\nX-A: b\n\r\n",
    "folded trailer": b"14\r\n" + BODY + b"\r\n0\r\nX-A: b\r\n c\r\n\r\n",
}


@pytest.mark.parametrize("shape", CHUNKED)
def test_what_follows_a_chunked_body_is_no_request(q, raw, shape):
    """The library is lenient inside chunked framing: where a proxy sees another end, the rest must not become a request."""
    connection = raw()
    connection.send(b"POST /v1/data-query/query HTTP/1.1\r\n" + HOST + credential(q) + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED[shape] + HEALTH)
    answer = connection.rest()
    assert answer.count(b"HTTP/1.1 ") == 1 and b"\r\nConnection: close\r\n" in answer, answer
    if shape == "plain":
        assert b"bucketName is required" in answer  # it was read


def test_a_credential_in_a_trailer_is_none(q, raw):
    connection = raw()
    connection.send(b"POST /v1/data-query/query HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + BODY + b"\r\n0\r\n" + credential(q) + b"\r\n")
    assert connection.read()[0] == 401


def test_absolute_targets(q, raw):
    """RFC 9112, 3.2.2: servers take them; one that names another host than the header is no path here."""
    for target in (b"http://localhost/healthz", b"HTTPS://LOCALHOST/healthz?x=1"):
        status, _, body = ask(raw, b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (status, body) == (200, b"ok\n"), target
    for target in (b"http://elsewhere/healthz", b"http:///healthz", b"http://localhost:1/healthz", b"http://localhost", b"ftp://localhost/healthz",
                   b"http://localhost/http://localhost/healthz"):
        assert ask(raw, b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")[0] == 404, target


def test_nul_and_blanks_in_the_request_line(q, raw):
    for line in (b"GET /healthz\x00x HTTP/1.1", b"GET /healthz\x00 HTTP/1.1", b"GET /healthz  HTTP/1.1", b"GET /healthz x HTTP/1.1"):
        connection = raw()
        connection.send(line + b"\r\n" + HOST + b"\r\n" + HEALTH)
        answer = connection.rest()
        assert not answer or (answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1), (line, answer)  # the library refuses some itself, silently


def test_bare_lf_after_the_request_line(q, raw):
    connection = raw()
    connection.send(b"GET /healthz HTTP/1.1\n" + HOST + b"\r\n")
    assert connection.read()[0] == 400


def test_transfer_encoding_in_http_1_0(q, raw):
    answer = ask(raw, b"POST /v1/data-query/query HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert answer is None or answer[0] == 400


def test_too_many_headers(q, raw):
    lines = b"".join(b"X-%d: a\r\n" % i for i in range(101))
    assert ask(raw, b"GET /healthz HTTP/1.1\r\n" + HOST + lines + b"\r\n")[0] == 400


def test_headers_over_the_memory_limit(q, raw):
    answer = ask(raw, b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-Long: " + b"a" * 65536 + b"\r\n\r\n")
    assert answer is None or answer[0] == 431


def test_body_over_the_limit_is_refused_unread(q, raw):
    connection = raw()
    connection.send(b"POST /v1/data-query/query HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999\r\n\r\n")
    status, _, body = connection.read()
    assert status == 413
    assert b"http.max_body" in body
    assert connection.ended()


def test_body_over_the_limit_is_answered_to_a_client_that_writes_on(q, raw):
    connection = raw()
    connection.send(b"POST /v1/data-query/query HTTP/1.1\r\n" + HOST + b"Content-Length: 20000000\r\n\r\n")
    try:
        connection.send(b"x" * 20000000)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert connection.read()[0] == 413


def test_chunked_body_over_the_limit(q, raw):
    connection = raw()
    connection.send(b"POST /v1/data-query/query HTTP/1.1\r\n" + HOST + credential(q) + b"Transfer-Encoding: chunked\r\n\r\n")
    try:
        for _ in range(20):
            connection.send(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert connection.read()[0] == 413
    assert connection.ended()


def test_expect_continue_is_refused_before_the_body(q, raw):
    answer = ask(raw, b"POST /v1/data-query/query HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
    assert answer[0] == 413
    answer = ask(raw, b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n")
    assert answer[0] == 404


def test_content_encoding_is_refused(q, raw):
    answer = ask(raw, b"POST /v1/data-query/query HTTP/1.1\r\n" + HOST + credential(q) + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab")
    assert answer[0] == 415


def test_a_parameter_that_cannot_be_decoded_is_told(q, raw):
    """Left out it would be another question: all queries instead of one, the first rows instead of the next."""
    def get(target, lines):
        status, _, body = ask(raw, b"GET " + target + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n")
        return status, body.decode()

    bearer = f"Authorization: {q.key['headers']['data360']['Authorization']}\r\n".encode()
    for lines, target, name in [(credential(q), b"/v1/data-query/query?size=1&queryId=%00", "queryId"),
                                (credential(q), b"/v1/data-query/query?page=%zz", "page"),
                                (bearer, b"/api/v3/query/x/rows?offset=%2", "offset"), (bearer, b"/api/v3/query/x?%=1", "%"),
                                (credential(q), b"/quern/v1/query/x/download?format=csv%", "format")]:
        status, body = get(target, lines)
        assert status == 400 and f"parameter {name}: " in body, (target, body)
    assert get(b"/v1/data-query/query?page=%zz", b"")[0] == 401
    assert q.http("GET", "/v1/data-query/query?creatorName=100%25&size=%31").json()["size"] == 1


def test_slow_headers_meet_a_deadline(make_daemon):
    daemon = make_daemon(env={"QUERN_HTTP_HEADER_TIMEOUT": "1s", "QUERN_HTTP_BODY_TIMEOUT": "1s"}, bucket=False)
    begun = time.monotonic()
    connection = Raw(daemon)
    connection.send(b"GET /healthz HTTP/1.1\r\nX-A: ")
    connection.socket.settimeout(0.2)
    closed = False
    while not closed and time.monotonic() - begun < PATIENCE:
        try:
            connection.send(b"a")  # one byte now and then is not progress
            closed = connection.socket.recv(1) == b""
        except (BrokenPipeError, ConnectionResetError):
            closed = True
        except TimeoutError:
            pass
    assert closed and time.monotonic() - begun >= 0.9
    connection.close()
    # the same for a body, and for a connection that never says anything
    for opening in (b"POST /v1/data-query/query HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\nabc", b""):
        connection = Raw(daemon)
        connection.send(opening)
        assert connection.ended()
        connection.close()


def test_unknown_path(q, raw):
    status, headers, body = ask(raw, b"GET /nowhere/at/all HTTP/1.1\r\n" + HOST + b"\r\n")
    assert status == 404
    assert headers["content-type"].startswith("application/json")
    assert json.loads(body)["error"]["code"] == "not_found"


def test_wrong_method_names_the_right_ones(q, raw):
    status, headers, _ = ask(raw, b"PATCH /v1/data-query/query HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{}")
    assert status == 405
    assert "POST" in [word.strip() for word in headers["allow"].split(",")]
    status, headers, _ = ask(raw, b"POST /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")
    assert status == 405
    assert {"GET", "HEAD"} <= {word.strip() for word in headers["allow"].split(",")}


def test_a_credential_is_asked_for_on_routes_that_exist(q, raw):
    for lines in (b"", b"Credential-ID: x\r\n", b"Credential-ID: x\r\nCredential-Secret: y\r\n"):
        assert ask(raw, b"GET /v1/data-query/query HTTP/1.1\r\n" + HOST + lines + b"\r\n")[0] == 401
    assert ask(raw, b"GET /quern/v1/query/x/download HTTP/1.1\r\n" + HOST + b"\r\n")[0] == 401


def test_head(q, raw):
    _, headers, body = ask(raw, HEALTH)
    connection = raw()
    connection.send(HEALTH.replace(b"GET", b"HEAD"))
    status, head, _ = connection.read("HEAD")
    assert status == 200
    assert head["content-length"] == headers["content-length"] == str(len(body))
    connection.send(HEALTH)
    assert connection.read()[2] == body  # no body in between


def test_head_of_an_answer_of_unknown_length_is_followed_by_nothing(q, raw):
    qid = q.kakao_query("SELECT range AS n, 'label ' || range AS s FROM range(300000)")["queryInfo"]["queryId"]
    connection = raw()
    connection.send(f"HEAD /api/v3/query/{qid}/rows?offset=0&rowLimit=100000 HTTP/1.1\r\n".encode() + HOST + credential(q, "data360") + b"\r\n")
    status, headers, _ = connection.read("HEAD")
    assert status == 200 and "content-length" not in {k.lower() for k in headers}
    assert connection.file.read() == b""  # to the end of the connection


def test_keep_alive_survives_refusals(q, raw):
    connection = raw()
    for _ in range(3):
        connection.send(b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nabcde")
        assert connection.read()[0] == 404
        connection.send(b"GET /v1/data-query/query HTTP/1.1\r\n" + HOST + b"\r\n")
        assert connection.read()[0] == 401
        connection.send(HEALTH)
        assert connection.read()[0] == 200


def test_pipelined_requests_are_answered_in_order(q, raw):
    connection = raw()
    connection.send(b"".join(HEALTH.replace(b"\r\n\r\n", b"\r\nX-Request-Id: r%d\r\n\r\n" % i) for i in range(10)))
    assert [connection.read()[1]["x-request-id"] for _ in range(10)] == [f"r{i}" for i in range(10)]


def test_request_ids(q, raw):
    given = HEALTH.replace(b"\r\n\r\n", b"\r\nX-Request-Id: abc.DEF_1-2\r\n\r\n")
    assert ask(raw, given)[1]["x-request-id"] == "abc.DEF_1-2"
    for bad in (b"a b", b"a\"b", b"a" * 65, b""):
        made = ask(raw, HEALTH.replace(b"\r\n\r\n", b"\r\nX-Request-Id: " + bad + b"\r\n\r\n"))[1]["x-request-id"]
        assert made and made != bad.decode()
    assert ask(raw, b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n")[1]["x-request-id"]
    made = {ask(raw, HEALTH)[1]["x-request-id"] for _ in range(50)}
    assert len(made) == 50


def test_health_is_for_this_machine_only(q, raw):
    for path in (b"/healthz", b"/readyz", b"/metrics"):
        assert ask(raw, b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")[0] == 200
        for line in (b"X-Forwarded-For: 203.0.113.9\r\n", b"Forwarded: for=203.0.113.9\r\n", b"X-Forwarded-Proto: https\r\n"):
            assert ask(raw, b"GET " + path + b" HTTP/1.1\r\n" + HOST + line + b"\r\n")[0] == 404


def test_missing_host(q, raw):
    answer = ask(raw, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert answer is None or answer[0] == 400
