from __future__ import annotations

from pathlib import Path

import pytest
import typer

from lakehouse_dagster.contract import commands


def test_render_prints_one_artefact_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    commands.render_command("flights", "topics.json")
    one = capsys.readouterr().out
    assert '"name": "flights.airline.flights"' in one
    commands.render_command("flights")
    everything = capsys.readouterr().out
    assert one in everything
    assert "===== lake.flink.sql =====" in everything
    assert "${S3_SECRET_KEY}" in everything


def test_render_writes_files(tmp_path: Path) -> None:
    commands.render_command("flights", to=tmp_path)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"lake.flink.sql", "connector.json", "marts/delay_by_carrier_hour.trino.sql"} <= written
    commands.render_command("flights", "topics.json", to=tmp_path / "one")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["topics.json"]


def test_wrong_names_say_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        commands.render_command("flihgts")
    assert "did you mean 'flights'?" in capsys.readouterr().err
    with pytest.raises(typer.Exit):
        commands.render_command("flights", "topics")
    assert "topics.json" in capsys.readouterr().err


def test_check_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    commands.check_command()
    assert "flights: 6 tables, 4 views, 5 marts" in capsys.readouterr().out
