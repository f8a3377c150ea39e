"""Doris SQL of a pipeline: catalogs over the lake, the marts as materialized views, and who may read them.

Nothing here was ever run by a Doris of this project's: what the statements may say comes from Doris's
grammar and its documentation of release 4.1, and :func:`problems` checks every statement for it.

Addresses, secrets and the number of replicas appear only as ``${NAME}``, as in the Flink scripts; the client
fills them in. All statements may be run again and again, in the order of :func:`setup`.

* ``lake_paimon`` reads Paimon itself: every commit of the streams, seconds old. The marts read it.
* ``lake_nessie`` reads what Nessie shows on ``main``, through the Iceberg REST catalog: one publication.
* A mart is a materialized view, built on request only. Nothing in Doris refreshes it: a commit of an
  external table triggers nothing there, and a schedule of Doris's own would hide failures from Dagster.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlglot import ErrorLevel, exp
from sqlglot.generators.doris import DorisGenerator

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.marts import lake_tables
from lakehouse_dagster.contract.model import Mart
from lakehouse_dagster.contract.portable import DORIS_NEXT, kind, typed, unimplied
from lakehouse_dagster.render import quoting

PAIMON_CATALOG: Final = "lake_paimon"
ICEBERG_CATALOG: Final = "lake_nessie"
INTERNAL: Final = "internal"
"""Doris's own catalog, in which the marts live."""

REPORTER: Final = "lakehouse_reporter"
"""The read-only user for reports."""

DIALECT: Final = "doris"
_FINGERPRINT: Final = re.compile(r"\[lakehouse:([0-9a-f]{16})\]")
_PLACEHOLDER: Final = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_REPLICAS: Final = "${DORIS_REPLICAS}"

_STORE: Final = {
    "fs.minio.support": "true",
    "minio.endpoint": "${S3_ENDPOINT}",
    "minio.access_key": "${S3_ACCESS_KEY}",
    "minio.secret_key": "${S3_SECRET_KEY}",
    "minio.use_path_style": "true",
}
_CATALOGS: Final[dict[str, dict[str, str]]] = {
    PAIMON_CATALOG: {
        "type": "paimon",
        "paimon.catalog.type": "filesystem",
        "warehouse": "${PAIMON_WAREHOUSE}",
        # Always look: with a cache, Doris takes a table for unchanged as long as the cache lives.
        "meta.cache.paimon.table.ttl-second": "0",
        "meta.cache.paimon.schema.ttl-second": "0",
        **_STORE,
    },
    ICEBERG_CATALOG: {
        "type": "iceberg",
        "iceberg.catalog.type": "rest",
        # Nessie's branch is part of the address.
        "iceberg.rest.uri": "${NESSIE_URL}/iceberg/main",
        "warehouse": "${NESSIE_WAREHOUSE}",
        "meta.cache.iceberg.table.ttl-second": "0",
        **_STORE,
    },
}
_UNCHANGEABLE: Final = frozenset({"type", "paimon.catalog.type", "iceberg.catalog.type"})

PROPERTIES: Final = frozenset(
    {
        *("type", "warehouse", "paimon.catalog.type", "iceberg.catalog.type", "iceberg.rest.uri"),
        *("meta.cache.paimon.table.ttl-second", "meta.cache.paimon.schema.ttl-second"),
        "meta.cache.iceberg.table.ttl-second",
        *(
            "fs.minio.support",
            "minio.endpoint",
            "minio.access_key",
            "minio.secret_key",
            "minio.use_path_style",
        ),
        *("replication_num", "enable_duplicate_without_keys_by_default", "swap"),
    }
)
"""Names of properties that Doris 4.1 documents for these statements; no other may be written."""


@dataclass(frozen=True)
class DorisMart:
    """Everything that is ever said to Doris about one mart.

    Attributes:
        mart: The mart's name.
        database: Database of the view.
        view: Name of the view.
        fingerprint: 16 hex digits of the view's definition; they stand in its comment, so that a changed
            definition is seen.
        create: CREATE for a mart that is not there yet.
        create_next: CREATE beside the view, to take its place once it is built.
        drop_next: Drops what an interrupted replacement left.
        replace: Puts the built view in the old one's place, at once, and drops the old one.
        refresh_sources: Make Doris look at the lake anew.
        refresh: Submits the task that refreshes the view.
        refresh_next: The same for the view that is being built.
    """

    mart: str
    database: str
    view: str
    fingerprint: str
    create: str
    create_next: str
    drop_next: str
    replace: str
    refresh_sources: tuple[str, ...]
    refresh: str
    refresh_next: str

    @property
    def view_next(self) -> str:
        """Name of the view that is being built."""
        return self.view + DORIS_NEXT


class _Generator(DorisGenerator):
    # Doris has NULLS FIRST and LAST. sqlglot believes not, and drops them from the windows of aggregates.
    NULL_ORDERING_SUPPORTED = True


def doris_marts(contract: Contract) -> tuple[Mart, ...]:
    """The marts that name doris among their engines."""
    return tuple(mart for mart in contract.marts if "doris" in mart.engines)


def reporting_role(contract: Contract) -> str:
    """Name of the role that may read a pipeline's marts."""
    return f"{contract.name}_reporting"


def name(*parts: str) -> str:
    """A Doris identifier; several names are joined by dots."""
    return ".".join(quoting.mysql(part) for part in parts)


def literal(text: str) -> str:
    """A string literal; the backslash escapes in Doris."""
    if "\x00" in text:
        raise ValueError(f"{text!r} holds a NUL character, which no engine can quote")
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def catalogs() -> tuple[str, ...]:
    """CREATE for both catalogs, and ALTER, so that changed addresses and keys arrive."""
    statements = []
    for catalog, properties in _CATALOGS.items():
        changeable = {key: value for key, value in properties.items() if key not in _UNCHANGEABLE}
        statements += [
            f"CREATE CATALOG IF NOT EXISTS {name(catalog)} PROPERTIES (\n{_properties(properties)}\n)",
            f"ALTER CATALOG {name(catalog)} SET PROPERTIES (\n{_properties(changeable)}\n)",
        ]
    return tuple(statements)


def database(contract: Contract) -> str:
    """CREATE DATABASE for the marts."""
    return f"CREATE DATABASE IF NOT EXISTS {name(INTERNAL, contract.marts_schema)}"


def grants(contract: Contract) -> tuple[str, ...]:
    """The reporting role, what it may read, and the read-only user who has it.

    The user is the same for all pipelines; its password is set anew each time, so that a new one arrives.
    """
    role = literal(reporting_role(contract))
    user = f"{literal(REPORTER)}@'%'"
    password = "'${DORIS_REPORTER_PASSWORD}'"  # noqa: S105 - a placeholder
    return (
        f"CREATE ROLE IF NOT EXISTS {name(reporting_role(contract))}",
        f"GRANT SELECT_PRIV ON {name(INTERNAL, contract.marts_schema)}.* TO ROLE {role}",
        *(
            f"GRANT SELECT_PRIV ON {name(catalog, contract.name)}.* TO ROLE {role}"
            for catalog in (PAIMON_CATALOG, ICEBERG_CATALOG)
        ),
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY {password}",
        f"ALTER USER {user} IDENTIFIED BY {password}",
        f"GRANT {role} TO {user}",
    )


def setup(contract: Contract) -> tuple[str, ...]:
    """Everything that has to be there before the views: catalogs, database, role, user."""
    return (*catalogs(), database(contract), *grants(contract))


def select(contract: Contract, mart: str, catalog: str = PAIMON_CATALOG) -> str:
    """The mart's SELECT in Doris's dialect, its lake tables resolved to those of a catalog."""
    query = typed(
        contract.mart_sql(mart),
        f"marts/{mart}.sql",
        {table.name: contract.schema(table.name) for table in contract.tables},
    )
    rewritten = unimplied(_rewritten(query))
    paths = {table.name.lower(): contract.lake_path(table.name) for table in contract.tables}
    for table in lake_tables(rewritten):
        path = paths[table.name.lower()]
        table.set("catalog", exp.to_identifier(catalog, quoted=True))
        table.set("db", exp.to_identifier(path.database, quoted=True))
        table.set("this", exp.to_identifier(path.table, quoted=True))
    generator = _Generator(
        dialect=DIALECT, identify=True, pretty=True, comments=False, unsupported_level=ErrorLevel.RAISE
    )
    return str(generator.generate(rewritten))


def view(contract: Contract, mart: str) -> DorisMart:
    """Everything that is said to Doris about a mart."""
    declared = contract.mart(mart)
    query = select(contract, mart)
    named = ", ".join(name(column.name) for column in contract.queries[mart].columns)
    properties = {
        "replication_num": _REPLICAS,
        # Else the first columns become the sort key, and those of some types may not be in one.
        "enable_duplicate_without_keys_by_default": "true",
    }
    before = f"({named})\nBUILD DEFERRED\nREFRESH COMPLETE ON MANUAL\nCOMMENT "
    after = f"\nDISTRIBUTED BY RANDOM BUCKETS AUTO\nPROPERTIES (\n{_properties(properties)}\n)\nAS\n{query}"
    fingerprint = hashlib.sha256(f"{before}{declared.description}{after}".encode()).hexdigest()[:16]
    comment = literal(f"{declared.description} [lakehouse:{fingerprint}]".strip())
    database_name = contract.marts_schema

    def create(as_name: str) -> str:
        return (
            f"CREATE MATERIALIZED VIEW IF NOT EXISTS {name(database_name, as_name)} {before}{comment}{after}"
        )

    following = mart + DORIS_NEXT
    paths = [contract.lake_path(table) for table in contract.mart_tables(mart)]
    return DorisMart(
        mart=mart,
        database=database_name,
        view=mart,
        fingerprint=fingerprint,
        create=create(mart),
        create_next=create(following),
        drop_next=f"DROP MATERIALIZED VIEW IF EXISTS {name(database_name, following)}",
        replace=(
            f"ALTER MATERIALIZED VIEW {name(database_name, mart)}"
            f" REPLACE WITH MATERIALIZED VIEW {name(following)} PROPERTIES ('swap' = 'false')"
        ),
        refresh_sources=(
            f"REFRESH CATALOG {name(PAIMON_CATALOG)}",
            *(f"REFRESH TABLE {name(PAIMON_CATALOG, path.database, path.table)}" for path in paths),
        ),
        refresh=f"REFRESH MATERIALIZED VIEW {name(database_name, mart)} COMPLETE",
        refresh_next=f"REFRESH MATERIALIZED VIEW {name(database_name, following)} COMPLETE",
    )


def partition_note(contract: Contract, mart: str) -> str | None:
    """Why a mart that declares a partition has none in Doris; None where it declares none.

    A materialized view takes its partitions from a partition column of a table it reads, and the lake's
    tables have no partitions (a row that changed its partition would be two rows).
    """
    partition = contract.mart(mart).partition
    if partition is None:
        return None
    return (
        f"not partitioned by {partition}: Doris takes a view's partitions from the tables it reads, "
        "and the lake's tables have none; every refresh computes the whole mart"
    )


def views_query(database: str) -> str:
    """Asks for the materialized views of a database: their names."""
    return f'SELECT `Name` AS `name` FROM mv_infos("database"={_double(database)})'  # noqa: S608


def definition_query(database: str, view: str) -> str:
    """Asks for a view's definition: a row of its name and its CREATE statement."""
    return f"SHOW CREATE MATERIALIZED VIEW {name(database, view)}"


def tasks_query(database: str, view: str) -> str:
    """Asks for a view's refresh tasks, the newest first. All values are text."""
    return (  # both names come quoted
        "SELECT `TaskId` AS `id`, `Status` AS `status`, `ErrorMsg` AS `error`, `CreateTime` AS `created`,"  # noqa: S608
        " `StartTime` AS `started`, `FinishTime` AS `finished`, `DurationMs` AS `milliseconds`,"
        ' `RefreshMode` AS `mode`, `Progress` AS `progress` FROM tasks("type"="mv")'
        f" WHERE `MvDatabaseName` = {literal(database)} AND `MvName` = {literal(view)}"
        " ORDER BY `CreateTime` DESC, `TaskId` DESC"
    )


def count_query(database: str, view: str) -> str:
    """Asks for the number of a view's rows, as ``n``."""
    return f"SELECT COUNT(*) AS `n` FROM {name(INTERNAL, database, view)}"  # noqa: S608


def fingerprint_of(definition: str) -> str | None:
    """The fingerprint in the text of a view's definition; None for a view that is not ours."""
    found = _FINGERPRINT.search(definition)
    return found[1] if found else None


def artefacts(contract: Contract) -> dict[str, str]:
    """The statements as files, by name; empty for a contract without marts for Doris.

    Files whose names begin with a number are run once at the start, in their order; ``operations/`` is what
    Dagster says to Doris at a refresh, and how it replaces a view whose definition has changed.
    """
    marts = doris_marts(contract)
    if not marts:
        return {}
    texts = {
        "doris/01_catalogs.sql": _file(catalogs()),
        "doris/02_database.sql": _file((database(contract),)),
        "doris/03_grants.sql": _file(grants(contract)),
    }
    for mart in marts:
        said = view(contract, mart.name)
        note = partition_note(contract, mart.name)
        texts[f"doris/10_{mart.name}.sql"] = (f"-- {note}\n" if note else "") + _file((said.create,))
        texts[f"doris/operations/{mart.name}.sql"] = (
            "-- a refresh, and how its task is followed\n"
            + _file((*said.refresh_sources, said.refresh, tasks_query(said.database, said.view)))
            + "\n-- a changed definition: built beside, then put in the old one's place\n"
            + _file((said.drop_next, said.create_next, said.refresh_next, said.replace))
        )
    return texts


def placeholders(statement: str) -> frozenset[str]:
    """Names of the placeholders in a statement of :func:`setup`."""
    return frozenset(_PLACEHOLDER.findall(statement))


def filled(statement: str, values: Mapping[str, str]) -> str:
    """A statement of :func:`setup` with its placeholders, all inside string literals, replaced by values.

    Raises KeyError, naming the placeholder, when a value is missing.
    """
    return _PLACEHOLDER.sub(lambda found: literal(values[found[1]])[1:-1], statement)


def with_replicas(create: str, replicas: int) -> str:
    """A view's CREATE with its number of replicas.

    Nothing else in it is replaced: a description or a constant of the mart may look like a placeholder.
    """
    said, meant = (f"'replication_num' = '{value}'" for value in (_REPLICAS, replicas))
    return create.replace(said, meant, 1)


# --- checking -----------------------------------------------------------------------------------------------


_STRING: Final = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_PAIR: Final = re.compile(r"""'([^']+)'\s*=\s*'((?:[^'\\]|''|\\.)*)'""", re.DOTALL)
_SECRET_KEYS: Final = re.compile(r"secret|password|access_key|token", re.IGNORECASE)
_LAKE: Final = re.compile(rf"`(?:{PAIMON_CATALOG}|{ICEBERG_CATALOG})`\.`([^`]+)`\.`([^`]+)`")


def problems(statement: str, contract: Contract) -> Iterator[str]:
    """What is wrong with a statement that sqlglot would let pass, in words.

    A property name that Doris does not document; a view that Doris itself would refresh; a table that the
    contract does not have; a secret, or a password, that is not a placeholder.
    """
    for properties in re.findall(r"PROPERTIES \((.*?)\n?\)(?:$|\nAS\n)", statement, re.DOTALL):
        for key, value in _PAIR.findall(properties):
            if key not in PROPERTIES:
                yield f"the property {key!r} is not one that Doris 4.1 documents here"
            if _SECRET_KEYS.search(key) and not _PLACEHOLDER.fullmatch(value):
                yield f"the value of {key!r} is not a placeholder"
    for password in re.findall(r"IDENTIFIED BY\s+('(?:[^'\\]|''|\\.)*')", statement):
        if not _PLACEHOLDER.fullmatch(password[1:-1]):
            yield "a password is not a placeholder"
    if statement.startswith("CREATE MATERIALIZED VIEW"):
        head = _STRING.sub("''", statement).partition("\nAS\n")[0]
        if "BUILD DEFERRED" not in head:
            yield "the view would be built at its creation"
        if not re.search(r"REFRESH (COMPLETE|AUTO) ON MANUAL", head):
            yield "the view is not refreshed by Dagster alone"
        if "'replication_num'" not in statement:
            yield "the number of replicas is not said"
    tables = {
        (path.database, path.table) for path in map(contract.lake_path, (t.name for t in contract.tables))
    }
    for found in _LAKE.findall(_STRING.sub("''", statement)):
        if found not in tables:
            yield f"the lake has no table {'.'.join(found)}"


# --- rewriting ----------------------------------------------------------------------------------------------


def _rewritten(query: exp.Query) -> exp.Query:
    """The typed query with everything replaced that sqlglot would translate to something else."""
    for node in reversed(list(query.walk())):  # what is inside before what is around it
        changed = _rewrite(node)
        if changed is not node:
            changed.type = node.type
            node.replace(changed)
    return query


def _rewrite(node: exp.Expr) -> exp.Expr:
    match node:
        case exp.CountIf():
            return exp.Count(this=_when(node.this, exp.Literal.number(1)))
        case exp.Filter():
            aggregate, condition = node.this, node.expression.this
            of = aggregate.this
            if isinstance(of, exp.Distinct):
                of.set("expressions", [_when(condition, item) for item in of.expressions])
            else:
                plain = exp.Literal.number(1) if isinstance(of, exp.Star) else of
                aggregate.set("this", _when(condition, plain))
            detached: exp.Expr = aggregate.copy()
            return detached
        case exp.If() if not isinstance(node.parent, exp.Case):
            return exp.Case(
                ifs=[exp.If(this=node.this, true=node.args["true"])], default=node.args.get("false")
            )
        case exp.ApproxQuantile():
            return _percentile(node)
        case exp.DateDiff():
            return exp.TimestampDiff(this=node.this, expression=node.expression, unit=node.args["unit"])
        case exp.DayOfWeekIso():
            sunday_first = exp.DayOfWeek(this=node.this)
            return exp.paren(
                exp.paren(exp.paren(sunday_first + 5, copy=False) % 7, copy=False) + 1, copy=False
            )
        case exp.Interval() if isinstance(node.this, exp.Literal):
            return exp.Interval(this=exp.Literal.number(node.this.name), unit=node.args["unit"])
    return node


def _when(condition: exp.Expr, value: exp.Expr) -> exp.Case:
    return exp.Case(ifs=[exp.If(this=condition, true=value)])


def _percentile(node: exp.ApproxQuantile) -> exp.Expr:
    """Doris's has a double for every type; Trino's of integers is the nearest integer, halves upwards."""
    found: exp.Expr = exp.Anonymous(
        this="PERCENTILE_APPROX", expressions=[exp.cast(node.this, "double"), node.args["quantile"]]
    )
    if kind(node.this) == "integer":
        found = exp.cast(exp.Floor(this=found + exp.Literal.number("0.5")), "bigint")
    return found


def _properties(pairs: dict[str, str]) -> str:
    return ",\n".join(f"  {literal(key)} = {literal(value)}" for key, value in pairs.items())


def _double(text: str) -> str:
    if '"' in text or "\\" in text:
        raise ValueError(f"{text!r} cannot be quoted as a function's argument in Doris")
    return f'"{text}"'


def _file(statements: tuple[str, ...]) -> str:
    return "\n\n".join(f"{statement};" for statement in statements) + "\n"
