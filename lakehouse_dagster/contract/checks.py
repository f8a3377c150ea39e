"""The checks that need more than one part of a contract: names against the locked schema, keys, types,
marts' SQL."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.mart_checks import KEY_CHECK, PARTITION_CHECK
from lakehouse_dagster.contract.mart_header import read_header, with_header_lines
from lakehouse_dagster.contract.marts import MartQuery, read_check, read_mart
from lakehouse_dagster.contract.model import Mart, Pipeline, Probe, Table, View
from lakehouse_dagster.contract.names import (
    PARTITIONS_SUFFIX,
    RESERVED_PIPELINES,
    SERVING_POSITION,
    column_name_problem,
    table_name_problem,
)
from lakehouse_dagster.contract.portable import DORIS_NEXT, check_portable
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.contract.types import UncarryableType, mapping, text_mapping, with_texts

_CRON_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_PART: Final = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")


@dataclass
class Findings:
    """What the checks found: problems, and the marts with their queries as far as they are right."""

    problems: list[ContractError] = field(default_factory=list)
    marts: dict[str, Mart] = field(default_factory=dict)
    queries: dict[str, MartQuery] = field(default_factory=dict)


def check(
    pipeline: Pipeline, lock: SchemaLock, marts_sql: Mapping[str, str], file: str, folder: str
) -> Findings:
    """Check a pipeline against its locked schema and its marts' SQL.

    Args:
        pipeline: The model.
        lock: The locked schema.
        marts_sql: Text of each ``marts/*.sql`` by its name without suffix.
        file: How to name ``defs.yaml`` in problems.
        folder: How to name the pipeline's folder in problems.
    """
    findings = Findings()
    findings.problems += [
        ContractError(file, path, problem, fix) for path, problem, fix in _structure(pipeline, lock, folder)
    ]
    carried = _carried_schemas(pipeline, lock)
    tables = {table.name.casefold() for table in pipeline.tables}
    for name, sql in marts_sql.items():
        mart_file = f"{folder}/marts/{name}.sql"
        found, problems = _read_mart(name, sql, mart_file, carried, tables)
        findings.problems += problems
        if found is not None:
            findings.marts[name], findings.queries[name] = found
    return findings


Finding = tuple[str, str, str]
"""Field path, problem, fix."""


def _structure(pipeline: Pipeline, lock: SchemaLock, folder: str) -> Iterator[Finding]:
    if pipeline.name in RESERVED_PIPELINES:
        yield (
            "name",
            f"{pipeline.name!r} is a schema that an engine keeps for itself",
            "choose another name",
        )
    if lock.database != pipeline.source.database:
        yield (
            "source.database",
            f"the lock {folder}/schema.lock.json is of database {lock.database!r}",
            f"run `lakehouse lock {pipeline.name}`, or name that database",
        )
    yield from _duplicates(pipeline)
    for number, table in enumerate(pipeline.tables):
        yield from _table(f"tables[{number}]", table, lock, pipeline.name)
    tables = {table.name: table for table in pipeline.tables}
    for number, view in enumerate(pipeline.views):
        yield from _view(f"views[{number}]", view, tables, lock)
    if pipeline.probe is not None:
        yield from _probe(pipeline, pipeline.probe, lock)


def _duplicates(pipeline: Pipeline) -> Iterator[Finding]:
    groups: tuple[tuple[str, Iterable[str]], ...] = (
        ("tables", [table.name for table in pipeline.tables]),
        ("views", [view.name for view in pipeline.views]),
    )
    for group, names in groups:
        seen: dict[str, str] = {}
        for number, name in enumerate(names):
            # Catalogs fold case: two names that differ only in case would be one table in Trino.
            folded = name.casefold()
            if folded in seen:
                yield (
                    f"{group}[{number}].name",
                    f"the name {name!r} is used twice in {group}",
                    "rename or remove one",
                )
            seen[folded] = name


def _table(path: str, table: Table, lock: SchemaLock, pipeline: str) -> Iterator[Finding]:
    bad = table_name_problem(table.name)
    if bad:
        yield (
            f"{path}.name",
            f"table {table.name!r} {bad}",
            "rename the table in the source, or leave it out",
        )
        return
    schema = lock.tables.get(table.name)
    if schema is None:
        near = _near(table.name, lock.tables)
        yield (
            f"{path}.name",
            f"table {table.name!r} is not in the locked schema of {lock.database!r}",
            f"did you mean {near!r}?"
            if near
            else f"run `lakehouse lock {pipeline}` if it exists in the source",
        )
        return
    if table.primary_key:
        yield from _declared_key(path, table, schema)
    elif not schema.primary_key:
        yield (
            f"{path}.name",
            f"table {table.name!r} has no primary key in the source",
            "add a PRIMARY KEY to it, or declare the columns that tell its rows apart as its primary_key "
            "here: without one, changes cannot be told apart",
        )
    for column in schema.columns:
        yield from _column(f"{path}.name", table.name, column)
    for name in table.columns:
        if name not in schema.column_names:
            yield (f"{path}.columns.{name}", *_no_column(name, schema))
    yield from _listed(path, "as_text", table.as_text, schema)
    for number, name in enumerate(table.as_text):
        if name in schema.column_names:
            yield from _text(f"{path}.as_text[{number}]", name, schema.keyed_by(table.primary_key))
    yield from _partitions(path, table, with_texts(schema.keyed_by(table.primary_key), table.as_text))


_PARTITION_TYPES: Final = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT", "DATE", "STRING"})
"""Types of the lake by which tables may be partitioned: those that Iceberg's readers were tried with."""


def _partitions(path: str, table: Table, schema: TableSchema) -> Iterator[Finding]:
    """What speaks against the columns that the lake table is to be partitioned by."""
    yield from _listed(path, "partition_by", table.partition_by, schema)
    key = ", ".join(schema.primary_key)
    for number, name in enumerate(table.partition_by):
        if name not in schema.column_names:
            continue
        if name not in schema.primary_key:
            yield (
                f"{path}.partition_by[{number}]",
                f"{name!r} is not part of the primary key ({key}) of {table.name!r}: a row whose "
                f"{name} changes would have to be found in another partition",
                "name columns of the primary key, or leave partition_by out",
            )
            continue
        try:
            carried = mapping(schema.column(name)).lake
        except UncarryableType:
            continue  # already reported for the column
        if carried not in _PARTITION_TYPES:
            yield (
                f"{path}.partition_by[{number}]",
                f"{name!r} is {carried} in the lake, by which a table cannot be partitioned",
                f"name columns of these types: {', '.join(sorted(_PARTITION_TYPES))}",
            )
    if schema.primary_key and set(schema.primary_key) <= set(table.partition_by):
        yield (
            f"{path}.partition_by",
            f"it names the whole primary key ({key}) of {table.name!r}: every row would be a partition "
            "of its own",
            "leave out at least one column of the key",
        )


def _declared_key(path: str, table: Table, schema: TableSchema) -> Iterator[Finding]:
    """What speaks against the key that the contract declares."""
    if schema.primary_key:
        yield (
            f"{path}.primary_key",
            f"table {table.name!r} has the primary key ({', '.join(schema.primary_key)}) in the source",
            "remove primary_key: it is only for tables without one",
        )
    yield from _listed(path, "primary_key", table.primary_key, schema)
    for number, name in enumerate(table.primary_key):
        if name not in schema.column_names:
            continue
        if schema.column(name).nullable:
            yield (
                f"{path}.primary_key[{number}]",
                f"key column {name!r} may be NULL in the source, and NULL tells no rows apart",
                "declare it NOT NULL in the source, or use another column",
            )
        if " " in name:
            yield (
                f"{path}.primary_key[{number}]",
                f"key column {name!r} has a space, which Debezium does not take in a declared key",
                "rename the column in the source, or use another column",
            )


def _text(path: str, name: str, schema: TableSchema) -> Iterator[Finding]:
    """What speaks against carrying a column as text."""
    try:
        text_mapping(schema.column(name).mysql_type)
    except UncarryableType as error:
        yield (path, f"column {schema.name}.{name} cannot be carried as text: {error}", error.fix)
        return
    if name in schema.primary_key:
        yield (
            path,
            f"column {schema.name}.{name} is part of the primary key, and the source cannot find rows by a "
            "date that is in no calendar",
            "take it out of as_text, or use another column as the key",
        )


def _column(path: str, table: str, column: Column) -> Iterator[Finding]:
    bad = column_name_problem(column.name)
    if bad:
        yield (
            path,
            f"column {table}.{column.name!r} {bad}",
            "rename the column in the source, or leave the table out",
        )
    try:
        mapping(column)
    except UncarryableType as error:
        yield (
            path,
            f"column {table}.{column.name} ({column.mysql_type}) cannot be carried: {error}",
            error.fix,
        )


def _view(path: str, view: View, tables: Mapping[str, Table], lock: SchemaLock) -> Iterator[Finding]:
    schema = lock.tables.get(view.table)
    if schema is not None and view.table in tables:
        schema = schema.keyed_by(tables[view.table].primary_key)
    if view.table not in tables:
        near = _near(view.table, tables)
        yield (
            f"{path}.table",
            f"view {view.name!r} is of table {view.table!r}, which is not among the pipeline's tables",
            f"did you mean {near!r}?" if near else "add the table to tables",
        )
        return
    if schema is None:
        return  # already reported for the table
    yield from _listed(path, "columns", view.columns or (), schema)
    if view.columns is not None and not view.columns:
        yield (
            f"{path}.columns",
            f"view {view.name!r} has no columns",
            "leave columns out to serve all, or name some",
        )
    served = set(schema.column_names if view.columns is None else view.columns)
    if SERVING_POSITION in {name.lower() for name in served}:
        yield (
            f"{path}.columns",
            f"column {SERVING_POSITION!r} collides with the position that each served row carries",
            "leave the column out of the view, or rename it in the source",
        )
    if view.engine == "couchdb":
        yield from _couchdb_view(path, view, schema, served)
    else:
        yield from _cassandra_view(path, view, schema, served)
        yield from _cassandra_key(path, view, schema, tables[view.table].as_text)


def _listed(path: str, attribute: str, names: Iterable[str], schema: TableSchema) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    for number, name in enumerate(names):
        counts[name] += 1
        if name not in schema.column_names:
            yield (f"{path}.{attribute}[{number}]", *_no_column(name, schema))
        elif counts[name] == 2:
            yield (f"{path}.{attribute}[{number}]", f"column {name!r} is named twice", "remove one")


def _cassandra_view(path: str, view: View, schema: TableSchema, served: set[str]) -> Iterator[Finding]:
    if not view.partition_key:
        yield (
            f"{path}.partition_key",
            f"Cassandra view {view.name!r} has no partition key",
            "name the columns by which it is looked up",
        )
    yield from _listed(path, "partition_key", view.partition_key, schema)
    yield from _listed(path, "clustering_key", view.clustering_key, schema)
    both = [name for name in view.clustering_key if name in view.partition_key]
    if both:
        yield (f"{path}.clustering_key", f"{both[0]!r} is also in partition_key", "name it in one of the two")
    for name in view.key:
        if name not in schema.column_names:
            continue
        if name not in served:
            yield (
                f"{path}.columns",
                f"key column {name!r} is not among the view's columns",
                "add it to columns",
            )
        column = schema.column(name)
        if column.nullable:
            yield (
                path,
                f"key column {name!r} may be NULL in the source, which a Cassandra key cannot hold",
                "declare it NOT NULL in the source, or use another column",
            )
    missing = [name for name in schema.primary_key if name not in view.key]
    if view.partition_key and schema.primary_key and missing:
        yield (
            f"{path}.clustering_key",
            f"the key leaves out {', '.join(missing)} of the source's primary key, so different rows would "
            "overwrite one another",
            f"add {', '.join(missing)} to clustering_key",
        )


_NO_KEY: Final = {
    "json": "is JSON, whose text is not unique",
    "geometry": "is a geometry, whose value before a change Debezium cannot tell: its old place would stay",
    "vector": "is a vector, by which no row can be looked up",
}


def _cassandra_key(path: str, view: View, schema: TableSchema, as_text: Collection[str]) -> Iterator[Finding]:
    """Columns that must not be in a Cassandra view's key because of how they are carried."""
    for name in view.key:
        if name not in schema.column_names:
            continue
        why = _NO_KEY.get(_family(schema.column(name)) or "")
        if why is not None:
            yield (path, f"key column {name!r} {why}", "use another column")
        if name in as_text:
            yield (
                path,
                f"key column {name!r} is carried as text (as_text of table {schema.name!r}), which is no key",
                "use another column",
            )


def _couchdb_view(path: str, view: View, schema: TableSchema, served: set[str]) -> Iterator[Finding]:
    for attribute in ("partition_key", "clustering_key"):
        if getattr(view, attribute):
            yield (
                f"{path}.{attribute}",
                f"CouchDB view {view.name!r} cannot choose a key: its id is the source's primary key",
                f"remove {attribute}",
            )
    missing = [name for name in schema.primary_key if name not in served]
    if missing:
        yield (
            f"{path}.columns",
            f"the source's key column {missing[0]!r} is not served",
            "add it to columns",
        )
    for name in sorted(served):
        if name.startswith("_"):
            yield (
                f"{path}.columns",
                f"column {name!r} begins with an underscore, which CouchDB keeps for itself",
                "leave it out of the view, or rename it in the source",
            )


def _read_mart(
    name: str, sql: str, file: str, schemas: Mapping[str, TableSchema], tables: Collection[str]
) -> tuple[tuple[Mart, MartQuery] | None, list[ContractError]]:
    """A mart with its query, if it has no problems; and its problems."""
    problems: list[ContractError] = []
    mart: Mart | None = None
    query: MartQuery | None = None
    try:
        mart = read_header(name, sql, file)
        problems += [ContractError(file, *finding) for finding in _mart(mart, tables)]
    except ContractError as error:
        problems += error.problems
    try:
        query = read_mart(sql, file, schemas, partition=mart.partition if mart else None)
        if mart is not None and "doris" in mart.engines:
            check_portable(sql, file, schemas)
    except ContractError as error:
        problems += error.problems
    if mart is not None and query is not None:
        problems += _promises(mart, query, file, schemas)
    if mart is None or query is None or problems:
        return None, list(with_header_lines(problems, sql))
    return (mart, query), []


def _mart(mart: Mart, tables: Collection[str]) -> Iterator[Finding]:
    if mart.name.casefold() in tables:
        yield ("", f"{mart.name!r} is also the name of a table", "give the mart's file another name")
    if mart.name.endswith(DORIS_NEXT) and "doris" in mart.engines:
        yield (
            "",
            f"{mart.name!r} ends with {DORIS_NEXT}, as views do that Doris is building",
            "give the mart's file another name",
        )
    if mart.name.endswith(PARTITIONS_SUFFIX):
        yield (
            "",
            f"{mart.name!r} ends as the tables do in which marts keep what their partitions come from",
            "give the mart's file another name",
        )
    parts = mart.refresh.split()
    if len(parts) != len(_CRON_RANGES) or not all(
        _cron_field(part, *allowed) for part, allowed in zip(parts, _CRON_RANGES, strict=True)
    ):
        yield (
            "refresh",
            f"{mart.refresh!r} is not a cron expression",
            'write five fields of numbers, such as "*/5 * * * *" (minute hour day month weekday)',
        )
    for engine, times in Counter(mart.engines).items():
        if times > 1:
            yield ("engines", f"{engine} is named twice", "remove one")
    names = Counter(check.called for check in mart.checks)
    for number, check in enumerate(mart.checks):
        if check.called in (KEY_CHECK, PARTITION_CHECK):
            yield (
                f"checks[{number}].name",
                f"{check.called!r} is the name of the check that follows from {check.called}",
                "give the check another name",
            )
        elif names[check.called] > 1:
            yield (
                f"checks[{number}]",
                f"{names[check.called]} checks have the name {check.called!r}",
                "give each a name of its own",
            )


def _promises(
    mart: Mart, query: MartQuery, file: str, schemas: Mapping[str, TableSchema]
) -> Iterator[ContractError]:
    """What the key and the checks name that the mart's query does not return."""
    columns = [column.name for column in query.columns]
    named = [(f"key[{number}]", name) for number, name in enumerate(mart.key)]
    for number, check in enumerate(mart.checks):
        named += [(f"checks[{number}].{path}", name) for path, name in check.columns]
    for path, name in named:
        if name not in columns:
            near = _near(name, columns)
            yield ContractError(
                file,
                path,
                f"{name!r} is not an output column",
                f"did you mean {near!r}?" if near else f"name one of: {', '.join(columns)}",
            )
    if len(set(mart.key)) != len(mart.key):
        yield ContractError(file, "key", "a column is named twice", "remove one")
    for number, check in enumerate(mart.checks):
        if check.no_rows is not None:
            try:
                read_check(check.no_rows, file, f"checks[{number}].no_rows", schemas, query.columns)
            except ContractError as error:
                yield from error.problems


_PROBE_COLUMNS: Final = {
    "id": (re.compile(r"(?:tiny|small|medium|big)?int(?:eger)?(?:\(\d+\))?(?: unsigned)?"), "an integer"),
    "beat": (re.compile(r"bigint(?:\(\d+\))?"), "BIGINT"),
    "written_at": (re.compile(r"datetime\(6\)"), "DATETIME(6)"),
}
_PROBE_FIX: Final = (
    "make it `CREATE TABLE {} (id INT NOT NULL PRIMARY KEY, beat BIGINT NOT NULL, "
    "written_at DATETIME(6) NOT NULL)`"
)


def _probe(pipeline: Pipeline, probe: Probe, lock: SchemaLock) -> Iterator[Finding]:
    tables = {table.name for table in pipeline.tables}
    if probe.table not in tables:
        near = _near(probe.table, tables)
        yield (
            "probe.table",
            f"the probe's table {probe.table!r} is not among the pipeline's tables",
            f"did you mean {near!r}?" if near else "add the table to tables",
        )
        return
    schema = lock.tables.get(probe.table)
    if schema is None:
        return  # already reported for the table
    fix = _PROBE_FIX.format(probe.table)
    if schema.primary_key != ("id",):
        key = ", ".join(schema.primary_key) or "no column"
        yield (
            "probe.table",
            f"the key of the probe's table {probe.table!r} is {key}, not the column id",
            fix,
        )
    for name, (wanted, said) in _PROBE_COLUMNS.items():
        column = next((column for column in schema.columns if column.name == name), None)
        if column is None:
            yield ("probe.table", f"the probe's table {probe.table!r} has no column {name!r}", fix)
        elif not wanted.fullmatch(column.mysql_type.strip().lower()):
            yield (
                "probe.table",
                f"column {probe.table}.{name} of the probe is {column.mysql_type}, not {said}",
                fix,
            )
    extra = [name for name in schema.column_names if name not in _PROBE_COLUMNS]
    if extra:
        yield (
            "probe.table",
            f"the probe's table {probe.table!r} has other columns too ({', '.join(extra)}), which the prober "
            "cannot fill",
            "remove them, or use a table of its own for the probe",
        )
    for number, view in enumerate(pipeline.views):
        if view.table != probe.table:
            continue
        if view.columns is not None and "beat" not in view.columns:
            yield (
                f"views[{number}].columns",
                f"view {view.name!r} of the probe's table does not serve the column 'beat', so nobody sees "
                "there how fresh it is",
                "add beat to columns, or leave columns out",
            )
        if view.engine == "cassandra" and view.key and view.key != ("id",):
            yield (
                f"views[{number}].partition_key",
                f"view {view.name!r} of the probe's table is not looked up by id alone",
                "write `partition_key: [id]` and no clustering_key",
            )


def _cron_field(text: str, low: int, high: int) -> bool:
    for part in text.split(","):
        match = _CRON_PART.fullmatch(part)
        if match is None:
            return False
        first, last, step = (int(value) if value else None for value in match.groups())
        bounds = [value for value in (first, last) if value is not None]
        if any(not low <= value <= high for value in bounds) or bounds != sorted(bounds) or step == 0:
            return False
    return True


def _carried_schemas(pipeline: Pipeline, lock: SchemaLock) -> dict[str, TableSchema]:
    """Schemas of the pipeline's tables, without the columns that cannot be carried (reported elsewhere)."""
    found = {
        table.name: with_texts(schema, table.as_text)
        for table in pipeline.tables
        if (schema := lock.tables.get(table.name)) is not None
    }
    return {
        name: schema.model_copy(
            update={"columns": tuple(column for column in schema.columns if _family(column) is not None)}
        )
        for name, schema in found.items()
    }


def _family(column: Column) -> str | None:
    try:
        return mapping(column).family
    except UncarryableType:
        return None


def _no_column(name: str, schema: TableSchema) -> tuple[str, str]:
    near = _near(name, schema.column_names)
    fix = f"did you mean {near!r}?" if near else f"table {schema.name} has: {', '.join(schema.column_names)}"
    return f"table {schema.name!r} has no column {name!r}", fix


def _near(name: str, known: Iterable[str]) -> str | None:
    near = get_close_matches(name, list(known), n=1)
    return near[0] if near else None
