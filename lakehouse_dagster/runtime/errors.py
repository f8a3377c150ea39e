"""The one error of the runtime: what is wrong, and what to do about it."""

from __future__ import annotations


class RuntimeFailure(Exception):  # noqa: N818 - named after what the user sees
    """Something prevents the runtime from doing what was asked.

    ``problem`` says what is wrong, naming file, port or service; ``fix`` says what to do.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(f"{problem}\n  fix: {fix}" if fix else problem)
        self.problem = problem
        self.fix = fix
