from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import islice
from typing import Any

from lakehouse_dagster.drills.life import (
    FIRST_HOUR,
    FIRST_ID,
    FLIGHTS,
    LAST_ID,
    MAX_TRANSACTION,
    WEATHER,
    Change,
    World,
    statement,
)
from lakehouse_dagster.samples.flights.data import LAST_DAY

Table = dict[tuple[Any, ...], dict[str, Any]]


def apply(tables: dict[str, Table], change: Change) -> None:
    """What a database with primary keys would do; a change that does not fit is an error here."""
    rows, key = tables[change.table], tuple(change.key.values())
    match change.kind:
        case "insert":
            assert key not in rows
            assert set(change.key) <= set(change.values)
            rows[key] = dict(change.values)
        case "update":
            assert not set(change.key) & set(change.values)
            rows[key].update(change.values)
        case "delete":
            del rows[key]
        case _:
            raise AssertionError(change.kind)


def test_every_change_fits_the_rows_that_are_there() -> None:
    tables: dict[str, Table] = {FLIGHTS: {}, WEATHER: {}}
    kinds: Counter[tuple[str, str]] = Counter()
    for transaction in islice(World(7).transactions(), 3000):
        assert 1 <= len(transaction) <= MAX_TRANSACTION + 1
        keys = [(change.table, *change.key.values()) for change in transaction]
        assert len(set(keys)) == len(keys)
        for change in transaction:
            apply(tables, change)
            kinds[change.table, change.kind] += 1
    assert set(kinds) == {(t, k) for t in (FLIGHTS, WEATHER) for k in ("insert", "update", "delete")}
    assert kinds[FLIGHTS, "insert"] > 2 * (LAST_ID - FIRST_ID), "keys are used again after their deletion"


def test_keys_are_the_drills_own() -> None:
    for transaction in islice(World(1).transactions(), 500):
        for change in transaction:
            if change.table == FLIGHTS:
                assert FIRST_ID <= change.key["id"] <= LAST_ID
            else:
                assert change.key["observed_at"] >= FIRST_HOUR
    assert FIRST_HOUR.date() > LAST_DAY
    assert LAST_ID < 2**32, "the column is INT UNSIGNED"


def test_a_seed_gives_always_the_same() -> None:
    def some(seed: int) -> list[list[Change]]:
        return [list(transaction) for transaction in islice(World(seed).transactions(), 50)]

    assert some(1) == some(1)
    assert some(1) != some(2)


def test_it_goes_on_from_what_the_source_really_holds() -> None:
    world = World(3)
    list(islice(world.transactions(), 100))
    hour = datetime(2031, 1, 1, 5)
    world.know({FIRST_ID: "landed"}, [("EWR", hour)])
    tables: dict[str, Table] = {
        FLIGHTS: {(FIRST_ID,): {"id": FIRST_ID, "status": "landed"}},
        WEATHER: {("EWR", hour): {}},
    }
    for transaction in islice(world.transactions(), 500):
        for change in transaction:
            apply(tables, change)


def test_statements_carry_values_as_arguments() -> None:
    key = {"origin": "EWR", "observed_at": 5}
    assert statement(Change("weather", "insert", key, {**key, "temp": 1})) == (
        "INSERT INTO weather (origin, observed_at, temp) VALUES (%s, %s, %s)",
        ("EWR", 5, 1),
    )
    assert statement(Change("weather", "update", key, {"temp": 2})) == (
        "UPDATE weather SET temp = %s WHERE origin = %s AND observed_at = %s",
        (2, "EWR", 5),
    )
    assert statement(Change("weather", "delete", key)) == (
        "DELETE FROM weather WHERE origin = %s AND observed_at = %s",
        ("EWR", 5),
    )
