"""Errors of a pipeline's contract.

Every problem names the file, the field (a path such as ``views[1].columns[3]``), what is wrong and how to
mend it. All problems found in one contract are reported together, so that one run of ``lakehouse check`` or
``dg check defs`` shows everything that has to be mended.
"""

from __future__ import annotations

from collections.abc import Sequence


class ContractError(ValueError):
    """One thing that is wrong with a contract.

    Attributes:
        file: The file to edit, as given by the caller (usually relative to the project).
        field: Path of the field inside the file, ``""`` when the whole file is meant.
        problem: What is wrong, without a full stop.
        fix: What to do about it, without a full stop.
        line: 1-based line in ``file`` when it is known.
    """

    def __init__(self, file: str, field: str, problem: str, fix: str, line: int | None = None) -> None:
        super().__init__(file, field, problem, fix, line)
        self.file = file
        self.field = field
        self.problem = problem
        self.fix = fix
        self.line = line

    @property
    def problems(self) -> tuple[ContractError, ...]:
        """All problems this error stands for (itself, unless it is a :class:`ContractErrors`)."""
        return (self,)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        field = f" {self.field}:" if self.field else ""
        return f"{place}:{field} {self.problem}. Fix: {self.fix}."


class ContractErrors(ContractError):  # noqa: N818 - several ContractError at once
    """Several problems at once; its own file, field, problem and fix are those of the first."""

    def __init__(self, problems: Sequence[ContractError]) -> None:
        if not problems:
            raise ValueError("ContractErrors needs at least one problem")
        first = problems[0]
        super().__init__(first.file, first.field, first.problem, first.fix, first.line)
        self._problems = tuple(problems)

    @property
    def problems(self) -> tuple[ContractError, ...]:
        """All problems found, in the order of the file."""
        return self._problems

    def __str__(self) -> str:
        if len(self._problems) == 1:
            return str(self._problems[0])
        lines = "\n".join(f"  - {problem}" for problem in self._problems)
        return f"{len(self._problems)} problems in the contract:\n{lines}"


class PositionOverflow(ValueError):  # noqa: N818 - the name says what happened, as OverflowError does
    """A part of a source position does not fit its bits; see :mod:`lakehouse_dagster.contract.position`."""
