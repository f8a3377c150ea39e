from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract import (
    Column,
    Contract,
    ContractError,
    SchemaLock,
    TableSchema,
    load_contract,
)
from lakehouse_dagster.contract.applied import (
    Applied,
    advanced,
    applied_path,
    current,
    digest,
    in_force,
    load,
    store,
)


def lock(size: int) -> SchemaLock:
    columns = tuple(
        Column(name=f"c{number}", mysql_type="int", nullable=True, position=number + 1)
        for number in range(size)
    )
    return SchemaLock(database="shop", tables={"t": TableSchema(name="t", columns=columns)})


def test_nothing_was_applied() -> None:
    assert in_force(lock(1), None).state == "committed"


def test_what_was_applied_continues_the_folder() -> None:
    applied = advanced("p", lock(1), None, lock(2), {"t": "why"})
    found = in_force(lock(1), applied)
    assert (found.state, found.lock, found.stopped) == ("ahead", lock(2), {"t": "why"})
    assert in_force(lock(2), applied).state == "committed"
    assert in_force(lock(2), applied).stopped == {"t": "why"}


def test_what_people_say_later_counts() -> None:
    applied = advanced("p", lock(1), None, lock(2), {"t": "why"})
    found = in_force(lock(3), applied)
    assert (found.state, found.lock, found.stopped) == ("set aside", lock(3), {})
    again = advanced("p", lock(3), applied, lock(4), {})
    assert in_force(lock(1), again).state == "set aside"
    assert in_force(lock(3), again).lock == lock(4)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(0, 7))
def test_every_step_is_in_force_from_every_lock_before_it(steps: list[int], committed: int) -> None:
    applied: Applied | None = None
    for version, size in enumerate(steps, start=1):
        applied = advanced("p", lock(9), applied, lock(size), {})
        assert applied.version == version
        for before in (9, *steps[:version]):
            assert in_force(lock(before), applied).lock == lock(size)


def test_the_file(tmp_path: Path) -> None:
    assert load("p", tmp_path) is None
    applied = advanced("p", lock(1), None, lock(2), {"t": "ü"})
    path = store(applied, tmp_path)
    assert path == applied_path("p", tmp_path) == tmp_path / "schemas" / "p.json"
    assert load("p", tmp_path) == applied
    assert [file.name for file in path.parent.iterdir()] == ["p.json"]
    path.rename(path.with_name("q.json"))
    with pytest.raises(ContractError, match="not 'q'"):
        load("q", tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "pipeline": "p"}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = applied_path("p", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ContractError, match=r"p\.json"):
        load("p", tmp_path)


def test_the_data_folder_of_the_instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_DATA", str(tmp_path))
    assert applied_path("p") == tmp_path / "schemas" / "p.json"


def test_a_process_that_lives_long_sees_what_was_applied(contract: Contract, tmp_path: Path) -> None:
    assert current(contract, tmp_path) is contract
    orders = contract.lock.tables["orders"]
    more = Column(name="more", mysql_type="int", nullable=True, position=len(orders.columns) + 1)
    wider = orders.model_copy(update={"columns": (*orders.columns, more)})
    new = contract.lock.model_copy(update={"tables": {**contract.lock.tables, "orders": wider}})
    store(advanced(contract.name, contract.lock, None, new, {}), tmp_path)
    assert current(contract, tmp_path).schema("orders").column_names[-1] == "more"
    assert digest(new) != digest(contract.lock)
    before = load(contract.name, tmp_path)
    now = advanced(contract.name, contract.lock, before, contract.lock, {"orders": "why", "x": "y"})
    store(now, tmp_path)
    found = current(contract, tmp_path)
    assert found.stopped == {"orders": "why"}
    assert [table.name for table in found.flowing] == ["shops"]
    assert found.flowing_views == ()
    assert current(found, tmp_path) is found
    store(advanced(contract.name, contract.lock, now, contract.lock, {}), tmp_path)
    assert current(found, tmp_path).stopped == {}


def test_a_contract_that_does_not_fit_any_more_stays_as_it_is(contract: Contract, tmp_path: Path) -> None:
    less = contract.lock.model_copy(update={"tables": {"shops": contract.lock.tables["shops"]}})
    store(advanced(contract.name, contract.lock, None, less, {}), tmp_path)
    assert current(contract, tmp_path) is contract


def test_what_was_applied_is_loaded(
    contract: Contract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAKEHOUSE_DATA", str(tmp_path / "data"))
    orders = contract.lock.tables["orders"]
    columns = tuple(
        column.model_copy(update={"mysql_type": "varchar(99)"}) if column.name == "shop" else column
        for column in orders.columns
    )
    tables = {**contract.lock.tables, "orders": orders.model_copy(update={"columns": columns})}
    new = contract.lock.model_copy(update={"tables": tables})
    store(advanced(contract.name, contract.lock, None, new, {"shops": "why", "gone": "long ago"}))
    found = load_contract(contract.folder)
    assert found.schema("orders").column("shop").mysql_type == "varchar(99)"
    assert found.stopped == {"shops": "why"}
    new.write(contract.folder)
    assert load_contract(contract.folder).stopped == {"shops": "why"}, "committed as it was applied"
    applied_path(contract.name).write_text("{")
    with pytest.raises(ContractError, match=r"orders\.json"):
        load_contract(contract.folder)


def test_a_contract_that_does_not_fit_what_was_applied_says_so(
    contract: Contract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAKEHOUSE_DATA", str(tmp_path / "data"))
    orders = contract.lock.tables["orders"]
    columns = tuple(column for column in orders.columns if column.name != "total")
    tables = {**contract.lock.tables, "orders": orders.model_copy(update={"columns": columns})}
    new = contract.lock.model_copy(update={"tables": tables})
    store(advanced(contract.name, contract.lock, None, new, {}))
    with pytest.raises(ContractError) as caught:
        load_contract(contract.folder)
    assert caught.value.problems[-1].file == str(applied_path(contract.name))
    assert "schema commit orders" in caught.value.problems[-1].fix
