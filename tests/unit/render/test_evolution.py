"""What an applied change means for each place: statements against ``tests/golden/evolution.json``.

Write that file again with ``LAKEHOUSE_UPDATE_GOLDEN=1`` and read the difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract import Column, Contract, SchemaLock, TableSchema, load_contract
from lakehouse_dagster.contract.ddl import History
from lakehouse_dagster.contract.evolution import believed, diff_table
from lakehouse_dagster.contract.loader import COMPONENT
from lakehouse_dagster.contract.model import View
from lakehouse_dagster.render import paimon
from lakehouse_dagster.render.evolution import (
    Alteration,
    cassandra_alteration,
    marts_reading,
    paimon_alteration,
    paimon_script,
    promotable,
    relocked,
    remainder,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "evolution.json"

ORDERS = ("id int!", "shop char(4)!", "placed_at datetime!", "total decimal(10,2)", "size int", "note text")
MARTS = {
    "sales": "SELECT o.shop, sum(o.total) AS total FROM lake.orders o GROUP BY o.shop",
    "all_orders": "SELECT * FROM lake.orders",
    "nested": "WITH w AS (SELECT id, size AS s FROM lake.orders) SELECT max(s) AS most FROM w",
}


def schema(*described: str, key: Sequence[str] = ("id",)) -> TableSchema:
    columns = []
    for position, text in enumerate(described, start=1):
        name, _, kind = text.rstrip("!").partition(" ")
        columns.append(Column(name=name, mysql_type=kind, nullable=not text.endswith("!"), position=position))
    return TableSchema(name="orders", columns=tuple(columns), primary_key=tuple(key))


def lock(*described: str, key: Sequence[str] = ("id",)) -> SchemaLock:
    return SchemaLock(database="shop", tables={"orders": schema(*described, key=key)})


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    folder = tmp_path_factory.mktemp("orders")
    attributes = {
        "name": "orders",
        "owner": "team:sales",
        "source": {"database": "shop"},
        "tables": [{"name": "orders", "columns": {"note": "What the customer says."}}],
        "views": [
            {
                "name": "by_shop",
                "engine": "cassandra",
                "table": "orders",
                "partition_key": ["shop"],
                "clustering_key": ["placed_at", "id"],
            },
            {"name": "documents", "engine": "couchdb", "table": "orders", "columns": ["id", "size"]},
        ],
    }
    (folder / "defs.yaml").write_text(yaml.safe_dump({"type": COMPONENT, "attributes": attributes}))
    (folder / "marts").mkdir()
    for name, sql in MARTS.items():
        (folder / "marts" / f"{name}.sql").write_text(sql)
    lock(*ORDERS).write(folder)
    return load_contract(folder)


def with_shape(contract: Contract, *described: str, key: Sequence[str] = ("id",)) -> Contract:
    return replace(contract, lock=lock(*described, key=key))


CASES: dict[str, tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]] = {
    "nothing": (ORDERS, {}, ("id",)),
    "add at the end": ((*ORDERS, "vip bit(1)", "seen datetime(6)"), {}, ("id",)),
    "add first and in the middle": (("a int", "id int!", "b text", *ORDERS[1:]), {}, ("id",)),
    "drop": (ORDERS[:4], {}, ("id",)),
    "rename": ((*ORDERS[:5], "remark text"), {"note": "remark"}, ("id",)),
    "rename onto a dropped column": ((*ORDERS[:4], "size text"), {"note": "size"}, ("id",)),
    "rename beside a new column of the old name": (
        (*ORDERS[:5], "remark text", "note int"),
        {"note": "remark"},
        ("id",),
    ),
    "widen": (
        (
            "id int!",
            "shop char(9)!",
            "placed_at datetime!",
            "total decimal(12,2)",
            "size bigint",
            "note text",
        ),
        {},
        ("id",),
    ),
    "widen to another scale": ((*ORDERS[:3], "total decimal(12,4)", *ORDERS[4:]), {}, ("id",)),
    "widen the key": (("id bigint!", *ORDERS[1:]), {}, ("id",)),
    "another family": ((*ORDERS[:4], "size varchar(20)", "note text"), {}, ("id",)),
    "reorder": (("note text", "size int", *ORDERS[:4]), {}, ("id",)),
    "another key": (ORDERS, {}, ("id", "shop")),
    "a key column renamed": (("nr int!", *ORDERS[1:]), {"id": "nr"}, ("nr",)),
    "everything at once": (
        ("note text", "id int!", "shop char(4)!", "day date", "placed_at datetime!", "sum decimal(14,2)"),
        {"total": "sum"},
        ("id",),
    ),
}


def shown(found: Alteration) -> Mapping[str, Sequence[str]]:
    return {name: list(part) for name, part in vars(found).items() if part}


def test_statements(contract: Contract) -> None:
    current = paimon.columns(contract, "orders")
    view = contract.view("by_shop")
    cql = {"id": "int", "shop": "text", "placed_at": "timestamp", "total": "decimal", "size": "int"}
    cql |= {"note": "text", "source_position": "bigint"}
    found = {}
    for name, (described, renames, key) in CASES.items():
        changed = with_shape(contract, *described, key=key)
        found[name] = {
            "paimon": shown(paimon_alteration(changed, "orders", current, ("id",), renames)),
            "cassandra": shown(cassandra_alteration(changed, view, cql)),
        }
    text = json.dumps(found, indent=2) + "\n"
    if os.environ.get("LAKEHOUSE_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert GOLDEN.read_text() == text


def altered(columns: list[tuple[str, str]], statements: Sequence[str]) -> list[tuple[str, str]]:
    """What the statements make of a table, as Paimon does."""
    for statement in statements:
        rest = statement.split("`lake`.`orders`.`orders` ", 1)[1]
        verb, _, rest = rest.partition(" ")
        if verb == "DROP":
            dropped = [name.strip("`") for name in rest.strip("()").split(", ")]
            assert set(dropped) <= {name for name, _ in columns}
            columns = [item for item in columns if item[0] not in dropped]
        elif verb == "RENAME":
            old, new = (name.strip("`") for name in rest.split(" TO "))
            assert new not in dict(columns)
            columns = [(new if name == old else name, kind) for name, kind in columns]
        else:
            name, _, kind = rest.partition(" ")
            name = name.strip("`")
            kind, after, anchor = kind.partition(" AFTER ")
            first = kind.endswith(" FIRST")
            kind = kind.removesuffix(" FIRST")
            here = [known for known, _ in columns].index(name) if verb == "MODIFY" else len(columns)
            assert (verb == "MODIFY") == (name in dict(columns))
            columns = [item for item in columns if item[0] != name]
            if after:
                here = [known for known, _ in columns].index(anchor.strip("`")) + 1
            columns.insert(0 if first else here, (name, kind))
    return columns


NAMES = [text.split()[0] for text in ORDERS] + ["x", "y", "z"]


@given(
    st.permutations(NAMES),
    st.integers(1, len(NAMES)),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES)),
)
def test_statements_lead_to_the_contract_and_then_there_are_none(
    contract: Contract, names: list[str], many: int, renames: dict[str, str]
) -> None:
    kinds = {text.rstrip("!").split()[0]: text for text in ORDERS}
    chosen = [name for name in names[:many] if name != "id"]
    changed = with_shape(contract, "id int!", *(kinds.get(name, f"{name} int") for name in chosen))
    wanted = list(paimon.columns(changed, "orders"))
    start = list(paimon.columns(contract, "orders"))
    renames = {old: new for old, new in renames.items() if "id" not in (old, new)}
    renames = believed(contract.schema("orders"), changed.schema("orders"), renames)
    found = paimon_alteration(changed, "orders", start, ("id",), renames)
    if found.obstacles:
        assert found.first == ()
        return
    assert altered(start, found.first) == wanted
    # Whoever was killed on the way goes on from there.
    for done in range(len(found.first) + 1):
        midway = altered(start, found.first[:done])
        again = paimon_alteration(changed, "orders", midway, ("id",), renames)
        assert altered(midway, again.first) == wanted
    assert not paimon_alteration(changed, "orders", wanted, ("id",), renames).needed


def test_types_that_can_change_in_place() -> None:
    assert promotable("INT", "BIGINT")
    assert promotable("FLOAT", "DOUBLE")
    assert promotable("DECIMAL(10, 2)", "DECIMAL(12, 2)")
    for old, new in (
        ("BIGINT", "INT"), ("DECIMAL(10, 2)", "DECIMAL(12, 4)"), ("DECIMAL(10, 2)", "DECIMAL(9, 2)"),
        ("INT", "DOUBLE"), ("DATE", "TIMESTAMP(6)"), ("STRING", "BYTES"), ("BIGINT", "DECIMAL(20, 0)"),
    ):  # fmt: skip
        assert not promotable(old, new)


def test_the_script_starts_no_job(contract: Contract) -> None:
    script = paimon_script(contract, ["ALTER TABLE x ADD y INT"])
    assert (script.inserts, script.statements_only) == ((), True)
    assert '"statements_only": true' in script.to_json()
    assert script.statements[0].startswith("CREATE CATALOG")
    assert "${S3_SECRET_KEY}" in script.statements[0]


def test_a_view_that_is_not_there_is_made_with_the_new_shape(contract: Contract) -> None:
    assert not cassandra_alteration(contract, contract.view("by_shop"), {}).needed


# --- what the contract itself says ----------------------------------------------------------------


def test_marts_that_read_a_column(contract: Contract) -> None:
    assert marts_reading(contract, "orders", ["total"]) == {"sales": ("total",)}
    assert marts_reading(contract, "orders", ["size", "shop"]) == {"sales": ("shop",), "nested": ("size",)}
    assert marts_reading(contract, "orders", ["note"]) == {}  # a star asks for no column


def test_blockers_name_what_has_to_change(contract: Contract) -> None:
    changed, problems = relocked(contract, lock("id int!", "shop char(4)!", "placed_at datetime!"))
    assert list(problems) == ["orders"]
    said = "\n".join(problems["orders"])
    assert "mart sales: " in said
    assert "mart nested: " in said
    assert "mart all_orders" not in said
    assert "'note'" in said  # its description
    assert "'size'" in said  # the view that lists it
    assert changed.lock.tables["orders"].column_names == ("id", "shop", "placed_at")


def test_what_agrees_has_no_blockers(contract: Contract) -> None:
    changed, problems = relocked(contract, lock(*ORDERS, "more int"))
    assert problems == {}
    assert [column.name for column in changed.view_columns("by_shop")][-1] == "more"


def test_a_nullable_view_key_blocks(contract: Contract) -> None:
    _, problems = relocked(contract, lock("id int!", "shop char(4)", *ORDERS[2:]))
    assert any("may be NULL" in said for said in problems["orders"])


# --- rows that no change tells of -----------------------------------------------------------------


def test_what_is_left_to_do(contract: Contract) -> None:
    old = schema(*ORDERS)

    def left(
        *described: str, history: History | None = None, renames: Mapping[str, str] | None = None
    ) -> object:
        return remainder(contract, diff_table(old, schema(*described), renames), history)

    known = History(explained=True, null_at_first=frozenset({"more"}))
    assert left(*ORDERS, "more int", history=known).resnapshot == ()  # type: ignore[attr-defined]
    assert left(*ORDERS, "more int").resnapshot  # type: ignore[attr-defined]
    assert left(*ORDERS, "other int", history=known).resnapshot  # type: ignore[attr-defined]
    assert left(*ORDERS[:5]).resnapshot == ()  # type: ignore[attr-defined]
    assert left(*ORDERS[:5], "note varchar(3)").resnapshot  # type: ignore[attr-defined]
    assert left(*ORDERS[:5], "note longtext").resnapshot == ()  # type: ignore[attr-defined]
    assert left(*ORDERS[:5], "remark text", renames={"note": "remark"}).resnapshot  # type: ignore[attr-defined]
    assert left(*ORDERS, history=History(replaced=True)).repair  # type: ignore[attr-defined]
    documents = replace(
        contract,
        pipeline=contract.pipeline.model_copy(
            update={"views": (View(name="documents", engine="couchdb", table="orders"),)}
        ),
    )
    for described, again in (
        ((*ORDERS, "more int"), True),
        (ORDERS[:5], True),
        ((*ORDERS[:5], "note longtext"), False),
        ((*ORDERS[:4], "size bigint", "note text"), True),
    ):
        changes = diff_table(old, schema(*described))
        assert bool(remainder(documents, changes, known).resnapshot) == again, described
