"""What of the replay needs no database: the plan, the pace, the statements."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from typer.testing import CliRunner

from lakehouse_dagster.samples.flights import commands
from lakehouse_dagster.samples.flights.data import Airline, Airport, Flight, Plane, Weather
from lakehouse_dagster.samples.flights.replay import Pacer, Plan
from lakehouse_dagster.samples.flights.tables import ReplayError, day_stream, source_statements

NOON = datetime(2013, 1, 1, 12)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_a_plan_names_its_days() -> None:
    plan = Plan(date(2013, 1, 30), days=3)
    assert plan.dates == [date(2013, 1, 30), date(2013, 1, 31), date(2013, 2, 1)]
    assert len(Plan(days=365).dates) == 365


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"first_day": date(2014, 1, 1)}, r"--day 2014-01-01.*2013-01-01 to 2013-12-31"),
        ({"days": 0}, r"--days 0.*1 to 365"),
        ({"first_day": date(2013, 12, 31), "days": 2}, r"--days 2.*1 to 1"),
        ({"speed": -1.0}, r"--speed -1"),
        ({"rate": float("nan")}, r"--rate nan"),
    ],
)
def test_a_wrong_plan_is_refused_with_the_option_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        Plan(**wrong)  # type: ignore[arg-type]


def test_the_simulated_clock_starts_with_the_first_change_and_keeps_its_speed() -> None:
    clock = Clock()
    pacer = Pacer(speed=600, rate=0, now=clock)
    assert pacer.until_due(NOON) == 0
    assert pacer.until_due(NOON + timedelta(hours=1)) == 6
    clock.time += 4
    assert pacer.until_due(NOON + timedelta(hours=1)) == 2
    clock.time += 4
    assert pacer.until_due(NOON + timedelta(hours=1)) == 0
    assert pacer.until_allowed(10**6) == 0


def test_the_rate_is_never_exceeded_and_bursts_are_short() -> None:
    clock = Clock()
    pacer = Pacer(speed=0, rate=10, now=clock)
    assert pacer.until_due(NOON + timedelta(days=9)) == 0
    assert pacer.until_allowed(0) == 0
    assert pacer.until_allowed(20) == 2
    clock.time += 1.5
    assert pacer.until_allowed(20) == 0.5
    assert pacer.limited(20) == 5
    assert pacer.limited(3) == 3
    assert Pacer(0, 0.1, clock).limited(20) == 1
    assert Pacer(0, 0, clock).limited(20) == 20


def test_source_sql_has_every_column_of_the_typed_rows() -> None:
    statements = {
        text.removeprefix("CREATE TABLE IF NOT EXISTS ").split()[0]: text for text in source_statements()
    }
    captured = ["airlines", "airports", "planes", "weather", "flights", "freshness_probe"]
    assert list(statements) == [*captured, "replay_progress"]
    typed = {"airlines": Airline, "airports": Airport, "planes": Plane, "weather": Weather, "flights": Flight}
    for table, row in typed.items():
        columns = [
            line.split()[0]
            for line in statements[table].splitlines()[1:]
            if " COMMENT '" in line and line.startswith("    ")
        ]
        extra = ["departs_at", "status"] if table == "flights" else []
        assert sorted(c for c in columns if c != "COMMENT") == sorted([*row._fields, *extra])


def test_names_of_progress_fit_their_column() -> None:
    assert day_stream(date(2013, 12, 31)) == "flights:2013-12-31"


def test_the_command_refuses_a_wrong_day_before_anything_else() -> None:
    done = CliRunner().invoke(commands.replay_command, ["flights", "--day", "2012-06-01"])
    assert done.exit_code == 1
    assert "--day 2012-06-01" in done.output
    done = CliRunner().invoke(commands.replay_command, ["flights", "--day", "June"])
    assert done.exit_code == 2
