"""Lists over 1,000 queries of both dialects: pages put together are the whole, filters commute and count right, every sort field both ways.

A dialect's list is one class in LISTS. What is expected follows from what was submitted, never from the list itself; the seed of the random
combinations is printed and stands in every failure (QUERN_SEED=n repeats them). QUERN_LIST_SIZE (default 1000) is the number of queries.
"""
import itertools
import os
import random
import re

import pytest

from quern_client import BLOCK, Daemon, wait_until

SEED = int(os.environ.get("QUERN_SEED") or random.SystemRandom().randrange(2**32))
SIZE = int(os.environ.get("QUERN_LIST_SIZE") or 1000)
UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}


def amount(text):
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]+)", text).groups()
    return float(number) * UNITS[unit]


class Submitted:
    """What we know of one query: its place in the order of submits, and what its list item must say."""

    def __init__(self, number, qid, creator, state, text, storage):
        self.number, self.qid, self.creator, self.state, self.text, self.storage = number, qid, creator, state, text, storage

    def __repr__(self):
        return f"{self.number}:{self.qid}:{self.creator}:{self.state}"


class Place:
    def __init__(self, d):
        self.d = d
        self.keys = {"alice": d.key, "bob": d.new_key(user="bob", role="member"), "ünï carol": d.new_key(user="ünï carol", role="member")}
        self.stranger = d.new_key(workspace="w2", user="bob", role="admin")  # the same user in another workspace
        self.reader = d.new_key(user="dave", role="reader")
        d.start()
        self.all, self.by_id = [], {}
        rng = random.Random(1)
        for i in range(SIZE - SIZE // 10):
            good = rng.random() < 0.85
            text = f"SELECT {i}, '{rng.choice(['a', 'Ä', '日本', ' ' * 5, 'z' * 400])}' AS t" if good else rng.choice(["SELECT 1 / 0", "SELECT no_such_column", "SELEC"])
            self.submit(rng, i, text, "FINISHED" if good else "FAILED")
        self.wait_for_all()
        self.blocker = self.add(d.kakao_run(BLOCK, path="block"), "alice", "RUNNING", BLOCK, "b1/block")
        d.kakao_wait(self.blocker.qid, states=("RUNNING",))
        for i in range(len(self.all), SIZE):
            query = self.submit(rng, i, f"SELECT {i}", "QUEUED", only_kakao=True)
            if i % 3:
                assert d.kakao_abort(query.qid).status_code == 200
                query.state = "ABORTED"
        for i in range(20):
            d.d360_submit(f"SELECT 'of w2', {i}", mode="ASYNC", key=self.stranger)

    def wait_for_all(self):
        """Hundreds on one slot: it is a hang when none of them ends, however long all take."""
        left = self.running()
        while left:
            left = wait_until("one more to end", lambda: (lambda n: (n,) if n < left else None)(self.running()))[0]

    def running(self):
        return self.d.http("GET", "/v1/data-query/query?states=RUNNING,QUEUED&size=1").json()["totalElements"]

    def submit(self, rng, number, text, state, only_kakao=False):
        creator = rng.choice(list(self.keys))
        key = self.keys[creator]
        if only_kakao or rng.random() < 0.7:
            path = rng.choice(["x", "a/b", "ünï", ""])
            return self.add(self.d.kakao_run(text, key=key, path=path), creator, state, text, f"b1/{path}" if path else "b1")
        answer = self.d.d360_submit(text, mode="ASYNC", key=key, check=False)
        found = answer.headers.get("x-hyperdb-status") or answer.text
        qid = re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", found)
        assert qid, found
        qid = self.d.kakao_get(qid.group(0))["queryInfo"]["queryId"]  # its other spelling
        return self.add(qid, creator, state, text, "")

    def add(self, qid, creator, state, text, storage):
        query = Submitted(len(self.all), qid, creator, state, text, storage)
        self.all.append(query)
        self.by_id[qid] = query
        return query


class Kakao:
    """The list of the Kakao dialect."""

    sorts = {"queryId": lambda i: i["queryInfo"]["queryId"], "queryTextPreview": lambda i: i["queryInfo"]["queryTextPreview"], "state": lambda i: i["queryInfo"]["state"],
             "createdAt": lambda i: i["queryInfo"]["queryStats"]["createdAt"], "elapsedTime": lambda i: amount(i["queryInfo"]["queryStats"]["elapsedTime"]),
             "inputDataSize": lambda i: amount(i["queryInfo"]["queryStats"]["scannedDataSize"]), "scannedDataSize": lambda i: amount(i["queryInfo"]["queryStats"]["scannedDataSize"]),
             "creatorName": lambda i: i["creatorName"], "storageUrl": lambda i: i["resultConfig"]["storageUrl"]}
    moving = ("elapsedTime",)  # changes while a query lives

    def __init__(self, place):
        self.place = place

    def page(self, key=None, **query):
        answer = self.place.d.http("GET", "/v1/data-query/query?" + "&".join(f"{k}={v}" for k, values in query.items() for v in (values if isinstance(values, list) else [values])), key=key)
        assert answer.status_code == 200, f"{query}: {answer.status_code} {answer.text}"
        return answer.json()

    def whole(self, size=2000, key=None, **query):
        """All pages of this size, each held against the arithmetic of the envelope."""
        items, number, total = [], 0, None
        while True:
            body = self.page(key=key, size=size, page=number, **query)
            total = body["totalElements"] if total is None else total
            pages = -(-total // size)
            left = max(0, min(size, total - number * size))
            told = {k: body[k] for k in ("totalElements", "totalPages", "numberOfElements", "size", "number", "first", "last", "empty")}
            assert told == {"totalElements": total, "totalPages": pages, "numberOfElements": left, "size": size, "number": number, "first": number == 0,
                            "last": number + 1 >= pages, "empty": left == 0}, f"{query}: {told}"
            assert body["pageable"]["offset"] == number * size and len(body["content"]) == left
            assert body["sort"]["sorted"] is ("sort" in query)
            items += body["content"]
            if not left:
                break
            number += 1
        ids = [i["queryInfo"]["queryId"] for i in items]
        assert len(ids) == len(set(ids)) == total, f"{query}: {total} are told, {len(ids)} came, {len(set(ids))} different"
        return items

    def queries(self, items):
        return [self.place.by_id[i["queryInfo"]["queryId"]] for i in items]


LISTS = (Kakao,)


@pytest.fixture(scope="module")
def place():
    d = Daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0"})
    try:
        d.prepare(flights=False)
        yield Place(d)
    finally:
        d.finish()


@pytest.fixture(scope="module", params=LISTS, ids=lambda c: c.__name__)
def lists(request, place):
    return request.param(place)


def test_items_say_what_was_submitted(lists, place):
    items = lists.whole()
    assert lists.queries(items) == place.all[::-1], "newest first, all of them, nobody else's"
    for item, query in zip(items, place.all[::-1]):
        folder = item["resultConfig"]["storageUrl"]
        folder = re.sub(r"/\d{4}/\d\d/\d\d$", "", folder)
        assert (item["queryInfo"]["state"], item["creatorName"], item["queryInfo"]["queryTextPreview"], folder) == (query.state, query.creator, query.text[:300], query.storage)
    assert lists.queries(lists.whole(key=place.reader)) == place.all[::-1]


@pytest.mark.parametrize("size", [1, 7, 100, 333, 999, 1000, 2000])
def test_pages_are_the_whole(lists, place, size):
    if size == 1:  # a page of one query: some of them
        for number in (0, 1, SIZE // 2, SIZE - 1):
            assert lists.queries(lists.page(size=1, page=number)["content"]) == [place.all[SIZE - 1 - number]]
        assert lists.page(size=1, page=SIZE)["content"] == []
    else:
        assert lists.queries(lists.whole(size=size)) == place.all[::-1]
    assert lists.page()["size"] == 20 and lists.page(size=0)["size"] == 20 and lists.page(size=99999)["size"] == 2000


def test_filters_commute_and_count(lists, place):
    """Every state alone, with every creator; random sets of states; both spellings and both orders of the parameters."""
    states = ("QUEUED", "RUNNING", "FINISHED", "ABORTED", "FAILED")
    for state, creator in itertools.product((None,) + states, (None, "nobody", *place.keys)):
        want = [q for q in place.all[::-1] if state in (None, q.state) and creator in (None, q.creator)]
        given = {**({"states": state} if state else {}), **({"creatorName": creator} if creator else {})}
        assert lists.queries(lists.whole(**given)) == want
        assert lists.queries(lists.whole(**dict(reversed(given.items())))) == want
    rng = random.Random(SEED)
    for _ in range(30):
        some = rng.sample(states, rng.randint(1, 5))
        creator = rng.choice([None, *place.keys])
        want = [q for q in place.all[::-1] if q.state in some and creator in (None, q.creator)]
        given = {"states": rng.choice([some, ",".join(some), some[::-1]]), **({"creatorName": creator} if creator else {})}
        assert lists.queries(lists.whole(size=rng.choice([50, 333, 2000]), **given)) == want, f"QUERN_SEED={SEED}: {given}"
    # counts of the parts add up
    assert sum(lists.page(size=1, states=s)["totalElements"] for s in states) == SIZE
    assert sum(lists.page(size=1, creatorName=c)["totalElements"] for c in place.keys) == SIZE


def test_id_filter(lists, place):
    for query in random.Random(SEED).sample(place.all, 10):
        assert lists.queries(lists.whole(queryId=query.qid)) == [query]
        assert lists.queries(lists.whole(queryId="data-query-" + query.qid)) == [query]
        assert lists.queries(lists.whole(queryId=query.qid, states=query.state, creatorName=query.creator)) == [query]
        other = "FAILED" if query.state != "FAILED" else "FINISHED"
        assert lists.whole(queryId=query.qid, states=other) == []
        assert lists.whole(queryId=query.qid, creatorName="nobody") == []
        answer = place.d.http("GET", f"/v1/data-query/query?queryId={query.qid}", key=place.stranger)
        assert answer.status_code == 404


def check_sorted(lists, place, field, way, **filters):
    key = lists.sorts[field]
    items = lists.whole(sort=field + way, size=random.Random(f"{SEED}{field}{way}").choice([97, 250, 2000]), **filters)
    keys = [key(i) for i in items]
    assert keys == sorted(keys, reverse=way.lower() == ",desc"), f"{field}{way}"
    queries = lists.queries(items)
    if field not in ("queryId", "createdAt"):  # ties: newer first, whichever way
        for (a, p), (b, q) in itertools.pairwise(zip(keys, queries)):
            assert a != b or field in ("elapsedTime", "inputDataSize", "scannedDataSize") or p.number > q.number, f"{field}{way}: {p} before {q}"
    return queries


@pytest.mark.parametrize("field", list(Kakao.sorts))
def test_sort_fields(lists, place, field):
    """Each field both ways is the whole, sorted; what still lives is left out where its value moves."""
    filters = {"states": "FINISHED,FAILED,ABORTED"} if field in lists.moving else {}
    want = {q.qid for q in place.all if not filters or q.state in filters["states"]}
    for way in ("", ",asc", ",desc", ",DESC"):
        assert {q.qid for q in check_sorted(lists, place, field, way, **filters)} == want
    for creator in place.keys:
        got = check_sorted(lists, place, field, ",desc", creatorName=creator, states="FINISHED,FAILED")
        assert {q.qid for q in got} == {q.qid for q in place.all if q.creator == creator and q.state in ("FINISHED", "FAILED")}


def test_several_sorts(lists, place):
    """The second field orders what the first leaves equal; a,b,desc is both of them downwards; newest first without any."""
    for first, second in (("state", "creatorName"), ("creatorName", "queryTextPreview"), ("storageUrl", "state")):
        a, b = lists.sorts[first], lists.sorts[second]
        for ways in itertools.product(("asc", "desc"), repeat=2):
            items = lists.whole(sort=[f"{first},{ways[0]}", f"{second},{ways[1]}"])
            want = sorted(sorted(items, key=b, reverse=ways[1] == "desc"), key=a, reverse=ways[0] == "desc")
            assert [(a(i), b(i)) for i in items] == [(a(i), b(i)) for i in want], (first, second, ways)
        both = lists.whole(sort=f"{first},{second},desc")
        assert lists.queries(both) == lists.queries(lists.whole(sort=[f"{first},desc", f"{second},desc"]))
    assert lists.queries(lists.whole(sort="createdAt,desc")) == place.all[::-1]
    assert lists.queries(lists.whole(sort="createdAt")) == place.all


@pytest.mark.parametrize("dialect", ["jackdb", "canner"])
@pytest.mark.parametrize("size", [7, 100, 333, 1000])
def test_pages_of_the_other_lists(place, dialect, size):
    """JackDB's and Canner's lists have neither filters nor orders: pages put together are all queries of the workspace, newest first."""
    here = place.d.key["workspaceId"]
    ids, total = [], SIZE
    while True:
        if size == 7 and len(ids) == 70:  # small pages: some of them, and the last ones
            ids += [None] * (SIZE - 75)
        path = f"/api/v2/query?seek={len(ids)}&limit={size}" if dialect == "jackdb" else f"/api/v1/queries?workspaceId={here}&limit={size}&offset={len(ids)}"
        answer = place.d.http("GET", path, dialect=dialect)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        if dialect == "canner":
            total, page = page["totalCount"], page["result"]
        assert total == SIZE and len(page) == max(0, min(size, SIZE - len(ids)))
        if not page:
            break
        ids += [item["id"] for item in page]
    known = [i for i in ids if i]
    assert len(ids) == SIZE and len(known) == len(set(known))
    for at in [*range(3), SIZE // 2, *range(SIZE - 3, SIZE)]:
        if ids[at]:
            assert place.by_id[place.d.kakao_get(ids[at])["queryInfo"]["queryId"]] is place.all[SIZE - 1 - at]


@pytest.mark.parametrize("bad", ["sort=nope", "sort=state,sideways", "states=DONE", "states=FINISHED,DONE", "page=-1", "page=x", "size=-1", "size=x", "page=1.5"])
def test_bad_lists_are_400(place, bad):
    answer = place.d.http("GET", "/v1/data-query/query?" + bad)
    assert answer.status_code == 400, f"{answer.status_code} {answer.text}"


def test_z_the_list_follows(lists, place):
    """What ends moves from state to state; nothing is lost or counted twice."""
    assert place.d.kakao_abort(place.blocker.qid).status_code == 200
    place.blocker.state = "ABORTED"
    place.wait_for_all()
    for query in place.all:
        query.state = "FINISHED" if query.state == "QUEUED" else query.state
    for state in ("QUEUED", "RUNNING", "FINISHED", "ABORTED", "FAILED"):
        assert lists.queries(lists.whole(states=state)) == [q for q in place.all[::-1] if q.state == state]
    assert lists.queries(lists.whole()) == place.all[::-1]
