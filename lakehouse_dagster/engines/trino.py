"""Trino over its Python client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import trino.dbapi
import trino.exceptions

from lakehouse_dagster.engines.endpoints import TrinoEndpoint
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable


@dataclass(frozen=True)
class TrinoResult:
    """A whole answer: column names, Trino's type names, rows."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class TrinoClient:
    """Statements against one coordinator; each runs in a session of its own, in UTC.

    `catalog` defaults to the endpoint's (the lake, through Nessie's branch main).
    """

    engine = "trino"

    def __init__(
        self, endpoint: TrinoEndpoint, *, catalog: str | None = None, timeout: float = 120.0
    ) -> None:
        self.endpoint = endpoint
        self.address = f"http://{endpoint.host}:{endpoint.port}"
        self.catalog = catalog or endpoint.catalog
        self._timeout = timeout

    def close(self) -> None:
        """Nothing is held open between statements."""

    def execute(self, sql: str, *, schema: str | None = None) -> TrinoResult:
        """Run one statement and return everything it answers.

        EngineError carries Trino's error name and message; EngineUnavailable when it does not answer.
        """
        with self._cursor(schema) as cursor:
            cursor.execute(sql)
            rows = [tuple(row) for row in cursor.fetchall()]
            description = cursor.description or []
            return TrinoResult(tuple(c[0] for c in description), tuple(c[1] for c in description), rows)

    def rows(self, sql: str, *, schema: str | None = None) -> Iterator[tuple[Any, ...]]:
        """Run a query and stream its rows."""
        with self._cursor(schema) as cursor:
            cursor.execute(sql)
            while batch := cursor.fetchmany(2000):
                for row in batch:
                    yield tuple(row)

    def scalar(self, sql: str, *, schema: str | None = None) -> Any:
        """The first value of the first row of a query, None when there is no row."""
        rows = self.execute(sql, schema=schema).rows
        return rows[0][0] if rows else None

    def ping(self) -> None:
        """Ask for one row through the engine itself (not only whether the port is open)."""
        self.execute("SELECT 1")

    def has_table(self, schema: str, table: str) -> bool:
        """Whether the catalog shows that table."""
        sql = (
            f"SELECT count(*) FROM {identifier(self.catalog)}.information_schema.tables"  # noqa: S608
            f" WHERE table_schema = {literal(schema)} AND table_name = {literal(table)}"
        )
        return bool(self.scalar(sql))

    @contextmanager
    def _cursor(self, schema: str | None) -> Iterator[Any]:
        try:
            connection = trino.dbapi.connect(  # type: ignore[no-untyped-call]
                host=self.endpoint.host,
                port=self.endpoint.port,
                user=self.endpoint.user,
                catalog=self.catalog,
                schema=schema,
                http_scheme="http",
                source="lakehouse",
                timezone="UTC",
                request_timeout=self._timeout,
                max_attempts=3,
            )
            with closing(connection), closing(connection.cursor()) as cursor:
                yield cursor
        except trino.exceptions.TrinoQueryError as error:
            if error.error_name in {"SERVER_STARTING_UP", "SERVER_SHUTTING_DOWN"}:
                raise EngineUnavailable(self.engine, self.address, cause=_short(error)) from error
            raise EngineError(
                self.engine, f"{error.error_name}: {error.message}", status=error.error_code
            ) from error
        except (
            trino.exceptions.TrinoConnectionError,
            requests.exceptions.ConnectionError,
            requests.exceptions.Timeout,
        ) as error:
            raise EngineUnavailable(self.engine, self.address, cause=_short(error)) from error
        except trino.exceptions.Error as error:
            raise EngineError(self.engine, _short(error)) from error


def identifier(name: str) -> str:
    """An identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def qualified(*names: str) -> str:
    """A dotted name of quoted identifiers."""
    return ".".join(identifier(name) for name in names)


def literal(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def select(columns: Sequence[str], *table: str) -> str:
    """`SELECT columns FROM table` with everything quoted."""
    return f"SELECT {', '.join(identifier(column) for column in columns)} FROM {qualified(*table)}"  # noqa: S608


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:300]
