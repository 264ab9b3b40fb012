"""The log and the audit trail where they cannot be written: a full device, a pipe that nobody reads, a disk without room. Queries go on, what is lost is
counted, and the trail's chain is whole afterwards; with audit.required new queries are refused instead."""
import fcntl
import os
import re
import subprocess

import pytest

from quern_client import wait_until


class Elsewhere:
    """stdout and stderr of the daemon."""

    def __init__(self, kind):
        self.read_end = None
        if kind == "full device":
            self.fd = os.open("/dev/full", os.O_WRONLY)
        else:
            self.read_end, self.fd = os.pipe()
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, 4096)

    def close_reader(self):
        os.close(self.read_end)
        self.read_end = None

    def close(self):
        os.close(self.fd)
        if self.read_end is not None:
            os.close(self.read_end)


@pytest.mark.parametrize("kind", ["full device", "pipe that nobody reads", "pipe whose reader has left"])
def test_the_log_never_holds_up_the_service(make_daemon, kind):
    d = make_daemon(start=False, env={"QUERN_LOG_LEVEL": "debug", "QUERN_LOG_SLOW_QUERY": "1ms"})
    to = Elsewhere(kind)
    try:
        with open(d.log_path, "ab") as log:  # its standard error is needed for the port, so the first lines go to a file
            d.process = subprocess.Popen(["sh", "-c", 'exec "$0" "$@" 2>&3', os.path.join(d.build, "quernd"), "serve", "--data", d.data, "--listen",
                                          "127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=d.env,
                                         preexec_fn=lambda: os.dup2(to.fd, 3), close_fds=False)
        if kind == "pipe whose reader has left":
            to.close_reader()
        d.port = wait_until("the daemon's port", lambda: listening(d.process))
        wait_until("the daemon", lambda: answers(d))
        for i in range(120):
            assert d.kakao_query(f"SELECT {i} AS a")["queryInfo"]["state"] == "FINISHED"
        wait_until("lost lines to be counted", lambda: d.metrics()["quern_log_dropped_total"] > 0)
        d.stop()
    finally:
        to.close()


def listening(process):
    """The TCP port that a process listens on, as the kernel tells it; None while there is none."""
    assert process.poll() is None
    folder, own = f"/proc/{process.pid}/fd", set()
    for n in os.listdir(folder):
        try:
            own.add(os.stat(f"{folder}/{n}").st_ino)
        except FileNotFoundError:
            pass
    with open("/proc/net/tcp") as f:
        for line in list(f)[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[9]) in own:
                return int(words[1].split(":")[1], 16)
    return None


def answers(d):
    assert d.process.poll() is None
    try:
        return d.http("GET", "/readyz", key=False).status_code == 200
    except OSError:
        return False


def test_the_trail_on_a_full_disk(make_daemon):
    d = make_daemon(start=False)
    place, old = d.data + "/audit", d.data + "/audit.before"
    os.rename(place, old)
    os.makedirs(place)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], stderr=subprocess.DEVNULL).returncode:
        os.rmdir(place)
        os.rename(old, place)
        pytest.skip("mounting is not allowed here")
    fill = place + "/fill"

    def full():
        try:
            with open(fill, "wb", buffering=0) as f:
                while True:
                    f.write(b"x" * 4096)
        except OSError:
            pass

    try:
        subprocess.run(["cp", "-a", old + "/.", place], check=True)
        d.start()
        full()
        for i in range(40):
            d.works()
        wait_until("the failures to be counted", lambda: d.metrics()["quern_audit_failures_total"] > 0)
        wait_until("a line in the log", lambda: re.search("audit log cannot be written.*ENOSPC", d.log()))
        os.unlink(fill)
        wait_until("what waited to be written", lambda: d.admin("audit", "verify")["records"] >= 80)
        wait_until("a line in the log", lambda: "can be written again" in d.log())
        assert d.metrics()["quern_audit_dropped_total"] == 0
        d.restart(env={"QUERN_AUDIT_REQUIRED": "yes"})
        full()

        def refused():
            answer = d.kakao_run("SELECT 1", check=False)
            return [answer] if answer.status_code != 202 else None

        answer = wait_until("a refusal", refused)[0]
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1 and "audit.required" in answer.text
        os.unlink(fill)
        wait_until("queries to be accepted again", lambda: d.kakao_run("SELECT 1", check=False).status_code == 202)
        d.works()
        assert d.admin("audit", "verify")["ok"] is True
        d.stop()
        assert d.admin("audit", "verify")["ok"] is True
    finally:
        if d.process:
            d.kill()
        subprocess.run(["umount", "-l", place], check=True)
