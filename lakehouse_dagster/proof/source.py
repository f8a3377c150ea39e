"""Reading the source gently: short statements, a bound on rows per second, and memory for one page only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.mysql import SourceSnapshot
from lakehouse_dagster.proof.subject import Key
from lakehouse_dagster.proof.throttle import Throttle
from lakehouse_dagster.proof.verify import canonical_rows
from lakehouse_dagster.render import keyed

PAGE: Final = 5_000
"""Rows read by one statement."""
KEYS: Final = 500
"""Keys asked for in one statement."""
TELL_SECONDS: Final = 5.0
"""Time between two lines about how far the reading is."""

#: Writers wait no longer than this at a time for the lock that fixes the position, and a transaction that
#: holds a table keeps us from it no longer than `LOCK_ATTEMPTS` such times, with pauses of a second.
LOCK_SECONDS: Final = 1
LOCK_ATTEMPTS: Final = 30


def read_all(
    contract: Contract,
    snapshot: SourceSnapshot,
    table: str,
    throttle: Throttle,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[list[str | None]]:
    """All rows of a table in the snapshot as canonical texts of all columns, in no order."""
    told = time.monotonic()
    found = canonical_rows(contract, table, _pages(contract, snapshot, table, throttle))
    for rows, row in enumerate(found, start=1):
        if rows % PAGE == 0 and time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            report(f"source: {table}: {rows:,} rows so far")
        yield row


def read_keys(
    contract: Contract, snapshot: SourceSnapshot, table: str, keys: Iterable[Key], throttle: Throttle
) -> Iterator[list[str | None]]:
    """The rows of some primary keys, as `read_all` gives them, and perhaps rows of keys that MySQL takes for
    the same ones. A key that is no value of its columns' types has no row.
    """
    schema = contract.schema(table)
    columns = [schema.column(name) for name in schema.primary_key]
    asked = []
    for key in keys:
        try:
            asked.append([keyed.argument(c, text) for c, text in zip(columns, key, strict=True)])
        except ValueError:
            continue
    for start in range(0, len(asked), KEYS):
        throttle.wait()
        sql, args = keyed.by_keys(contract, table, asked[start : start + KEYS])
        rows = list(snapshot.rows(sql, args))
        throttle.paid(len(rows))
        yield from canonical_rows(contract, table, rows)


def _pages(
    contract: Contract, snapshot: SourceSnapshot, table: str, throttle: Throttle
) -> Iterator[tuple[Any, ...]]:
    if not keyed.pageable(contract, table):
        yield from _streamed(snapshot, keyed.all_rows(contract, table), throttle)
        return
    schema = contract.schema(table)
    places = [schema.column_names.index(name) for name in schema.primary_key]
    size = PAGE if throttle.rate is None else max(1, min(PAGE, int(throttle.rate)))
    throttle.wait()
    page = list(snapshot.rows(keyed.first_page(contract, table, size)))
    read = 0
    while True:
        throttle.paid(len(page))
        read += len(page)
        yield from page
        if len(page) < size:
            return
        last = [page[-1][at] for at in places]
        if not keyed.goes_on(last):
            yield from _streamed(snapshot, keyed.remaining(contract, table, read), throttle)
            return
        throttle.wait()
        page = list(snapshot.rows(*keyed.next_page(contract, table, last, size)))


def _streamed(snapshot: SourceSnapshot, sql: str, throttle: Throttle) -> Iterator[tuple[Any, ...]]:
    unpaid = 0
    for row in snapshot.rows(sql):
        unpaid += 1
        if unpaid >= KEYS:
            throttle.paid(unpaid)
            throttle.wait()
            unpaid = 0
        yield row
    throttle.paid(unpaid)
