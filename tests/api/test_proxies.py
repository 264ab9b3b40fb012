"""Trusted proxies, limits of one address, the admin listener, and what /readyz says."""
import json
import re
import socket
import threading

import pytest

from quern_client import BLOCK, PATIENCE, Daemon, StartFailed, wait_until

LIST = "/v1/data-query/query"
WRONG = {"Credential-ID": "aaaaaaaaaaaa", "Credential-Secret": "b" * 43}


def guess(daemon, **headers):
    """A wrong credential; 401, or 429 when there were too many of this key and client."""
    return daemon.http("GET", LIST, key=False, headers={**WRONG, **headers}).status_code


def statuses(daemon, n=3, **headers):
    return [guess(daemon, **headers) for _ in range(n)]


@pytest.fixture(scope="module")
def forwarding():
    daemon = Daemon(env={"QUERN_HTTP_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8, 2001:db8:1::/48"})
    daemon.prepare(flights=False, bucket=False).start()
    yield daemon
    daemon.finish()


@pytest.fixture
def limited(make_daemon):
    return lambda proxies: make_daemon(env={"QUERN_AUTH_MAX_FAILURES": "2", "QUERN_HTTP_TRUSTED_PROXIES": proxies}, bucket=False)


def test_headers_of_a_trusted_proxy_name_the_client(limited):
    daemon = limited("127.0.0.1, 10.1.0.0/16")
    first = {"X-Forwarded-For": "203.0.113.5"}
    assert statuses(daemon, **first) == [401, 401, 429]
    assert guess(daemon, **{"X-Forwarded-For": "203.0.113.6"}) == 401           # another client
    assert guess(daemon, **{"X-Forwarded-For": "203.0.113.5, 10.1.2.3"}) == 429  # by a second trusted hop
    assert guess(daemon, **{"X-Forwarded-For": "9.9.9.9, 203.0.113.5"}) == 429   # what the client invented is further left
    assert guess(daemon, **{"X-Forwarded-For": "9.9.9.9, 203.0.113.5:4711"}) == 429
    assert guess(daemon, Forwarded='for=9.9.9.9, for="203.0.113.5:80";proto=https') == 429
    assert guess(daemon, Forwarded='by=10.1.2.3;for=203.0.113.5') == 429
    assert guess(daemon, Forwarded='for="[2001:db8::1]:4711"') == 401
    assert guess(daemon, **{"X-Forwarded-For": "2001:db8::1"}) == 401
    assert guess(daemon, **{"X-Forwarded-For": "2001:db8::1"}) == 429           # the same client, both spellings
    # both kinds of headers, not of one mind
    assert guess(daemon, Forwarded="for=203.0.113.7", **{"X-Forwarded-For": "203.0.113.8"}) == 400
    # nobody named: the proxy itself
    assert statuses(daemon, Forwarded="for=unknown") == [401, 401, 429]
    assert guess(daemon, **{"X-Forwarded-For": "203.0.113.9, unknown"}) == 429


@pytest.mark.parametrize("lines, peer", [
    (["X-Forwarded-For: " + ", ".join(f"198.51.100.{i}" for i in range(200))], "198.51.100.199"), (["X-Forwarded-For: 198.51.100.201, " + ", ".join(["10.0.0.1"] * 40)], "127.0.0.1"),
    (["X-Forwarded-For: 198.51.100.202", "X-Forwarded-For: 198.51.100.203"], "198.51.100.203"), (["X-Forwarded-For: [2001:db8::9]:443"], "2001:db8::9"),
    (["X-Forwarded-For: 2001:db8::a, 2001:db8:1::5"], "2001:db8::a"), (["X-Forwarded-For: ::ffff:198.51.100.204"], "198.51.100.204"), (["X-Forwarded-For: \xff\xfe level=error"], "127.0.0.1"),
    (["X-Forwarded-For: fe80::1%eth0"], "127.0.0.1"), (["X-Forwarded-For: ,,,"], "127.0.0.1"), (["X-Forwarded-For: 0306.51.100.205"], "127.0.0.1"), (["X-Forwarded-For: 3325256907"], "127.0.0.1"),
    (['Forwarded: for="1.1.1.1, for=198.51.100.206'], "198.51.100.206"), (["X-Forwarded-For: " + "9" * 20000], "127.0.0.1"),
])
def test_what_a_list_may_hold(forwarding, lines, peer):
    """Whoever is named last and is no proxy is the client, in the trail too; what is no address is the proxy itself, never a text of the sender's."""
    with socket.create_connection(("127.0.0.1", forwarding.port), timeout=60) as s:
        credential = "".join(f"{k}: {v}\r\n" for k, v in WRONG.items())
        s.sendall(f"GET {LIST} HTTP/1.1\r\nHost: q\r\n{credential}".encode() + "".join(line + "\r\n" for line in lines).encode("latin1") + b"\r\n")
        assert s.recv(12) in (b"HTTP/1.1 401", b"HTTP/1.1 429")
    forwarding.admin("audit", "verify")
    with open(f"{forwarding.data}/audit/audit.log") as f:
        found = [r["peer"] for r in map(json.loads, f) if r["event"].startswith("authn_login_")]
    assert found[-1] == peer, found[-3:]


def test_headers_of_others_name_nobody(limited):
    daemon = limited("10.0.0.0/8")
    assert [guess(daemon, **{"X-Forwarded-For": f"203.0.113.{i}"}) for i in range(3)] == [401, 401, 429]


def test_requests_of_one_client_behind_a_proxy(make_daemon):
    daemon = make_daemon(env={"QUERN_HTTP_PER_PEER": "2", "QUERN_HTTP_TRUSTED_PROXIES": "127.0.0.1"})
    slow = daemon.kakao_run(BLOCK)
    credential = daemon.key["headers"]["jackdb"]["Authorization"]

    def park(client):
        connection = socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE)
        connection.sendall(f"GET /api/v2/query/{slow}?wait=60 HTTP/1.1\r\nHost: q\r\nX-Forwarded-For: {client}\r\nAuthorization: {credential}\r\n\r\n".encode())
        return connection

    parked = [park("203.0.113.5") for _ in range(2)]
    wait_until("two parked polls", lambda: daemon.metrics()["quern_http_parked"] == 2)
    answer = daemon.http("GET", LIST, headers={"X-Forwarded-For": "203.0.113.5"})
    assert answer.status_code == 429 and "http.per_peer" in answer.text and "Retry-After" in answer.headers
    assert daemon.http("GET", LIST, headers={"X-Forwarded-For": "203.0.113.6"}).status_code == 200
    assert daemon.http("GET", LIST).status_code == 200  # the proxy itself
    for connection in parked:
        connection.close()
    wait_until("room again", lambda: daemon.http("GET", LIST, headers={"X-Forwarded-For": "203.0.113.5"}).status_code == 200)
    daemon.kakao_abort(slow)


def own_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            address = s.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


def held(address, port, n):
    """How many of n connections are kept open."""
    connections = [socket.create_connection((address, port), timeout=PATIENCE) for _ in range(n)]
    open_ones = 0
    for c in connections:
        try:
            c.sendall(b"GET /nowhere HTTP/1.1\r\nHost: q\r\n\r\n")
        except OSError:  # one of those that are refused, and already reset
            pass
    for c in connections:
        try:
            open_ones += c.recv(12) == b"HTTP/1.1 404"
        except OSError:
            pass
    return open_ones, connections


@pytest.mark.parametrize("trusted", [False, True])
def test_connections_of_one_address(make_daemon, trusted):
    address = own_address()
    if not address:
        pytest.skip("this machine has no address but loopback")
    env = {"QUERN_HTTP_PER_PEER": "5", "QUERN_HTTP_PLAIN_NON_LOOPBACK": "yes", "QUERN_HTTP_TRUSTED_PROXIES": address if trusted else ""}
    daemon = make_daemon(env=env, bucket=False, listen="0.0.0.0:0")
    kept, connections = held(address, daemon.port, 20)
    assert kept == (20 if trusted else 5)
    # loopback is never counted
    assert held("127.0.0.1", daemon.port, 20)[0] == 20
    for c in connections:
        c.close()
    wait_until("room again", lambda: held(address, daemon.port, 1)[0] == 1)


def test_pages_of_this_machine(make_daemon):
    address = own_address()
    env = {"QUERN_HTTP_PLAIN_NON_LOOPBACK": "yes", "QUERN_HTTP_TRUSTED_PROXIES": "127.0.0.1", "QUERN_HTTP_ADMIN_LISTEN": "0.0.0.0:0"}
    daemon = make_daemon(env=env, bucket=False, listen="0.0.0.0:0")
    admin = int(wait_until("the admin listener", lambda: re.search(r"admin listener.*?0\.0\.0\.0:(\d+)", daemon.log())).group(1))
    import requests
    get = requests.Session()
    get.trust_env = False
    for path in ("/healthz", "/readyz", "/metrics"):
        assert daemon.http("GET", path, key=False).status_code == 200
        for headers in ({"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}):
            assert daemon.http("GET", path, key=False, headers=headers).status_code == 404
        assert get.get(f"http://127.0.0.1:{admin}{path}").status_code == 200
        if address:
            assert get.get(f"http://{address}:{daemon.port}{path}").status_code == 404
            assert get.get(f"http://{address}:{admin}{path}").status_code == 200
    # nothing else is there, with or without a credential
    for path in (LIST, "/api/v3/query/x", "/quern/v1/query/x/download", "/nowhere"):
        assert get.get(f"http://127.0.0.1:{admin}{path}", headers=daemon.key["headers"]["kakao"]).status_code == 404
    assert get.post(f"http://127.0.0.1:{admin}{LIST}", headers=daemon.key["headers"]["kakao"], data=b"{}").status_code == 404


def test_ready_says_what_it_is(q):
    body = q.http("GET", "/readyz", key=False).json()
    assert body["ready"] is True and body["draining"] is False
    assert body["sandbox"]["seccomp"] in (True, False) and body["sandbox"]["landlockAbi"] >= 0 and body["sandbox"]["library"]


def test_ready_while_draining(make_daemon):
    daemon = make_daemon(env={"QUERN_SERVER_DRAIN": "1000s"})
    slow = daemon.kakao_run(BLOCK)
    daemon.kakao_wait(slow, states=("RUNNING",))
    ended = threading.Thread(target=daemon.stop)
    ended.start()
    answer = wait_until("draining", lambda: (a := daemon.http("GET", "/readyz", key=False)).status_code == 503 and [a])[0]
    assert answer.json()["draining"] is True and answer.json()["reason"] == "draining" and "Retry-After" in answer.headers
    refused = daemon.kakao_run("SELECT 1", check=False)
    assert refused.status_code == 503 and "Retry-After" in refused.headers
    daemon.kakao_abort(slow)
    ended.join()
    assert daemon.exit_codes == [0]


@pytest.mark.parametrize("value", ["10.0.0.0/33", "nobody", "10.0.0", "::1/129", "10.0.0.1/"])
def test_a_bad_list_is_refused_at_start(make_daemon, value):
    daemon = make_daemon(env={"QUERN_HTTP_TRUSTED_PROXIES": value}, start=False, bucket=False)
    with pytest.raises(StartFailed, match="http.trusted_proxies"):
        daemon.start()
