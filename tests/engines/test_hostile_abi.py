"""More than a hundred hostile statements, once with the sandbox of Landlock ABI 2 (Linux 5.19, Debian 12's kernel has a newer one) and once with
the newest that this kernel has: nothing of the machine is read, written, removed or connected to. The statements of tests/faults/test_hostile.py
(which also looks at the paths that are told) and more. At the end the same checks are shown what they are for."""
import importlib.util
import os
import socket

import pytest

from quern_client import FLIGHTS, ROOT, Daemon, engines_only, wait_until


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = load(os.path.join(ROOT, "tests", "faults", "test_hostile.py"), "hostile_statements")

MORE = [
    "SELECT * FROM read_text('{dir}/../canaries/canary.csv')",
    "SELECT * FROM read_text('{dir}//canary.csv')",
    "SELECT * FROM read_text(['{file}'])",
    "SELECT * FROM read_text('{link}')",
    "SELECT * FROM read_csv('{link}', columns = {{'a': 'VARCHAR', 'b': 'VARCHAR'}})",
    "SELECT * FROM read_text('/proc/self/root{file}')",
    "SELECT * FROM read_text('/proc/self/cwd')",
    "SELECT * FROM read_text('/proc/1/environ')",
    "SELECT * FROM read_text('/proc/{pid}/environ')",
    "SELECT * FROM read_blob('/proc/{pid}/mem')",
    "SELECT * FROM glob('/proc/{pid}/fd/*')",
    "SELECT * FROM read_blob('/dev/mem')",
    "SELECT * FROM read_text('/sys/kernel/notes')",
    "SELECT * FROM read_csv('/dev/stdin')",
    "SELECT * FROM read_text('{data}/keyring')",
    "SELECT * FROM read_blob('{data}/registry.db-wal')",
    "SELECT * FROM read_blob('{data}/admin.sock')",
    "SELECT * FROM glob('{data}/spool/**')",
    "COPY (SELECT 1) TO '{file}'",
    "COPY (SELECT 1) TO '{data}/registry.db'",
    "COPY (SELECT 1) TO '{flights}'",
    "COPY (SELECT 1) TO '{dir}' (FORMAT parquet, PARTITION_BY (x))",
    "COPY (SELECT 1) TO '/proc/self/oom_score_adj'",
    "COPY (SELECT 1) TO '{data}/admin.sock'",
    "ATTACH '{data}/registry.db' AS reg (TYPE sqlite)",
    "ATTACH 'http://127.77.0.1:{port}/x.db' AS web (READ_ONLY)",
    "CREATE TABLE data_catalog.main.copied AS SELECT * FROM read_text('{file}')",
    "INSERT INTO flights SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_json('{dir}/*', format = 'auto', union_by_name = true)",
    "SELECT * FROM parquet_schema('{dir}/canary.parquet')",
    "SELECT * FROM parquet_file_metadata('{dir}/canary.parquet')",
    "SELECT * FROM parquet_kv_metadata('{dir}/canary.parquet')",
    "SELECT * FROM parquet_bloom_probe('{dir}/canary.parquet', 'a', 1)",
    "SELECT * FROM st_read('{file}')",
    "SELECT * FROM read_xlsx('{file}')",
    "SELECT * FROM delta_scan('{dir}')",
    "SELECT * FROM iceberg_scan('http://127.77.0.1:{port}/x')",
    "SELECT * FROM duckdb_logs()",
    "SELECT * FROM enable_logging('all')",
    "SELECT * FROM repeat_row('{file}', num_rows = 2), read_text('{file}')",
    "SET VARIABLE x = (SELECT content FROM read_text('{file}'))",
    "PIVOT (SELECT * FROM read_csv('{file}')) ON column0",
    "FROM '{file}' SELECT *",
    "FROM read_text('{file}') LIMIT 1",
    "VALUES ((SELECT content FROM read_text('{file}')))",
    "SELECT * FROM flights POSITIONAL JOIN read_text('{file}')",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t, read_text('{file}') WHERE n < 2) SELECT * FROM t",
    "SELECT write_log('x', log_type := '{dir}/written.log')",
]
STATEMENTS = hostile.STATEMENTS + MORE


def test_enough():
    assert len(set(STATEMENTS)) == len(STATEMENTS) >= 130


def newest():
    """What the kernel offers: landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)."""
    import ctypes
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, ctypes.c_size_t(0), 1)


def check(text, sql, daemon, template):
    """No content of a file; and no path, where the other file does not look already."""
    text = hostile.told(text, sql)
    assert hostile.SECRET not in text and "root:x:" not in text and "QUERN_CANARY=" not in text, f"{sql}: content: {text[:300]}"
    if template in MORE:
        hostile.check_text(text, sql, daemon, "answer")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("abi", [2, 99], ids=["abi2", "newest"])
def test_no_escape(abi):
    kernel = newest()
    if kernel < 2:
        pytest.skip(f"this kernel has Landlock ABI {kernel}")
    daemon = Daemon(env={"QUERN_CANARY": hostile.SECRET, "QUERN_ENGINE_SLOTS": "2", "QUERN_ENGINE_LANDLOCK_ABI_MAX": str(abi)})
    folder = os.path.join(daemon.folder, "canaries")
    os.makedirs(folder)
    canary = os.path.join(folder, "canary.csv")
    with open(canary, "w") as f:
        f.write(f"{hostile.SECRET},value\n{hostile.SECRET}-1,2\n")
    os.symlink(canary, os.path.join(folder, "link.csv"))
    for name in ("canary.parquet", "canary.duckdb_extension", "schema.sql", "load.sql"):
        with open(os.path.join(folder, name), "w") as f:
            f.write(hostile.SECRET)
    trap = hostile.Trap()
    try:
        daemon.prepare().start()
        assert daemon.metrics()["quern_sandbox_landlock_abi"] == min(abi, kernel), "the forced ABI is not the one in use"
        words = {"file": canary, "dir": folder, "data": daemon.data, "port": trap.port, "flights": FLIGHTS, "link": os.path.join(folder, "link.csv"),
                 "pid": daemon.process.pid}
        before = hostile.listing(folder)
        flights = os.stat(FLIGHTS).st_size, os.stat(FLIGHTS).st_mtime_ns
        escapes, states = [], {"FINISHED": 0, "FAILED": 0}
        for template in STATEMENTS:
            sql = template.format(**words)
            body = daemon.kakao_query(sql)
            qid, state = body["queryInfo"]["queryId"], body["queryInfo"]["state"]
            states[state] += 1
            body["queryInfo"]["queryTextPreview"] = ""
            try:
                check(str(body), sql, daemon, template)
                if state == "FINISHED":
                    check(daemon.download(qid, "csv").text, sql, daemon, template)
                assert hostile.listing(folder) == before, f"{sql} wrote something"
                assert trap.hits == 0, f"{sql} opened a connection"
            except AssertionError as e:
                escapes.append(str(e)[:400])
        print(f"ABI {min(abi, kernel)}: {len(STATEMENTS)} statements, {len(escapes)} escapes, {states}")
        assert not escapes, f"{len(escapes)} escapes: {escapes}"
        assert (os.stat(FLIGHTS).st_size, os.stat(FLIGHTS).st_mtime_ns) == flights, "the data set was written"
        assert states["FAILED"] > len(STATEMENTS) // 2
        engines_only(daemon)
        assert hostile.SECRET not in daemon.log()
        body = daemon.kakao_query("SELECT count(*) FROM flights")
        assert body["queryData"] == [["3000000"]], body
        # the checks see what they are for
        with pytest.raises(AssertionError):
            with open(canary) as f:
                check(f.read(), "SELECT 1", daemon, "")
        socket.create_connection((hostile.TRAP, trap.port)).close()
        assert wait_until("the trap to count", lambda: trap.hits == 1)
        daemon.works()
    finally:
        trap.socket.close()
        daemon.finish()
