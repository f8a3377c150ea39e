"""Doris over the MySQL protocol of its frontend: statements, materialized views, and their refresh tasks.

A refresh is a task that Doris runs by itself; the statement that asks for it returns at once. So the client
follows the task: which one is ours is told by which were there before. Whatever breaks in between, a task
that was there before is never taken for ours, nor the end of one for the end of another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from lakehouse_dagster.engines.closing import Closing
from lakehouse_dagster.engines.endpoints import DorisEndpoint, Endpoints
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.render import doris

HOW_TO_REACH: Final = (
    "Doris runs in Docker Compose only; set LAKEHOUSE_DORIS_HOST (and LAKEHOUSE_DORIS_PORT, "
    "LAKEHOUSE_DORIS_USER, LAKEHOUSE_DORIS_PASSWORD_FILE) to one that runs, see docs/doris.md"
)

#: Client errors that mean "nobody there" (cannot connect, gone away, lost connection, unknown host).
_UNREACHABLE = frozenset({2002, 2003, 2005, 2006, 2013, 2055})
#: The frontend answers, but cannot serve: it starts, elects a master, shuts down, or has no backend.
_NOT_NOW = re.compile(
    r"not master|no master|catalog is not ready|is not ready|no .{0,20}backends? available|"
    r"backend.{0,40}not (alive|available)|failed to find enough backend|too many connections|shutting down",
    re.IGNORECASE,
)
_TOO_MANY_CONNECTIONS = 1040
_ENDED = frozenset({"SUCCESS", "FAILED", "CANCELED"})


@dataclass(frozen=True)
class RefreshTask:
    """A task that refreshes a materialized view, as ``tasks("type"="mv")`` shows it.

    `status` is PENDING, RUNNING, SUCCESS, FAILED or CANCELED; `error` is empty where there is none. Times are
    Doris's text; `seconds` is how long it ran, None before its end.
    """

    id: str
    status: str
    error: str
    created: str
    started: str
    finished: str
    seconds: float | None
    mode: str
    progress: str


@dataclass(frozen=True)
class Refreshed:
    """A finished refresh: its task, the view's rows, and the seconds from request to end as we saw it."""

    task: RefreshTask
    rows: int
    seconds: float


@dataclass(frozen=True)
class Applied:
    """What applying a mart's definition did: ``created``, ``replaced`` or ``unchanged``.

    A created view is empty until its first refresh. One that was replaced was built first.
    """

    mart: str
    did: str
    fingerprint: str
    refreshed: Refreshed | None = None


class DorisClient(Closing):
    """One frontend. Sessions speak UTC; a statement is tried again only where that does no harm.

    `timeout` bounds each statement, `attempts` how often one is sent, `pause` the seconds between two looks
    at a task. `deadline` is how long a refresh may take, `grace` how long its task may take to appear.
    """

    engine = "doris"

    def __init__(
        self,
        endpoint: DorisEndpoint,
        *,
        connect_timeout: float = 5.0,
        timeout: float = 120.0,
        attempts: int = 4,
        pause: float = 1.0,
        deadline: float = 1800.0,
        grace: float = 60.0,
    ) -> None:
        self.endpoint = endpoint
        self.address = f"{endpoint.host}:{endpoint.port}"
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._attempts = attempts
        self._pause = pause
        self._deadline = deadline
        self._grace = grace
        self._shared: Connection[Any] | None = None

    def close(self) -> None:
        """Close the connection."""
        shared, self._shared = self._shared, None
        if shared is not None and shared.open:
            shared.close()

    # --- statements ---

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Run a statement that changes nothing and return its rows; tried again when nobody answers."""
        return self._retried(sql)

    def execute(self, sql: str) -> None:
        """Run a statement that may be run twice; tried again when nobody answers."""
        self._retried(sql)

    def ping(self) -> None:
        """Ask for one row through the engine itself."""
        self.query("SELECT 1 AS one")

    def version(self) -> str:
        """Doris's own version, such as ``doris-4.1.5-...``."""
        rows = self.query("SELECT @@version_comment AS version")
        return str(rows[0]["version"]) if rows else ""

    # --- definitions ---

    def apply_setup(self, statements: Sequence[str], endpoints: Endpoints) -> tuple[str, ...]:
        """Run the statements of ``render.doris.setup``, and return those that were left out.

        A statement is left out when its secret is not configured (the reporting user without a password);
        the statements that need that user are left out too.
        """
        values = setup_values(self.endpoint, endpoints)
        left: list[str] = []
        for statement in statements:
            missing = doris.placeholders(statement) - set(values)
            needs_reporter = f"'{doris.REPORTER}'" in statement and "DORIS_REPORTER_PASSWORD" not in values
            if missing or needs_reporter:
                left.append(statement)
            else:
                self.execute(doris.filled(statement, values))
        return tuple(left)

    def views(self, database: str) -> list[str]:
        """Names of the materialized views of a database."""
        return sorted(str(row["name"]) for row in self.query(doris.views_query(database)))

    def fingerprint(self, database: str, view: str) -> str | None:
        """The fingerprint of a view's definition; None where it has none."""
        rows = self.query(doris.definition_query(database, view))
        return doris.fingerprint_of(" ".join(str(value) for row in rows for value in row.values()))

    def apply_mart(self, mart: doris.DorisMart) -> Applied:
        """Make the view be there as it is defined now.

        A changed one is built beside the old, which is read until the new one takes its place at once. An
        interrupted replacement is begun anew. The mart's database and the catalogs have to be there.
        """
        if mart.view not in self.views(mart.database):
            self.execute(doris.with_replicas(mart.create, self.endpoint.replicas))
            return Applied(mart.mart, "created", mart.fingerprint)
        if self.fingerprint(mart.database, mart.view) == mart.fingerprint:
            return Applied(mart.mart, "unchanged", mart.fingerprint)
        self.execute(mart.drop_next)
        self.execute(doris.with_replicas(mart.create_next, self.endpoint.replicas))
        built = self._refresh(mart, mart.refresh_next, mart.view_next)
        try:
            self._once(mart.replace)
        except EngineUnavailable:
            # It may have been done: a replacement that is done twice would fail for want of the new view.
            if self.fingerprint(mart.database, mart.view) != mart.fingerprint:
                self._once(mart.replace)
        return Applied(mart.mart, "replaced", mart.fingerprint, built)

    # --- refreshes ---

    def refresh_mart(self, mart: doris.DorisMart) -> Refreshed:
        """Refresh a mart from what the lake holds now, and wait until that is done.

        EngineError, with Doris's own message, when the task fails, is canceled, vanishes, or has not ended by
        the deadline (then it goes on; the message names it). EngineUnavailable when nobody answers.
        """
        return self._refresh(mart, mart.refresh, mart.view)

    def tasks(self, database: str, view: str) -> list[RefreshTask]:
        """The refresh tasks of a view that Doris remembers (its last hundred), the newest first."""
        return [_task(row) for row in self.query(doris.tasks_query(database, view))]

    def _refresh(self, mart: doris.DorisMart, refresh: str, view: str) -> Refreshed:
        started = time.monotonic()
        for statement in mart.refresh_sources:
            self.execute(statement)
        # Any task that appears from now on was created after Doris looked at the lake anew, so its success is
        # as good as that of our own: it need not be told apart from another's that was asked for meanwhile.
        before = {task.id for task in self.tasks(mart.database, view)}
        task = self._follow(mart.database, view, self._submit(mart.database, view, refresh, before), started)
        rows = self.query(doris.count_query(mart.database, view))
        return Refreshed(task, int(rows[0]["n"]), time.monotonic() - started)

    def _submit(self, database: str, view: str, refresh: str, before: set[str]) -> RefreshTask:
        """Ask for a refresh, once, and return its task as soon as Doris shows it."""
        try:
            self._once(refresh)
        except EngineUnavailable:
            # Whether it was heard is not known. Its task tells; without one it is asked for a second time.
            try:
                return self._appearance(database, view, before, min(self._grace, 10 * self._pause))
            except _NoTaskError:
                self._once(refresh)
        return self._appearance(database, view, before, self._grace)

    def _appearance(self, database: str, view: str, before: set[str], seconds: float) -> RefreshTask:
        give_up = time.monotonic() + seconds
        while True:
            new = [task for task in self.tasks(database, view) if task.id not in before]
            if new:
                return new[-1]
            if time.monotonic() >= give_up:
                raise _NoTaskError(
                    self.engine,
                    f"accepted the refresh of {database}.{view}, but shows no task after {seconds:.0f} s",
                )
            time.sleep(self._pause)

    def _follow(self, database: str, view: str, task: RefreshTask, started: float) -> RefreshTask:
        name, unseen = f"refresh task {task.id} of {database}.{view}", 0
        while task.status not in _ENDED:
            if time.monotonic() - started > self._deadline:
                raise EngineError(
                    self.engine,
                    f"{name} is {task.status} ({task.progress or 'no progress told'}) after "
                    f"{self._deadline:.0f} s; it goes on in Doris",
                )
            time.sleep(self._pause)
            found = [now for now in self.tasks(database, view) if now.id == task.id]
            if found:
                task, unseen = found[0], 0
                continue
            # A frontend that has just become master may lag behind for a moment.
            unseen += 1
            if unseen >= 3:
                raise EngineError(self.engine, f"{name} vanished; was the view dropped or replaced?")
        if task.status != "SUCCESS":
            raise EngineError(self.engine, f"{name} {task.status}: {task.error or 'no reason told'}")
        return task

    # --- connection ---

    def _retried(self, sql: str) -> list[dict[str, Any]]:
        retrying = Retrying(
            retry=retry_if_exception_type(EngineUnavailable),
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential(multiplier=self._pause / 2, max=10),
            reraise=True,
        )
        return retrying(self._once, sql)

    def _once(self, sql: str) -> list[dict[str, Any]]:
        with self._translated(), closing(self._connection().cursor(DictCursor)) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _connection(self) -> Connection[Any]:
        if self._shared is None or not self._shared.open:
            self._shared = pymysql.connect(
                host=self.endpoint.host,
                port=self.endpoint.port,
                user=self.endpoint.user,
                password=self.endpoint.password.get_secret_value(),
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=self._connect_timeout,
                read_timeout=self._timeout,
                write_timeout=self._timeout,
                init_command="SET time_zone = '+00:00'",
            )
        return self._shared

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except pymysql.err.Error as error:
            code = error.args[0] if error.args and isinstance(error.args[0], int) else None
            text = str(error.args[1] if len(error.args) > 1 else error)
            gone = code in _UNREACHABLE or isinstance(error, pymysql.err.InterfaceError)
            if gone or code == _TOO_MANY_CONNECTIONS or _NOT_NOW.search(text):
                self.close()
                raise EngineUnavailable(self.engine, self.address, HOW_TO_REACH, cause=text) from error
            raise EngineError(self.engine, f"{text} (error {code})", status=code) from error


class _NoTaskError(EngineError):
    """A refresh was asked for and no task appeared."""


def unconfigured() -> EngineUnavailable:
    """What to raise where Doris is asked for and no endpoint is configured."""
    return EngineUnavailable(DorisClient.engine, "no configured address", HOW_TO_REACH)


def setup_values(endpoint: DorisEndpoint, endpoints: Endpoints) -> Mapping[str, str]:
    """The values behind the placeholders of ``render.doris.setup`` (secrets: never log this).

    Addresses are those that Doris reaches, which need not be ours.
    """
    values = {
        "PAIMON_WAREHOUSE": endpoints.paimon.warehouse,
        "S3_ENDPOINT": endpoint.s3_endpoint or endpoints.s3.endpoint,
        "S3_ACCESS_KEY": endpoints.s3.access_key,
        "S3_SECRET_KEY": endpoints.s3.secret_key.get_secret_value(),
        "NESSIE_URL": endpoint.nessie_url or endpoints.nessie.url,
        "NESSIE_WAREHOUSE": endpoints.trino.catalog,
    }
    if endpoint.reporter_password is not None:
        values["DORIS_REPORTER_PASSWORD"] = endpoint.reporter_password.get_secret_value()
    return values


def _task(row: Mapping[str, Any]) -> RefreshTask:
    def text(column: str) -> str:
        value = row.get(column)
        # Doris spells "nothing" in several ways in the text columns of this function.
        return "" if value is None or str(value) in {"\\N", "NULL", "null", "N/A"} else str(value)

    milliseconds = text("milliseconds")
    return RefreshTask(
        id=text("id"),
        status=text("status").upper(),
        error=text("error"),
        created=text("created"),
        started=text("started"),
        finished=text("finished"),
        seconds=int(milliseconds) / 1000 if milliseconds.isdigit() else None,
        mode=text("mode"),
        progress=text("progress"),
    )
