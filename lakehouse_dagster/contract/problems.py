"""What pydantic finds wrong with a contract, as an error that names file, field and fix."""

from __future__ import annotations

from pydantic_core import ErrorDetails

from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.mart_checks import KINDS
from lakehouse_dagster.contract.model import MARTS_MOVED, MARTS_MOVED_FIX, MARTS_MOVED_PROBLEM
from lakehouse_dagster.contract.yaml_lines import field_path


def pydantic_problem(detail: ErrorDetails, file: str, what: str) -> ContractError:
    """What one of pydantic's findings means to whoever wrote ``what`` ("a pipeline") into ``file``."""
    path = field_path(
        [part for part in detail["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    )
    value = detail.get("input")
    if isinstance(value, str) and "{{" in value:
        return ContractError(
            file,
            path,
            f"{value!r} is a template",
            "write the value itself: a contract is read by more than Dagster",
        )
    match detail["type"]:
        case _ if detail["type"] == MARTS_MOVED:
            return ContractError(file, "marts", MARTS_MOVED_PROBLEM, MARTS_MOVED_FIX)
        case "one_kind":
            return ContractError(file, path, detail["msg"], f"write one of {', '.join(KINDS)} per check")
        case "unnamed":
            return ContractError(file, path, detail["msg"], "give a no_rows check a name")
        case "missing":
            return ContractError(file, path, "is missing", "add it")
        case "extra_forbidden":
            return ContractError(file, path, f"is not a field of {what}", "remove it or correct its spelling")
        case "string_pattern_mismatch":
            return ContractError(file, path, f"{value!r} is not allowed", _pattern_fix(path))
        case _:
            return ContractError(file, path, detail["msg"], "correct the value")


def _pattern_fix(path: str) -> str:
    if path.endswith("owner"):
        return "write team:name or an e-mail address"
    if path == "source.database":
        return "use a database whose name has only letters, digits, _ and - (topics cannot name others)"
    return "use a lower-case letter followed by up to 47 lower-case letters, digits or underscores"
