"""Both generations of Kylin's JDBC driver, unmodified: kylin_jdbc.py makes the calls in a Java VM of its own."""
import base64
import json
import os
import subprocess
import sys

import pytest

from quern_client import CACHE, PATIENCE

JARS = os.path.join(CACHE, "jars")
DRIVERS = ["kylin-jdbc-4.0.3.jar", "kylin-jdbc-5.0.0-beta.jar"]
VALUES = ["7", "9000000000", "2.50", "0.5", "it's 中", "True", "2021-02-03", "2021-02-03 04:05:06.789", None]


@pytest.fixture(scope="module", params=DRIVERS)
def seen(q, request):
    user, password = base64.b64decode(q.key["headers"]["kylin"]["Authorization"].split()[1]).decode().split(":", 1)
    jars = ":".join(os.path.join(JARS, name) for name in (request.param, "jaxb-api-2.3.1.jar"))
    script = os.path.join(os.path.dirname(__file__), "kylin_jdbc.py")
    done = subprocess.run([sys.executable, script, jars, f"jdbc:kylin://127.0.0.1:{q.port}/w1", user, password], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_login(seen):
    assert "401" in seen["wrong password"] and "KE-010003208" in seen["wrong password"]


def test_tables_and_columns(seen):
    assert ["data_catalog", "main", "flights", "VIEW"] in seen["tables"]
    assert seen["columns"] == [["date", "TIMESTAMP", 93], ["delay", "BIGINT", -5], ["distance", "BIGINT", -5], ["origin", "VARCHAR", 12],
                               ["destination", "VARCHAR", 12]]


def test_values_and_types(seen):
    assert seen["values"]["rows"] == [VALUES]
    assert seen["values"]["columns"] == [["i", "INTEGER", 4], ["b", "BIGINT", -5], ["d", "DECIMAL", 3], ["f", "DOUBLE", 8], ["s", "VARCHAR", 12],
                                         ["t", "BOOLEAN", 16], ["day", "DATE", 91], ["at", "TIMESTAMP", 93], ["nothing", "INTEGER", 4]]
    assert seen["flights"]["rows"] == [["ORD", "166341"], ["DFW", "157162"], ["ATL", "124711"]]


def test_pages(seen):
    assert seen["most"] == 10 and seen["page"] == [["50"], ["51"], ["52"]]


def test_prepared_parameters(seen):
    assert seen["prepared"] is None
    assert seen["bound"]["rows"] == [["42", "it's", "12.50", "2021-02-03", "2021-02-03 04:05:06.5"]]
    assert [c[1:] for c in seen["bound"]["columns"]] == [["INTEGER", 4], ["VARCHAR", 12], ["DECIMAL", 3], ["DATE", 91], ["TIMESTAMP", 93]]


def test_errors(seen):
    assert "no_such" in seen["no column"] and "syntax error" in seen["syntax"] and "Division by zero" in seen["division"]
    assert "This SQL is not supported at the moment. Please try a different SQL." in seen["write"]
