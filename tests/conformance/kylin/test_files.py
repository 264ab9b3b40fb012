"""Kylin: result files that a render process makes: XLSX and Parquet, as openpyxl and pyarrow read them."""
import datetime
import decimal
import io
import os

import openpyxl
import pyarrow.parquet as pq
import pytest

SQL = ("select 1 as i, 12345678901234567890::hugeint as h, 2.50::decimal(10,2) as d, 0.5::double as f, '=1+1' as t, null::varchar as n, true as b, "
       "date '2021-02-03' as day, timestamp '2021-02-03 04:05:06' as at")


def delivered(d, qid):
    """The file in the folder of result_path: name and bytes."""
    folder = d.kylin_get(qid, "result_path").json()["data"][len("file://"):]
    names = os.listdir(folder)
    assert len(names) == 1
    with open(os.path.join(folder, names[0]), "rb") as f:
        return names[0], f.read()


def test_xlsx(q):
    qid = q.kylin_query(SQL, format="xlsx", include_header=True, file_name="报告", separator="|")
    answer = q.kylin_get(qid, "result_download")
    assert answer.headers["Content-Type"] == "application/octet-stream;charset=utf-8"
    assert answer.headers["Content-Disposition"] == "attachment; filename=\"__.xlsx\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A.xlsx"
    assert q.kylin_get(qid, "file_status").json()["data"] == len(answer.content) == int(answer.headers["Content-Length"])
    assert delivered(q, qid) == (f"{qid}.xlsx", answer.content)
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    assert book.sheetnames == ["query_result"]
    header, row = book["query_result"].iter_rows(values_only=True)
    assert header == ("i", "h", "d", "f", "t", "n", "b", "day", "at")
    # numbers are typed, beyond 15 digits text; NULL is an empty cell; a text is never a formula
    assert row == (1, "12345678901234567890", 2.5, 0.5, "=1+1", None, True, datetime.datetime(2021, 2, 3), datetime.datetime(2021, 2, 3, 4, 5, 6))
    assert [c.data_type for c in list(book["query_result"].rows)[1]][4] == "s"
    # the download's word about the header wins here too
    answer = q.kylin_get(qid, "result_download", query="&include_header=false")
    assert [r[0] for r in openpyxl.load_workbook(io.BytesIO(answer.content))["query_result"].iter_rows(values_only=True)] == [1]


def test_parquet(q):
    qid = q.kylin_query(SQL, format="parquet", include_header=True)
    answer = q.kylin_get(qid, "result_download")
    assert answer.headers["Content-Type"] == "application/parquet;charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="result.parquet"'
    assert q.kylin_get(qid, "file_status").json()["data"] == len(answer.content)
    assert delivered(q, qid) == (f"{qid}.parquet", answer.content)
    table = pq.read_table(io.BytesIO(answer.content))
    assert table.column_names == ["i", "h", "d", "f", "t", "n", "b", "day", "at"]
    row = table.to_pylist()[0]
    assert row["i"] == 1 and row["d"] == decimal.Decimal("2.50") and row["t"] == "=1+1" and row["n"] is None and row["b"] is True
    assert row["at"] == datetime.datetime(2021, 2, 3, 4, 5, 6)


def test_names_of_parquet_columns(q):
    """What old readers refuse in a name becomes "_" (reminder 4 of the source page); metadata has the names as they are."""
    names = ["a b", "a,b;c{d}e(f)g=h", "a\\nb\\tc", "a\nb", "a_b", "A B", "中"]
    qid = q.kylin_query("select " + ", ".join(f'{i} as "{name}"' for i, name in enumerate(names)), format="parquet")
    content = q.kylin_get(qid, "result_download").content
    assert pq.read_table(io.BytesIO(content)).column_names == ["a_b", "a_b_c_d_e_f_g_h", "a_b_c", "a_b_1", "a_b_2", "A_B_3", "中"]
    assert q.kylin_get(qid, "metadata").json()["data"][0] == names
    assert pq.read_table(io.BytesIO(q.download(qid, "parquet").content)).column_names == names[:5] + ["A B_1", "中"]


def test_thousands_of_equal_names(q):
    qid = q.kylin_query("select " + ", ".join(f"{i} as x" for i in range(3000)), format="parquet")
    names = pq.read_schema(io.BytesIO(q.kylin_get(qid, "result_download").content)).names
    assert names == ["x"] + [f"x_{i}" for i in range(1, 3000)]


@pytest.mark.parametrize("fmt", ["xlsx", "parquet"])
def test_empty_and_resumed(q, fmt):
    qid = q.kylin_query("select range as n, 'text ' || range as t from range(20000)", format=fmt)
    whole = q.kylin_get(qid, "result_download")
    for at in (1, len(whole.content) // 2, len(whole.content) - 1):
        part = q.kylin_get(qid, "result_download", headers={"Range": f"bytes={at}-", "If-Range": whole.headers["ETag"]})
        assert part.status_code == 206 and part.content == whole.content[at:]
    qid = q.kylin_query("select 1 as a where false", format=fmt, include_header=True)
    content = q.kylin_get(qid, "result_download").content
    if fmt == "xlsx":
        assert list(openpyxl.load_workbook(io.BytesIO(content))["query_result"].iter_rows(values_only=True)) == [("a",)]
    else:
        assert pq.read_table(io.BytesIO(content)).num_rows == 0


def test_too_many_rows_for_a_sheet(q):
    qid = q.kylin_submit("select * from range(1048577)", format="xlsx")
    done = q.kylin_wait(qid)
    assert done["status"] == "FAILED" and "1,048,576 rows" in done["info"]
    folder = q.kylin_get(qid, "result_path").json()["data"][len("file://"):]
    assert folder.endswith(qid) and not os.path.exists(folder), "nothing was delivered: no empty folder either"


def test_the_download_is_the_delivered_file_after_a_restart(make_daemon):
    """What was rendered for the delivery is a cache; made again it is the same to the byte."""
    d = make_daemon()
    ids = [d.kylin_query("select range as n, 'text ' || range as t, range / 7.0 as x from range(5000)", format=fmt, include_header=True, encode=encode)
           for fmt, encode in (("xlsx", "utf-8"), ("parquet", "utf-8"), ("csv", "gbk"), ("json", "utf-8"))]
    d.restart()
    for qid in ids:
        answer = d.kylin_get(qid, "result_download")
        assert answer.status_code == 200 and delivered(d, qid)[1] == answer.content
        assert d.kylin_get(qid, "file_status").json()["data"] == len(answer.content)
