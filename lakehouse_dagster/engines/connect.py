"""Kafka Connect over its REST interface."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lakehouse_dagster.engines.endpoints import ConnectEndpoint
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.http import HttpEngine


@dataclass(frozen=True)
class TaskStatus:
    """State of one task: RUNNING, FAILED, PAUSED, UNASSIGNED, RESTARTING; `trace` when it failed."""

    id: int
    state: str
    trace: str = ""


@dataclass(frozen=True)
class ConnectorStatus:
    """State of a connector and of its tasks.

    A RUNNING connector without a running task moves nothing, so ask `running`, never the connector alone.
    """

    name: str
    state: str
    tasks: tuple[TaskStatus, ...] = ()
    trace: str = ""

    @property
    def running(self) -> bool:
        """True when the connector and at least one task run and none of its tasks does otherwise."""
        return self.state == "RUNNING" and bool(self.tasks) and all(t.state == "RUNNING" for t in self.tasks)

    @property
    def failed(self) -> bool:
        """True when the connector or one of its tasks has failed and will not go on by itself."""
        return self.state == "FAILED" or any(task.state == "FAILED" for task in self.tasks)

    @property
    def error(self) -> str:
        """The root cause of a failure in one line, empty when there is none."""
        for trace in (self.trace, *(task.trace for task in self.tasks)):
            if trace:
                return root_cause(trace)
        return ""


class ConnectClient:
    """Kafka Connect's REST interface, with the traps of 4.3.1 built in."""

    engine = "connect"

    def __init__(self, endpoint: ConnectEndpoint, *, timeout: float = 10.0) -> None:
        self.url = endpoint.url
        self._http = HttpEngine(self.engine, endpoint.url, timeout=timeout)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def connectors(self) -> list[str]:
        """Names of the connectors the worker knows.

        A worker that is still reading its own topics answers 200 with an *empty* list, so an absent name
        is no proof that the connector does not exist; `put_config` is idempotent for that reason.
        """
        return sorted(self._http.json("GET", "/connectors") or [])

    def plugins(self) -> list[str]:
        """Class names of the connector plugins the worker has loaded."""
        return sorted(item["class"] for item in self._http.json("GET", "/connector-plugins"))

    def config(self, name: str) -> dict[str, str] | None:
        """The configuration stored for a connector, None when it is not known."""
        response = self._http.request("GET", f"/connectors/{quote(name)}/config", accept=(404,))
        return None if response.status_code == 404 else dict(response.json())

    def validate(self, config: Mapping[str, str]) -> list[str]:
        """Validation errors of a connector configuration, each as `field: message`; empty when it is good.

        The database connection is really tried by Debezium here, so this takes up to some seconds.
        """
        plugin = str(config.get("connector.class", "")).rpartition(".")[2]
        if not plugin:
            raise EngineError(self.engine, "the configuration names no connector.class")
        body = dict(config)
        body.setdefault("name", "validation")
        answer = self._http.json(
            "PUT", f"/connector-plugins/{quote(plugin)}/config/validate", json=body, timeout=60.0
        )
        problems = []
        for item in answer.get("configs", []):
            # Connect 4.3.1 leaves `value` null for one internal option of Debezium 3.6.1.
            value = item.get("value") or {}
            problems += [f"{value.get('name')}: {message}" for message in value.get("errors") or []]
        return problems

    def put_config(self, name: str, config: Mapping[str, str]) -> bool:
        """Create the connector or change its configuration; returns False when nothing had to be done.

        The configuration is validated first, because PUT hides validation errors behind a 500.
        Raises EngineError that lists every wrong field.
        """
        wanted = {**config, "name": name}
        if self.config(name) == wanted:
            return False
        problems = self.validate(wanted)
        if problems:
            raise EngineError(self.engine, f"connector {name} is refused: " + "; ".join(problems))
        self._http.request("PUT", f"/connectors/{quote(name)}/config", json=wanted, timeout=60.0)
        return True

    def status(self, name: str) -> ConnectorStatus | None:
        """State of a connector, None when the worker does not know it (yet)."""
        response = self._http.request("GET", f"/connectors/{quote(name)}/status", accept=(404,))
        if response.status_code == 404:
            return None
        body = response.json()
        tasks = tuple(
            TaskStatus(int(task["id"]), task["state"], task.get("trace", ""))
            for task in body.get("tasks", [])
        )
        connector = body["connector"]
        return ConnectorStatus(name, connector["state"], tasks, connector.get("trace", ""))

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """The stored source offsets: a list of {"partition": {...}, "offset": {...}}, empty before the first.

        They lag the topics by up to the worker's offset.flush.interval.ms.
        """
        response = self._http.request("GET", f"/connectors/{quote(name)}/offsets", accept=(404,))
        return [] if response.status_code == 404 else list(response.json().get("offsets", []))

    def patch_offsets(self, name: str, offsets: Sequence[Mapping[str, Any]]) -> None:
        """Replace the stored source offsets of the partitions given, in the form `offsets` returns.

        Connect allows it only while the connector is STOPPED and its tasks have ended; EngineError otherwise.
        """
        self._http.request(
            "PATCH", f"/connectors/{quote(name)}/offsets", json={"offsets": list(offsets)}, timeout=60.0
        )

    def delete_offsets(self, name: str) -> None:
        """Forget all stored source offsets: at its next start the connector begins anew, with a snapshot.

        Connect allows it only while the connector is STOPPED and its tasks have ended; EngineError otherwise.
        To forget what is forgotten already is no error.
        """
        self._http.request("DELETE", f"/connectors/{quote(name)}/offsets", timeout=60.0)

    def stop_and_wait(self, name: str, *, seconds: float = 60.0) -> None:
        """Stop a connector and wait until its tasks have ended and its last offsets are stored.

        EngineError when the connector is not known or does not stop in time.
        """
        self.stop(name)
        deadline = time.monotonic() + seconds
        while True:
            status = self.status(name)
            if status is not None and status.state == "STOPPED" and not status.tasks:
                return
            if time.monotonic() >= deadline:
                said = "is not known any more" if status is None else f"is still {status.state}"
                raise EngineError(
                    self.engine, f"connector {name} {said} {seconds:.0f} s after it was stopped"
                )
            time.sleep(0.2)

    def restart(self, name: str, *, only_failed: bool = False) -> None:
        """Restart a connector with its tasks (all of them, or only the failed ones)."""
        params = {"includeTasks": "true", "onlyFailed": str(only_failed).lower()}
        self._http.request("POST", f"/connectors/{quote(name)}/restart", params=params)

    def pause(self, name: str) -> None:
        """Pause a connector; its tasks keep their resources."""
        self._http.request("PUT", f"/connectors/{quote(name)}/pause")

    def resume(self, name: str) -> None:
        """Resume a paused or stopped connector."""
        self._http.request("PUT", f"/connectors/{quote(name)}/resume")

    def stop(self, name: str) -> None:
        """Stop a connector; its tasks are shut down, its configuration and offsets stay."""
        self._http.request("PUT", f"/connectors/{quote(name)}/stop")

    def delete(self, name: str) -> None:
        """Delete a connector; its offsets stay in the worker's topic. Unknown names are no error."""
        self._http.request("DELETE", f"/connectors/{quote(name)}", accept=(404,))


def stored_offset(offsets: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The offset of a connector with one source out of its `offsets`; empty when none is stored."""
    return (offsets[0].get("offset") or {}) if offsets else {}


def root_cause(trace: str) -> str:
    """The last `Caused by` of a Java stack trace (else its first line), in one line."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes[-1] if causes else lines[0] if lines else "")[:500]
