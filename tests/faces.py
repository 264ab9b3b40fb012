"""The five dialects as one thing to tests: each submits, tells the state, reads rows and error, cancels, deletes, lists and downloads in its own words
(docs/dialects.md)."""
import csv
import io

from quern_client import wait_until

SQL = "SELECT 7 AS n, 'a, \"b\" é' AS t, true AS b, DATE '2024-02-29' AS d UNION ALL SELECT 8, 'second', false, DATE '1969-12-31' ORDER BY 1"
ROWS = [["7", 'a, "b" é', "true", "2024-02-29"], ["8", "second", "false", "1969-12-31"]]
SLOW = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"
WRONG = "SELECT * FROM nowhere_at_all"
ENDED = ("FINISHED", "FAILED", "CANCELED", "GONE")


def text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


class Face:
    """One dialect. state() is one of RUNNING (queued too), FINISHED, FAILED, CANCELED, GONE, UNKNOWN; each says what of it the dialect can tell."""
    name = None

    def __init__(self, d, key):
        self.d, self.key = d, key

    def wait(self, qid):
        return wait_until(f"{self.name}: {qid} to end", lambda: self.state(qid) if self.state(qid) in ENDED else None)

    def download(self, qid):
        return self.d.download(qid, key=self.key, dialect=self.name)


class Kakao(Face):
    name, unseen = "kakao", 404

    def submit(self, sql):
        return self.d.kakao_run(sql, key=self.key)

    def page(self, qid):
        return self.d.http("GET", f"/v1/data-query/query/{qid}", key=self.key)

    def state(self, qid):
        answer = self.page(qid)
        if answer.status_code == 404:
            return "UNKNOWN"
        body = answer.json()
        word = {"QUEUED": "RUNNING", "RUNNING": "RUNNING", "FINISHED": "FINISHED", "FAILED": "FAILED", "ABORTED": "CANCELED"}[body["queryInfo"]["state"]]
        return "GONE" if word == "FINISHED" and not body["queryData"] else word

    def rows(self, qid):
        return self.page(qid).json()["queryData"]

    def error(self, qid):
        return self.page(qid).json()["queryInfo"]["error"]["message"]

    def cancel(self, qid):
        return self.d.kakao_abort(qid, key=self.key)

    delete = None

    def listed(self):
        body = self.d.http("GET", "/v1/data-query/query?size=2000", key=self.key).json()
        return {x["queryInfo"]["queryId"] for x in body["content"]}


class Canner(Face):
    name = "canner"

    def call(self, method, path, **body):
        here = self.key["workspaceId"]
        if method == "GET":
            return self.d.http("GET", f"/api/v1{path}{'&' if '?' in path else '?'}workspaceId={here}", key=self.key, dialect="canner")
        return self.d.http(method, "/api/v1" + path, key=self.key, dialect="canner", json={"workspaceId": here, **body})

    def submit(self, sql):
        answer = self.call("POST", "/query", sql=sql)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def state(self, qid):
        answer = self.call("GET", f"/query/{qid}")
        if answer.status_code == 404:
            return "UNKNOWN"
        body = answer.json()
        if body["status"] == "FAILED":
            return "CANCELED" if body["error"]["errorName"] == "USER_CANCELED" else "FAILED"
        if body["status"] == "FINISHED":
            result = self.call("GET", f"/query/{qid}/result?limit=0")
            return "GONE" if (result.status_code, result.json().get("code")) == (404, "RESULT_EXPIRED") else "FINISHED"
        return "RUNNING"

    def rows(self, qid):
        return [[text(v) for v in row] for row in self.call("GET", f"/query/{qid}/result").json()["result"]]

    def error(self, qid):
        return self.call("GET", f"/query/{qid}").json()["error"]["message"]

    def cancel(self, qid):
        return self.call("PUT", f"/query/{qid}/cancel")

    delete = None

    def listed(self):
        return {x["id"] for x in self.call("GET", "/queries?limit=10000").json()["result"]}


class Data360(Face):
    name = "data360"

    def submit(self, sql):
        answer = self.d.d360_submit(sql, mode="ASYNC", key=self.key, check=False)
        if answer.status_code == 400:  # compiled before the answer: the error names the query
            return answer.json()["details"]["queryId"]
        assert answer.status_code == 200, answer.text
        return self.d.d360_status_of(answer)["queryId"]

    def state(self, qid):
        answer = self.d.d360_get(f"{qid}?waitTimeMs=100", key=self.key)
        if answer.status_code == 200:
            return "FINISHED" if answer.json()["completionStatus"] in ("FINISHED", "RESULTS_PRODUCED") else "RUNNING"
        return {404: "UNKNOWN", 408: "CANCELED", 400: "FAILED"}[answer.status_code]

    def rows(self, qid):
        return [[text(v) for v in row] for row in self.d.d360_rows(qid, key=self.key)]

    def error(self, qid):
        return self.d.d360_get(qid, key=self.key).json()["message"]

    def delete(self, qid):
        return self.d.http("DELETE", f"/api/v3/query/{qid}", key=self.key, dialect="data360")

    cancel = delete  # its only way
    listed = None


class Kylin(Face):
    name = "kylin"

    @property
    def project(self):
        return self.key["workspace"]

    def submit(self, sql):
        answer = self.d.kylin("POST", "async_query", key=self.key, json={"sql": sql, "project": self.project})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["query_id"]

    def status(self, qid):
        return self.d.kylin_get(qid, "status", key=self.key, project=self.project).json()["data"]

    def state(self, qid):
        data = self.status(qid)
        if data["status"] == "FAILED":
            return "CANCELED" if data["info"] == "Stopped by user." else "FAILED"
        return {"RUNNING": "RUNNING", "SUCCESSFUL": "FINISHED", "MISSING": "UNKNOWN"}[data["status"]]

    def rows(self, qid):
        answer = self.d.kylin_get(qid, "result_download", key=self.key, project=self.project)
        assert answer.status_code == 200, answer.text
        return list(csv.reader(io.StringIO(answer.content.decode())))

    def error(self, qid):
        return self.status(qid)["info"]

    def cancel(self, qid):
        return self.d.kylin("DELETE", f"async_query/stop/{qid}?project={self.project}", key=self.key)

    def delete(self, qid):
        return self.d.kylin("DELETE", f"async_query/{qid}?project={self.project}", key=self.key)

    listed = None


class JackDB(Face):
    name = "jackdb"

    def submit(self, sql):
        return self.d.jackdb_execute(sql, key=self.key)["id"]

    def state(self, qid):
        answer = self.d.jackdb("GET", f"/query/{qid}", key=self.key)
        if answer.status_code == 404:
            return "UNKNOWN"
        body = answer.json()
        if body["success"] is None:
            return "RUNNING"
        if body["success"]:
            return "FINISHED"
        return "CANCELED" if self.error(qid) == "Query was canceled" else "FAILED"

    def rows(self, qid):
        return self.d.jackdb_get(f"{qid}/result/0/rows", key=self.key)

    def error(self, qid):
        last = self.d.jackdb_get(qid, key=self.key)["numResults"] - 1
        return self.d.jackdb_get(f"{qid}/result/{last}", key=self.key)["detail"]["error"]

    def cancel(self, qid):
        return self.d.jackdb("POST", f"/query/{qid}/cancel", key=self.key)

    def delete(self, qid):
        return self.d.jackdb("DELETE", f"/query/{qid}", key=self.key)

    def listed(self):
        body = self.d.jackdb("GET", "/query?limit=1000", key=self.key).json()
        return {x["id"] for x in (body if isinstance(body, list) else body["queries"])}


FACES = (Kakao, JackDB, Canner, Data360, Kylin)
