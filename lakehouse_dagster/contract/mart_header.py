"""The header of a mart's file: what the mart says of itself, as YAML in the file's first comment.

    -- mart:
    --   description: Revenue per day.
    --   refresh: "*/5 * * * *"
    --   key: [day]
    SELECT ...

Line comments, because a cron expression may hold the end of a block comment. Lines of the header are lines of
the file, which is how errors name them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml
from pydantic import ValidationError

from lakehouse_dagster.contract.errors import ContractError, ContractErrors
from lakehouse_dagster.contract.model import IDENTIFIER_PATTERN, Mart
from lakehouse_dagster.contract.problems import pydantic_problem
from lakehouse_dagster.contract.yaml_lines import line_of

ROOT: Final = "mart"

_COMMENT: Final = re.compile(r"\s*--(.*)")
_BEGIN: Final = re.compile(r"\s*mart:\s*(#.*)?", re.IGNORECASE)
_FIELD: Final = re.compile(
    rf"\s*({'|'.join(name for name in Mart.model_fields if name != 'name')})\s*:(\s|$)"
)


def read_header(name: str, sql: str, file: str) -> Mart:
    """What a mart's file says of the mart; the defaults of all fields where it has no header.

    Args:
        name: The file's name without suffix, which is the mart's.
        sql: The file's text.
        file: How to name the file in errors.

    Raises:
        ContractErrors: The header is not YAML, has unknown or wrong fields, or stands where it is not read.
    """
    if not re.fullmatch(IDENTIFIER_PATTERN, name):
        raise ContractErrors(
            [
                ContractError(
                    file,
                    "",
                    f"{name!r} cannot be the name of a mart",
                    "rename the file: a lower-case letter followed by up to 47 lower-case letters, digits or "
                    "underscores, then .sql",
                )
            ]
        )
    lines = _header_lines(sql.splitlines(), file)
    attributes = _attributes(lines, file)
    if "name" in attributes:
        problem = ContractError(file, "name", "a mart's name is that of its file", "remove name")
        raise ContractErrors(list(with_header_lines([problem], sql)))
    try:
        return Mart.model_validate({"name": name, **attributes})
    except ValidationError as error:
        problems = [pydantic_problem(detail, file, "a mart's header") for detail in error.errors()]
        raise ContractErrors(list(with_header_lines(problems, sql))) from error


def with_header_lines(problems: Iterable[ContractError], sql: str) -> Iterator[ContractError]:
    """The problems of a mart's file, each with the line of its field in the header where none is known."""
    text = _yaml(sql.splitlines())
    for problem in problems:
        if problem.line is None and problem.field:
            problem.line = line_of(text, f"{ROOT}.{problem.field}")
        yield problem


def body(sql: str) -> str:
    """The file's text below its header."""
    lines = sql.splitlines()
    span = _span(lines)
    return "\n".join(lines if span is None else lines[: span[0]] + lines[span[1] :]).strip()


def _span(lines: list[str]) -> tuple[int, int] | None:
    """First line and the one after the last of the header, counted from 0."""
    for start, line in enumerate(lines):
        comment = _COMMENT.fullmatch(line)
        if comment is None and line.strip():
            return None
        if comment is not None and _BEGIN.fullmatch(comment[1]):
            end = start
            while end < len(lines) and _COMMENT.fullmatch(lines[end]):
                end += 1
            return start, end
    return None


def _header_lines(lines: list[str], file: str) -> list[str]:
    """The file's lines as far as they are the header, the others empty; refuses one that would be missed."""
    span = _span(lines)
    for number, line in enumerate(lines, start=1):
        if span is not None and number <= span[1]:
            continue
        comment = _COMMENT.fullmatch(line)
        if comment is None:
            if line.strip() and span is not None:
                break
            continue
        if _BEGIN.fullmatch(comment[1]):
            raise _error(file, "the header stands below the SQL", "move it to the top of the file", number)
        if span is None and _FIELD.match(comment[1]):
            raise _error(
                file,
                f"the comment `{line.strip()}` looks like a header but is none",
                "put the line `-- mart:` before the mart's fields, at the top of the file",
                number,
            )
    return _yaml(lines).split("\n")


def _yaml(lines: list[str]) -> str:
    span = _span(lines) or (0, 0)
    return "\n".join(
        (comment[1] if span[0] <= number < span[1] and (comment := _COMMENT.fullmatch(line)) else "")
        for number, line in enumerate(lines)
    )


def _attributes(lines: list[str], file: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load("\n".join(lines))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _error(
            file,
            f"the header is not YAML: {getattr(error, 'problem', None) or error}",
            "correct it; the fields are indented below `-- mart:`",
            mark.line + 1 if mark else None,
        ) from error
    if document is None:
        return {}
    if set(document) != {ROOT}:
        beside = ", ".join(str(key) for key in document if key != ROOT)
        raise _error(
            file,
            f"the header has {beside} beside {ROOT}",
            "indent the fields below `-- mart:`",
            line_of("\n".join(lines), beside.split(",")[0]),
        )
    fields = document[ROOT]
    if not isinstance(fields, dict):
        raise _error(
            file,
            "the header has no fields",
            "write them indented below `-- mart:`, such as `--   description: ...`, or remove it",
            line_of("\n".join(lines), ROOT),
        )
    return {str(key): value for key, value in fields.items()}


def _error(file: str, problem: str, fix: str, line: int | None) -> ContractErrors:
    return ContractErrors([ContractError(file, "", problem, fix, line)])
