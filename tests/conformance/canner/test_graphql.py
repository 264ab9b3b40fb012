"""The GraphQL operations of Canner's Python client, as its code sends and reads them (canner-python-client 0.37.2)."""
import pytest

SLOW = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"
KEYS = {"id", "status", "error", "location", "statementId", "rowCount", "columns"}
UNKNOWN = "65920080-7d5b-4c1e-9a54-0d9f1be3a111"


def error_of(answer):
    assert answer["data"] is None and len(answer["errors"]) == 1
    return answer["errors"][0]["extensions"]["code"], answer["errors"][0]["message"]


def create(c, sql, root="/web", **data):
    return c.graphql("createSqlQuery", {"workspaceId": c.workspace}, {"sql": sql, "cacheRefresh": False, "cacheTTL": 0, "source": "NOTEBOOK", **data}, root=root)


def test_create_and_wait(canner):
    for root in ("", "/web"):
        made = create(canner, "select 1 as x", root)["data"]["createSqlQuery"]
        assert set(made) == KEYS
        while made["status"] not in ("FINISHED", "FAILED"):
            made = canner.graphql("sqlQuery", {"id": made["id"]}, root=root)["data"]["sqlQuery"]
        assert set(made) == KEYS and made["status"] == "FINISHED" and made["error"] is None and made["rowCount"] == 1
        assert made["columns"][0]["name"] == "x" and isinstance(made["statementId"], str)
        assert canner.get(made["id"])["source"] == "NOTEBOOK"


def test_failed_has_a_message(canner):
    made = create(canner, "slect 1")["data"]["createSqlQuery"]
    while made["status"] != "FAILED":
        made = canner.graphql("sqlQuery", {"id": made["id"]})["data"]["sqlQuery"]
    assert made["error"]["message"].startswith("line 1:1: ") and set(made) == KEYS


def test_result_pagination(canner):
    qid = canner.run("select range from range(10) order by 1")["id"]
    page = lambda **w: canner.graphql("sqlResultPagination", {"id": qid, "source": "NOTEBOOK", **w})["data"]["sqlResultPagination"]  # noqa: E731
    assert page(limit=3, offset=2) == {"result": [[2], [3], [4]]}
    assert page(limit=20, offset=-10) == {"result": [[i] for i in range(10)]}  # the client's get_last(20) of ten rows
    assert page(limit=0, offset=0) == {"result": []} and page() == {"result": [[i] for i in range(10)]}
    older = canner.graphql("sqlResultPagination", {"id": qid, "limit": 1, "offset": 0},
                           text="query sqlResultPagination($where: X!) { sqlResultPagination(where: $where) { result columns rowCount } }")
    older = older["data"]["sqlResultPagination"]
    assert older["result"] == [[0]] and older["rowCount"] == 10 and older["columns"][0]["name"] == "range"


def test_cancel_by_statement_id(canner):
    made = create(canner, SLOW)["data"]["createSqlQuery"]
    code, _ = error_of(canner.graphql("sqlResultPagination", {"id": made["id"], "limit": 1, "offset": 0}))
    assert code == "QUERY_NOT_FINISHED"
    assert canner.graphql("deleteStatement", {"id": made["statementId"]})["data"]["deleteStatement"] == {"id": made["statementId"]}
    assert canner.get(made["id"])["error"]["errorName"] == "USER_CANCELED"
    assert canner.graphql("deleteStatement", {"id": made["statementId"]})["data"]["deleteStatement"] == {"id": made["statementId"]}


def test_saved_and_me(canner):
    saved = canner.ok("POST", "/sql", {"title": "by title", "sql": "select 9"})
    listed = canner.graphql("sqls", {"workspaceId": canner.workspace})["data"]["sqls"]
    assert listed[0] == {"id": saved["id"], "title": "by title", "description": None, "sql": "select 9", "workspaceId": canner.workspace}
    me = canner.graphql("UserMe")["data"]["userMe"]
    assert set(me) == {"id", "accountRole", "attributes", "createdAt", "email", "groups", "lastName", "firstName", "username"}
    assert me["username"] == "alice"


def test_operation_named_in_the_text_only(canner):
    body = {"query": "\n  query sqls($where: SqlWhereInput!) {\n sqls(where: $where) { id } }", "variables": {"where": {"workspaceId": canner.workspace}}}
    answer = canner.d.http("POST", "/graphql", dialect="canner", json=body)
    assert isinstance(answer.json()["data"]["sqls"], list)


@pytest.mark.parametrize("operation, where, data, code", [
    ("nothing", {}, None, "GRAPHQL_VALIDATION_FAILED"), (None, {}, None, "GRAPHQL_VALIDATION_FAILED"), ("sqlQuery", {}, None, "BAD_USER_INPUT"),
    ("sqlQuery", {"id": 7}, None, "BAD_USER_INPUT"), ("sqlQuery", {"id": UNKNOWN}, None, "NOT_FOUND"), ("sqlQuery", {"id": "junk"}, None, "NOT_FOUND"),
    ("sqlResultPagination", {"id": UNKNOWN, "limit": "x"}, None, "BAD_USER_INPUT"), ("sqlResultPagination", {"id": UNKNOWN, "limit": -5}, None, "BAD_USER_INPUT"),
    ("deleteStatement", {"id": UNKNOWN}, None, "NOT_FOUND"), ("sqls", {}, None, "BAD_USER_INPUT"), ("sqls", {"workspaceId": UNKNOWN}, None, "NOT_FOUND"),
    ("createSqlQuery", {"workspaceId": UNKNOWN}, {"sql": "select 1"}, "NOT_FOUND"), ("createSqlQuery", {}, {"sql": "select 1"}, "BAD_USER_INPUT"),
    ("createSqlQuery", {"workspaceId": "x"}, {}, "BAD_USER_INPUT"), ("createSqlQuery", {"workspaceId": "x"}, {"sql": 1}, "BAD_USER_INPUT"),
])
def test_errors_are_200(canner, operation, where, data, code):
    got, message = error_of(canner.graphql(operation, where, data))
    assert got == code and message


def test_roles_and_workspaces(canner):
    reader, stranger = canner.by(canner.d.reader), canner.by(canner.d.other)
    code, message = error_of(create(reader, "select 1"))
    assert code == "GRAPHQL_ADMISSION_CONTROL_FORBIDDEN" and canner.workspace in message and "WorkspaceOwner,WorkspaceDataAnalyst" in message
    done = canner.run("select 1")
    assert error_of(reader.graphql("deleteStatement", {"id": done["id"]}))[0] == "GRAPHQL_ADMISSION_CONTROL_FORBIDDEN"
    assert reader.graphql("sqlQuery", {"id": done["id"]})["data"]["sqlQuery"]["status"] == "FINISHED"
    for operation in ("sqlQuery", "sqlResultPagination", "deleteStatement"):
        assert stranger.graphql(operation, {"id": done["id"]}) == stranger.graphql(operation, {"id": UNKNOWN})


def test_bodies_that_are_no_object(canner):
    for data in ("{", "[]", ""):
        answer = canner.d.http("POST", "/web/graphql", dialect="canner", data=data)
        assert answer.status_code == 400 and answer.json()["code"] == "BAD_USER_INPUT"
    answer = canner.d.http("POST", "/web/graphql", key=False, json={})
    assert answer.status_code == 401 and answer.json()["code"] == "UNAUTHENTICATED"
