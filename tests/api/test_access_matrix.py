"""Who may do what, as a matrix that makes itself: every route of `quernd routes --json`, with every method, for every identity, on every
kind of object. What is expected follows from a few rules (below), not from what the server does; a route without a row in FIXTURES fails.

Rules (design, "Who sees what"):
  no, malformed, wrong or revoked credential   401, the same answer whatever the object
  reader                                       looks at what its workspace has; 403 on all else, before anybody asks whose it is
  member                                       looks, runs, ends its own; 403 on ending another's
  admin                                        all of that for everybody's in its workspace
  another workspace's                          answers exactly, byte for byte, as what does not exist
  a method that a path does not have           405 (or 401), the same answer whatever the object
  Kylin                                        adds its own rules: only the owner and admins read, batch deletes are for admins, and its
                                               refusals have HTTP status 200, 400 or 500 with a code in the body
  nothing that was denied has an effect, and no answer holds a word of another workspace
"""
import json
import re
import subprocess

import pytest

from quern_client import BLOCK, BUILD, wait_until

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
UNKNOWN = {"kakao": "20240101-000000-aaaaaaaaaa", "uuid": "65920080-7d5b-4c1e-9a54-0d9f1be3a111"}
NOBODY = ("none", "malformed", "wrong", "revoked")
SOMEBODY = ("reader", "owner", "other", "admin")  # of w1; owner is the member that owns the object "own"
STRANGER = "stranger"  # admin of w2
OWNERS = {"own": "owner", "others": "other", "foreign": STRANGER}  # objects: the member's own, another member's of w1, of w2
DIALECTS = ("kakao", "jackdb", "canner", "data360", "kylin")

# --- what a route needs ---------------------------------------------------------------------------------------------
#
# right     open: nobody is asked; look: reader; run: member, no object; end: member, and the object's owner or an admin;
#           own: the object's owner or an admin reads; admin: admins only
# object    None; query, saved: {id} is a query's, a saved SQL's; source: {name} or {source} is a data source's; service: {service} is one's
# query     the query string; {id} there counts as the object
# body      JSON of the request; words in braces are filled in per workspace
# done      True: the object is a finished query; False: a queued one (what ends it needs one that lives)
# allowed   statuses of somebody who may (default: any 2xx)
# denied    statuses for a member who may not end another's (default 403)
# reader_absent  statuses for a reader who would end what does not exist (default 403: the role is checked first)
# absent    statuses for what does not exist, to somebody who may use the route (default 404)
# reader    statuses for a reader whose role does not allow it (default 403)
# waits     the answer comes with the end of a statement: asked where a slot is free
# codes     what `code` in the body must be, by the rule's word; a 500 is an answer then


def case(right, object=None, query="", body=None, done=True, allowed=range(200, 300), absent=(404,), denied=(403,), reader_absent=(403,), headers=None,
         reader=(403,), codes=None, waits=False):
    return {"right": right, "object": object, "query": query, "body": body, "done": done, "allowed": allowed, "absent": absent, "denied": denied,
            "reader_absent": reader_absent, "headers": headers or {}, "403": reader, "codes": codes or {}, "waits": waits}


NAMES = {"X-Data-Source": "data_catalog", "X-Database": "main"}
RESULT = {"bucketName": "{bucket}", "path": "matrix"}
SOURCE = {"name": "matrix_source", "type": "MYSQL", "scope": "PUBLIC", "description": "", "config": {}, "instanceId": "none",
          "id": "none", "username": "none", "userName": "none", "password": "none"}

COMMAND = {"command": "SELECT '{marker}'"}

IN = "?project={project}"
V4 = {"Accept": "application/vnd.apache.kylin-v4+json"}
SQL = {"sql": "SELECT '{marker}'", "project": "{project}"}
KYLIN = {"ok": ("000",), "denied": ("401",), "403": ("999",), "absent": ("000", "401", "999"), "reader_absent": ("999",)}


def kylin(right, object="query", **more):
    return case(right, object, more.pop("query", IN), reader=(400,), reader_absent=(400,), codes={**KYLIN, **more.pop("codes", {})}, **more)

HERE = "?workspaceId={workspace}"
# GraphQL says everything in a body, with 200: what it says is tested in tests/conformance/canner/test_graphql.py
GRAPHQL = [case(right, "query" if right != "run" else None, body={"operationName": operation, "query": "", "variables": variables}, done=right != "end",
                absent=(200,), denied=(200,), reader_absent=(200,), reader=(200,))
           for right, operation, variables in (
               ("look", "sqlQuery", {"where": {"id": "{id}"}}), ("look", "sqlResultPagination", {"where": {"id": "{id}"}}),
               ("end", "deleteStatement", {"where": {"id": "{id}"}}),
               ("run", "createSqlQuery", {"where": {"workspaceId": "{workspace}"}, "data": {"sql": "SELECT '{marker}'"}}))]
CANNER = {
    "service": [case("look", "service", absent=(404,))],
    "switch_service": [case("run", "service", body={"state": True})],
    "list_saved": [case("look", query=HERE)],
    "get_saved": [case("look", "query", HERE), case("look", "saved", HERE)],
    "save": [case("run", body={"workspaceId": "{workspace}", "title": "matrix", "sql": "SELECT '{marker}'"})],
    "run_saved": [case("run", "saved", body={"workspaceId": "{workspace}"})],
    "list": [case("look", query=HERE), case("look", query=HERE + "&limit=1000")],
    "query": [case("look", "query", HERE)],
    "result": [case("look", "query", HERE), case("look", "query", HERE + "&limit=1&offset=0")],
    "signed_urls": [case("look", "query", HERE)],
    "part": [case("open", allowed=(403,))],  # a link carries its own right
    "submit": [case("run", body={"workspaceId": "{workspace}", "sql": "SELECT '{marker}'"})],
    "cancel": [case("end", "query", body={"workspaceId": "{workspace}"}, done=False)],
    "graphql": GRAPHQL,
}

FIXTURES = {
    "kylin.query": [kylin("run", None, query="", body=SQL, codes={"ok": None}, headers=V4, waits=True)],
    "kylin.login": [kylin("look", None, query="", headers=V4)],
    "kylin.login_post": [kylin("look", None, query="", body={}, headers=V4)],
    "kylin.projects": [kylin("look", None, query="", headers=V4)],
    "kylin.health": [kylin("look", None, query="", codes={"ok": None})],
    # they run a statement: a reader may not
    "kylin.columns": [kylin("run", None, headers=V4, waits=True)],
    "kylin.columns_v4": [kylin("run", None, headers=V4, waits=True)],
    "kylin.tables": [kylin("run", None, headers=V4, waits=True)],
    "kylin.submit": [kylin("run", None, query="", body=SQL)],
    "kylin.status": [kylin("own", absent=(200,), denied=(200,))],
    # of what is not there an admin is told so, and the others that they may not
    "kylin.metadata": [kylin("own", absent=(200, 500), denied=(200,))],
    "kylin.file_status": [kylin("own", absent=(200, 500), denied=(200,))],
    "kylin.file_status_v2": [kylin("own", absent=(200, 500), denied=(200,))],
    "kylin.download": [kylin("own", absent=(500,), denied=(500,), codes={"ok": None, "denied": ("999",)})],
    # these objects are another dialect's and have no folder of Kylin's
    "kylin.path": [kylin("own", absent=(200, 500), denied=(200,), allowed=(500,), codes={"ok": ("999",)})],
    "kylin.delete": [kylin("end", done=False, absent=(200,), denied=(200,))],
    "kylin.stop": [kylin("end", done=False, absent=(500,), denied=(200,))],
    "kylin.delete_many": [kylin("admin", None, query="", denied=(500,), codes={"denied": ("999",)}),
                          kylin("admin", None, query=IN + "&older_than=2020-01-01%2000:00:00", denied=(500,), codes={"denied": ("999",)})],
    "kakao.run": [case("run", body={"query": "SELECT '{marker}'", "resultConfig": RESULT}, headers=NAMES)],
    "kakao.list": [case("look"), case("look", "query", "?queryId={id}")],
    "kakao.result": [case("look", "query"), case("look", "query", "?page=1")],
    "kakao.abort": [case("end", "query", done=False)],
    "kakao.abort_short": [case("end", "query", done=False)],
    "kakao.sources": [case("look")],
    # the first who may create it, the others find it there; a body that this kind does not take is a 400
    "kakao.create_source": [case("run", body=SOURCE, allowed=(200, 201, 202, 204, 400, 404, 409))],
    "kakao.delete_source": [case("run", "source", allowed=(400,))],
    "data360.submit": [case("run", body={"sql": "SELECT '{marker}'", "transferMode": "ASYNC"})],
    "data360.status": [case("look", "query")],
    "data360.rows": [case("look", "query", "?offset=0")],
    "data360.row": [case("look", "query", "?offset=0")],
    "data360.chunk": [case("look", "query")],
    "data360.chunk_singular": [case("look", "query")],
    "data360.metadata": [case("look", "query")],
    # "DELETE -> 204 always, except reader -> 403 on an existing query"; that a denied one has no effect is seen at the end
    "data360.delete": [case("end", "query", done=False, absent=(204,), denied=(204,), reader_absent=(204,))],
    **{f"{base}.{name}": cases for base in ("canner", "canner_web") for name, cases in CANNER.items()},
    "jackdb.list": [case("look")],
    "jackdb.get": [case("look", "query"), case("look", "query", "?expand=status&include=results")],
    "jackdb.cancel": [case("end", "query", done=False)],
    "jackdb.delete": [case("end", "query", done=False)],
    "jackdb.result": [case("look", "query")],
    "jackdb.rows": [case("look", "query"), case("look", "query", "?seek=0&limit=1")],
    **{name: [case("run", "source", body=COMMAND)]
       for name in ("jackdb.execute", "jackdb.execute_command", "jackdb.execute_query", "jackdb.execute_short")},
    "jackdb.sources": [case("look")],
    "jackdb.source": [case("look", "source")],
    # the first of a workspace makes it, the others find its alias taken
    "jackdb.create_source": [case("run", body={"name": "matrix jackdb", "configUri": "mysql://u:p@none/d"}, allowed=(200, 409))],
    "jackdb.delete_source": [case("run", "source", allowed=(400,))],
    "neutral.download": [case("look", "query", f"?format={f}") for f in ("csv", "json", "arrow")],
    "neutral.healthz": [case("open")],
    "neutral.readyz": [case("open")],
    "neutral.metrics": [case("open")],
}


def routes():
    done = subprocess.run([f"{BUILD}/quernd", "routes", "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


ROUTES = routes()


def expected(right, identity, owned, absent_object):
    """The rule, as a word. owned: True, False (another's of the same workspace) or None (no object)."""
    if right == "open":
        return "ok"
    if identity in NOBODY:
        return "401"
    if right == "admin":
        return "ok" if identity in ("admin", STRANGER) else "denied"
    if identity == "reader" and right in ("run", "end"):
        return "reader_absent" if absent_object else "403"
    if absent_object:
        return "absent"
    if right == "own" and identity == "reader":
        return "denied"
    if right in ("end", "own") and identity in ("owner", "other") and not owned:
        return "denied"
    return "ok"


# --- the place ------------------------------------------------------------------------------------------------------


class Place:
    def __init__(self, d, blocked=True):
        self.d = d
        self.keys = {"admin": d.key, "owner": d.new_key(user="bob", role="member"), "other": d.new_key(user="carol", role="member"),
                     "reader": d.new_key(user="dave", role="reader"), STRANGER: d.new_key(workspace="w2", user="erin", role="admin"),
                     "revoked": d.new_key(user="frank", role="admin")}
        d.admin("key", "revoke", self.keys["revoked"]["keyId"])
        d.admin("bucket", "create", "b2", "--url", f"file://{d.folder}/bucket", "--workspace", "w2")
        d.start()
        # objects, by (whose, finished): of w1's member bob, of w1's member carol, of w2
        self.done, self.queued = {}, {}
        for whose, key in OWNERS.items():
            body = d.kakao_query(f"SELECT '{self.marker(key)}' AS s, '{whose}'", key=self.keys[key], bucket=self.bucket(key))
            assert body["queryInfo"]["state"] == "FINISHED", body
            self.done[whose] = body["queryInfo"]["queryId"]
        if not blocked:
            return
        self.blocker = d.kakao_run(BLOCK)
        d.kakao_wait(self.blocker, states=("RUNNING",))
        for whose, key in OWNERS.items():
            self.queued[whose] = self.submit(key)
        self.saved = {}
        for whose, key in OWNERS.items():
            body = {"workspaceId": self.workspace(key), "title": whose, "sql": f"SELECT '{self.marker(key)}'"}
            self.saved[whose] = d.http("POST", "/api/v1/sql", key=self.keys[key], dialect="canner", json=body).json()["id"]

    @staticmethod
    def marker(identity):
        return "secret-of-w2" if identity == STRANGER else "secret-of-w1"

    @staticmethod
    def bucket(identity):
        return "b2" if identity == STRANGER else "b1"

    def workspace(self, identity):
        return self.keys[STRANGER if identity == STRANGER else "admin"]["workspaceId"]

    def submit(self, identity):
        return self.d.kakao_run(f"SELECT '{self.marker(identity)}' AS s", key=self.keys[identity], bucket=self.bucket(identity))

    def spellings(self, qid):
        """Both ids of a query: Kakao's and the UUID, as Data 360's header tells it."""
        key = self.keys["admin"] if qid not in (self.done["foreign"], self.queued["foreign"]) else self.keys[STRANGER]
        status = self.d.d360_get(f"{qid}?waitTimeMs=0", key=key)
        found = re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", status.headers.get("x-hyperdb-status", "") + status.text)
        assert found, status.text
        return {"kakao": qid, "uuid": found.group(0)}

    def credential(self, identity, dialect):
        if identity == "none":
            return {}
        if identity in ("malformed", "wrong"):
            good = self.keys["admin"]["headers"][dialect]
            if identity == "malformed":
                return {name: "x y z" for name in good}
            wrong = {}
            for name, value in good.items():
                if name.lower() == "credential-id":
                    wrong[name] = value
                elif value.lower().startswith("basic "):
                    import base64
                    plain = base64.b64decode(value.split()[1]).decode()
                    wrong[name] = "Basic " + base64.b64encode((plain[:-1] + ("x" if plain[-1] != "x" else "y")).encode()).decode()
                else:
                    wrong[name] = value[:-1] + ("x" if value[-1] != "x" else "y")
            return wrong
        return self.keys[identity]["headers"][dialect]


@pytest.fixture(scope="module")
def place():
    from quern_client import Daemon
    d = Daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_AUTH_MAX_FAILURES": "1000000", "QUERN_ENGINE_IDLE_MAX": "2", "QUERN_SERVER_DRAIN": "0",
                    "QUERN_CANNER_HOLD": "0"})
    try:
        d.prepare(flights=False)
        made = Place(d)
        yield made
        nothing_denied_had_an_effect(made)
    finally:
        d.finish()


def nothing_denied_had_an_effect(place):
    """When all is over, wherever these tests ran: what was shared by all denied requests is as it was."""
    d = place.d
    for whose, key in OWNERS.items():
        assert d.kakao_get(place.queued[whose], key=place.keys[key])["queryInfo"]["state"] == "QUEUED", f"{whose}: somebody who may not ended it"
        assert d.kakao_get(place.done[whose], key=place.keys[key])["queryData"] == [[place.marker(key), whose]], f"{whose}: somebody who may not deleted it"
    listed = d.admin("key", "list")
    assert json.dumps(listed).count("keyId") >= 6
    assert d.kakao_abort(place.blocker).status_code == 200
    wait_until("the queue to empty", lambda: d.metrics()["quern_queries_queued"] == 0)
    assert d.kakao_wait(place.queued["own"])["queryData"] == [["secret-of-w1"]]


@pytest.fixture(scope="module")
def free_place():
    """The same with its slot free."""
    from quern_client import Daemon
    d = Daemon(env={"QUERN_AUTH_MAX_FAILURES": "1000000"})
    try:
        d.prepare(flights=False)
        yield Place(d, blocked=False)
    finally:
        d.finish()


# --- asking and comparing -------------------------------------------------------------------------------------------


def plain(answer):
    """Status, headers and body without ids, times and the request's own id."""
    request_id = answer.headers.get("X-Request-Id")
    text = answer.content.decode("utf-8", "replace")
    if request_id:
        text = text.replace(request_id, "REQUEST")
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\d{8}-\d{6}-[0-9A-Za-z]{10}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|[+-]\d\d:?\d\d)?", "TIME", text)
    headers = sorted((k.lower(), v) for k, v in answer.headers.items() if k.lower() not in ("date", "x-request-id", "content-length"))
    headers = [(k, re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", v)) for k, v in headers]
    return answer.status_code, headers, text


def fill(value, place, identity, object_id):
    text = json.dumps(value).replace("{id}", object_id or "").replace("{workspace}", place.workspace(identity))
    text = text.replace("{project}", "w2" if identity == STRANGER else "w1")
    return text.replace("{bucket}", place.bucket(identity)).replace("{marker}", place.marker(identity))


def ask(place, method, pattern, c, identity, dialect, object_id):
    path = pattern
    for name, value in {"id": object_id or "x", "name": object_id or "x", "service": object_id or "x", "source": object_id or "x",
                        "index": "0", "chunk": "0", "part": "part-0.parquet"}.items():
        path = path.replace("{" + name + "}", value)
    path += (c["query"] if c else "").replace("{id}", object_id or "").replace("{project}", "w2" if identity == STRANGER else "w1")
    path = path.replace("{workspace}", place.workspace(identity))
    assert "{" not in path, f"{pattern}: a path parameter without a fixture"
    headers = {**(c["headers"] if c else {}), **place.credential(identity, dialect)}
    data = None
    if c and c["body"] is not None:
        data = fill(c["body"], place, identity, object_id)
        headers["Content-Type"] = "application/json"
    elif method in ("POST", "PUT", "PATCH"):
        data = ""
    answer = place.d.http(method, path, key=False, data=data, headers=headers)
    told = answer.text + str(answer.headers)
    if identity in NOBODY or identity == STRANGER:
        assert "secret-of-w1" not in told, f"{identity} {method} {path}: {told[:500]}"
    if identity != STRANGER:
        assert "secret-of-w2" not in told, f"{identity} {method} {path}: {told[:500]}"
    assert answer.status_code < 500 or (not c and answer.status_code == 501) or (c and c["codes"]), f"{identity} {method} {path}: {answer.status_code} {answer.text[:300]}"
    return answer


def dialects_of(route):
    credential = str(route["credential"])
    if credential == "any":
        return DIALECTS
    return (credential if credential in DIALECTS else "kakao",)


def test_every_route_has_a_fixture():
    names = {r["name"] for r in ROUTES}
    assert len(ROUTES) >= 15
    assert not names - set(FIXTURES), f"routes without a row in FIXTURES (tests/api/test_access_matrix.py): {sorted(names - set(FIXTURES))}"
    assert not set(FIXTURES) - names, f"rows of FIXTURES without a route: {sorted(set(FIXTURES) - names)}"
    for r in ROUTES:
        for c in FIXTURES.get(r["name"], []):
            assert (c["right"] == "open") == (r["credential"] == "none"), f"{r}: the route table and the fixture disagree on whether anybody may"


@pytest.mark.parametrize("route", ROUTES, ids=[r["name"] for r in ROUTES])
def test_matrix(place, route, request):
    wrong, cells = [], 0
    for c in FIXTURES.get(route["name"]) or pytest.fail(f"route {route['name']} has no row in FIXTURES"):
        for dialect in dialects_of(route):
            where = request.getfixturevalue("free_place") if c["waits"] else place
            cells += matrix_of_case(where, route, c, dialect, wrong)
    assert cells > 0
    print(f"{route['name']}: {cells} cells")
    assert not wrong, f"{len(wrong)} of {cells} cells:\n" + "\n".join(wrong[:20])


def matrix_of_case(place, route, c, dialect, wrong):
    cells = 0
    method, pattern = route["method"], route["pattern"]

    def cell(identity, name, object_id, owned, is_absent):
        nonlocal cells
        cells += 1
        want = expected(c["right"], identity, owned, is_absent)
        if c["right"] == "end" and want == "ok":
            object_id = place.submit(OWNERS[name])  # it goes: a fresh one
        answer = ask(place, method, pattern, c, identity, dialect, object_id)
        got = answer.status_code
        good = got in {"ok": c["allowed"], "401": (401,)}.get(want, c.get(want))
        if c["codes"].get(want) and good:
            good = answer.json()["code"] in c["codes"][want]
        if not good:
            wrong.append(f"{method} {pattern}{c['query']} by {identity} ({dialect}) on {name}: {got}, expected {want}: {answer.text[:200]}")
        return answer

    if c["object"] is None:
        for identity in NOBODY + SOMEBODY + (STRANGER,):
            cell(identity, "no object", None, None, False)
        return cells
    if c["object"] in ("source", "service"):
        for identity in NOBODY + SOMEBODY + (STRANGER,):
            cell(identity, "what all have", "data_catalog" if c["object"] == "source" else "SQL_ENGINE", None, False)
            cell(identity, "an unknown one", "nothing_of_that_name", None, True)
        return cells
    objects = place.saved if c["object"] == "saved" else place.done if c["done"] else place.queued
    for identity in NOBODY + SOMEBODY + (STRANGER,):
        in_w2 = identity == STRANGER
        seen = {}
        for name, object_id in objects.items():
            is_absent = in_w2 != (name == "foreign")
            # "end" that is denied asks for the shared object: it must be there afterwards
            answer = cell(identity, name, object_id, identity == OWNERS[name], is_absent)
            if identity in NOBODY or is_absent:
                seen[name] = answer
        for spelling, unknown in UNKNOWN.items():
            seen["unknown " + spelling] = cell(identity, f"unknown ({spelling})", unknown, None, True)
        # in both spellings and states: what one may not see is what does not exist
        hidden = [n for n in objects if (in_w2 != (n == "foreign")) or identity in NOBODY]
        for name in hidden:
            for state in (place.saved,) if c["object"] == "saved" else (place.done, place.queued):
                for spelling, object_id in ({"uuid": state[name]} if c["object"] == "saved" else place.spellings(state[name])).items():
                    answer = ask(place, method, pattern, c, identity, dialect, object_id)
                    cells += 1
                    if plain(answer) != plain(seen["unknown " + spelling]):
                        wrong.append(f"{method} {pattern} by {identity}: {name} {object_id} is told from an unknown one:\n  {plain(answer)}\n  {plain(seen['unknown ' + spelling])}")
    return cells


def test_every_other_method(place):
    """What a path does not have is 405 to everybody who is known, and tells nothing of the object."""
    wrong, cells = [], 0
    by_pattern = {}
    for r in ROUTES:
        by_pattern.setdefault(r["pattern"], []).append(r)
    for pattern, its in by_pattern.items():
        have = {r["method"] for r in its}
        have |= {"HEAD"} if "GET" in have else set()
        dialect = dialects_of(its[0])[0]
        for method in METHODS:
            if method in have or method == "OPTIONS":
                continue
            for identity in NOBODY + SOMEBODY + (STRANGER,):
                answers = []
                ids = [place.done[w] for w in ("own", "others", "foreign")] + [UNKNOWN["kakao"]] if "{id}" in pattern else ["data_catalog"]
                for object_id in ids:
                    answer = ask(place, method, pattern, None, identity, dialect, object_id)
                    cells += 1
                    answers.append(plain(answer))
                    if answer.status_code != 405 and not (identity in NOBODY and answer.status_code == 401):
                        wrong.append(f"{method} {pattern} by {identity}: {answer.status_code} {answer.text[:200]}")
                if any(a != answers[0] for a in answers):
                    wrong.append(f"{method} {pattern} by {identity} tells objects apart: {answers}")
    assert cells > 500
    assert not wrong, f"{len(wrong)} of {cells} cells:\n" + "\n".join(wrong[:20])


def test_head_is_get_without_a_body(place, free_place):
    """HEAD gives nothing away that GET does not: same status for each identity and object."""
    wrong = []
    for route in (r for r in ROUTES if r["method"] == "GET"):
        for c in FIXTURES.get(route["name"], []):
            dialect = dialects_of(route)[0]
            ids = list(place.done.values()) + [UNKNOWN["kakao"]] if c["object"] == "query" else ["data_catalog"]
            for identity in NOBODY + SOMEBODY + (STRANGER,):
                for object_id in ids:
                    where = free_place if c["waits"] else place
                    get = ask(where, "GET", route["pattern"], c, identity, dialect, object_id)
                    head = ask(where, "HEAD", route["pattern"], c, identity, dialect, object_id)
                    if head.content or head.status_code != get.status_code:
                        wrong.append(f"HEAD {route['pattern']} by {identity} on {object_id}: {head.status_code}, GET {get.status_code}")
    assert not wrong, wrong[:20]


def test_foreign_buckets_are_unknown_buckets(place):
    d = place.d
    body = {"query": "SELECT 1", "resultConfig": {"bucketName": "b1", "path": "x"}}
    foreign = d.http("POST", "/v1/data-query/query", key=place.keys[STRANGER], json=body, headers=NAMES)
    body["resultConfig"]["bucketName"] = "b7"
    unknown = d.http("POST", "/v1/data-query/query", key=place.keys[STRANGER], json=body, headers=NAMES)
    assert foreign.status_code == unknown.status_code == 404, f"{foreign.status_code} {foreign.text}"
    assert [p if not isinstance(p, str) else p.replace("b1", "b7") for p in plain(foreign)] == list(plain(unknown))


def test_lists_hold_the_workspace_only(place):
    d = place.d
    foreign = {place.done["foreign"], place.queued["foreign"]}
    own = {place.done[w] for w in ("own", "others")} | {place.queued[w] for w in ("own", "others")}
    for identity in SOMEBODY + (STRANGER,):
        ids, page = set(), 0
        while True:
            body = d.http("GET", f"/v1/data-query/query?size=2000&page={page}", key=place.keys[identity]).json()
            found = {c["queryInfo"]["queryId"] for c in body["content"]}
            if not found - ids:
                break
            ids |= found
            page += 1
        hidden, shown = (own, foreign) if identity == STRANGER else (foreign, own)
        assert not ids & hidden, f"{identity} sees another workspace's queries in its list"
        assert shown <= ids, f"{identity} misses its workspace's queries"
