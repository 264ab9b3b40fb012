"""TLS on the listener: what it speaks, replacing the certificate under traffic, long polls and downloads through it, refusals at start."""
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import threading

import pytest
import requests

from quern_client import BLOCK, PATIENCE, Daemon, StartFailed, wait_until


def certificate(folder, name, days=30, begin=None):
    """A self-signed certificate for 127.0.0.1; (certificate, key) paths."""
    paths = os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days),
               "-subj", "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return paths


def install(pair, folder):
    """Puts the pair where the daemon looks: whole files by rename, the key first."""
    for path, name in ((pair[1], "live.key"), (pair[0], "live.crt")):
        temporary = os.path.join(folder, name + ".new")
        with open(path, "rb") as source, open(temporary, "wb") as target:
            target.write(source.read())
        os.rename(temporary, os.path.join(folder, name))


def served_certificate(daemon):
    pem = ssl.get_server_certificate(("127.0.0.1", daemon.port))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def fingerprint(pair):
    with open(pair[0]) as f:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()


@pytest.fixture
def tls(make_daemon, tmp_path):
    """A daemon with TLS; `pairs` are two certificates, the first installed."""
    folder = str(tmp_path)
    pairs = [certificate(folder, "one"), certificate(folder, "two")]
    install(pairs[0], folder)
    daemon = make_daemon(env={"QUERN_HTTP_TLS_CERTIFICATE": os.path.join(folder, "live.crt"), "QUERN_HTTP_TLS_KEY": os.path.join(folder, "live.key")},
                         start=False, flights=False)
    both = os.path.join(folder, "both.crt")
    with open(both, "w") as f:
        for pair in pairs:
            with open(pair[0]) as source:
                f.write(source.read())
    daemon.start()
    daemon.session().verify = both
    daemon.pairs, daemon.both, daemon.tls_folder = pairs, both, folder
    return daemon


def test_queries_and_downloads(tls):
    assert tls.scheme == "https"
    tls.works()
    rows = 300000
    qid = tls.d360_status_of(tls.d360_submit(f"SELECT range AS n, 'row ' || range AS t FROM range({rows})", mode="ASYNC"))["queryId"]
    assert tls.d360_wait(qid).json()["rowCount"] == rows
    text = tls.download(qid, "csv").text
    assert text.count("\n") == rows + 1 and text.rstrip("\r\n").endswith(f"{rows - 1},row {rows - 1}")
    # the stored stream: no sendfile with TLS, the same bytes
    whole = tls.download(qid, "arrow").content
    part = tls.download(qid, "arrow", headers={"Range": "bytes=1000-200999"})
    assert part.status_code == 206 and part.content == whole[1000:201000]


def test_a_parked_poll_ends_by_its_query_and_by_its_client(tls):
    qid = tls.d360_status_of(tls.d360_submit("SELECT count(*) FROM range(60000000) t(a) WHERE a % 7 = 1", mode="ASYNC"))["queryId"]
    assert tls.d360_wait(qid).json()["completionStatus"] in ("FINISHED", "RESULTS_PRODUCED")
    slow = tls.kakao_run(BLOCK)
    tls.kakao_wait(slow, states=("RUNNING",))
    context = ssl.create_default_context(cafile=tls.both)
    credential = tls.key["headers"]["jackdb"]["Authorization"]
    for left in range(1, 6):  # who sees the end first, the watch or the library, differs from one to the next
        connection = context.wrap_socket(socket.create_connection(("127.0.0.1", tls.port)), server_hostname="127.0.0.1")
        connection.sendall(f"GET /api/v2/query/{slow}?wait=60 HTTP/1.1\r\nHost: q\r\nAuthorization: {credential}\r\n\r\n".encode())
        wait_until("the poll to be parked", lambda: tls.metrics()["quern_http_parked"] == 1)
        connection.close()
        wait_until("the poll to be over", lambda: tls.metrics()["quern_http_parked"] == 0)
        wait_until("it to be counted", lambda: tls.metrics()["quern_http_client_gone_total"] == left)
    tls.kakao_abort(slow)


def test_body_over_the_limit_in_mid_upload(tls):
    context = ssl.create_default_context(cafile=tls.both)
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", tls.port)), server_hostname="127.0.0.1")
    connection.settimeout(PATIENCE)
    bearer = tls.key["headers"]["data360"]["Authorization"]
    connection.sendall(f"POST /api/v3/query HTTP/1.1\r\nHost: q\r\nAuthorization: {bearer}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    piece = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    try:
        for _ in range(40):
            connection.sendall(piece)
    except OSError:
        pass
    answer = b""
    try:
        answer = connection.recv(4096)
    except OSError:
        pass
    assert not answer or answer.startswith(b"HTTP/1.1 413 "), answer
    tls.works()


def test_reload_during_traffic(tls):
    """Old and new connections, several replacements: no request fails."""
    stop = threading.Event()
    counts, failures = [0, 0], []

    def traffic(number, keep):
        session = requests.Session()
        session.trust_env = False
        session.verify = tls.both
        while not stop.is_set():
            if not keep:
                session.close()
                session = requests.Session()
                session.trust_env = False
                session.verify = tls.both
            try:
                answer = session.get(tls.url("/v1/data-query/query?size=1"), headers=tls.key["headers"]["kakao"], timeout=PATIENCE)
                if answer.status_code != 200:
                    failures.append(answer.text)
            except requests.RequestException as e:
                failures.append(repr(e))
            counts[number] += 1
        session.close()

    threads = [threading.Thread(target=traffic, args=(int(keep), keep)) for keep in (False, False, True)]
    for t in threads:
        t.start()
    try:
        for i in range(1, 7):
            before = list(counts)
            install(tls.pairs[i % 2], tls.tls_folder)
            tls.process.send_signal(signal.SIGHUP)
            wait_until("the new certificate", lambda: served_certificate(tls) == fingerprint(tls.pairs[i % 2]))
            wait_until("traffic after it", lambda: counts[0] > before[0] + 3 and counts[1] > before[1] + 3)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failures, failures[:3]
    assert "TLS certificate replaced" in tls.log()


def test_a_bad_certificate_leaves_the_old_one(tls):
    first = fingerprint(tls.pairs[0])
    for pair in ((tls.pairs[1][0], tls.pairs[0][1]), (tls.pairs[1][1], tls.pairs[1][1])):
        seen = tls.log().count("the TLS certificate in use stays")
        install(pair, tls.tls_folder)
        tls.process.send_signal(signal.SIGHUP)
        wait_until("a line in the log", lambda: tls.log().count("the TLS certificate in use stays") > seen)
        assert served_certificate(tls) == first
    live = [os.path.join(tls.tls_folder, f) for f in ("live.key", "live.crt")]
    install(tls.pairs[0], tls.tls_folder)
    for path in live:  # a pipe in a file's place is not waited for
        seen = tls.log().count("the TLS certificate in use stays")
        os.rename(path, path + ".kept")
        os.mkfifo(path)
        tls.process.send_signal(signal.SIGHUP)
        wait_until("a line in the log", lambda: tls.log().count("the TLS certificate in use stays") > seen)
        os.unlink(path)
        os.rename(path + ".kept", path)
        assert served_certificate(tls) == first
    tls.works()


def test_old_protocols_plain_http_and_junk_are_refused(tls):
    for junk in (b"GET /healthz HTTP/1.1\r\nHost: q\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\x00" * 300):
        with socket.create_connection(("127.0.0.1", tls.port), timeout=PATIENCE) as connection:
            connection.sendall(junk)
            try:
                assert b"200 OK" not in connection.recv(4096)
            except OSError:
                pass
    # a record cut in the middle of a request
    context = ssl.create_default_context(cafile=tls.both)
    raw = socket.create_connection(("127.0.0.1", tls.port))
    connection = context.wrap_socket(raw, server_hostname="127.0.0.1")
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHo")
    connection.detach()
    os.close(raw.fileno()) if raw.fileno() >= 0 else None
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        with socket.create_connection(("127.0.0.1", tls.port), timeout=PATIENCE) as connection:
            old.wrap_socket(connection, server_hostname="127.0.0.1")
    tls.works()


def test_a_slow_handshake_is_ended(make_daemon, tmp_path):
    pair = certificate(str(tmp_path), "one")
    daemon = make_daemon(env={"QUERN_HTTP_TLS_CERTIFICATE": pair[0], "QUERN_HTTP_TLS_KEY": pair[1], "QUERN_HTTP_HEADER_TIMEOUT": "1s", "QUERN_HTTP_IDLE": "3600s"})
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE) as connection:  # nothing else would end it
        connection.sendall(b"\x16\x03\x01")
        try:
            assert connection.recv(100) == b""
        except ConnectionResetError:
            pass


def refused(folder, *words, **env):
    daemon = Daemon(env=env, folder=folder)
    with pytest.raises(StartFailed) as caught:
        daemon.start()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_refusals_at_start(tmp_path):
    folder = str(tmp_path)
    one, two = certificate(folder, "one"), certificate(folder, "two")
    refused(folder, "come together", QUERN_HTTP_TLS_CERTIFICATE=one[0])
    refused(folder, "http.tls_key", "does not belong", QUERN_HTTP_TLS_CERTIFICATE=one[0], QUERN_HTTP_TLS_KEY=two[1])
    refused(folder, "http.tls_certificate", "cannot be read", QUERN_HTTP_TLS_CERTIFICATE="/nowhere", QUERN_HTTP_TLS_KEY=two[1])


def listen_on(daemon, address):
    """The process of a start on another address."""
    return subprocess.Popen([os.path.join(daemon.build, "quernd"), "serve", "--data", daemon.data, "--listen", address],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=daemon.env)


def first_of(process, word):
    for line in process.stderr:
        if word in line:
            return line
    return ""


def test_plain_http_beyond_loopback_needs_a_key(make_daemon, tmp_path):
    daemon = make_daemon(start=False, bucket=False)
    process = listen_on(daemon, "0.0.0.0:0")
    assert "http.plain_non_loopback" in first_of(process, "http.listen")
    assert process.wait(timeout=PATIENCE) == 1
    pair = certificate(str(tmp_path), "one")
    for env, scheme in (({"QUERN_HTTP_PLAIN_NON_LOOPBACK": "yes"}, "http://"), ({"QUERN_HTTP_TLS_CERTIFICATE": pair[0], "QUERN_HTTP_TLS_KEY": pair[1]}, "https://")):
        daemon.env = dict(os.environ, **env)
        process = listen_on(daemon, "0.0.0.0:0")
        assert "listening on " + scheme in first_of(process, "listening on")
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(timeout=PATIENCE) == 0
