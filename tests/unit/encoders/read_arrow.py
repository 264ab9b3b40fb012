"""read_arrow.py FILE schema|rows: prints what pyarrow reads from an Arrow IPC stream, for test_arrow.c."""
import sys

import pyarrow as pa


def shown(value):
    """Raw stored values: numbers for dates and times (infinity has no Python date), text for decimals and intervals."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, list):
        return [shown(v) for v in value]
    if isinstance(value, tuple):
        return tuple(shown(v) for v in value)
    if isinstance(value, dict):
        return {k: shown(v) for k, v in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def column(array):
    kind = array.type
    if pa.types.is_interval(kind):
        return [None if v is None else f"{v.months} {v.days} {v.nanoseconds}" for v in array.to_pylist()]
    if pa.types.is_temporal(kind):
        array = array.view(pa.int64())
    return [shown(v) for v in array.to_pylist()]


def main():
    with open(sys.argv[1], "rb") as file, pa.ipc.open_stream(file) as reader:
        if sys.argv[2] == "schema":
            for field in reader.schema:
                extra = "" if field.nullable else " not null"
                if field.metadata:
                    extra += " {" + ", ".join(f"{k.decode()}={v.decode()}" for k, v in field.metadata.items()) + "}"
                kind = str(field.type)
                if pa.types.is_map(field.type):
                    kind = f"map<{field.type.key_type}, {field.type.item_type}>"
                print(f"{field.name}: {kind}{extra}")
            return
        for batch in reader:
            batch.validate()
            for array in batch.columns:  # an infinite date is no whole number of days
                (array.view(pa.int64()) if pa.types.is_date64(array.type) else array).validate(full=True)
            for row in zip(*[column(c) for c in batch.columns]):
                print(ascii(list(row)).replace("True", "true").replace("False", "false"))


main()
