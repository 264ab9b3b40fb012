"""Hostile statements through the whole service: nothing of the machine is read, written or connected to, and no path of the
machine is told. What each may answer is its own business as long as it is none of that."""
import os
import socket
import threading

import pytest

from quern_client import FLIGHTS, Daemon, engines_only

SECRET = "canary-6f1d0c5e"
TRAP = "127.77.0.1"
# {file} a CSV with the secret, {dir} its folder, {data} the daemon's data folder, {port} a listening TCP port, {flights} the data set's own file
STATEMENTS = [
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_csv_auto('{file}', header = true)",
    "SELECT * FROM '{file}'",
    "SELECT * FROM \"{file}\"",
    "SELECT * FROM read_text('{file}')",
    "SELECT content FROM read_blob('{file}')",
    "SELECT * FROM read_json('{file}', format = 'unstructured')",
    "SELECT * FROM read_ndjson_objects('{file}')",
    "SELECT * FROM read_parquet('{dir}/canary.parquet')",
    "SELECT * FROM parquet_metadata('{dir}/canary.parquet')",
    "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM glob('{dir}/*')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_text('/proc/self/maps')",
    "SELECT * FROM read_blob('/proc/self/fd/3')",
    "SELECT * FROM read_blob('/dev/fd/3')",
    "SELECT * FROM read_text('{data}/../data/registry.db')",
    "SELECT * FROM glob('{data}/**')",
    "SELECT * FROM read_text('file://{file}')",
    "SELECT * FROM read_csv('http://127.77.0.1:{port}/x.csv')",
    "SELECT * FROM read_parquet('https://127.77.0.1:{port}/x.parquet')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM 'http://127.77.0.1:{port}/x.csv'",
    "COPY (SELECT 1) TO '{dir}/written.csv'",
    "COPY flights TO '{dir}/written.parquet' (FORMAT parquet)",
    "COPY (SELECT 1) TO '/dev/stderr'",
    "COPY flights FROM '{file}'",
    "EXPORT DATABASE '{dir}/written'",
    "IMPORT DATABASE '{dir}'",
    "ATTACH '{dir}/written.db' AS other",
    "ATTACH '{file}' AS other (READ_ONLY)",
    "ATTACH ':memory:' AS other",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{dir}/canary.duckdb_extension'",
    "FORCE INSTALL json FROM 'http://127.77.0.1:{port}'",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET allowed_directories = ['/']",
    "SET home_directory = '{dir}'",
    "SET temp_directory = '{dir}/written'",
    "SET log_query_path = '{dir}/written.log'",
    "RESET enable_external_access",
    "PRAGMA database_list",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{dir}/written.json'",
    "CALL pragma_version()",
    "CHECKPOINT",
    "FORCE CHECKPOINT",
    "VACUUM",
    "SELECT * FROM checkpoint()",
    "SELECT * FROM force_checkpoint()",
    "CREATE SECRET s (TYPE http, BEARER_TOKEN 'x')",
    "CREATE PERSISTENT SECRET s IN local_file (TYPE http, BEARER_TOKEN 'x')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('http://127.77.0.1:{port}', 'http')",
    "CREATE MACRO flights() AS TABLE SELECT * FROM read_text('{file}')",
    "CREATE TEMP TABLE kept AS SELECT 1",
    "CREATE TABLE memory.main.kept AS SELECT 1",
    "CREATE VIEW data_catalog.main.flights2 AS SELECT * FROM read_csv('{file}')",
    "DROP VIEW data_catalog.main.flights",
    "BEGIN TRANSACTION",
    "EXECUTE something",
    "PREPARE p AS SELECT * FROM read_text('{file}')",
    "SELECT getenv('QUERN_CANARY')",
    "SELECT getvariable('x')",
    "SELECT current_setting('temp_directory'), current_setting('home_directory')",
    "SELECT name, value FROM duckdb_settings()",
    "SELECT path FROM duckdb_databases()",
    "SELECT * FROM duckdb_extensions()",
    "SELECT sql FROM duckdb_views()",
    "PRAGMA show_databases",
    "SHOW ALL TABLES",
    "SELECT * FROM duckdb_temporary_files()",
    "SELECT * FROM query('SELECT * FROM read_text(''{file}'')')",
    "SELECT * FROM query_table('{file}')",
    "EXPLAIN ANALYZE SELECT * FROM read_csv('{file}')",
    "EXPLAIN SELECT * FROM read_csv('{file}')",
    "DESCRIBE SELECT * FROM read_csv('{file}')",
    "SUMMARIZE SELECT * FROM read_csv('{file}')",
    "SELECT 1; COPY (SELECT 1) TO '{dir}/written.csv'",
    "SELECT 1; ATTACH '{dir}/written.db'",
    "WITH x AS (SELECT * FROM read_text('{file}')) SELECT count(*), min(content) FROM x",
    "SELECT (SELECT content FROM read_text('{file}'))",
    "SELECT * FROM flights WHERE origin IN (SELECT content FROM read_text('{file}'))",
    "SELECT * FROM read_csv(['{file}', '{file}'], filename = true)",
    "SELECT file_name FROM parquet_metadata('{flights}')",
    "SELECT filename FROM read_parquet('{flights}', filename = true) LIMIT 1",
    "SELECT * FROM sqlite_scan('{data}/registry.db', 'keys')",
    "SELECT * FROM postgres_scan('host=127.77.0.1 port={port}', 'public', 't')",
    "SELECT * FROM mysql_query('x', 'SELECT 1')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM pragma_storage_info('flights')",
    "SELECT error('{file}')",
]


class Trap:
    """A TCP port that counts who knocks: at an address of its own, so that nobody comes who looks for another test's daemon."""

    def __init__(self):
        self.hits = 0
        self.socket = socket.create_server((TRAP, 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.hits += 1
            peer.close()


@pytest.fixture(scope="module")
def place():
    daemon = Daemon(env={"QUERN_CANARY": SECRET, "QUERN_ENGINE_SLOTS": "2"})
    folder = os.path.join(daemon.folder, "canaries")
    os.makedirs(folder)
    with open(os.path.join(folder, "canary.csv"), "w") as f:
        f.write(f"{SECRET},value\n{SECRET}-1,2\n")
    for name in ("canary.parquet", "canary.duckdb_extension", "schema.sql", "load.sql"):
        with open(os.path.join(folder, name), "w") as f:
            f.write(SECRET)
    trap = Trap()
    daemon.prepare().start()
    words = {"file": os.path.join(folder, "canary.csv"), "dir": folder, "data": daemon.data, "port": trap.port, "flights": FLIGHTS}
    yield daemon, folder, trap, words
    trap.socket.close()
    daemon.finish()


def listing(folder):
    return {(root, name): os.stat(os.path.join(root, name)).st_size for root, _, names in os.walk(folder) for name in names}


def told(answer_text, sql):
    """What the answer tells, without the statement's own text, which it may repeat."""
    for form in (sql, sql.replace("\"", "\\\""), sql[:300]):
        answer_text = answer_text.replace(form, "<statement>")
    return answer_text


def check_text(text, sql, daemon, what):
    text = told(text, sql)
    assert SECRET not in text, f"{what}: {sql}: content of a file: {text[:2000]}"
    assert "root:x:" not in text and "QUERN_CANARY=" not in text, f"{what}: {sql}: {text[:2000]}"
    for path in (daemon.folder, os.path.dirname(FLIGHTS), "/etc/", "/proc/", os.path.expanduser("~/")):
        assert path in sql or path not in text, f"{what}: {sql}: the path {path} is told: {text[:2000]}"


def test_enough():
    assert len(STATEMENTS) >= 30 and len(set(STATEMENTS)) == len(STATEMENTS)


@pytest.mark.parametrize("template", STATEMENTS, ids=range(len(STATEMENTS)))
def test_hostile(place, template):
    daemon, folder, trap, words = place
    sql = template.format(**words)
    before = listing(folder)
    bucket = listing(daemon.bucket_dir)
    body = daemon.kakao_query(sql)
    qid = body["queryInfo"]["queryId"]
    state = body["queryInfo"]["state"]
    body["queryInfo"]["queryTextPreview"] = ""
    answer = daemon.http("GET", f"/v1/data-query/query/{qid}")
    assert state in ("FINISHED", "FAILED"), body
    check_text(str(body), sql, daemon, "kakao")
    if state == "FINISHED":
        check_text(daemon.download(qid, "csv").text, sql, daemon, "download")
        for (root, name), size in listing(daemon.bucket_dir).items():
            if (root, name) not in bucket:
                with open(os.path.join(root, name), errors="replace") as f:
                    check_text(f.read(), sql, daemon, "delivered file")
    else:
        assert body["queryInfo"]["error"]["message"] and answer.json()["queryData"] == []
    answer = daemon.d360_submit(sql, mode="ADAPTIVE", check=False)
    fault = answer.json()
    if answer.status_code != 200:
        fault["details"].pop("customerDetail", None)
        assert answer.status_code == 400, answer.text
    check_text(str(fault) + str({k: v for k, v in answer.headers.items() if k.lower() != "content-length"}), sql, daemon, "data360")
    assert listing(folder) == before, f"{sql} wrote something"
    assert trap.hits == 0, f"{sql} opened a connection"


HIDDEN = ["SELECT * FROM duckdb_settings{}()", "SELECT * FROM{}duckdb_views", "SELECT view_definition FROM{}information_schema.views",
          "SELECT * FROM checkpoint{}('memory')", "SELECT * FROM enable_logging{}()", "SELECT * FROM query{}('SELECT 1')",
          "SELECT{}current_setting{}('allowed_paths')", "CREATE{}MACRO m(a) AS a", "CREATE{}TEMP{}TABLE t(a INT)", "DROP{}SEQUENCE s"]


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u200b", "\u202f", "\u2060", "\u3000", "\ufeff", "/*/**/*/", " /* /* x */ /**/ */ ", "--/*\n"], ids=ascii)
def test_what_the_engine_takes_for_a_blank_hides_nothing(place, blank):
    daemon = place[0]
    for template in HIDDEN:
        sql = template.replace("{}", blank)
        info = daemon.kakao_query(sql)["queryInfo"]
        assert info["state"] == "FAILED" and info["error"]["name"] == "PERMISSION_DENIED" and "not allowed here" in info["error"]["message"], (sql, info)


@pytest.mark.parametrize("setting", ["allowed_paths", "allowed_directories", "temp_directory", "log_query_path", "threads"])
def test_settings_that_tell_of_the_machine(place, setting):
    daemon = place[0]
    for call in (f"current_setting('{setting}')", f"current_setting('{setting[:4]}' || '{setting[4:]}')", f"\"current_setting\"('{setting}')",
                 f"system.main.current_setting(lower('{setting}'))", f"hex(current_setting('{setting}')::VARCHAR)::INT", f"current_setting('timezone') || current_setting('{setting}')"):
        info = daemon.kakao_query(f"SELECT {call} AS a")["queryInfo"]
        assert info["state"] == "FAILED" and "current_setting is not allowed" in info["error"]["message"], (call, info)
    # binding runs what is constant: its error would tell
    for tail in (f"range(error(hex(current_setting('{setting}')::VARCHAR))::INT)", f"(SELECT 1) LIMIT (hex(current_setting('{setting}')::VARCHAR)::INT)"):
        info = daemon.kakao_query(f"SELECT * FROM {tail}")["queryInfo"]
        assert info["state"] == "FAILED" and "current_setting is not allowed" in info["error"]["message"], (tail, info)
    body = daemon.kakao_query("SELECT current_setting('TimeZone'), \"current_setting\" ( 'schema' ), (SELECT count(*) FROM flights)")
    assert body["queryData"][0][0] == "UTC", body


@pytest.mark.parametrize("sql", ["SELECT view_definition FROM information_schema.views", "SELECT definition FROM pg_catalog.pg_views"])
def test_catalog_tables_do_not_tell_paths(place, sql):
    daemon = place[0]
    body = daemon.kakao_query(sql)
    check_text(daemon.download(body["queryInfo"]["queryId"], "csv").text, sql, daemon, "download")


def test_afterwards_all_is_as_before(place):
    daemon, folder, trap, _ = place
    body = daemon.kakao_query("SELECT count(*) FROM flights")
    assert body["queryData"] == [["3000000"]], body
    body = daemon.kakao_query("SELECT table_name FROM information_schema.tables WHERE table_name IN ('kept', 'flights2')")
    assert body["queryData"] == [], body
    engines_only(daemon)
    assert SECRET not in daemon.log()
    daemon.works()
