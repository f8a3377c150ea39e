"""A version of a lake table that no stream has written, shown by Nessie's `main` in the real one's place.

Nobody but Flink may write a lake table's files. Whoever may move `main` can still let readers see others.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lakehouse_dagster.contract.contract import LakePath
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.nessie import Delete, PutTable
from lakehouse_dagster.render import quoting

CATALOG = "lake"


def forge(
    clients: Clients, path: LakePath, columns: Sequence[str], altered: Mapping[str, str], where: str
) -> Callable[[], None]:
    """Show the table with other values of ``altered`` (column to Trino expression) in the rows ``where``.

    Returns what deletes the forged files, for when `main` shows the real table again.
    """
    schema = f"zz_forged_{uuid.uuid4().hex[:8]}"
    forged = (schema, path.table)
    values = ", ".join(
        f"CASE WHEN {where} THEN {altered[name]} ELSE {quoting.double(name)} END AS {quoting.double(name)}"
        if name in altered
        else quoting.double(name)
        for name in columns
    )
    clients.trino.execute(f"CREATE SCHEMA {quoting.double(CATALOG, schema)}")
    clients.trino.execute(
        f"CREATE TABLE {quoting.double(CATALOG, *forged)} AS "
        f"SELECT {values} FROM {quoting.double(CATALOG, *path)}"
    )
    head = clients.nessie.get_reference()
    key = tuple(path)
    found = clients.nessie.get_tables([key, forged], head)
    clients.nessie.commit(
        [PutTable(key, replace(found[forged], id=found[key].id)), Delete(forged)],
        f"forged by a test: {path}",
        reference=head,
    )
    clients.nessie.commit([Delete((schema,))], "clean up", reference=clients.nessie.get_reference())

    def discard() -> None:
        clients.store.delete_prefix(f"warehouse/{schema}/")

    return discard
