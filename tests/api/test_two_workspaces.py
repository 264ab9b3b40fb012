"""Two workspaces that hold things of the same names: each sees its own, whatever it asks, and from inside of SQL there is nothing of the other to find,
nor of the machine. (By route, identity and object: test_access_matrix.py.)"""
import os

import pytest

from quern_client import FLIGHTS, Daemon

LOOKS = ["SELECT * FROM information_schema.tables", "SELECT * FROM information_schema.columns", "SELECT * FROM information_schema.schemata",
         "SELECT * FROM duckdb_databases()", "SELECT * FROM duckdb_tables()", "SELECT * FROM duckdb_views()", "SELECT * FROM duckdb_columns()", "SELECT * FROM duckdb_schemas()",
         "SELECT * FROM duckdb_constraints()", "SELECT * FROM duckdb_indexes()", "SELECT * FROM duckdb_sequences()", "SELECT * FROM duckdb_settings()", "SELECT * FROM duckdb_secrets()",
         "SELECT * FROM duckdb_temporary_files()", "SELECT * FROM duckdb_variables()", "SELECT * FROM duckdb_prepared_statements()", "SELECT * FROM duckdb_logs",
         "SELECT * FROM duckdb_external_file_cache()", "SELECT * FROM duckdb_views", "SELECT * FROM duckdb_databases", "FROM \"Sqlite_Schema\"", "SELECT * FROM sqlite_temp_master",
         "SELECT * FROM sqlite_temp_schema", "SELECT * FROM pg_catalog.pg_settings", "SELECT * FROM pg_catalog.pg_views", "SELECT * FROM pg_views", "SELECT * FROM information_schema.views",
         "SELECT * FROM \"information_schema\" . \"views\"", "FROM information_schema /* x */ . VIEWS", "SELECT json_serialize_plan('SELECT * FROM flights')", "SELECT filename FROM flights",
         "EXPLAIN ANALYZE SELECT * FROM flights", "EXPLAIN (FORMAT JSON) SELECT * FROM flights", "SHOW CREATE TABLE flights", "DESCRIBE flights", "SHOW CREATE VIEW flights",
         "SUMMARIZE SELECT * FROM sqlite_master", "CREATE TABLE stolen AS SELECT * FROM sqlite_master", "CREATE VIEW v AS SELECT * FROM duckdb_views",
         "WITH x AS (SELECT * FROM sqlite_master) SELECT * FROM x", "SELECT (SELECT max(sql) FROM sqlite_master)", "EXPLAIN ANALYZE SELECT * FROM sqlite_master", "TABLE sqlite_master",
         "SELECT * FROM query_table('sqlite_master')", "SELECT * FROM query_table(['sqlite_master'])", "SELECT * FROM 'sqlite_master'", "SELECT * FROM E'sqlite\\x5fmaster'", "SELECT * FROM e'sqlite\\137master'",
         "SELECT * FROM $$sqlite_master$$", "SELECT * FROM $a$sqlite_master$a$", "SELECT * FROM 'sqlite_'\n'master'", "SELECT 1 AS a, * FROM (SELECT 1), E'\\u0073qlite_master'",
         "CREATE TABLE stolen AS FROM 'sqlite_master'", "CREATE TABLE stolen AS FROM 'sqlite_'\n'master'", "CREATE TABLE stolen AS FROM E'sqlite\\x5fmaster'",
         "SELECT * FROM histogram('sqlite_' || 'master', 'sql')", "SELECT * FROM same, histogram(sqlite_master, sql)", "SELECT * FROM histogram_values('sqlite_master', 'sql')",
         "CREATE TABLE stolen AS SELECT * FROM same, histogram('sqlite_' || 'master', 'sql')", "SUMMARIZE sqlite_master", "DESCRIBE 'sqlite_master'",
         "SELECT views FROM information_schema.views", "SELECT * FROM system.information_schema.\"views\"", "PIVOT sqlite_master ON name", "SELECT * FROM pg_catalog.pg_class", "SELECT * FROM pg_catalog.pg_namespace", "SELECT * FROM pg_catalog.pg_database",
         "SELECT * FROM pragma_database_list", "SELECT * FROM sqlite_master", "SHOW ALL TABLES", "SHOW TABLES", "SHOW SCHEMAS", "SHOW CATALOGS", "SHOW DATABASES", "DESCRIBE same", "SHOW CREATE TABLE same",
         "EXPLAIN SELECT * FROM same", "EXPLAIN ANALYZE SELECT * FROM same", "EXPLAIN SELECT * FROM flights", "SELECT current_database(), current_schema(), current_user",
         "SELECT getvariable('x'), current_setting('temp_directory')", "SELECT current_setting('home_directory')", "SELECT * FROM glob('/**')", "SELECT * FROM glob('*')",
         "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM read_blob('*')", "SELECT getenv('HOME')"]


class Side:
    def __init__(self, d, workspace, key):
        self.d, self.workspace, self.key, self.secret = d, workspace, key, f"only-in-{workspace}"
        self.folder = os.path.join(d.folder, f"bucket-of-{workspace}")

    def kakao(self, sql, **more):
        return self.d.kakao_query(sql, key=self.key, **more)

    def good(self, sql):
        page = self.kakao(sql)
        assert page["queryInfo"]["state"] == "FINISHED", f"{sql}: {page['queryInfo']}"
        return page


@pytest.fixture(scope="module")
def sides():
    d = Daemon(env={"QUERN_ENGINE_SLOTS": "2", "QUERN_SERVER_DRAIN": "0"})
    try:
        both = [Side(d, w, d.new_key(workspace=w, user="the same user", role="admin")) for w in ("w1", "w2")]
        for side in both:
            os.makedirs(side.folder)
            d.admin("bucket", "create", "b1", "--url", "file://" + side.folder, "--workspace", side.workspace)
        d.admin("dataset", "add", "flights", "--url", "file://" + FLIGHTS, "--workspace", "w1")
        d.key = both[0].key
        d.start()
        for side in both:
            side.good(f"CREATE TABLE same AS SELECT '{side.secret}' AS v")
            side.good(f"CREATE TABLE \"table {side.secret}\" AS SELECT 1 AS \"column {side.secret}\"")
            side.good(f"CREATE SCHEMA data_catalog.\"schema {side.secret}\"")
        yield both
    finally:
        d.finish()


def test_same_names_are_different_things(sides):
    for side in sides:
        assert side.good("SELECT v FROM same")["queryData"] == [[side.secret]]
        assert side.d.d360_submit("SELECT v FROM data_catalog.main.same", key=side.key).json()["data"] == [[side.secret]]
        page = side.good("SELECT v FROM same")
        assert os.listdir(side.folder) and os.path.exists(os.path.join(side.folder, page["resultConfig"]["path"], page["queryInfo"]["queryId"] + ".csv"))
    one, two = sides
    one.good("INSERT INTO same VALUES ('more')")
    assert one.good("SELECT count(*) FROM same")["queryData"] == [["2"]] and two.good("SELECT count(*) FROM same")["queryData"] == [["1"]]
    one.good("DELETE FROM same WHERE v = 'more'")


@pytest.mark.parametrize("sql", LOOKS)
def test_sql_finds_nothing_of_the_other(sides, sql):
    """Refused or not: no name and value of the other workspace, and no path of the machine."""
    for side, other in (sides, sides[::-1]):
        told = [str(side.kakao(sql))]
        answer = side.d.d360_submit(sql, key=side.key, check=False)
        told.append(answer.text)
        for text in told:
            text = text.replace(sql, "")
            assert other.secret not in text, f"{sql}: {text[:2000]}"
            for path in (side.d.folder, side.d.build, FLIGHTS, os.path.dirname(FLIGHTS), "root:x:0"):
                assert path not in text, f"{sql} shows {path}: {text[:2000]}"
        page = side.kakao(sql)
        assert side.workspace == "w1" or "flights" not in str(page["queryData"]), str(page)[:2000]


def test_foreign_names_are_unknown_names(sides):
    """By SQL: what the other workspace has is told exactly as what nobody has (what is suggested instead is one's own)."""
    one, two = sides
    nobody = "x" * len(one.secret)
    for name in ('"table {}"', 'data_catalog."schema {}".t', 'data_catalog.main."table {}"'):
        errors = [two.kakao("SELECT * FROM " + name.format(n))["queryInfo"]["error"] for n in (one.secret, nobody)]
        first = [e["message"].replace(one.secret, nobody).split("\n")[0] for e in errors]
        assert first[0] == first[1] and errors[0]["code"] == errors[1]["code"], errors
        assert one.secret not in errors[0]["message"].partition("\n")[2], errors


def test_an_own_table_may_be_called_views(sides):
    side = sides[0]
    side.good("CREATE TABLE \"views\" AS SELECT 5 AS v")
    assert side.good("SELECT * FROM views")["queryData"] == [["5"]]
    assert side.good("SELECT histogram(v) AS h FROM views")["queryData"] == [["{5=1}"]]
    assert side.good("SELECT 'sqlite_master' AS v, E'a\\nb' AS w, 'x'\n'y' AS z")["queryData"] == [["sqlite_master", "a\nb", "xy"]]
    side.good("INSERT INTO views SELECT v + 1 FROM views")


def test_keys_of_submits_are_apart(sides):
    """The same idempotency key of the same user in the other workspace is another one; so is a result to reuse."""
    body = {"query": "SELECT v FROM data_catalog.main.same", "resultConfig": {"bucketName": "b1", "path": "x"}, "reuseConfig": {"reuse": True, "maxReuseAge": 60}}
    answers = [s.d.http("POST", "/v1/data-query/query", key=s.key, json=body, headers={"Idempotency-Key": "one"}) for s in sides]
    ids = [a.json()["queryInfo"]["queryId"] for a in answers]
    assert ids[0] != ids[1]
    for side, qid, foreign in zip(sides, ids, ids[::-1]):
        assert side.d.kakao_wait(qid, key=side.key)["queryData"] == [[side.secret]]
        assert side.d.http("GET", f"/v1/data-query/query/{foreign}", key=side.key).status_code == 404


def test_lists_and_sources_are_apart(sides):
    for side, other in (sides, sides[::-1]):
        mine = {i["queryInfo"]["queryId"] for i in side.d.http("GET", "/v1/data-query/query?size=2000", key=side.key).json()["content"]}
        theirs = {i["queryInfo"]["queryId"] for i in side.d.http("GET", "/v1/data-query/query?size=2000&creatorName=the%20same%20user", key=other.key).json()["content"]}
        assert mine and theirs and not mine & theirs
        listed = side.d.http("GET", "/v1/data-query/data-source", key=side.key)
        assert listed.status_code == 200 and other.secret not in listed.text
