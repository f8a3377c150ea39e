"""What a mart may promise of its rows: the checks that are declared in the header of its file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

KEY_CHECK: Final = "key"
PARTITION_CHECK: Final = "partition"
"""Names of the checks that follow from ``key`` and ``partition``."""

Text = Annotated[str, StringConstraints(strip_whitespace=True)]
Severity = Literal["error", "warn"]
Scalar = StrictInt | StrictFloat | StrictStr | datetime | date
"""A value as YAML knows it. Text is text: a date is written without quotes."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rows(_Model):
    """Bounds of the number of rows, both inclusive."""

    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        _bounds(self.min, self.max)
        return self


class Range(_Model):
    """Bounds of a column's values, both inclusive; NULL is not judged."""

    column: str
    min: Scalar | None = None
    max: Scalar | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if type(self.min) is type(self.max) or _number(self.min, self.max):
            _bounds(self.min, self.max)
        elif self.min is not None and self.max is not None:
            raise PydanticCustomError("bounds", "min and max are of different types")
        return self


class Accepted(_Model):
    """The only values that a column may have; NULL is not judged."""

    column: str
    values: tuple[Scalar, ...] = Field(min_length=1)


class MartCheck(_Model):
    """One promise, of exactly one kind.

    A failed check of severity ``error`` keeps the refreshed mart from being published; one of severity
    ``warn`` is reported.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")] | None = Field(
        default=None,
        description="Name of the check in Dagster; no_rows needs one, the others have their own.",
    )
    severity: Severity = "error"
    description: Text = ""
    not_null: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Columns that are never NULL."
    )
    unique: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Columns in which no two rows agree (NULL is not judged)."
    )
    rows: Rows | None = None
    range: Range | None = None
    accepted: Accepted | None = None
    no_rows: str | None = Field(
        default=None,
        min_length=1,
        description="A SELECT over mart and lake.<table> that must return no rows.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "one_kind",
                "is of {number} kinds at once" if given else "says nothing",
                {"number": len(given)},
            )
        if self.no_rows is not None and self.name is None:
            raise PydanticCustomError("unnamed", "has no name")
        return self

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """The output columns that it names, each with its path below the check."""
        if self.range is not None:
            return (("range.column", self.range.column),)
        if self.accepted is not None:
            return (("accepted.column", self.accepted.column),)
        listed = self.not_null if self.not_null is not None else self.unique or ()
        return tuple((f"{self.kind}[{number}]", name) for number, name in enumerate(listed))

    @property
    def called(self) -> str:
        """Its name in Dagster: the one given, or what it checks."""
        if self.name is not None:
            return self.name
        if self.rows is not None:
            return "row_count"
        return _joined(self.kind, [column for _, column in self.columns])


KINDS: Final = ("not_null", "unique", "rows", "range", "accepted", "no_rows")


def _joined(kind: str, columns: Sequence[str]) -> str:
    return re.sub(r"[^a-z0-9]+", "_", "_".join((kind, *columns)).lower()).strip("_")[:60]


def _number(*values: object) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _bounds(least: Scalar | None, most: Scalar | None) -> None:
    if least is None and most is None:
        raise PydanticCustomError("bounds", "has neither min nor max")
    if least is not None and most is not None and least > most:  # type: ignore[operator]
        raise PydanticCustomError("bounds", "min is greater than max")
