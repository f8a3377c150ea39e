"""The source's schema as locked in the pipeline's folder (``schema.lock.json``).

It is written by ``lakehouse lock PIPELINE`` from the source's own ``information_schema`` and never inferred
from data. Reading and writing are deterministic, so that a difference in git is a difference in the source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lakehouse_dagster.contract.errors import ContractError

LOCK_FILE: Final = "schema.lock.json"
LOCK_FORMAT: Final = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Model):
    """One column of a source table, as ``information_schema.columns`` tells it.

    Attributes:
        name: Column name.
        mysql_type: Full ``COLUMN_TYPE`` text in the source's own spelling, e.g. ``smallint unsigned``.
        nullable: Whether NULL is allowed.
        position: 1-based ordinal position.
        generated: Whether the value is computed by the server.
        charset: Character set of text columns.
        comment: The column's comment in the source.
    """

    name: str
    mysql_type: str
    nullable: bool
    position: int = Field(ge=1)
    generated: bool = False
    charset: str | None = None
    comment: str = ""


class TableSchema(_Model):
    """One source table: its columns by position and its primary key in key order."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    comment: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> TableSchema:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"table {self.name}: a column is listed twice")
        if [column.position for column in self.columns] != sorted(
            {column.position for column in self.columns}
        ):
            raise ValueError(f"table {self.name}: columns are not in the order of their positions")
        missing = [name for name in self.primary_key if name not in names]
        if missing:
            raise ValueError(f"table {self.name}: primary key names unknown columns {', '.join(missing)}")
        return self

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def keyed_by(self, declared: tuple[str, ...]) -> TableSchema:
        """The same table with the key that a contract declares for it, if it does."""
        return self.model_copy(update={"primary_key": declared}) if declared else self

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all columns by position."""
        return tuple(column.name for column in self.columns)


class SchemaLock(_Model):
    """The locked schema of a source database; ``tables`` is keyed by table name."""

    format: int = LOCK_FORMAT
    database: str
    tables: dict[str, TableSchema]

    @model_validator(mode="after")
    def _consistent(self) -> SchemaLock:
        if self.format != LOCK_FORMAT:
            raise ValueError(f"format {self.format} is not {LOCK_FORMAT}")
        for key, table in self.tables.items():
            if key != table.name:
                raise ValueError(f"table {table.name} is listed under the name {key}")
        return self

    def dump(self) -> str:
        """The lock file's text: tables by name, columns by position, one column per line."""

        def compact(value: object) -> str:
            return json.dumps(value, ensure_ascii=False)

        blocks: list[str] = []
        for name in sorted(self.tables):
            table = self.tables[name]
            columns = ",\n".join(f"        {compact(_column_fields(column))}" for column in table.columns)
            comment = f',\n      "comment": {compact(table.comment)}' if table.comment else ""
            blocks.append(
                f"    {compact(name)}: {{\n"
                f'      "name": {compact(name)},\n'
                f'      "primary_key": {compact(list(table.primary_key))},\n'
                f'      "columns": [\n{columns}\n      ]{comment}\n    }}'
            )
        tables = ",\n".join(blocks)
        return (
            f'{{\n  "format": {self.format},\n  "database": {compact(self.database)},\n'
            f'  "tables": {{\n{tables}\n  }}\n}}\n'
        )

    def write(self, folder: Path) -> Path:
        """Write the lock into a pipeline's folder and return its path."""
        path = folder / LOCK_FILE
        path.write_text(self.dump(), encoding="utf-8")
        return path

    @classmethod
    def parse(cls, text: str, file: str = LOCK_FILE) -> SchemaLock:
        """Parse a lock file's text.

        Raises:
            ContractError: The text is not a lock of this format; names the field.
        """
        fix = "do not edit this file by hand; write it again with `lakehouse lock PIPELINE`"
        try:
            return cls.model_validate(json.loads(text))
        except json.JSONDecodeError as error:
            raise ContractError(file, "", f"not JSON: {error.msg}", fix, error.lineno) from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ContractError(file, field, first["msg"], fix) from error

    @classmethod
    def load(cls, folder: Path, file: str | None = None) -> SchemaLock:
        """Read the lock of a pipeline's folder.

        Args:
            folder: The pipeline's folder.
            file: How to name the lock file in errors; its path by default.

        Raises:
            ContractError: The file is missing or not a lock.
        """
        path = folder / LOCK_FILE
        shown = file or str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ContractError(
                shown,
                "",
                "the source's schema is not locked yet",
                "run `lakehouse lock PIPELINE` while the source runs",
            ) from error
        return cls.parse(text, shown)


def _column_fields(column: Column) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": column.name,
        "position": column.position,
        "mysql_type": column.mysql_type,
        "nullable": column.nullable,
    }
    if column.generated:
        fields["generated"] = True
    if column.charset is not None:
        fields["charset"] = column.charset
    if column.comment:
        fields["comment"] = column.comment
    return fields
