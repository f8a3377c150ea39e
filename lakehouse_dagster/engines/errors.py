"""The two ways an engine can fail a caller: it cannot be reached, or it answered and said no."""

from __future__ import annotations

#: Where an engine's name is not that of the services that `lakehouse up` takes.
_SERVICES = {
    "dagster": "dagster-webserver dagster-daemon",
    "flink": "flink-jobmanager flink-taskmanager",
    "paimon": "minio",
}


class EngineError(Exception):
    """An engine answered with an error, or with something that cannot be understood.

    `engine` is its service name (as in `lakehouse status`), the text carries the engine's own message.
    `status` is the HTTP status or the engine's own error number where there is one.
    """

    def __init__(self, engine: str, message: str, *, status: int | None = None) -> None:
        super().__init__(f"{engine}: {message}")
        self.engine = engine
        self.message = message
        self.status = status


class EngineUnavailable(EngineError):  # noqa: N818 - a state of the engine, not a mistake
    """An engine does not answer at its address.

    `fix` is one sentence a person can act on; by default the command that starts the engine.
    `cause` is the transport's own message (refused, timed out ...).
    """

    def __init__(self, engine: str, address: str, fix: str | None = None, *, cause: str = "") -> None:
        self.address = address
        self.fix = fix or f"run `lakehouse up {_SERVICES.get(engine, engine)}` (and see `lakehouse status`)"
        reason = f" ({cause})" if cause else ""
        super().__init__(engine, f"no answer at {address}{reason}; {self.fix}")


class ConflictError(EngineError):
    """Somebody else changed the same thing first (HTTP 409); read again and decide again."""
