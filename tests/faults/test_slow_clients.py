"""Clients that read slowly, send slowly, or are gone: what they cost stays bounded, nothing of them stays, and the others are served.

Memory is measured on the build that ships (QUERN_BUILD_RELEASE): a sanitizer's own memory would drown what is asked."""
import os
import random
import re
import resource
import select
import selectors
import socket
import struct
import time

import pytest

from quern_client import BLOCK, PATIENCE, RELEASE, Daemon, sanitized, wait_until

MB = 1 << 20
LONGEST_POLL = "/api/v2/query/{}?wait=60"  # seconds; Data 360's is 10
SEED = int(os.environ.get("QUERN_SEED") or random.SystemRandom().randrange(1 << 30))


# --- raw connections ----------------------------------------------------------------------------------------------


def connect(d, window=None):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if window:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)  # so that the kernel does not swallow the answer
    s.settimeout(PATIENCE)
    s.connect(("127.0.0.1", d.port))
    return s


def request(d, method, path, dialect="kakao", key=None, body=b"", headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: quern"]
    lines += [f"{k}: {v}" for k, v in (key or d.key)["headers"][dialect].items()]
    lines += list(headers)
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def vanish(s, reset):
    """Closes; with a reset the peer's kernel forgets at once what it had for us."""
    if reset:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def whole_answer(s):
    """One answer to the end of its body, which may come in pieces."""
    data = b""
    while b"\r\n\r\n" not in data or len(data.split(b"\r\n\r\n", 1)[1]) < int(re.search(rb"(?i)content-length: (\d+)", data).group(1)):
        part = s.recv(65536)
        assert part, f"closed in the middle of an answer: {data[:300]}"
        data += part
    return data


def again(crowd, data):
    """Polls whose longest time was over while the crowd came together ask again, as clients do."""
    poll, by_descriptor = select.poll(), {s.fileno(): s for s in crowd}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    for descriptor, _ in poll.poll(0):
        s = by_descriptor[descriptor]
        part = whole_answer(s)
        assert part.startswith(b"HTTP/1.1 200") and b'"success":null' in part, part[:300]
        s.sendall(data)
    return True


def descriptors(d):
    """How many the daemon has open, without those that follow the number of engine processes (three each) and of registry readers, and with
    our own connection."""
    d.metrics()
    folder = f"/proc/{d.process.pid}/fd"
    found = []
    for n in os.listdir(folder):
        try:
            found.append(os.readlink(f"{folder}/{n}"))
        except FileNotFoundError:
            pass
    engines = sum("[pidfd]" in f for f in found)
    return sum("registry.db" not in f and "memfd:" not in f for f in found) - 3 * engines


def anonymous(d):
    with open(f"/proc/{d.process.pid}/status") as f:
        return int(re.search(r"RssAnon:\s+(\d+) kB", f.read()).group(1)) * 1024


def back_to(d, baseline, what):
    """Descriptors and connections are those of before; our own keep-alive connection is one of them."""
    try:
        wait_until(f"the descriptors of {what} to be closed", lambda: descriptors(d) <= baseline, pause=0.1)
    except AssertionError as e:
        pid = d.process.pid
        open_now = sorted(os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd"))
        raise AssertionError(f"{e}: {descriptors(d)} open, {baseline} before: {open_now}") from None
    wait_until(f"{what} to be counted as gone", lambda: (lambda m: m["quern_http_parked"] == 0 and m["quern_http_streams"] == 0)(d.metrics()))


def settled(d):
    """A baseline: one query has run, nothing runs, the engine pool is as full as it gets."""
    d.works()
    d.works()
    idle = d.metrics()["quern_engine_idle"]

    def same():
        nonlocal idle
        before, idle = idle, d.metrics()["quern_engine_idle"]
        return before == idle and d.metrics()["quern_queries_running"] == 0

    wait_until("the pool to settle", same, pause=0.3)
    return steady(d)


def steady(d):
    """The number of descriptors when nothing moves: an engine that is being started has some of its own for a moment, or not yet."""
    seen = []

    def same():
        seen.append(descriptors(d))
        return len(seen) >= 5 and len(set(seen[-5:])) == 1

    wait_until("the descriptors to settle", same, pause=0.1)
    return seen[-1]


def result_of(d, sql, limit=600):
    qid = d.d360_status_of(d.d360_submit(sql, mode="ASYNC"))["queryId"]
    body = d.d360_wait(qid, limit=limit)
    assert body.status_code == 200, body.text
    return qid


@pytest.fixture
def release_daemon():
    if not os.path.exists(os.path.join(RELEASE, "quernd")):
        pytest.skip("no release build to measure memory on (tools/build release)")
    d = Daemon(build=RELEASE, env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0", "QUERN_LOG_LEVEL": "warn"})
    try:
        d.prepare(flights=False).start()
        yield d
    finally:
        d.finish()


# --- reading slowly -----------------------------------------------------------------------------------------------

READERS = 200
SLOW_MEMORY = 32 * MB


@pytest.mark.timeout(1800)
def test_two_hundred_slow_readers(release_daemon):
    """200 readers of a result of more than 2 GB, each takes a kilobyte now and then, in all formats: the daemon's anonymous memory hardly grows."""
    grown = slow_readers(release_daemon)
    assert grown < SLOW_MEMORY, f"anonymous memory grew by {grown / 1e6:.1f} MB"


def slow_readers(d):
    """How much the anonymous memory grew at most, in bytes; also for the benchmark (tests/bench/spine)."""
    qid = result_of(d, "SELECT range AS n, rpad('', 1000, 'x') AS pad FROM range(2200000)")
    stored = sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(d.data) for name in names)
    assert 2 << 30 < stored < 4 << 30, stored
    page = d.d360_rows(qid, 2199999)
    assert page[0][0] == 2199999
    d.download(qid, "csv", headers={"Range": "bytes=0-99"})
    baseline = settled(d)
    before = anonymous(d)
    paths = [("GET", f"/quern/v1/query/{qid}/download?format={f}", "kakao") for f in ("csv", "json", "ndjson", "arrow")]
    selector, readers, most = selectors.DefaultSelector(), [], 0
    for i in range(READERS):
        s = connect(d, window=4096)
        method, path, dialect = paths[i % len(paths)]
        s.sendall(request(d, method, path, dialect))
        s.setblocking(False)
        readers.append([s, 0])
        selector.register(s, selectors.EVENT_READ, readers[-1])
    rounds = 0
    end = time.monotonic() + 12
    while time.monotonic() < end or min(r[1] for r in readers) < 8192:
        assert time.monotonic() < end + 300, f"some readers got nothing: {sorted(r[1] for r in readers)[:5]}"
        for key, _ in selector.select(0.2):
            got = key.fileobj.recv(1024)
            assert got, "the daemon ended a slow reader that takes something"
            key.data[1] += len(got)
        most = max(most, anonymous(d))
        rounds += 1
        if rounds % 10 == 0:
            assert d.kakao_get(qid)["queryInfo"]["state"] == "FINISHED"  # others are served
        time.sleep(0.05)
    d.works()
    assert d.metrics()["quern_http_connections"] >= READERS
    print(f"200 slow readers on {stored / 1e9:.2f} GB: RssAnon {before / 1e6:.1f} MB -> at most {most / 1e6:.1f} MB (+{(most - before) / 1e6:.1f} MB)")
    for i, (s, _) in enumerate(readers):
        selector.unregister(s)
        vanish(s, i % 2)
    back_to(d, baseline, "slow readers")
    # the result goes, and with it what it took on the disk
    assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
    wait_until("the files of the result to be removed",
               lambda: sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(d.data) for name in names) < 64 * MB)
    d.works()
    return most - before


def test_a_reader_that_takes_nothing_is_ended(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    qid = result_of(d, "SELECT range AS n, rpad('', 500, 'x') AS pad FROM range(100000)")
    whole = d.download(qid, "csv").content
    d.restart(env={"QUERN_DOWNLOAD_STALL": "1s"})  # on a busy machine we may take nothing for a second ourselves
    d.download(qid, "csv", headers={"Range": "bytes=0-99"})
    baseline = settled(d)
    stalled = []
    for fmt in ("csv", "json", "ndjson", "arrow") * 3:
        s = connect(d, window=4096)
        s.sendall(request(d, "GET", f"/quern/v1/query/{qid}/download?format={fmt}"))
        stalled.append(s)
    wait_until("the stalled readers to be ended", lambda: d.metrics()["quern_http_connections"] <= 1)
    for s in stalled:
        data = b""
        try:
            while part := s.recv(1 << 20):
                data += part
        except ConnectionResetError:
            pass
        assert b"\r\n0\r\n\r\n" not in data[-7:] and len(data) < len(whole), "an answer that was cut looks whole"
        s.close()
    back_to(d, baseline, "stalled readers")
    d.restart()
    assert d.download(qid, "csv").content == whole


# --- sending slowly -----------------------------------------------------------------------------------------------

LORIS = 200


def drip(d, connections, streams, begun, limit=PATIENCE):
    """Each connection gets a byte of its stream now and then, until the daemon has closed all. Meanwhile others are served. begun: before the last was opened."""
    left = dict(zip(connections, streams))
    sent = {s: 0 for s in connections}
    end = time.monotonic() + limit
    served = 0
    while left:
        assert time.monotonic() < end, f"{len(left)} slow senders are still there after {limit} s"
        for s in list(left):
            s.setblocking(False)
            try:
                if s.recv(4096) == b"":
                    left.pop(s)
                    continue
            except BlockingIOError:
                pass
            except (ConnectionResetError, OSError):
                left.pop(s)
                continue
            try:
                at = sent[s]
                s.send(left[s][at:at + 1] or b"x")
                sent[s] += 1
            except BlockingIOError:
                pass
            except OSError:
                left.pop(s)
        if served < 20:
            assert d.http("GET", "/healthz", key=False).status_code == 200
            assert d.http("GET", "/v1/data-query/query?size=1").status_code == 200
            served += 1
        time.sleep(0.1)
    for s in connections:
        s.close()
    assert time.monotonic() - begun >= 1.9, "the slow senders were ended at once"


@pytest.mark.parametrize("phase", ["request line", "headers", "body", "chunked body", "nothing"])
def test_slowloris(make_daemon, phase):
    """200 connections that send a byte now and then are closed when their time is up; others are served meanwhile."""
    d = make_daemon(env={"QUERN_HTTP_HEADER_TIMEOUT": "2s", "QUERN_HTTP_BODY_TIMEOUT": "2s", "QUERN_HTTP_IDLE": "2s", "QUERN_ENGINE_SLOTS": "1"})
    d.session().headers["Connection"] = "close"  # a kept one could be closed as idle just when it is used again
    baseline = settled(d)
    submit = request(d, "POST", "/v1/data-query/query", body=b'{"query":"SELECT 1"}' + b" " * 200, headers=["Content-Type: application/json"])
    head, body = submit.split(b"\r\n\r\n", 1)
    if phase == "request line":
        first, rest = b"GE", b"T /" + b"a" * 2000
    elif phase == "headers":
        first, rest = head[:60], head[60:] + b"\r\nX-Slow: " + b"a" * 2000
    elif phase == "body":
        first, rest = head + b"\r\n\r\n" + body[:5], body[5:-1]
    elif phase == "chunked body":
        # each chunk earns a little time (1 KiB/s); a byte a time does not
        head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
        first, rest = head + b"\r\n\r\n", b"1\r\n{\r\n" * 2000
    else:
        first, rest = b"", b""
    connections = []
    for _ in range(LORIS):
        begun = time.monotonic()
        s = connect(d)
        s.sendall(first)
        connections.append(s)
    if phase == "nothing":
        wait_until("idle connections to be closed", lambda: d.metrics()["quern_http_connections"] <= 1)
        for s in connections:
            assert s.recv(100) == b""
            s.close()
    else:
        drip(d, connections, [rest] * LORIS, begun)
    back_to(d, baseline, "slow senders")
    assert d.http("GET", "/v1/data-query/query").json()["totalElements"] == 2, "a half sent submit was taken"
    d.works()


# --- gone ---------------------------------------------------------------------------------------------------------


def phases(d, big, running):
    """name -> function that opens a connection, brings it into the phase, and returns it."""
    submit = request(d, "POST", "/v1/data-query/query", headers=["Content-Type: application/json", "X-Data-Source: data_catalog", "X-Database: main"],
                     body=b'{"query":"SELECT \'vanished\'","resultConfig":{"bucketName":"b1","path":"x"}}')
    adaptive = request(d, "POST", "/api/v3/query", dialect="data360", headers=["Content-Type: application/json"],
                       body=b'{"sql":"SELECT \'vanished\'","transferMode":"ADAPTIVE"}')
    poll = request(d, "GET", f"/api/v3/query/{running}?waitTimeMs=60000", dialect="data360")
    head_end = submit.index(b"\r\n\r\n") + 4

    def sent(data, then=None, window=None):
        def go():
            s = connect(d, window)
            if data:
                s.sendall(data)
            if then:
                then(s)
            return s
        return go

    def take(n):
        def go(s):
            got = 0
            while got < n:
                part = s.recv(min(65536, n - got))
                assert part
                got += len(part)
        return go

    def settle(s):
        time.sleep(0.02)

    found = {
        "connected": sent(b""),
        "in the request line": sent(b"GET /v1/da"),
        "in the headers": sent(submit[:head_end // 2]),
        "before the body": sent(submit[:head_end], settle),
        "in the body": sent(submit[:-10], settle),
        "after the submit": sent(submit),
        "after the adaptive submit": sent(adaptive),
        "parked": sent(poll, settle),
        "two polls in one": sent(poll + poll, settle),
        "submit and half of the next": sent(submit + submit[:40], settle),
    }
    for fmt in ("csv", "json", "ndjson", "arrow"):
        get = request(d, "GET", f"/quern/v1/query/{big}/download?format={fmt}")
        found[f"download of {fmt} not begun"] = sent(get, None, 4096)
        found[f"in the download of {fmt}"] = sent(get, take(100000), 4096)
    return found


@pytest.mark.timeout(1800)
def test_clients_vanish_in_every_phase(make_daemon):
    """Gone politely and by reset, in every phase: nothing of them stays, and a submit is there whole or not at all."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "2", "QUERN_SERVER_DRAIN": "0", "QUERN_ENGINE_IDLE_MAX": "2"})
    big = result_of(d, "SELECT range AS n, rpad('', 500, 'x') AS pad FROM range(60000)")
    whole = d.download(big, "csv").content
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    d.works()
    records = d.http("GET", "/v1/data-query/query").json()["totalElements"]
    baseline = None
    submits = 0
    table = phases(d, big, running)
    for turn in range(2 if sanitized() else 4):  # the first one is the warm-up: pools fill, segments open
        work = [(name, reset) for name in table for reset in (False, True) for _ in range(5)]
        rng.shuffle(work)
        held = []
        for name, reset in work:
            held.append((table[name](), reset))
            submits += "submit" in name
            while held and (len(held) > 20 or rng.random() < 0.5):
                vanish(*held.pop(rng.randrange(len(held))))
        for s, reset in held:
            vanish(s, reset)
        wait_until("the vanished to be noticed", lambda: d.metrics()["quern_http_connections"] <= 1)
        wait_until("the queue to be empty", lambda: d.metrics()["quern_queries_queued"] == 0 and d.metrics()["quern_queries_running"] == 1)
        wait_until("the engines to be ready", lambda: d.metrics()["quern_engine_idle"] >= 1)
        if baseline is None:
            baseline = steady(d)
        back_to(d, baseline, f"turn {turn}")
    listed = d.http("GET", "/v1/data-query/query?size=2000").json()
    assert records <= listed["totalElements"] <= records + submits
    states = {c["queryInfo"]["state"] for c in listed["content"] if c["queryInfo"]["queryId"] != running}
    assert states <= {"FINISHED", "ABORTED"}, states
    assert d.kakao_get(running)["queryInfo"]["state"] == "RUNNING", "somebody's leaving ended another's query"
    assert d.download(big, "csv").content == whole
    assert d.kakao_abort(running).status_code == 200
    d.works()


def test_a_thousand_pollers_leave_at_once(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0"})
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    baseline = steady(d)
    data = request(d, "GET", LONGEST_POLL.format(running), dialect="jackdb")
    for _ in range(2):
        crowd = [connect(d) for _ in range(1000)]
        for s in crowd:
            s.sendall(data)
        wait_until("the polls to be parked", lambda: again(crowd, data) and d.metrics()["quern_http_parked"] == 1000)
        for i, s in enumerate(crowd):
            vanish(s, i % 2)
        assert d.http("GET", "/healthz", key=False).status_code == 200
        back_to(d, baseline, "a thousand pollers")
    assert d.kakao_get(running)["queryInfo"]["state"] == "RUNNING"


# --- waiting ------------------------------------------------------------------------------------------------------

PARKED = 10000
PARKED_MEMORY = 100 * MB


@pytest.mark.timeout(1800)
def test_ten_thousand_parked_polls(release_daemon):
    """10,000 polls wait on one query; its end wakes each of them, once, and the daemon has hardly grown. Those on another query sleep on."""
    grown, parked = parked_polls(release_daemon)
    assert grown < PARKED_MEMORY * parked / PARKED, f"anonymous memory grew by {grown / 1e6:.1f} MB with {parked} parked polls"


def parked_polls(d):
    """How much the anonymous memory grew, in bytes, and the number of polls; also for the benchmark."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parked = min(PARKED, (hard if hard != resource.RLIM_INFINITY else 1 << 20) - 1000)
    if parked < 1000:
        pytest.skip(f"only {hard} descriptors are allowed here")
    try:
        running = d.kakao_run(BLOCK)
        d.kakao_wait(running, states=("RUNNING",))
        other = d.kakao_run("SELECT 1")  # waits behind it
        data = request(d, "GET", f"/api/v3/query/{running}?waitTimeMs=60000", dialect="data360")
        before, baseline = anonymous(d), steady(d)
        crowd = []
        answered = {}
        selector = selectors.DefaultSelector()

        def again():
            """A poll has a longest time; those whose time was up while the crowd came together ask again, as clients do."""
            for key, _ in selector.select(0):
                part = whole_answer(key.fileobj)
                assert part.startswith(b"HTTP/1.1 200"), part[:200]
                key.fileobj.sendall(data)

        for i in range(parked):
            s = connect(d)
            s.sendall(data)
            crowd.append(s)
            selector.register(s, selectors.EVENT_READ)
            if i % 500 == 0:
                again()

        def all_parked():
            again()
            return d.metrics()["quern_http_parked"] >= parked

        wait_until("all polls to be parked", all_parked, limit=300, pause=0.1)
        grown = anonymous(d) - before
        print(f"{parked} parked polls: RssAnon +{grown / 1e6:.1f} MB")
        assert d.http("GET", "/v1/data-query/query?size=1").status_code == 200
        blocked = d.kakao_run(BLOCK)  # so that `other` ends, and this one runs and lasts
        assert d.kakao_abort(running).status_code == 200
        end = time.monotonic() + PATIENCE
        while len(answered) < parked:
            assert time.monotonic() < end, f"only {len(answered)} of {parked} were woken"
            for key, _ in selector.select(1):
                s = key.fileobj
                part = whole_answer(s)
                if part.startswith(b"HTTP/1.1 200") and b"RUNNING" in part:  # its time was up just before
                    s.sendall(data)
                    continue
                assert part.startswith(b"HTTP/1.1 408"), part[:300]
                assert s not in answered, "woken twice"
                answered[s] = part
                selector.unregister(s)
        bodies = {a.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"") for a in answered.values()}
        assert all(b"canceled by user" in body for body in bodies)
        d.kakao_wait(other)
        d.kakao_wait(blocked, states=("RUNNING",))
        for i, s in enumerate(crowd):
            vanish(s, i % 2)
        back_to(d, baseline, "the parked")
        assert d.kakao_abort(blocked).status_code == 200
        d.works()
        return grown, parked
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_only_those_who_asked_are_woken(make_daemon):
    """Polls on three queries; the end of one wakes its own and no other."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "3", "QUERN_SERVER_DRAIN": "0"})
    queries = [d.kakao_run(BLOCK) for _ in range(3)]
    for qid in queries:
        d.kakao_wait(qid, states=("RUNNING",))
    polls, requests = {}, {}
    for n, qid in enumerate(queries):
        requests[n] = request(d, "GET", LONGEST_POLL.format(qid), dialect="jackdb")
        polls[n] = [connect(d) for _ in range(100)]
        for s in polls[n]:
            s.sendall(requests[n])
    wait_until("the polls to be parked", lambda: all(again(polls[n], requests[n]) for n in polls) and d.metrics()["quern_http_parked"] == 300)
    assert d.kakao_abort(queries[1]).status_code == 200
    for s in polls[1]:
        assert b'"success":false' in whole_answer(s)
    for n in (0, 2):  # they sleep on: the most that any of them hears is that its time was up
        wait_until("the others only to be parked", lambda: again(polls[n], requests[n]) and d.metrics()["quern_http_parked"] == 200)
    for group in polls.values():
        for s in group:
            s.close()
    for n in (0, 2):
        assert d.kakao_abort(queries[n]).status_code == 200
    d.works()
