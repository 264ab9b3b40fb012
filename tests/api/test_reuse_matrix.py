"""Reuse as a matrix: what comes between a first and a second submit, alone and in pairs. Served from the first is exactly the second submit that asks for
reuse, in the same workspace, of the same text, defaults and semantics, young enough, of a source that finished and is still there, with no write and no
grant between (docs/reuse.md). Who asks, where the result goes and whether the first one asked do not matter."""
import itertools
import os
import uuid

import pytest

import moved_clock

MINUTE = 60000
# dimension: {what: is the second still served from the first?}
DIMENSIONS = {
    "user": {"same": True, "other": True},
    "workspace": {"same": True, "other": False},
    "text": {"same": True, "blanks and a semicolon": True, "a blank inside": False, "upper case": False, "a comment": False},
    "defaults": {"same": True, "none": False},
    "asks": {"yes": True, "no": False},
    "first asked": {"no": True, "yes": True},
    "path": {"same": True, "other": True},
    "source": {"finished": True, "failed": False, "canceled": False, "deleted": False, "twice": True},
    "between": {"nothing": True, "a write": False, "a write elsewhere": True, "a grant": False, "a restart": True, "a failed write": True, "a read": True},
    "age": {"young": True, "at its end": False, "long ago": False},
    "dialect": {"kakao": True, "data360": False},  # another semantics profile; Data 360 itself never asks
}
FIRST = {d: next(iter(ways)) for d, ways in DIMENSIONS.items()}


ALONE = {"a restart", "canceled", "a comment", "a blank inside", "long ago", "a read"}  # not in pairs: slow, or like another one


def cells():
    """All that differ from the plain one in one dimension, and most that differ in two."""
    single = [(d, way) for d, ways in DIMENSIONS.items() for way in list(ways)[1:]]
    yield {}
    for d, way in single:
        yield {d: way}
    for (d1, way1), (d2, way2) in itertools.combinations(single, 2):
        if d1 != d2 and not ALONE & {way1, way2}:
            yield {d1: way1, d2: way2}


class Place:
    def __init__(self, d):
        self.d = d
        self.alice, self.bob = d.key, d.new_key(user="bob", role="member")
        self.erin = d.new_key(workspace="w2", user="erin", role="admin")
        self.alice2 = d.new_key(workspace="w2", user="alice", role="admin")  # the same user in another workspace
        d.admin("bucket", "create", "b1", "--url", "file://" + d.bucket_dir, "--workspace", "w2")
        d.start()
        self.moved = 0
        for key in (self.alice, self.erin):
            self.write("CREATE TABLE nums AS SELECT range AS n FROM range(10)", key)

    def write(self, sql, key, state="FINISHED"):
        done = self.d.kakao_query(sql, key=key, path="write")
        assert done["queryInfo"]["state"] == state, done

    def submit(self, sql, key, reuse=False, age=30, defaults=True, path="reuse", check=True):
        body = {"query": sql, "resultConfig": {"bucketName": "b1", "path": path}}
        if reuse:
            body["reuseConfig"] = {"reuse": True, "maxReuseAge": age}
        headers = {"X-Data-Source": "data_catalog", "X-Database": "main"} if defaults else {}
        answer = self.d.http("POST", "/v1/data-query/query", json=body, key=key, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["queryInfo"]["queryId"]

    def ended(self, qid, key):
        return self.d.kakao_wait(qid, key=key)

    def later(self, ms):
        self.moved += ms
        self.d.clock.jump(self.moved)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reuse")
    d = moved_clock.daemon(moved_clock.build_shim(folder), folder, {"QUERN_ENGINE_SLOTS": "2", "QUERN_SERVER_DRAIN": "0", "QUERN_LOG_LEVEL": "warn"})
    try:
        yield Place(d)
    finally:
        d.finish()


def run_cell(p, way):
    """Returns (is the second served from the first?, what is wrong besides)."""
    tag = uuid.uuid4().hex[:12]
    sql = f"select '{tag}' as t, count(*) as c, sum(n) as s from data_catalog.main.nums"
    if way["source"] == "failed":
        sql = f"select '{tag}' as t, 1 / (n - n) from data_catalog.main.nums"
    elif way["source"] == "canceled":
        sql = f"select '{tag}' as t, count(*) from range(1000000) a, range(1000000) b, data_catalog.main.nums where a.range + b.range = -1"
    first_key = p.alice
    asked = way["first asked"] == "yes"
    if way["dialect"] == "data360":
        answer = p.d.d360_submit(sql, mode="ASYNC", key=first_key, check=False)
        first = p.d.d360_status_of(answer)["queryId"] if answer.status_code == 200 else answer.json()["details"]["queryId"]
    else:
        first = p.submit(sql, first_key, reuse=asked)
    if way["source"] == "canceled":
        assert p.d.kakao_abort(first, key=first_key).status_code == 200
    one = p.ended(first, first_key)
    created = one["queryInfo"]["queryStats"]["createdAt"]
    if way["source"] == "twice":  # a copy is served from the original, whose age counts
        p.later(MINUTE)
        between = p.ended(p.submit(sql, p.bob, reuse=True), p.bob)
        assert between["queryInfo"]["isScanned"] is (way["dialect"] == "data360")
        if way["dialect"] == "data360":
            created = None
    if way["source"] == "deleted":
        assert p.d.http("DELETE", "/api/v3/query/" + first, key=p.alice, dialect="data360").status_code == 204

    if way["between"] == "a write":
        p.write("INSERT INTO nums SELECT 1 WHERE false", p.alice)
    elif way["between"] == "a write elsewhere":
        p.write("INSERT INTO nums SELECT 1 WHERE false", p.erin)
    elif way["between"] == "a failed write":
        p.write("INSERT INTO nums SELECT 1 / 0", p.alice, state="FAILED")
    elif way["between"] == "a read":
        p.write("SELECT sum(n) FROM nums", p.alice)
    elif way["between"] == "a grant":
        p.d.admin("bucket", "create", "g" + tag, "--url", f"file://{p.d.bucket_dir}/g{tag}", "--workspace", "w1")
    elif way["between"] == "a restart":
        p.d.restart()
    if way["age"] == "at its end":
        p.later(30 * MINUTE)
    elif way["age"] == "long ago":
        p.later(300 * MINUTE)

    text = {"same": sql, "blanks and a semicolon": f"\n\t {sql} ;\n", "a blank inside": sql.replace("select ", "select  "), "upper case": sql.replace("count(*)", "COUNT(*)"),
            "a comment": sql + " -- x"}[way["text"]]
    if way["workspace"] == "other":
        key = p.alice2 if way["user"] == "same" else p.erin
    else:
        key = p.alice if way["user"] == "same" else p.bob
    second = p.submit(text, key, reuse=way["asks"] == "yes", defaults=way["defaults"] == "same", path="reuse" if way["path"] == "same" else "else/where")
    if way["source"] == "canceled":
        live = p.d.kakao_get(second, key=key)["queryInfo"]["state"]
        assert live in ("QUEUED", "RUNNING"), f"a canceled source gave {live}"
        assert p.d.kakao_abort(second, key=key).status_code == 200
        return False, []
    two = p.ended(second, key)
    wrong = []
    if way["source"] == "failed":
        return False, [] if two["queryInfo"]["state"] == "FAILED" else [f"state {two['queryInfo']['state']}"]
    if two["queryInfo"]["state"] != "FINISHED":
        return False, [str(two["queryInfo"])]
    served = not two["queryInfo"]["isScanned"]
    if second == first or two["queryInfo"]["queryId"] == one["queryInfo"]["queryId"]:
        wrong.append("not an id of its own")
    if two["queryData"] != [[tag, "10", "45"]]:
        wrong.append(f"rows {two['queryData']}")
    if two["reuseConfig"]["reuse"] is not (way["asks"] == "yes") or ("expireAt" in two["reuseConfig"]) is not (way["asks"] == "yes"):
        wrong.append(f"reuseConfig {two['reuseConfig']}")
    if way["asks"] == "yes" and (created or not served):
        since = created if served else two["queryInfo"]["queryStats"]["createdAt"]
        if two["reuseConfig"]["expireAt"] != since + 30 * MINUTE:
            wrong.append(f"expireAt {two['reuseConfig']['expireAt']} is not 30 minutes after {since}")
    folder = os.path.join(p.d.bucket_dir, two["resultConfig"]["path"])
    if not {two["queryInfo"]["queryId"] + end for end in (".csv", ".metadata")} <= set(os.listdir(folder)):
        wrong.append("it has no files of its own")
    return served, wrong


def wanted(way):
    """A second submit that is served from an earlier one: the product of its dimensions, but for what the copy between changes."""
    good = all(DIMENSIONS[d][w] for d, w in way.items() if d not in ("dialect", "source", "age"))
    age = DIMENSIONS["age"][way["age"]]
    if way["source"] == "twice":  # the one between has Kakao's semantics, whatever the first had
        return good and age
    return good and age and DIMENSIONS["dialect"][way["dialect"]] and DIMENSIONS["source"][way["source"]]


@pytest.mark.parametrize("group", list(DIMENSIONS))
def test_matrix(place, group):
    """The plain cell is in the first group; pairs are in the group of their first dimension."""
    wrong, served_cells, cells_run = [], 0, 0
    for change in cells():
        if next(iter(change), "user") != group:
            continue
        way = {**FIRST, **change}
        cells_run += 1
        served, bad = run_cell(place, way)
        want = wanted(way)
        served_cells += served
        if served is not want:
            wrong.append(f"{change}: {'served from an earlier result' if served else 'run anew'}, expected otherwise")
        wrong += [f"{change}: {text}" for text in bad]
    print(f"{group}: {cells_run} cells, {served_cells} served")
    assert cells_run
    assert not wrong, f"{len(wrong)} of {cells_run} cells:\n" + "\n".join(wrong[:20])
