"""Canner REST v1: a client of the calls, over the session's daemon. `canner`: the admin of w1 on /api/v1; as(key, base) makes others."""
import time

import pytest

from quern_client import PATIENCE


class Canner:
    def __init__(self, daemon, key=None, base="/api/v1"):
        self.d = daemon
        self.key = key or daemon.key
        self.base = base
        self.workspace = self.key["workspaceId"]

    def by(self, key=None, base=None):
        return Canner(self.d, key or self.key, base or self.base)

    def call(self, method, path, json=None, workspace=True, **more):
        """workspace: adds the key's own to the query string of a GET, to the body of others."""
        if workspace and method == "GET":
            path += ("&" if "?" in path else "?") + "workspaceId=" + self.workspace
        if workspace and isinstance(json, dict):
            json = {"workspaceId": self.workspace, **json}
        return self.d.http(method, self.base + path, key=self.key, dialect="canner", json=json, **more)

    def ok(self, method, path, json=None, **more):
        answer = self.call(method, path, json, **more)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.headers["Content-Type"] == "application/json"
        return answer.json()

    def submit(self, sql, headers=None, **fields):
        return self.ok("POST", "/query", {"sql": sql, **fields}, headers=headers)

    def get(self, qid):
        return self.ok("GET", f"/query/{qid}")

    def wait(self, qid, status=("FINISHED", "FAILED")):
        end = time.monotonic() + PATIENCE
        while True:
            seen = self.get(qid)
            if seen["status"] in status:
                return seen
            assert time.monotonic() < end, f"{seen}\n{self.d.log()[-3000:]}"

    def run(self, sql, **fields):
        return self.wait(self.submit(sql, **fields)["id"])

    def result(self, qid, **query):
        return self.ok("GET", f"/query/{qid}/result?" + "&".join(f"{k}={v}" for k, v in query.items()))

    def rows(self, sql, **fields):
        done = self.run(sql, **fields)
        assert done["status"] == "FINISHED", done
        return self.result(done["id"])["result"]

    def refused(self, status, code, method, path, json=None, **more):
        """An error: its status and code; its message."""
        answer = self.call(method, path, json, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        body = answer.json()
        assert list(body) == ["code", "message"] and body["code"] == code and body["message"], body
        return body["message"]

    def graphql(self, operation, where=None, data=None, text="", root="/web"):
        body = {"operationName": operation, "query": text, "variables": {"where": where or {}, **({"data": data} if data else {})}}
        answer = self.d.http("POST", root + "/graphql", key=self.key, dialect="canner", json=body)
        assert answer.status_code == 200, f"{operation}: {answer.status_code} {answer.text}"
        return answer.json()


@pytest.fixture(scope="session")
def canner_of():
    """canner_of(daemon): the same for a daemon of the test's own."""
    return Canner


@pytest.fixture(scope="session")
def canner(q):
    return Canner(q)


@pytest.fixture(params=["/api/v1", "/web/api/v1"], ids=["cluster", "standalone"])
def both(q, request):
    """The same on both base paths."""
    return Canner(q, base=request.param)
