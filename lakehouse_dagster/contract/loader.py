"""Loading contracts from their folders: ``defs.yaml``, ``schema.lock.json`` and ``marts/*.sql``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from lakehouse_dagster.contract import applied
from lakehouse_dagster.contract.checks import check
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError, ContractErrors
from lakehouse_dagster.contract.model import Pipeline
from lakehouse_dagster.contract.problems import pydantic_problem
from lakehouse_dagster.contract.schema import LOCK_FILE, SchemaLock
from lakehouse_dagster.contract.yaml_lines import line_of

DEFS_FILE: Final = "defs.yaml"
COMPONENT: Final = "lakehouse_dagster.CdcPipeline"
"""The ``type:`` of a pipeline's ``defs.yaml``."""

DEFS_ROOT: Final = Path(__file__).resolve().parents[1] / "defs"
"""Where the project's own pipelines live."""


def load_contract(folder: Path, pipeline: Pipeline | None = None) -> Contract:
    """Load and cross-validate the contract of a pipeline's folder.

    Its lock is the one in force: the folder's, or what the running instance has applied on top of it.

    Args:
        folder: The folder with ``defs.yaml``, ``schema.lock.json`` and ``marts/``.
        pipeline: The model, when the caller (Dagster) has parsed ``defs.yaml`` already.

    Raises:
        ContractErrors: Everything that is wrong, each with file, field, problem and fix.
    """
    shown = _shown(folder)
    defs = folder / DEFS_FILE
    file = f"{shown}/{DEFS_FILE}"
    if pipeline is None:
        pipeline = read_pipeline(defs)
    found = _in_force(pipeline.name, _lock(folder, shown))
    lock = found.lock
    marts_sql = {
        path.stem: path.read_text(encoding="utf-8") for path in sorted((folder / "marts").glob("*.sql"))
    }
    findings = check(pipeline, lock, marts_sql, file, shown)
    if findings.problems:
        problems = list(_with_lines(findings.problems, defs, file))
        if found.state == "ahead":
            problems.append(
                ContractError(
                    str(applied.applied_path(pipeline.name)),
                    "lock",
                    f"is in force instead of {shown}/{LOCK_FILE}, which it continues",
                    f"run `lakehouse schema commit {pipeline.name}`, which writes it into the folder, and "
                    "mend the rest to fit it",
                )
            )
        raise ContractErrors(problems)
    names = {table.name for table in pipeline.tables}
    return Contract(
        folder=folder,
        pipeline=pipeline,
        lock=lock,
        queries=findings.queries,
        marts=tuple(findings.marts.values()),
        stopped={table: why for table, why in found.stopped.items() if table in names},
    )


def read_pipeline(defs: Path) -> Pipeline:
    """Read the model from a ``defs.yaml``, without looking at the schema.

    Raises:
        ContractErrors: The file is missing, not YAML, not a pipeline or has wrong fields.
    """
    file = f"{_shown(defs.parent)}/{defs.name}"
    try:
        text = defs.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ContractErrors(
            [
                ContractError(
                    file, "", "does not exist", f"scaffold it with `dg scaffold defs {COMPONENT} NAME`"
                )
            ]
        ) from error
    document = _document(text, file)
    kind = document.get("type")
    if kind != COMPONENT:
        raise ContractErrors(
            [
                ContractError(
                    file,
                    "type",
                    f"{kind!r} is not {COMPONENT}",
                    f"write `type: {COMPONENT}`",
                    line_of(text, "type"),
                )
            ]
        )
    attributes = document.get("attributes")
    if not isinstance(attributes, Mapping):
        raise ContractErrors(
            [ContractError(file, "attributes", "is missing", "describe the pipeline under attributes:")]
        )
    try:
        return Pipeline.model_validate(attributes)
    except ValidationError as error:
        problems = [pydantic_problem(detail, file, "a pipeline") for detail in error.errors()]
        raise ContractErrors(list(_with_lines(problems, defs, file))) from error


def discover(defs_root: Path = DEFS_ROOT) -> list[Contract]:
    """Load every pipeline below a folder, sorted by name.

    Raises:
        ContractErrors: A contract is wrong, or two pipelines share a name or a CouchDB database.
    """
    contracts: list[Contract] = []
    problems: list[ContractError] = []
    for defs in sorted(defs_root.rglob(DEFS_FILE)):
        try:
            if is_pipeline(defs):
                contracts.append(load_contract(defs.parent))
        except ContractError as error:
            problems += error.problems
    problems += _collisions(contracts)
    if problems:
        raise ContractErrors(problems)
    return sorted(contracts, key=lambda contract: contract.name)


def is_pipeline(defs: Path) -> bool:
    """Whether a ``defs.yaml`` describes a pipeline (and not some other component)."""
    document = _document(defs.read_text(encoding="utf-8"), f"{_shown(defs.parent)}/{defs.name}")
    return document.get("type") == COMPONENT


def locate(defs: Path, field: str) -> int | None:
    """1-based line of a contract's field (such as ``views[1].columns[3]``) in its ``defs.yaml``."""
    try:
        text = defs.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return line_of(text, field if field == "type" else f"attributes.{field}" if field else "attributes")


def _document(text: str, file: str) -> Mapping[str, Any]:
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ContractErrors(
            [
                ContractError(
                    file,
                    "",
                    f"is not YAML: {getattr(error, 'problem', None) or error}",
                    "correct the YAML",
                    mark.line + 1 if mark else None,
                )
            ]
        ) from error
    pipelines = [document for document in documents if isinstance(document, Mapping)]
    if len(pipelines) > 1 and any(document.get("type") == COMPONENT for document in pipelines):
        raise ContractErrors(
            [
                ContractError(
                    file,
                    "",
                    "holds several documents, but a folder has one schema lock and one set of marts",
                    "give each pipeline a folder of its own",
                )
            ]
        )
    return pipelines[0] if pipelines else {}


def _lock(folder: Path, shown: str) -> SchemaLock:
    try:
        return SchemaLock.load(folder, f"{shown}/{LOCK_FILE}")
    except ContractError as error:
        raise ContractErrors(error.problems) from error


def _in_force(pipeline: str, committed: SchemaLock) -> applied.InForce:
    try:
        return applied.in_force(committed, applied.load(pipeline))
    except ContractError as error:
        raise ContractErrors(error.problems) from error


def _with_lines(problems: Iterable[ContractError], defs: Path, file: str) -> Iterator[ContractError]:
    for problem in problems:
        if problem.line is None and problem.file == file:
            problem.line = locate(defs, problem.field)
        yield problem


def _collisions(contracts: Iterable[Contract]) -> Iterator[ContractError]:
    contracts = list(contracts)
    schemas = {contract.marts_schema: contract for contract in contracts}
    names: dict[str, Contract] = {}
    databases: dict[str, Contract] = {}
    for contract in contracts:
        file = f"{_shown(contract.folder)}/{DEFS_FILE}"
        other = names.setdefault(contract.name, contract)
        if other is not contract:
            yield ContractError(
                file,
                "name",
                f"{contract.name!r} is also the pipeline of {_shown(other.folder)}",
                "rename one of the two",
            )
        if contract.name in schemas:
            other = schemas[contract.name]
            yield ContractError(
                file,
                "name",
                f"{contract.name!r} is also the schema of the marts of pipeline {other.name!r}",
                "rename one of the two",
            )
        for number, view in enumerate(contract.views):
            if view.engine != "couchdb":
                continue
            owner = databases.setdefault(view.name, contract)
            if owner is not contract:
                yield ContractError(
                    file,
                    f"views[{number}].name",
                    f"CouchDB database {view.name!r} belongs to pipeline {owner.name!r}",
                    "give the view another name",
                )


def _shown(folder: Path) -> str:
    """A folder as errors name it: relative to the working directory when it is inside."""
    resolved = folder.resolve()
    here = Path.cwd()
    return str(resolved.relative_to(here)) if resolved.is_relative_to(here) else str(resolved)
