"""Which version a person means: a branch, a tag, a commit, a moment, or so many publications ago."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.nessie import IcebergTable, Key, LogEntry, NessieClient, Reference
from lakehouse_dagster.engines.trino_catalogs import REFERENCE_PATTERN
from lakehouse_dagster.governance.decision import PREFIX

MAIN = "main"
TEMPORARY = "tmp_"
"""Branches whose names begin so live only while a tag, a branch or a merge is being made."""
RESERVED = (TEMPORARY, "pin_")
HASH_PATTERN = r"^[0-9a-f]{8,64}$"
_FULL_HASH = 64

#: Properties of the commits that this package makes; the publisher's have no kind.
KIND = f"{PREFIX}.kind"
NAME = f"{PREFIX}.name"
PUBLISHER = f"{PREFIX}.publisher"
"""Only the publisher's commits have it, and those are on `main` only."""
PIPELINE = f"{PREFIX}.pipeline"
TEAM_OF = f"{PREFIX}.team-of"
"""The pipeline of a commit on `main` that is no publication: it says nothing of the lake's tables."""
PUBLICATION = f"{PREFIX}.publication"
SOURCE = f"{PREFIX}.from"
REQUESTED_BY = f"{PREFIX}.requested-by"
CREATED_AT = f"{PREFIX}.created-at"
EXPIRES_AT = f"{PREFIX}.expires-at"
FOLDER = f"{PREFIX}.folder"
METADATA_ONLY = f"{PREFIX}.metadata-only"


class UnknownVersionError(ValueError):
    """There is no such version."""


class NotReadableError(EngineError):
    """Files of a version are gone. ``missing`` names them."""

    def __init__(self, what: str, missing: list[str], advice: str) -> None:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        super().__init__("nessie", f"{what} is not readable any more: gone are {shown}; {advice}")
        self.missing = missing


@dataclass(frozen=True)
class Version:
    """One commit, found by what a person wrote (``spec``)."""

    spec: str
    reference: Reference
    """``name`` is empty where the commit was given by its hash alone."""

    @property
    def hash(self) -> str:
        """Of the commit."""
        return self.reference.hash


def check_name(name: str) -> str:
    """Return a name for a new branch or tag; ValueError where it cannot be one."""
    if not re.fullmatch(REFERENCE_PATTERN, name) or name == MAIN or name.startswith(RESERVED):
        raise ValueError(
            f"{name!r} cannot name a branch or tag: use lower-case letters, digits and underscores, "
            f"a letter first (a Trino catalog has it in its name); not {MAIN}, {', '.join(RESERVED)} in front"
        )
    return name


def of_pipeline(pipeline: str) -> str:
    """Condition (CEL) of the commits that concern a pipeline."""
    # Names of pipelines are checked to be lower-case letters, digits and underscores.
    return f"'{PIPELINE}' in commit.properties && commit.properties['{PIPELINE}'] == '{pipeline}'"


def publications(nessie: NessieClient, pipeline: str, branch: str = MAIN) -> Iterator[LogEntry]:
    """Commits that moved what readers of ``branch`` see of the pipeline's lake, newest first: publications
    and rollbacks.
    """
    for entry in nessie.history(branch, where=of_pipeline(pipeline)):
        if entry.properties.get(KIND) in (None, "rollback"):
            yield entry


def resolve(nessie: NessieClient, pipeline: str, spec: str) -> Version:
    """Find a version of a pipeline.

    ``spec`` is a branch or tag; a commit's hash, or its first eight digits or more where it is on ``main``;
    ``main~N``: N publications of the pipeline before the newest; or a time (ISO 8601, UTC where it says no
    zone): what was published then. Raises UnknownVersionError.
    """
    text = spec.strip()
    if match := re.fullmatch(rf"{MAIN}~(\d+)", text):
        return _published(nessie, pipeline, spec, back=int(match[1]))
    if (moment := parse_time(text)) is not None:
        return _published(nessie, pipeline, spec, at=moment)
    try:
        return Version(spec, nessie.get_reference(text))
    except EngineError as error:
        # Nessie answers 400 where it could not be a name at all.
        if error.status not in (400, 404):
            raise
    if re.fullmatch(HASH_PATTERN, text):
        return _commit(nessie, spec, text)
    raise UnknownVersionError(
        f"there is no version {spec!r}: give a branch, a tag, a commit's hash (eight digits or more), "
        f"{MAIN}~N, or a time such as 2026-01-31T12:00"
    )


def parse_time(text: str) -> datetime | None:
    """Return a moment written in ISO 8601 with a date; None where it is none."""
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _published(
    nessie: NessieClient, pipeline: str, spec: str, *, back: int = 0, at: datetime | None = None
) -> Version:
    found = publications(nessie, pipeline)
    if at is None:
        entry = next(islice(found, back, None), None)
    else:
        entry = next((one for one in found if datetime.fromisoformat(one.commit_time) <= at), None)
    if entry is None:
        raise UnknownVersionError(f"nothing of {pipeline} was published so long ago as {spec}")
    return Version(spec, Reference(MAIN, entry.hash))


def _commit(nessie: NessieClient, spec: str, text: str) -> Version:
    if len(text) == _FULL_HASH:
        reference = Reference("", text, "DETACHED")
        try:
            nessie.get_contents([("any",)], reference)
        except EngineError as error:
            if error.status in (400, 404):
                raise UnknownVersionError(f"there is no commit {spec}") from error
            raise
        return Version(spec, reference)
    # The newest that begins so; eight digits of a hash tell commits apart.
    found = next((one.hash for one in nessie.history(MAIN) if one.hash.startswith(text)), None)
    if found is None:
        raise UnknownVersionError(f"no commit on {MAIN} begins with {spec}; give all {_FULL_HASH} digits")
    return Version(spec, Reference(MAIN, found))


def origin(nessie: NessieClient, reference: Reference) -> LogEntry | None:
    """The commit with which this project has made a branch or tag; None for one that is somebody else's."""
    wanted = "tag" if reference.type == "TAG" else "branch"
    for one in nessie.history(reference.pinned):
        if one.properties.get(KIND) == wanted and one.properties.get(NAME) == reference.name:
            return one
        # A tag's is its newest; a branch's comes after all of `main`, which may be very long.
        if wanted == "tag" or PUBLISHER in one.properties:
            return None
    return None


def tables_of(entries: Mapping[Key, Mapping[str, object]]) -> dict[Key, IcebergTable]:
    """The Iceberg tables among contents."""
    return {
        key: IcebergTable.from_json(content)
        for key, content in entries.items()
        if content["type"] == "ICEBERG_TABLE"
    }


def facts_of(properties: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """By table what a publication said of it: ``position``, ``rows``, ``paimon-snapshot`` ..."""
    start = f"{PREFIX}.table."
    found: dict[str, dict[str, str]] = {}
    for name, value in properties.items():
        if name.startswith(start):
            table, _, fact = name.removeprefix(start).rpartition(".")
            found.setdefault(table, {})[fact] = value
    return found
