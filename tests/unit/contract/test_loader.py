from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse_dagster.contract import (
    Column,
    Contract,
    ContractError,
    ContractErrors,
    Pipeline,
    SchemaLock,
    TableSchema,
    discover,
    load_contract,
)

Write = Callable[..., Path]
Problems = Callable[..., tuple[ContractError, ...]]
Attributes = dict[str, Any]


SALES = "SELECT shop, sum(total) AS total FROM lake.orders GROUP BY shop"


def refreshed(cron: str) -> str:
    return f'-- mart:\n--   refresh: "{cron}"\n{SALES}'


def only(problems: tuple[ContractError, ...]) -> ContractError:
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


def test_a_right_contract_loads(contract: Contract) -> None:
    assert contract.name == contract.keyspace == "orders"
    assert contract.topic("orders") == "orders.shop.orders"
    assert contract.lake_path("orders") == ("orders", "orders")
    assert contract.marts_schema == "orders_marts"
    assert contract.owner_of(contract.table("orders")) == "team:sales"
    assert contract.view_key("orders_by_shop") == ("shop", "placed_at", "id")
    assert contract.view_key("order_documents") == ("id",)
    assert contract.moving_key_columns("orders_by_shop") == ("shop", "placed_at")
    assert contract.moving_key_columns("order_documents") == ()
    assert contract.before_columns("orders") == ("shop", "placed_at")
    assert contract.before_columns("shops") == ()
    assert [column.name for column in contract.view_columns("orders_by_shop")] == list(
        contract.schema("orders").column_names
    )
    assert contract.mart_tables("sales") == ("orders",)
    shop = contract.queries["sales"].columns[0]
    assert (shop.name, shop.type) == ("shop", "varchar")


def test_a_parsed_pipeline_is_taken_as_it_is(write: Write, attributes: Attributes) -> None:
    folder = write(attributes)
    pipeline = Pipeline.model_validate({**attributes, "owner": "team:other"})
    assert load_contract(folder, pipeline).owner == "team:other"


def test_the_flights_contract_is_right() -> None:
    (flights,) = [contract for contract in discover() if contract.name == "flights"]
    assert [table.name for table in flights.tables] == [
        "flights",
        "airlines",
        "airports",
        "planes",
        "weather",
        "freshness_probe",
    ]
    assert set(flights.moving_key_columns("departures_by_airport")) >= {"departs_at"}
    assert flights.mart_tables("delay_by_carrier_hour") == ("airlines", "flights")
    assert all(item.description for item in (*flights.tables, *flights.views, *flights.marts))


# --- what is wrong is named: file, field, line, problem and fix ---


def test_all_problems_are_reported_at_once_with_their_lines(
    problems: Problems, attributes: Attributes, tmp_path: Path
) -> None:
    attributes["tables"].append({"name": "ordres"})
    attributes["views"][0]["clustering_key"] = ["placed"]
    sql = f"-- mart:\n--   owner: team:sales\n--   refresh: often\n--   key: [shopp]\n{SALES}"
    found = problems(attributes, marts={"sales": sql})
    assert [problem.field for problem in found] == [
        "tables[2].name",
        "views[0].clustering_key[0]",
        "views[0].clustering_key",
        "refresh",
        "key[0]",
    ]
    text = (tmp_path / "orders" / "defs.yaml").read_text().splitlines()
    for problem in found[:3]:
        assert problem.file.endswith("orders/defs.yaml")
        assert problem.line is not None
    assert "ordres" in text[(found[0].line or 0) - 1]
    assert "placed" in text[(found[1].line or 0) - 1]
    for problem, line in zip(found[3:], (3, 4), strict=True):
        assert problem.file.endswith("orders/marts/sales.sql")
        assert problem.line == line
    assert "did you mean 'shop'?" in found[4].fix
    shown = str(ContractErrors(found))
    assert shown.startswith("5 problems in the contract:")
    assert "did you mean 'orders'?" in shown
    assert "did you mean 'placed_at'?" in shown


def test_table_without_primary_key(problems: Problems, attributes: Attributes) -> None:
    attributes["tables"].append({"name": "heap"})
    problem = only(problems(attributes))
    assert problem.field == "tables[2].name"
    assert "'heap' has no primary key" in problem.problem
    assert "PRIMARY KEY" in problem.fix


def test_uncarryable_type_names_the_column_and_the_reason(problems: Problems, attributes: Attributes) -> None:
    attributes["tables"].append({"name": "places"})
    problem = only(problems(attributes))
    assert "places.spot (hologram) cannot be carried: type 'hologram' is not known" in problem.problem


def with_column(lock: SchemaLock, table: str, *added: Column) -> SchemaLock:
    """The lock with more columns of a table."""
    schema = lock.tables[table]
    numbered = tuple(
        column.model_copy(update={"position": len(schema.columns) + at}) for at, column in enumerate(added, 1)
    )
    changed = schema.model_copy(update={"columns": (*schema.columns, *numbered)})
    return lock.model_copy(update={"tables": {**lock.tables, table: changed}})


def test_a_character_set_that_is_read_otherwise_names_the_column_and_the_fix(
    problems: Problems, attributes: Attributes, lock: SchemaLock
) -> None:
    column = Column(name="wide", mysql_type="varchar(9)", nullable=True, position=1, charset="gbk")
    problem = only(problems(attributes, with_column(lock, "shops", column)))
    assert problem.field == "tables[1].name"
    assert "shops.wide (varchar(9)) cannot be carried" in problem.problem
    assert "gbk" in problem.problem
    assert "utf8mb4" in problem.fix


@pytest.mark.parametrize(
    ("named", "said", "fix"),
    [
        ("nope", "has no column 'nope'", "did you mean 'opened'?"),
        ("name", "only DATE, DATETIME and TIMESTAMP", "take it out of as_text"),
        ("opened", "is part of the primary key", "take it out of as_text"),
    ],
)
def test_what_cannot_be_carried_as_text(
    problems: Problems, attributes: Attributes, lock: SchemaLock, named: str, said: str, fix: str
) -> None:
    attributes["tables"][1]["as_text"] = [named]
    opened = Column(name="opened", mysql_type="date", nullable=False, position=1)
    changed = with_column(lock, "shops", opened)
    shops = changed.tables["shops"].model_copy(update={"primary_key": ("code", "opened")})
    changed = changed.model_copy(update={"tables": {**changed.tables, "shops": shops}})
    problem = only(problems(attributes, changed))
    assert problem.field == "tables[1].as_text[0]"
    assert problem.line is not None
    assert said in problem.problem
    assert fix in problem.fix


def test_a_column_that_is_text_is_text_to_marts(
    write: Write, attributes: Attributes, lock: SchemaLock
) -> None:
    attributes["tables"][0]["as_text"] = ["paid_at"]
    loaded = load_contract(write(attributes, lock, {"sales": "SELECT paid_at FROM lake.orders"}))
    assert loaded.queries["sales"].columns[0].type == "varchar"


@pytest.mark.parametrize(
    ("mysql_type", "said"),
    [("point", "is a geometry"), ("vector(3)", "is a vector"), ("json", "is JSON")],
)
def test_what_is_no_key_of_a_view(
    problems: Problems, attributes: Attributes, lock: SchemaLock, mysql_type: str, said: str
) -> None:
    column = Column(name="odd", mysql_type=mysql_type, nullable=False, position=1)
    attributes["views"][0]["clustering_key"] = ["odd", "id"]
    problem = only(problems(attributes, with_column(lock, "orders", column)))
    assert problem.field == "views[0]"
    assert said in problem.problem
    assert problem.fix == "use another column"


def test_a_date_that_is_text_is_no_key_of_a_view(problems: Problems, attributes: Attributes) -> None:
    attributes["tables"][0]["as_text"] = ["placed_at"]
    problem = only(problems(attributes))
    assert (problem.field, problem.fix) == ("views[0]", "use another column")
    assert "'placed_at' is carried as text" in problem.problem


def test_view_of_unknown_table_and_column(problems: Problems, attributes: Attributes) -> None:
    attributes["views"][1]["table"] = "order"
    assert "did you mean 'orders'?" in only(problems(attributes)).fix
    attributes["views"][1].update(table="orders", columns=["id", "totl"])
    problem = only(problems(attributes))
    assert (problem.field, problem.fix) == ("views[1].columns[1]", "did you mean 'total'?")


def test_cassandra_key_must_include_the_sources_key(problems: Problems, attributes: Attributes) -> None:
    attributes["views"][0]["clustering_key"] = ["placed_at"]
    problem = only(problems(attributes))
    assert problem.field == "views[0].clustering_key"
    assert "overwrite" in problem.problem
    assert problem.fix == "add id to clustering_key"


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"partition_key": []}, "views[0].partition_key", "no partition key"),
        ({"partition_key": ["shop", "id"]}, "views[0].clustering_key", "also in partition_key"),
        ({"partition_key": ["shop", "shop"]}, "views[0].partition_key[1]", "named twice"),
        ({"clustering_key": ["paid_at", "id"]}, "views[0]", "may be NULL"),
        ({"columns": ["id", "shop"]}, "views[0].columns", "'placed_at' is not among"),
        ({"columns": []}, "views[0].columns", "has no columns"),
        ({"columns": ["id", "id", "shop", "placed_at"]}, "views[0].columns[1]", "named twice"),
    ],
)
def test_cassandra_rules(
    problems: Problems, attributes: Attributes, change: Attributes, field: str, problem: str
) -> None:
    attributes["views"][0].update(change)
    found = problems(attributes)
    assert (field, True) in [(each.field, problem in each.problem) for each in found], list(map(str, found))


def test_couchdb_rules(problems: Problems, attributes: Attributes) -> None:
    attributes["views"][1].update(partition_key=["shop"], columns=["shop"])
    found = problems(attributes)
    assert [each.field for each in found] == ["views[1].partition_key", "views[1].columns"]
    assert "not served" in found[1].problem


def test_couchdb_keeps_underscores_for_itself(
    problems: Problems, attributes: Attributes, lock: SchemaLock
) -> None:
    orders = lock.tables["orders"]
    extra = Column(name="_hidden", mysql_type="int", nullable=True, position=99)
    changed = orders.model_copy(update={"columns": (*orders.columns, extra)})
    found = problems(attributes, lock.model_copy(update={"tables": {**lock.tables, "orders": changed}}))
    assert only(found).field == "views[1].columns"
    assert "'_hidden' begins with an underscore" in found[0].problem


@pytest.mark.parametrize(
    "name",
    [
        *("_position", "_GTID", "_committed_at", "_op", "__op", "_deleted"),
        *(
            "a`b",
            'a"b',
            "a'b",
            "a.b",
            "a,b",
            "a\x00b",
            "$a",
            "${S3_SECRET_KEY}",
            " a",
            "a ",
            "a\n",
            "",
            "x" * 65,
        ),
    ],
)
def test_columns_that_collide_or_cannot_be_quoted_are_refused(
    problems: Problems, attributes: Attributes, lock: SchemaLock, name: str
) -> None:
    shops = lock.tables["shops"]
    extra = Column(name=name, mysql_type="int", nullable=True, position=99)
    changed = shops.model_copy(update={"columns": (*shops.columns, extra)})
    found = problems(attributes, lock.model_copy(update={"tables": {**lock.tables, "shops": changed}}))
    assert only(found).field == "tables[1].name"
    assert repr(name) in found[0].problem


def test_duplicate_names(problems: Problems, attributes: Attributes) -> None:
    attributes["tables"].append({"name": "orders"})
    attributes["views"].append(attributes["views"][1])
    found = problems(attributes, marts=dict.fromkeys(("sales", "shops"), "SELECT id FROM lake.orders"))
    assert [(each.field, each.problem) for each in found] == [
        ("tables[2].name", "the name 'orders' is used twice in tables"),
        ("views[2].name", "the name 'order_documents' is used twice in views"),
        ("", "'shops' is also the name of a table"),
    ]
    assert found[2].file.endswith("marts/shops.sql")


@pytest.mark.parametrize(
    ("path", "value", "field", "fix"),
    [
        (("name",), "Orders", "name", "lower-case"),
        (("name",), "orders; DROP TABLE x", "name", "lower-case"),
        (("views", 0, "name"), "a`b", "views[0].name", "lower-case"),
        (("views", 0, "engine"), "redis", "views[0].engine", "correct"),
        (("source", "database"), "a.b", "source.database", "letters, digits"),
        (("owner",), "sales", "owner", "team:name"),
        (("views", 0, "colums"), ["id"], "views[0].colums", "spelling"),
        (("source", "epoch"), 16, "source.epoch", "correct"),
        (("checkpoint_interval_seconds",), 0, "checkpoint_interval_seconds", "correct"),
        (("tables",), [], "tables", "correct"),
        (("description",), "{{ env.X }}", "description", ""),
    ],
)
def test_wrong_fields_are_named(
    write: Write, attributes: Attributes, path: tuple[str | int, ...], value: object, field: str, fix: str
) -> None:
    node: Any = attributes
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    folder = write(attributes)
    if not fix:
        load_contract(folder)  # free text may hold braces
        return
    with pytest.raises(ContractError) as caught:
        load_contract(folder)
    problem = only(caught.value.problems)
    assert problem.field == field
    assert fix in problem.fix
    assert problem.line is not None


@pytest.mark.parametrize(
    "cron", ["* * * *", "60 * * * *", "*/0 * * * *", "5-1 * * * *", "a b c d e", "@daily"]
)
def test_wrong_cron(problems: Problems, attributes: Attributes, cron: str) -> None:
    assert only(problems(attributes, marts={"sales": refreshed(cron)})).field == "refresh"


@pytest.mark.parametrize("cron", ["* * * * *", "*/5 0-6,22 1 1-12/2 0,7"])
def test_right_cron(write: Write, attributes: Attributes, cron: str) -> None:
    assert load_contract(write(attributes, marts={"sales": refreshed(cron)})).mart("sales").refresh == cron


def test_marts_in_defs_yaml_are_told_to_move(write: Write, attributes: Attributes) -> None:
    folder = write({**attributes, "marts": [{"name": "sales", "refresh": "*/5 * * * *"}]})
    with pytest.raises(ContractError) as caught:
        load_contract(folder)
    problem = only(caught.value.problems)
    assert problem.file.endswith("defs.yaml")
    assert problem.field == "marts"
    assert "marts:" in (folder / "defs.yaml").read_text().splitlines()[(problem.line or 0) - 1]
    assert "`-- mart:`" in problem.fix


def test_lock_of_another_database(problems: Problems, attributes: Attributes) -> None:
    attributes["source"]["database"] = "shop2"
    assert only(problems(attributes)).field == "source.database"


def test_missing_and_broken_files(write: Write, attributes: Attributes, tmp_path: Path) -> None:
    folder = write(attributes)
    lock = folder / "schema.lock.json"
    content = lock.read_text()
    lock.write_text(content.replace("[", "", 1))
    with pytest.raises(ContractError, match="not JSON"):
        load_contract(folder)
    lock.write_text(json.dumps({**json.loads(content), "format": 2}))
    with pytest.raises(ContractError, match="format 2"):
        load_contract(folder)
    lock.unlink()
    with pytest.raises(ContractError, match="lakehouse lock"):
        load_contract(folder)
    (folder / "defs.yaml").write_text("type: [")
    with pytest.raises(ContractError, match=r"defs\.yaml:\d+: is not YAML"):
        load_contract(folder)
    (folder / "defs.yaml").write_text("type: other.Component\n")
    with pytest.raises(ContractError, match=r"defs\.yaml:1: type: 'other.Component' is not"):
        load_contract(folder)
    with pytest.raises(ContractError, match="does not exist"):
        load_contract(tmp_path / "nowhere")


def test_discover_finds_pipelines_only_and_refuses_collisions(
    write: Write, attributes: Attributes, tmp_path: Path
) -> None:
    write(attributes)
    other = tmp_path / "other"
    other.mkdir()
    (other / "defs.yaml").write_text("type: dagster.FunctionComponent\nattributes: {}\n")
    assert [contract.name for contract in discover(tmp_path)] == ["orders"]
    write(attributes, folder="again")
    with pytest.raises(ContractError) as caught:
        discover(tmp_path)
    assert [problem.field for problem in caught.value.problems] == ["name", "views[1].name"]
    write({**attributes, "name": "orders_marts", "views": []}, folder="again")
    with pytest.raises(ContractError, match="also the schema of the marts of pipeline 'orders'"):
        discover(tmp_path)


def test_names_that_engines_keep_for_themselves(problems: Problems, attributes: Attributes) -> None:
    assert only(problems({**attributes, "name": "system_auth"})).field == "name"


def test_two_pipelines_in_one_file_are_refused(write: Write, attributes: Attributes) -> None:
    folder = write(attributes)
    text = (folder / "defs.yaml").read_text()
    (folder / "defs.yaml").write_text(f"{text}---\n{text}")
    with pytest.raises(ContractError, match="folder of its own"):
        load_contract(folder)


def test_the_lock_is_written_deterministically(lock: SchemaLock, tmp_path: Path) -> None:
    text = lock.dump()
    assert SchemaLock.parse(text) == lock
    turned = SchemaLock(database=lock.database, tables=dict(reversed(lock.tables.items())))
    assert turned.dump() == text == SchemaLock.parse(text).dump()
    assert yaml.safe_load(text) == json.loads(text)
    odd = Column(
        name='q"\\ü',
        mysql_type="enum('a\"','😀')",
        nullable=False,
        position=1,
        comment="l1\nl2",
        charset="utf8mb4",
    )
    table = TableSchema(name="t", columns=(odd,), primary_key=(odd.name,), comment='c"')
    one = SchemaLock(database="d", tables={"t": table})
    assert SchemaLock.load(one.write(tmp_path).parent) == one
