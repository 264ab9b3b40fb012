"""The program on the source page (sample.mjs, as printed there), run by Node against both base paths. Only its endpoint, token and
workspace are put in; its table is made for it."""
import os
import re
import subprocess

from quern_client import NODE_MODULES, PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
SQL = "select * from supplier_81391"


def program(folder, endpoint, token, workspace):
    text = open(os.path.join(HERE, "sample.mjs")).read()
    for constant, value in (("https://staging-xx-xxx.dev.apps.cannerdata.com/web/api/v1", endpoint), ("Y2xpZW50XzM3YzNiNDxxxx", token),
                            ("9d5c99c3-71bd-4090-a5db-xxxxx", workspace)):
        assert text.count(constant) == 1
        text = text.replace(constant, value)
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(os.path.join(folder, "node_modules")):
        os.symlink(NODE_MODULES, os.path.join(folder, "node_modules"))
    path = os.path.join(folder, "sample.mjs")
    with open(path, "w") as f:
        f.write(text)
    return path


def run(folder, endpoint, token, workspace):
    return subprocess.run(["node", program(folder, endpoint, token, workspace)], capture_output=True, text=True, timeout=PATIENCE, cwd=folder)


def test_the_program_runs(both, tmp_path):
    assert SQL in open(os.path.join(HERE, "sample.mjs")).read()
    made = both.run("create or replace table supplier_81391 as select range::integer as id, 'Supplier#' || range as name, 1.50::decimal(5,2) as acctbal from range(3)")
    assert made["status"] == "FINISHED", made
    done = run(str(tmp_path), both.d.url(both.base), both.key["token"], both.workspace)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert re.search(r"\[\s*\[ 0, 'Supplier#0', '1.50' \],\s*\[ 1, 'Supplier#1', '1.50' \],\s*\[ 2, 'Supplier#2', '1.50' \]\s*\]", done.stdout), done.stdout
    assert re.search(r"default: [\d.]+m?s|default: [\d:.]+ \(m:ss", done.stdout)  # the second beyond a minute
    newest = both.ok("GET", "/queries?limit=1")["result"][0]
    assert newest["sql"] == SQL and newest["status"] == "FINISHED"


def test_the_program_sees_refusals(canner, tmp_path):
    """A wrong token: axios throws at the submit, the program prints it and ends."""
    token = canner.key["token"]
    wrong = token[:-1] + ("y" if token.endswith("x") else "x")
    done = run(str(tmp_path), canner.d.url("/web/api/v1"), wrong, canner.workspace)
    assert "AxiosError" in done.stderr and "401" in done.stderr, done.stderr[:2000]
