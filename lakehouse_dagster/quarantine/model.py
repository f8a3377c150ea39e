"""What a quarantined record is, as plain values: read from a dead letter, named by people, shown safely.

The lake stream writes every record that it cannot carry into the dead-letter topic: the record's own key and
value, and headers that say why and where it was found. Nothing here does input or output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, Self

# Its module brings the Kafka client, which loading definitions must not need.
if TYPE_CHECKING:
    from lakehouse_dagster.engines.kafka_records import Record

HEAD_BYTES: Final = 256
"""Bytes of a record's value that are kept to be shown; all of them are in the topic and in the lake."""
HEADERS: Final = ("reason", "topic", "partition", "offset")
"""Headers of a dead letter, texts in UTF-8."""
TRUNCATED: Final = "TRUNCATE of the table"
"""The reason that the format of the streams (``RecordDeserializationSchema``) gives for a record that tells
of no row, but that all rows of its table are gone."""


class Verdict(StrEnum):
    """What was decided about a quarantined record."""

    REPLAYED = auto()
    """What the source says of its row was written, and has arrived in the lake."""
    DROPPED = auto()
    """It is left out for good, for a reason that somebody has given."""


class Place(NamedTuple):
    """Where a record is: what people name it by."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place behind ``topic:partition:offset``; raises ``ValueError`` with an example."""
        topic, _, numbers = text.partition(":")
        partition, _, offset = numbers.partition(":")
        if not (topic and _decimal(partition) and _decimal(offset)):
            raise ValueError(
                f"{text!r} is not of the form topic:partition:offset, such as flights.airline.flights:0:42"
            )
        return cls(topic, int(partition), int(offset))


def _decimal(text: str) -> bool:
    return text.isascii() and text.isdecimal()


@dataclass(frozen=True)
class Decision:
    """What was decided about a record: by whom, when (UTC), why, and the proof of what was done."""

    verdict: Verdict
    by: str
    at: datetime
    why: str = ""
    proof: str = ""


@dataclass(frozen=True)
class Quarantined:
    """A record that could not be carried.

    ``raw`` are the first bytes of its value and ``size`` is the length of all of it; ``None`` stands for
    Kafka's own null. ``letter`` is the offset of its dead letter. ``fingerprint`` stands for its key and
    value: a dead letter may be written more than once, but another record at the same place (a topic was
    deleted and created again) is another one. A dead letter without sound headers is ``malformed``: its own
    place in the dead-letter topic is its place. ``id`` counts the records in the order in which they became
    known.
    """

    place: Place
    reason: str
    key: bytes | None
    raw: bytes | None
    size: int
    recorded_at: datetime
    letter: int
    fingerprint: str
    malformed: bool = False
    id: int = 0
    decision: Decision | None = None

    @property
    def topic(self) -> str:
        """Topic in which the record is."""
        return self.place.topic

    @property
    def truncates(self) -> bool:
        """Whether it says that the table was emptied."""
        return self.reason == TRUNCATED


def fingerprint(key: bytes | None, value: bytes | None) -> str:
    """Return 32 hex digits that stand for a record's key and value."""
    digest = hashlib.sha256()
    for part in (key, value):
        digest.update(b"-" if part is None else len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]


def quarantined(dead_letter_topic: str, letter: Record) -> Quarantined:
    """Return what a dead letter tells; one whose headers are not sound tells what is wrong with them."""
    found, problems = _headers(letter.headers)
    place = Place(dead_letter_topic, 0, letter.offset)
    if not problems:
        place = Place(found["topic"], int(found["partition"]), int(found["offset"]))
    reason = found.get("reason", "")
    if problems:
        reason = f"malformed dead letter: {'; '.join(problems)}" + (f" (reason: {reason})" if reason else "")
    value = letter.value
    return Quarantined(
        place=place,
        reason=reason,
        key=letter.key,
        raw=None if value is None else value[:HEAD_BYTES],
        size=len(value or b""),
        recorded_at=datetime.fromtimestamp(letter.timestamp_ms / 1000, UTC),
        letter=letter.offset,
        fingerprint=fingerprint(letter.key, value),
        malformed=bool(problems),
    )


def _headers(headers: Iterable[tuple[str, bytes | None]]) -> tuple[dict[str, str], list[str]]:
    """Return the texts of the headers, and what is wrong with them."""
    found: dict[str, str] = {}
    problems: list[str] = []
    for name, value in headers:
        if name in HEADERS and value is not None:
            try:
                found[name] = value.decode("utf-8")
            except UnicodeDecodeError:
                problems.append(f"header {name} is not UTF-8: {shown(value)}")
    told = {problem.split(" ")[1] for problem in problems}
    problems += [f"header {name} is missing" for name in HEADERS if name not in found and name not in told]
    if "topic" in found and not found["topic"]:
        problems.append("header topic is empty")
    for name in ("partition", "offset"):
        text = found.get(name)
        # A signed 64-bit number has at most 19 digits.
        if text is not None and not (_decimal(text) and len(text) <= 18):
            problems.append(f"header {name} is no number: {shown(text.encode())}")
    return found, problems


def shown(value: bytes | None, limit: int = 60) -> str:
    """Return the first bytes of a value as one line of printable text, whatever they are.

    Nothing in it moves a terminal's cursor or turns the direction of writing: that is escaped.
    """
    if value is None:
        return "(none)"
    # Cut before it is decoded, and again after it: an escape takes more room than its byte.
    text = value[: 4 * limit].decode("utf-8", "backslashreplace")
    text = "".join(one if one.isprintable() else _escaped(one) for one in text)
    return text if len(text) <= limit and len(value) <= 4 * limit else f"{text[: limit - 3]}..."


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
