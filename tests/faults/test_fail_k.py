"""The k-th call of a kind fails (QUERN_FAULT), for k from 1 on, in a short scenario; then a start without faults. Whatever
the failing daemon did: what it accepted is there, ended, and whole or a plain failure; and the next start serves.
QUERN_FAIL_ALL=1 tries every k; otherwise the first ones and a spread of the rest."""
import os
import shutil
import signal

import pytest
import requests

from quern_client import Daemon, StartFailed

KINDS = {"open": "ENOSPC", "read": "EIO", "write": "ENOSPC", "fsync": "EIO", "rename": "EIO", "unlink": "EIO", "mkdir": "ENOSPC", "spawn": "EAGAIN",
         "sqlite": "EIO", "memfd": "EMFILE", "mmap": "ENOMEM"}
FEW = 5  # k of each kind in an ordinary run
STATEMENTS = [("kakao", "SELECT 1 AS one", 1), ("data360", "SELECT range AS n FROM range(20000)", 20000), ("kakao", "SELECT range AS n FROM range(20000)", 20000),
              ("data360", "SELECT 'x' AS x", 1)]


def scenario(d, accepted):
    """Submits through both dialects, reads what ends; every failure of a request is allowed, every lie is not."""
    for dialect, sql, rows in STATEMENTS:
        try:
            if dialect == "kakao":
                answer = d.kakao_run(sql, check=False)
                if answer.status_code == 202:
                    accepted[answer.json()["queryInfo"]["queryId"]] = rows
                else:
                    assert answer.status_code in (500, 503, 499), f"{answer.status_code} {answer.text}"
                    assert answer.json()["error"]["message"]
            else:
                answer = d.d360_submit(sql, check=False)
                if answer.status_code == 200:
                    accepted[d.d360_status_of(answer)["queryId"]] = rows
                    if answer.json()["data"] is not None and d.d360_status_of(answer)["completionStatus"] == "FINISHED" and rows == 1:
                        assert len(answer.json()["data"]) == rows
                else:
                    assert answer.status_code in (500, 503), f"{answer.status_code} {answer.text}"
        except requests.exceptions.RequestException:
            d.local.session = None
            if d.process.poll() is not None:
                return
    for qid, rows in list(accepted.items()):
        try:
            body = d.kakao_wait(qid)
            if body["queryInfo"]["state"] == "FINISHED":
                answer = d.download(qid, "csv")
                assert answer.status_code != 200 or answer.text.count("\n") == rows + 1, f"{qid}: half a result"
        except (requests.exceptions.RequestException, AssertionError) as e:
            if isinstance(e, AssertionError) and "half" in str(e):
                raise
            d.local.session = None
            if d.process.poll() is not None:
                return
            assert isinstance(e, requests.exceptions.RequestException) or "500" in str(e) or "503" in str(e), str(e)


def one(template, folder, fault, count_file=None):
    """One run with the fault, one without. Returns what happened, for the report."""
    data = os.path.join(folder, "data")
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(template.data, data)
    env = {"QUERN_ENGINE_SLOTS": "2", "QUERN_SERVER_DRAIN": "5s", "QUERN_LOG_LEVEL": "warn"}
    d = Daemon(env=env, folder=folder)
    d.key, d.bucket_dir = template.key, template.bucket_dir
    accepted, happened = {}, "served"
    try:
        extra = {"QUERN_FAULT": fault} if fault else {"QUERN_FAULT_COUNT": count_file}
        try:
            d.start(extra)
        except StartFailed as e:
            happened = "refused to start"
            assert "quernd:" in str(e) or "level=error" in str(e), f"no word about why: {e}"
        else:
            scenario(d, accepted)
            d.note_children()
            if d.process.poll() is not None:
                happened = f"ended with {d.process.returncode}"
                assert d.process.returncode > 0, f"{happened}:\n{d.log()[-3000:]}"
                d.process = None
            else:
                d.stop(code=None)
                assert d.exit_codes[-1] >= 0, f"died of a signal:\n{d.log()[-3000:]}"
            d.no_children()
        d.check_log()
        d.start()
        for qid, rows in accepted.items():
            body = d.kakao_wait(qid)
            state = body["queryInfo"]["state"]
            answer = d.download(qid, "csv")
            if state == "FINISHED":
                assert answer.status_code == 200 and answer.text.count("\n") == rows + 1, f"{qid}: {answer.status_code} {answer.text[:200]}"
            else:
                assert state == "FAILED" and body["queryInfo"]["error"]["message"], body
                assert answer.status_code >= 400
                happened += ", one failed"
        d.works()
        d.finish()
    finally:
        if d.process:
            d.process.send_signal(signal.SIGKILL)
            d.process.wait()
    return happened


@pytest.fixture(scope="module")
def template():
    d = Daemon()
    d.prepare(flights=False)
    yield d
    d.finish()


@pytest.fixture(scope="module")
def counts(template, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("count"))
    count_file = os.path.join(folder, "counts")
    one(template, folder, None, count_file)
    with open(count_file) as f:
        return {kind: int(n) for kind, n in (line.split() for line in f)}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_every_failed_call_is_survived(template, counts, tmp_path, kind):
    total = counts[kind]
    if total == 0:
        pytest.skip(f"no call of kind {kind} in the scenario")
    ks = range(1, total + 1)
    if not os.environ.get("QUERN_FAIL_ALL") and total > FEW:
        ks = sorted({1, 2} | {1 + (total - 1) * i // (FEW - 1) for i in range(FEW)})
    for k in ks:
        fault = f"{kind}:{k}:{KINDS[kind]}"
        try:
            print(f"{fault} of {total}: {one(template, str(tmp_path), fault)}")
        except AssertionError as e:
            raise AssertionError(f"{fault}: {e}") from e
