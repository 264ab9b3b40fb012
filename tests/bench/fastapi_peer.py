"""The FastAPI peer of tests/bench/peers: what a team writes in an afternoon to put SQL behind HTTP. FLIGHTS names the Parquet file."""
import os

import duckdb
import orjson
import pyarrow as pa
import pyarrow.csv as csv
from fastapi import FastAPI, Request, Response

app = FastAPI()
con = duckdb.connect()
con.execute(f"CREATE VIEW flights AS SELECT * FROM read_parquet('{os.environ['FLIGHTS']}')")


@app.post("/sql")
async def sql(request: Request):
    result = con.cursor().execute((await request.body()).decode())
    accept = request.headers.get("accept", "")
    if "json" in accept:
        return Response(orjson.dumps(result.fetchall()), media_type="application/json")
    table, sink = result.fetch_arrow_table(), pa.BufferOutputStream()
    if "csv" in accept:
        csv.write_csv(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return Response(sink.getvalue().to_pybytes(), media_type=accept)
