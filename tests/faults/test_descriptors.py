"""Few descriptors: connections wait in the kernel's queue, nothing spins, queries that run go on, and all is well when there is room again."""
import os
import resource
import socket
import time

from quern_client import PATIENCE, wait_until

LIMIT = 256


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        rest = f.read().rsplit(")", 1)[1].split()
    return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


def flood(daemon, n):
    """Connections that are opened and then say nothing."""
    connections = []
    for _ in range(n):
        c = socket.socket()
        c.setblocking(False)
        try:
            c.connect(("127.0.0.1", daemon.port))
        except BlockingIOError:
            pass
        connections.append(c)
    return connections


def test_a_flood_of_connections(make_daemon):
    env = {"QUERN_HTTP_HEADER_TIMEOUT": "600s", "QUERN_LOG_LEVEL": "info"}
    daemon = make_daemon(env=env, limits={resource.RLIMIT_NOFILE: (LIMIT, LIMIT)})
    daemon.works()
    slow = daemon.kakao_run("SELECT count(*) FROM range(40000000) t(a) WHERE a % 7 = 1 OR a % 11 = 1")
    connections = flood(daemon, 600)
    try:
        wait_until("a full house", lambda: len(os.listdir(f"/proc/{daemon.process.pid}/fd")) > LIMIT // 2)
        # the keep-alive connection that was there before goes on, and so do queries
        assert daemon.kakao_wait(slow)["queryInfo"]["state"] == "FINISHED"
        for _ in range(3):
            daemon.works()
        assert len(os.listdir(f"/proc/{daemon.process.pid}/fd")) < LIMIT
        before, begun = cpu_seconds(daemon.process.pid), time.monotonic()
        time.sleep(3)
        used, passed = cpu_seconds(daemon.process.pid) - before, time.monotonic() - begun
        assert used < passed / 4, f"{used} s of processor time in {passed} s of waiting"
    finally:
        for c in connections:
            c.close()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE) as c:
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: q\r\n\r\n")
        assert c.recv(12) == b"HTTP/1.1 200"


def test_the_system_has_none_left(make_daemon):
    """The limit is lowered under a running daemon, so that accept itself fails."""
    daemon = make_daemon(env={"QUERN_HTTP_HEADER_TIMEOUT": "600s"})
    daemon.works()
    pid = daemon.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) - 8, hard))
    connections = flood(daemon, 50)
    try:
        wait_until("accepting to pause", lambda: daemon.metrics()["quern_http_accept_paused_total"] > 0)
        before, begun = cpu_seconds(pid), time.monotonic()
        time.sleep(3)
        used, passed = cpu_seconds(pid) - before, time.monotonic() - begun
        assert used < passed / 4, f"{used} s of processor time in {passed} s of waiting"
        assert daemon.http("GET", "/v1/data-query/query").status_code == 200
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE) as c:
            c.sendall(b"GET /healthz HTTP/1.1\r\nHost: q\r\n\r\n")
            assert c.recv(12) == b"HTTP/1.1 200"
        daemon.works()
    finally:
        for c in connections:
            c.close()
