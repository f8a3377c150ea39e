"""Marts on the real Nessie and Trino: write, audit, publish; by partition and whole; crashes, conflicts.

The lake's tables are Iceberg tables of the test's own, with the columns of the sample pipeline: a mart sees
no difference, and their rows can be changed at will.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.contract.marts import AUDIT_TYPES
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.nessie import Delete, Merge, Reference
from lakehouse_dagster.engines.trino import literal
from lakehouse_dagster.governance.marts import MartRows, Wanted, mart_keys, refresh_mart
from lakehouse_dagster.governance.wap import Published
from lakehouse_dagster.layers.marts import mart_assets
from lakehouse_dagster.render import trino as render

DAILY = "punctuality_by_airport_day"
ROUTES = "route_league_table"
DAYS = [date(2013, 1, day) for day in range(1, 7)]


def flight(
    number: int,
    day: date,
    *,
    origin: str = "JFK",
    dest: str = "BOS",
    tailnum: str | None = "N1",
    hour: int = 12,
    dep: int | None = 0,
    arr: int | None = 0,
) -> dict[str, Any]:
    """A flight of an hour's length; without ``dep`` it has not departed, without ``arr`` not landed."""
    scheduled = datetime(day.year, day.month, day.day, hour, 30)
    departed = None if dep is None else scheduled + timedelta(minutes=dep)
    landed = None if arr is None else scheduled + timedelta(minutes=60 + arr)
    return {
        "id": number,
        "carrier": "B6",
        "tailnum": tailnum,
        "origin": origin,
        "dest": dest,
        "flight_date": day,
        "scheduled_departure": scheduled,
        "departs_at": departed or scheduled,
        "departed_at": departed,
        "arrived_at": landed,
        "dep_delay": dep,
        "arr_delay": arr,
        "air_time": 50,
        "distance": 187,
    }


FLIGHTS = [
    flight(number, DAYS[number % 5], origin=("JFK", "LGA")[number % 2], dep=number, arr=number * 2)
    for number in range(1, 21)
]
AIRPORTS = [{"faa": "JFK", "name": "Kennedy"}, {"faa": "BOS", "name": "Logan"}]


class Lake:
    """The sample pipeline under a name of its own, over tables that the test fills."""

    def __init__(self, clients: Clients, name: str) -> None:
        flights = load_contract(DEFS_ROOT / "flights")
        self.contract: Contract = replace(
            flights, pipeline=flights.pipeline.model_copy(update={"name": name})
        )
        self.clients = clients

    def fill(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        schema = self.contract.schema(table)
        types = {**{column.name: mapping(column).trino for column in schema.columns}, **AUDIT_TYPES}
        given = [", ".join(_literal(row.get(name), kind) for name, kind in types.items()) for row in rows]
        self.run(
            f"CREATE TABLE {self.table(table)} AS SELECT * FROM (VALUES {', '.join(f'({r})' for r in given)})"
            f" AS t ({', '.join(types)})"
        )

    def table(self, name: str) -> str:
        return render.lake_table(self.contract, name)

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        return self.clients.trino.execute(sql).rows

    def refresh(self, mart: str, **wanted: Any) -> Published[MartRows]:
        return refresh_mart(self.contract, mart, self.clients, run_id="test", wanted=Wanted(**wanted))

    def published(self, mart: str) -> list[tuple[Any, ...]]:
        return sorted(self.run(f"SELECT * FROM {render.mart_table(self.contract, mart)}"), key=repr)

    def computed(self, mart: str) -> list[tuple[Any, ...]]:
        """What the mart's SELECT returns now."""
        return sorted(self.run(render.mart_select(self.contract, mart)), key=repr)

    def version(self, mart: str) -> object:
        keys = mart_keys(self.contract, mart)
        return self.clients.nessie.get_tables(keys, self.clients.nessie.get_reference("main"))

    def left_over(self) -> list[str]:
        """Branches of this pipeline's marts that are still there."""
        prefix = f"wap.{self.contract.name}."
        return [r.name for r in self.clients.nessie.references() if r.name.startswith(prefix)]


def _literal(value: object, kind: str) -> str:
    text = "NULL" if value is None else literal(str(value))
    return f"CAST({text} AS {kind})"


@pytest.fixture
def lake(endpoints: Endpoints) -> Iterator[Lake]:
    with Clients(endpoints) as clients:
        made = Lake(clients, f"zz_marts_{uuid.uuid4().hex[:8]}")
        name = made.contract.name
        clients.nessie.ensure_namespace(name)
        yield made
        mine = [
            key for key in clients.nessie.entries(clients.nessie.get_reference()) if key[0].startswith(name)
        ]
        gone = [Delete(key) for key in sorted(mine, key=len, reverse=True)]
        clients.nessie.commit(gone, f"remove {name}", reference=clients.nessie.get_reference())
        assert made.left_over() == []


@pytest.fixture
def daily(lake: Lake) -> Lake:
    """With flights of five days and the airports."""
    lake.fill("flights", FLIGHTS)
    lake.fill("airports", AIRPORTS)
    return lake


def test_by_partition_is_the_same_as_whole(daily: Lake) -> None:
    first = daily.refresh(DAILY)
    assert first.written.plan is not None
    assert first.written.plan.full
    assert daily.published(DAILY) == daily.computed(DAILY)
    assert [row[0] for row in daily.published(DAILY)] == sorted(DAYS[:5] * 2)

    flights = daily.table("flights")
    new = flight(100, DAYS[5], dep=30)
    columns = ", ".join(new)
    types = {c.name: mapping(c).trino for c in daily.contract.schema("flights").columns}
    values = ", ".join(_literal(value, types[name]) for name, value in new.items())
    daily.run(f"INSERT INTO {flights} ({columns}) VALUES ({values})")  # a new day
    daily.run(
        f"UPDATE {flights} SET flight_date = DATE '2013-01-02' WHERE id = 5"
    )  # from the first to the second
    daily.run(f"DELETE FROM {flights} WHERE flight_date = DATE '2013-01-04'")  # a whole day
    # Two rows change their values in the third: neither counts nor sums of hashed columns would show it.
    daily.run(f"UPDATE {flights} SET dep_delay = 24 - dep_delay WHERE id IN (7, 17)")
    second = daily.refresh(DAILY)
    assert second.written.plan is not None
    assert (second.written.plan.full, second.written.plan.days) == (
        False,
        (DAYS[0], DAYS[1], DAYS[2], DAYS[3], DAYS[5]),
    )
    assert daily.published(DAILY) == daily.computed(DAILY)
    assert {row[0] for row in daily.published(DAILY)} == {*DAYS} - {DAYS[3]}

    version = daily.version(DAILY)
    assert daily.refresh(DAILY).hash is None
    assert daily.version(DAILY) == version
    asked = daily.refresh(DAILY, first=DAYS[1], last=DAYS[1])
    assert asked.written.plan is not None
    assert asked.written.plan.days == (DAYS[1],)
    assert daily.published(DAILY) == daily.computed(DAILY)


def test_what_is_read_as_a_whole_or_written_by_others_leads_to_everything(daily: Lake) -> None:
    daily.refresh(DAILY)
    daily.run(f"UPDATE {daily.table('airports')} SET name = 'JFK' WHERE faa = 'JFK'")
    renamed = daily.refresh(DAILY)
    assert renamed.written.plan is not None
    assert "airports changed" in renamed.written.plan.reason
    assert daily.published(DAILY) == daily.computed(DAILY)
    assert {row[2] for row in daily.published(DAILY)} == {"JFK", None}
    daily.run(f"DELETE FROM {render.mart_table(daily.contract, DAILY)} WHERE origin = 'JFK'")
    mended = daily.refresh(DAILY)
    assert mended.written.plan is not None
    assert "somebody else" in mended.written.plan.reason
    assert daily.published(DAILY) == daily.computed(DAILY)


def test_a_failed_check_leaves_the_published_mart_untouched(daily: Lake) -> None:
    daily.refresh(DAILY)
    before, version = daily.published(DAILY), daily.version(DAILY)
    daily.run(f"UPDATE {daily.table('flights')} SET origin = 'XXX' WHERE id = 1")

    def materialize() -> dg.ExecuteInProcessResult:
        return dg.materialize(
            mart_assets(daily.contract),
            resources={"lakehouse": LakehouseResource()},
            selection=[f"{daily.contract.name}/marts/{DAILY}"],
            raise_on_error=False,
        )

    failed = materialize()
    assert not failed.success
    found = {check.check_name: check for check in failed.get_asset_check_evaluations()}
    assert [name for name, check in found.items() if not check.passed] == ["accepted_origin"]
    assert "| 2013-01-02 | XXX |" in str(found["accepted_origin"].metadata["sample"].value)
    assert daily.published(DAILY) == before
    assert daily.version(DAILY) == version
    assert daily.left_over() == []

    daily.run(f"UPDATE {daily.table('flights')} SET origin = 'EWR' WHERE id = 1")
    done = materialize()
    assert done.success
    assert daily.published(DAILY) == daily.computed(DAILY) != before
    commit = next(entry for entry in daily.clients.nessie.log() if entry.message.endswith(DAILY))
    assert commit.properties["lakehouse.run-id"] == done.run_id
    assert "accepted_origin" in commit.properties["lakehouse.checks-passed"]
    assert commit.properties["lakehouse.read-hash"]


CRASH = """
import os, sys
from dataclasses import replace
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.governance import marts
from lakehouse_dagster.runtime.endpoints import load_endpoints

name, mart, step = sys.argv[1:]
flights = load_contract(DEFS_ROOT / "flights")
contract = replace(flights, pipeline=flights.pipeline.model_copy(update={"name": name}))
clients = Clients(load_endpoints())
merge = clients.nessie.merge
if step == "audit":
    marts._audit = lambda *_: os._exit(9)
else:
    clients.nessie.merge = lambda *a, **k: (merge(*a, **k), os._exit(9))
marts.refresh_mart(contract, mart, clients, run_id="dies")
"""


@pytest.mark.parametrize("step", ["audit", "merge"])
def test_a_crash_leaves_the_old_mart_or_the_new_one(daily: Lake, step: str) -> None:
    daily.refresh(DAILY)
    before = daily.published(DAILY)
    daily.run(f"UPDATE {daily.table('flights')} SET dep_delay = 99 WHERE id = 3")
    died = subprocess.run(
        [sys.executable, "-c", CRASH, daily.contract.name, DAILY, step], timeout=300, capture_output=True
    )
    assert died.returncode == 9, died.stderr.decode()
    assert len(daily.left_over()) == 1
    assert daily.published(DAILY) == (before if step == "audit" else daily.computed(DAILY))
    again = daily.refresh(DAILY)
    assert (again.hash is None) == (step == "merge")
    assert daily.published(DAILY) == daily.computed(DAILY) != before
    assert daily.left_over() == []


def test_a_conflict_is_redone_from_what_the_other_has_published(
    daily: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    daily.refresh(ROUTES)
    daily.run(f"UPDATE {daily.table('flights')} SET dest = 'ORD' WHERE id = 3")
    merge: Callable[..., Merge] = daily.clients.nessie.merge
    others = iter([f"DELETE FROM {render.mart_table(daily.contract, ROUTES)}"])

    def late(source: Reference, into: Reference, *arguments: Any, **named: Any) -> Merge:
        for sql in others:
            daily.run(sql)
            into = daily.clients.nessie.get_reference("main")
        return merge(source, into, *arguments, **named)

    monkeypatch.setattr(daily.clients.nessie, "merge", late)
    done = daily.refresh(ROUTES)
    assert done.attempts == 2
    assert daily.published(ROUTES) == daily.computed(ROUTES)


def test_two_marts_at_once_and_one_mart_twice(daily: Lake, endpoints: Endpoints) -> None:
    def refresh(mart: str) -> Published[MartRows]:
        with Clients(endpoints) as clients:
            return refresh_mart(daily.contract, mart, clients, run_id="test")

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(refresh, [DAILY, ROUTES, DAILY]))
    # The second of one mart came after the first had ended, so nothing was left to do.
    assert sorted(one.hash is None for one in done) == [False, False, True]
    for mart in (DAILY, ROUTES):
        assert daily.published(mart) == daily.computed(mart)


def test_the_shipped_marts_answer_their_questions(lake: Lake) -> None:
    first, second = DAYS[:2]
    lake.fill(
        "flights",
        [
            flight(1, first, hour=8, dep=20, arr=30),
            flight(2, first, hour=14, dep=-5, arr=-10, dest="ORD"),
            flight(3, first, hour=8, dep=10, arr=0, origin="LGA", tailnum="N2"),
            flight(4, first, hour=9, dep=None, arr=None, origin="LGA", tailnum=None),
            *(flight(10 + n, second, hour=n, dep=n, arr=n, tailnum=None) for n in range(10)),
        ],
    )
    lake.fill("airports", AIRPORTS)
    lake.fill("airlines", [{"carrier": "B6", "name": "JetBlue"}])
    lake.fill("planes", [{"tailnum": "N1", "manufacturer": "AIRBUS", "model": "A320"}])
    observed = datetime(2013, 1, 1, 8)
    lake.fill(
        "weather",
        [
            {"origin": "JFK", "observed_at": observed, "visib": 1, "precip": 0, "wind_speed": 30},
            {"origin": "LGA", "observed_at": observed, "visib": 10, "precip": 0, "wind_speed": 5},
        ],
    )
    names = [mart.name for mart in lake.contract.marts]
    assert len(names) >= 5
    for name in names:
        done = lake.refresh(name)
        assert [audit.name for audit in done.audits if audit.blocks] == []
        assert lake.published(name) == lake.computed(name) != []

    assert [row[:9] for row in lake.published(DAILY) if row[0] == first] == [
        (first, "JFK", "Kennedy", 2, 2, 2, 0.5, 0.5, 7.5),
        (first, "LGA", None, 2, 1, 1, 1.0, 1.0, 10.0),
    ]
    turned = {row[0]: row for row in lake.published("plane_turnaround")}
    # Landed 10:00, left again 14:25; the flight back takes 50 minutes.
    assert (turned[1][3], turned[1][8], turned[1][12:]) == ("AIRBUS", 2, (265, 215))
    assert turned[2][8] is None
    assert ("JFK", "poor visibility", 1, 1, 20.0, 1.0, 20) in lake.published("weather_and_delay")
    assert ("LGA", "fair", 1, 1, 10.0, 0.0, 10) in lake.published("weather_and_delay")
    routes = {row[:2]: row[2:] for row in lake.published(ROUTES)}
    assert routes["JFK", "BOS"] == ("Logan", 11, 11, 1, 187, 6.8, 1, 1)
    assert routes["JFK", "ORD"] == (None, 1, 1, 1, 187, -10.0, 3, None)


def test_many_days_are_written_in_slices(lake: Lake) -> None:
    """Trino's writer takes 100 partitions at most."""
    days = [date(2013, 1, 1) + timedelta(days=number) for number in range(120)]
    lake.fill("flights", [flight(number, day) for number, day in enumerate(days)])
    lake.fill("airports", AIRPORTS)
    lake.refresh(DAILY)
    assert sorted(row[0] for row in lake.published(DAILY)) == days


def test_failures_of_an_engine_leave_nothing(daily: Lake) -> None:
    daily.run(f"DROP TABLE {daily.table('airports')}")
    with pytest.raises(EngineError, match="airports"):
        daily.refresh(DAILY)
    assert daily.left_over() == []
