"""The calls of a Java program with Kylin's JDBC driver, in a process of its own (one driver a process): kylin_jdbc.py JARS URL USER PASSWORD.
Prints one JSON object with what it saw; tests/clients/test_kylin_jdbc.py starts it and looks at that."""
import json
import sys

import jpype


def rows_of(result):
    meta = result.getMetaData()
    n = meta.getColumnCount()
    columns = [[str(meta.getColumnLabel(i)), str(meta.getColumnTypeName(i)), meta.getColumnType(i)] for i in range(1, n + 1)]
    rows = []
    while result.next():
        row = []
        for i in range(1, n + 1):
            value = result.getObject(i)
            row.append(None if value is None else str(value))
        rows.append(row)
    return {"columns": columns, "rows": rows}


def failure_of(call):
    try:
        call()
    except jpype.JException as e:
        text = []
        while e is not None:
            text.append(str(e.getMessage()))
            e = e.getCause()
        return " | ".join(text)
    return None


def main():
    jars, url, user, password = sys.argv[1:]
    jpype.startJVM("-Duser.timezone=UTC", classpath=jars.split(":"))
    driver = jpype.JClass("org.apache.kylin.jdbc.Driver")()
    Properties, Date, Timestamp, BigDecimal = (jpype.JClass(name) for name in ("java.util.Properties", "java.sql.Date", "java.sql.Timestamp",
                                                                              "java.math.BigDecimal"))
    seen = {}

    def connect(word):
        info = Properties()
        info.put("user", user)
        info.put("password", word)
        return driver.connect(url, info)

    seen["wrong password"] = failure_of(lambda: connect("wrong"))
    connection = connect(password)
    meta = connection.getMetaData()
    tables = meta.getTables(None, None, None, None)
    seen["tables"] = []
    while tables.next():
        seen["tables"].append([str(tables.getString(c)) for c in ("TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE")])
    columns = meta.getColumns(None, "main", "flights", None)
    seen["columns"] = []
    while columns.next():
        seen["columns"].append([str(columns.getString("COLUMN_NAME")), str(columns.getString("TYPE_NAME")), int(columns.getInt("DATA_TYPE"))])

    statement = connection.createStatement()
    seen["values"] = rows_of(statement.executeQuery(
        "select 7 as i, 9000000000 as b, 2.50::decimal(10,2) as d, 0.5e0 as f, 'it''s 中' as s, true as t, date '2021-02-03' as day, "
        "timestamp '2021-02-03 04:05:06.789' as at, cast(null as integer) as nothing"))
    seen["flights"] = rows_of(statement.executeQuery("select origin, count(*) as n from flights group by 1 order by 2 desc, 1 limit 3"))
    statement.setMaxRows(10)
    seen["most"] = len(rows_of(statement.executeQuery("select * from range(100)"))["rows"])
    statement.setMaxRows(0)
    seen["page"] = rows_of(statement.executeQuery("select range from range(100) order by 1 limit 3 offset 50"))["rows"]
    prepared = connection.prepareStatement("select ? + 1 as i, ? as s, ? as d, ? as day, ? as at where ? = ?")
    prepared.setInt(1, 41)
    prepared.setString(2, "it's")
    prepared.setBigDecimal(3, BigDecimal("12.50"))
    prepared.setDate(4, Date.valueOf("2021-02-03"))
    prepared.setTimestamp(5, Timestamp.valueOf("2021-02-03 04:05:06.5"))
    prepared.setLong(6, jpype.JLong(1))
    prepared.setLong(7, jpype.JLong(1))
    seen["prepared"] = failure_of(lambda: seen.__setitem__("bound", rows_of(prepared.executeQuery())))
    for name, sql in (("no column", "select no_such from flights"), ("syntax", "selec 1"), ("write", "create table x (a integer)"),
                      ("division", "select 1 / 0")):
        seen[name] = failure_of(lambda: connection.createStatement().executeQuery(sql))
    connection.close()
    print(json.dumps(seen))


main()
