"""Altering one row in one place behind the pipeline's back, and putting it right again.

Each function changes one column of one row as an intruder or a bug would, with the place's own means, and
gives back a function that restores it. Rows are named by key columns in canonical text.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import View
from lakehouse_dagster.contract.names import AUDIT_COLUMNS, SERVING_POSITION
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.flink import script_environment
from lakehouse_dagster.governance.publisher import publish_once
from lakehouse_dagster.render import paimon, quoting
from lakehouse_dagster.render.flink_sql import FlinkScript
from tests.forgery import forge

Undo = Callable[[], None]
Key = Mapping[str, str]


def _where(contract: Contract, table: str, key: Key) -> str:
    columns = {column.name: column for column in contract.schema(table).columns}
    return " AND ".join(
        f"{quoting.flink(name)} = CAST({quoting.literal(value)} AS {mapping(columns[name]).lake})"
        for name, value in key.items()
    )


def in_paimon(clients: Clients, contract: Contract, table: str, key: Key, column: str, value: str) -> Undo:
    """Overwrite a lake table's row through a Flink batch job, with a position just above the row's own.

    The hint `write-only` keeps the job from compacting beside the stream, so Trino does not see it yet.
    """
    schema = contract.schema(table)
    kind = mapping(schema.column(column)).lake
    old = clients.trino.scalar(
        f"SELECT CAST({quoting.double(column)} AS varchar) FROM {quoting.double(*contract.lake_path(table))}"
        " WHERE "
        + " AND ".join(f"CAST({quoting.double(n)} AS varchar) = {quoting.literal(v)}" for n, v in key.items())
    )

    def write(text: str | None) -> None:
        literal = "NULL" if text is None else quoting.literal(text)
        values = {name: quoting.flink(name) for name in (*schema.column_names, *AUDIT_COLUMNS)}
        values[column] = f"CAST({literal} AS {kind})"
        values[AUDIT_COLUMNS[0]] = f"{quoting.flink(AUDIT_COLUMNS[0])} + 1"
        name = paimon.table_name(contract, table)
        script = FlinkScript(
            name=f"tamper-{uuid.uuid4().hex[:8]}",
            settings={"execution.runtime-mode": "BATCH", "parallelism.default": "1"},
            statements=(paimon.catalog(),),
            inserts=(
                f"INSERT INTO {name} /*+ OPTIONS('write-only'='true') */"
                f" SELECT {', '.join(values.values())} FROM {name} WHERE {_where(contract, table, key)}",
            ),
            wait=True,
        )
        clients.submitter.submit(script, script_environment(clients.endpoints), timeout=300)

    write(value)
    return lambda: write(old)


def in_trino(clients: Clients, contract: Contract, table: str, key: Key, column: str, value: str) -> Undo:
    """Let Nessie's main show a version of a published table that Paimon never wrote."""
    where = " AND ".join(
        f"CAST({quoting.double(n)} AS varchar) = {quoting.literal(v)}" for n, v in key.items()
    )
    schema = contract.schema(table)
    columns = (*schema.column_names, *AUDIT_COLUMNS)
    forged = f"CAST({quoting.literal(value)} AS {mapping(schema.column(column)).trino})"
    discard = forge(clients, contract.lake_path(table), columns, {column: forged}, where)

    def undo() -> None:
        assert publish_once(contract, clients.endpoints, requested_by="a test") is not None
        discard()

    return undo


def in_cassandra(clients: Clients, contract: Contract, view: View, key: Key, column: str, value: str) -> Undo:
    """Overwrite a column of the view's row with a write timestamp just above the row's own."""
    table = quoting.double(contract.keyspace, view.name)
    columns = {found.name: mapping(found).cassandra for found in contract.view_columns(view)}

    def literal(name: str, text: str | None) -> str:
        if text is None:
            return "null"
        quoted = {"text", "date", "timestamp"}
        return quoting.literal(text) if columns[name] in quoted else text

    where = " AND ".join(f"{quoting.double(name)} = {literal(name, text)}" for name, text in key.items())
    old, *times = clients.cassandra.execute(
        f"SELECT {quoting.double(column)}, writetime({quoting.double(column)}),"
        f" writetime({quoting.double(SERVING_POSITION)}) FROM {table} WHERE {where}"
    )[0]
    written = max(time for time in times if time is not None)

    def write(text: str | None, timestamp: int) -> None:
        clients.cassandra.execute(
            f"UPDATE {table} USING TIMESTAMP {timestamp}"
            f" SET {quoting.double(column)} = {literal(column, text)} WHERE {where}"
        )

    write(value, written + 1)
    return lambda: write(None if old is None else str(old), written + 2)


def row_lost_in_cassandra(clients: Clients, contract: Contract, view: View, key: Key) -> Undo:
    """Delete the view's row; the undo writes it again cell by cell."""
    table = quoting.double(contract.keyspace, view.name)
    names = [column.name for column in contract.view_columns(view)] + [SERVING_POSITION]
    where = " AND ".join(f"{quoting.double(name)} = %s" for name in key)
    typed = _typed_key(clients, contract, view, key)
    *row, written = clients.cassandra.execute(
        f"SELECT {', '.join(map(quoting.double, names))}, writetime({quoting.double(SERVING_POSITION)})"
        f" FROM {table} WHERE {where}",
        typed,
    )[0]
    # Above the undo of an earlier alteration of this row too.
    clients.cassandra.execute(f"DELETE FROM {table} USING TIMESTAMP {written + 3} WHERE {where}", typed)

    def undo() -> None:
        marks = ", ".join(["%s"] * len(names))
        clients.cassandra.execute(
            f"INSERT INTO {table} ({', '.join(map(quoting.double, names))}) VALUES ({marks})"
            f" USING TIMESTAMP {written + 4}",
            row,
        )

    return undo


def _typed_key(clients: Clients, contract: Contract, view: View, key: Key) -> list[object]:
    """The key's values as the driver hands them out, found by comparing canonical texts."""
    from lakehouse_dagster.contract.canonical import canonicalizer

    columns = [column for column in contract.view_columns(view) if column.name in key]
    convert = [canonicalizer(column) for column in columns]
    names = ", ".join(quoting.double(column.name) for column in columns)
    for row in clients.cassandra.rows(f"SELECT {names} FROM {quoting.double(contract.keyspace, view.name)}"):
        texts = {c.name: f(value) for c, f, value in zip(columns, convert, row, strict=True)}
        if texts == dict(key):
            found = {column.name: value for column, value in zip(columns, row, strict=True)}
            return [found[name] for name in key]
    raise AssertionError(f"{view.name} has no row {dict(key)}")


def in_couchdb(clients: Clients, view: View, key: Key, column: str, value: object) -> Undo:
    """Overwrite a field of a document."""
    doc_id = ":".join(key.values())
    old = clients.couchdb.doc(view.name, doc_id)
    assert old is not None, f"{view.name} has no document {doc_id}"
    rev = clients.couchdb.put(view.name, doc_id, old | {column: value})

    def undo() -> None:
        clients.couchdb.put(view.name, doc_id, old | {"_rev": rev})

    return undo


def document_added_to_couchdb(
    clients: Clients, view: View, fields: Mapping[str, object], doc_id: str
) -> Undo:
    """Add a document that no source row stands for."""
    rev = clients.couchdb.put(view.name, doc_id, fields)
    return lambda: _delete(clients, view, doc_id, rev)


def _delete(clients: Clients, view: View, doc_id: str, rev: str) -> None:
    clients.couchdb.bulk(view.name, [{"_id": doc_id, "_rev": rev, "_deleted": True}])
