"""Fixtures of the black-box tests: `q`, one daemon for the whole session, and `make_daemon` for tests that need their own."""
import os

import pytest

from quern_client import BUILD, Daemon


def pytest_configure(config):
    if not os.path.exists(os.path.join(BUILD, "quernd")):
        raise pytest.UsageError(f"no quernd in {BUILD}: build first, or name the folder in QUERN_BUILD")
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:  # several of the clients would ask it for 127.0.0.1
        del os.environ[name]


@pytest.fixture(scope="session")
def q():
    """A running daemon: port, key (admin of w1), member, member2, reader, other (admin of w2), bucket_dir (bucket b1), dataset flights."""
    daemon = Daemon(env={"QUERN_LOG_LEVEL": "info"})
    try:
        daemon.prepare()
        daemon.member = daemon.new_key(user="bob", role="member")
        daemon.member2 = daemon.new_key(user="carol", role="member")
        daemon.reader = daemon.new_key(user="dave", role="reader")
        daemon.other = daemon.new_key(workspace="w2", user="erin", role="admin")
        daemon.start()
        yield daemon
    finally:
        daemon.finish()


@pytest.fixture
def make_daemon():
    """make_daemon(env={...}, flights=True, start=True, ...): a daemon of the test's own, stopped and checked at its end."""
    made = []

    def make(env=None, flights=False, bucket=True, start=True, prepare=True, **more):
        daemon = Daemon(env=env, **more)
        made.append(daemon)
        if prepare:
            daemon.prepare(flights=flights, bucket=bucket)
        if start:
            daemon.start()
        return daemon

    yield make
    errors = []
    for daemon in made:
        try:
            daemon.finish()
        except AssertionError as e:
            errors.append(e)
    if errors:
        raise errors[0]
