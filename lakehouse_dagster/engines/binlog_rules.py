"""What a MySQL server must be set to, so that its binary log tells every change of every row in full.

Under other settings the connector stops, or worse: changes are missing, and nothing in the log says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lakehouse_dagster.engines.mysql import MySqlClient

_REQUIRED: Final[Mapping[str, tuple[str, str]]] = {
    "binlog_format": ("ROW", "changes are logged as statements, which tell of no rows"),
    "binlog_row_image": ("FULL", "columns are missing in the changes that are logged"),
    "binlog_row_value_options": ("", "of a JSON value only the part that has changed is logged"),
    "gtid_mode": ("ON", "transactions have no identifiers, by which it is known what was read"),
}
"""Variables of a server: the value that is needed, and what is wrong with any other.

A server that does not know one of them does what the needed value says.
"""
_NATIVE_FOREIGN_KEYS: Final = "innodb_native_foreign_keys"
"""OFF, the server itself deletes and updates rows of child tables, and logs that. Servers before 9.6 do not
have the variable: InnoDB does it there, below the binary log.
"""
_VARIABLES: Final = (*_REQUIRED, _NATIVE_FOREIGN_KEYS)
_ACTIONS: Final = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of a captured table, and what a change of its parent does to the table's rows."""

    table: str
    name: str
    parent: str
    on_delete: str
    on_update: str

    @property
    def acts(self) -> bool:
        """Whether a change of the parent changes rows of the table."""
        return not _ACTIONS.isdisjoint({self.on_delete, self.on_update})


def source_problem(client: MySqlClient, database: str, tables: Sequence[str]) -> str | None:
    """Return why changes of ``tables`` would be missing or incomplete in the server's binary log, with the
    fix; None when all of them are there.

    Raises ``EngineError`` when the server cannot be asked.
    """
    variables = server_variables(client)
    hidden = hidden_changes(variables, foreign_keys(client, database, tables))
    return "; ".join([*variable_problems(variables), *hidden]) or None


def server_variables(client: MySqlClient) -> dict[str, str]:
    """Return the variables that matter and that the server knows."""
    marks = ", ".join(["%s"] * len(_VARIABLES))
    rows = client.query(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", _VARIABLES)
    return {str(row["Variable_name"]).lower(): str(row["Value"]) for row in rows}


def foreign_keys(client: MySqlClient, database: str, tables: Sequence[str]) -> list[ForeignKey]:
    """Return the foreign keys of ``tables``, wherever their parents are."""
    rows = client.query(
        "SELECT table_name AS child, constraint_name AS name, unique_constraint_schema AS parent_database,"
        " referenced_table_name AS parent, delete_rule AS on_delete, update_rule AS on_update"
        " FROM information_schema.referential_constraints WHERE constraint_schema = %s"
        " ORDER BY table_name, constraint_name",
        (database,),
    )
    wanted = set(tables)
    return [
        ForeignKey(
            row["child"],
            row["name"],
            f"{row['parent_database']}.{row['parent']}",
            row["on_delete"].upper(),
            row["on_update"].upper(),
        )
        for row in rows
        if row["child"] in wanted
    ]


def variable_problems(variables: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the server's settings, each with the fix; nothing when they are right."""
    found = []
    for name, (needed, why) in _REQUIRED.items():
        value = variables.get(name, needed)
        if value.upper() != needed:
            setting = needed or "''"
            found.append(
                f"the source runs with {name} = {value}: {why}; set it to {setting} in the server's "
                f"configuration, or run `SET PERSIST {name} = {setting}`, and end the sessions from before"
            )
    return found


def hidden_changes(variables: Mapping[str, str], keys: Iterable[ForeignKey]) -> list[str]:
    """Return the foreign keys by which rows change without a word in the binary log, each with the fix."""
    if variables.get(_NATIVE_FOREIGN_KEYS, "ON").upper() in {"OFF", "0"}:
        return []
    known = _NATIVE_FOREIGN_KEYS in variables
    fix = (
        f"start the server with {_NATIVE_FOREIGN_KEYS} = OFF"
        if known
        else "upgrade the server to MySQL 9.6 or newer"
    )
    return [
        f"a change of {key.parent} changes rows of {key.table} by the foreign key {key.name} (ON DELETE "
        f"{key.on_delete}, ON UPDATE {key.on_update}), and InnoDB does not log that; {fix}, or make the key "
        "RESTRICT and change the rows by statements"
        for key in keys
        if key.acts
    ]
