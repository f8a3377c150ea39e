from __future__ import annotations

from dataclasses import replace

from lakehouse_dagster.engines.nessie import IcebergTable, PutNamespace, PutTable
from lakehouse_dagster.governance.decision import TableVersion, decide, message, properties


def version(table: str, number: int) -> TableVersion:
    content = IcebergTable(f"s3://lake/paimon/p.db/{table}/metadata/v{number}.metadata.json", number, 0)
    return TableVersion(
        table, ("p", table), content, paimon_snapshot=number, position=number * 100, rows=number
    )


def held(table: str, number: int) -> IcebergTable:
    return replace(version(table, number).content, id=f"id-{table}")


WANTED = {"a": version("a", 5), "b": version("b", 2)}


def test_everything_is_new_on_an_empty_branch() -> None:
    found = decide(WANTED, {}, namespace="p", namespace_exists=False)
    assert found.operations[0] == PutNamespace(("p",))
    assert [operation.key for operation in found.operations[1:]] == [("p", "a"), ("p", "b")]
    assert found.changed == ("a", "b")
    puts = [operation for operation in found.operations if isinstance(operation, PutTable)]
    assert all(put.table.id is None for put in puts)


def test_nothing_to_do_makes_no_commit_not_even_for_the_namespace() -> None:
    current = {("p", "a"): held("a", 5), ("p", "b"): held("b", 2)}
    assert decide(WANTED, current, namespace="p", namespace_exists=True).operations == ()
    assert decide({}, {}, namespace="p", namespace_exists=False).operations == ()


def test_only_what_moved_is_put_with_the_content_id_it_has() -> None:
    current = {("p", "a"): held("a", 4), ("p", "b"): held("b", 2)}
    found = decide(WANTED, current, namespace="p", namespace_exists=True)
    assert found.changed == ("a",)
    assert found.operations == (PutTable(("p", "a"), replace(WANTED["a"].content, id="id-a")),)


def test_the_same_file_with_another_snapshot_is_another_version() -> None:
    current = {("p", "a"): replace(held("a", 5), snapshot_id=4), ("p", "b"): held("b", 2)}
    assert decide(WANTED, current, namespace="p", namespace_exists=True).changed == ("a",)


def test_what_somebody_else_moved_stays_until_there_is_news() -> None:
    current = {("p", "a"): held("a", 3), ("p", "b"): held("b", 1)}
    found = decide(WANTED, current, namespace="p", namespace_exists=True, news={"b"})
    assert found.changed == ("b",)
    assert found.foreign == ("a",)
    # By hand (no news given) everything is published.
    assert decide(WANTED, current, namespace="p", namespace_exists=True).changed == ("a", "b")


def test_a_table_the_branch_lost_is_put_without_news() -> None:
    current = {("p", "a"): held("a", 5)}
    found = decide(WANTED, current, namespace="p", namespace_exists=True, news=set())
    assert found.changed == ("b",)


def test_properties_name_every_table_and_leave_out_what_is_unknown() -> None:
    wanted = {"a": WANTED["a"], "b": replace(WANTED["b"], position=None, rows=None)}
    found = properties("p", "host:1:2", wanted, "publisher")
    assert found["lakehouse.pipeline"] == "p"
    assert found["lakehouse.publisher"] == "host:1:2"
    assert found["lakehouse.requested-by"] == "publisher"
    assert found["lakehouse.table.a.paimon-snapshot"] == "5"
    assert found["lakehouse.table.a.iceberg-snapshot"] == "5"
    assert found["lakehouse.table.a.position"] == "500"
    assert found["lakehouse.table.b.paimon-snapshot"] == "2"
    assert "lakehouse.table.b.position" not in found


def test_the_message_names_what_moved() -> None:
    current = {("p", "a"): held("a", 4), ("p", "b"): held("b", 2)}
    found = decide(WANTED, current, namespace="p", namespace_exists=True)
    assert message("p", found, WANTED) == "publish p: a@5"
