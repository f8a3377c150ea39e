"""Dagster's GraphQL interface, used as its UI uses it: runs, assets, sensors, code locations."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lakehouse_dagster.engines.endpoints import DagsterEndpoint
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.http import HttpEngine

#: Name of the hidden job behind "Materialize selected" in the UI.
ASSET_JOB = "__ASSET_JOB"
REPOSITORY = "__repository__"
LOCATION = "lakehouse_dagster"
ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

AssetKey = tuple[str, ...]


@dataclass(frozen=True)
class RunStatus:
    """A run: times in seconds since the epoch, None while they have not come."""

    id: str
    job: str
    status: str
    start: float | None = None
    end: float | None = None

    @property
    def ended(self) -> bool:
        """True when nothing will change any more."""
        return self.status in ENDED


@dataclass(frozen=True)
class Materialization:
    """One materialization (or observation) event; `timestamp` in seconds since the epoch."""

    asset: AssetKey
    timestamp: float
    run_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AssetInfo:
    """An asset of the loaded definitions."""

    key: AssetKey
    group: str
    kinds: tuple[str, ...]
    description: str
    dependencies: tuple[AssetKey, ...]
    executable: bool
    owners: tuple[str, ...] = ()


_METADATA = """
metadataEntries { __typename label
  ... on IntMetadataEntry { intRepr } ... on FloatMetadataEntry { floatRepr }
  ... on TextMetadataEntry { text } ... on BoolMetadataEntry { boolValue }
  ... on JsonMetadataEntry { jsonString } ... on UrlMetadataEntry { url }
  ... on PathMetadataEntry { path } ... on MarkdownMetadataEntry { mdStr }
  ... on TimestampMetadataEntry { timestamp }
  ... on AssetMetadataEntry { assetKey { path } }
  ... on TableSchemaMetadataEntry { schema { columns { name type description } } }
  ... on TableMetadataEntry { table { records } }
}
"""
_PYTHON_ERROR = "... on PythonError { message stack }"
#: Errors of a union all have a message; the first line of the message is what people need.
_ERROR = "... on Error { message }"


class DagsterApi:
    """A Dagster webserver's GraphQL interface.

    `location` and `repository` name the code location whose jobs, assets and sensors are meant.
    """

    engine = "dagster"

    def __init__(
        self,
        endpoint: DagsterEndpoint,
        *,
        location: str = LOCATION,
        repository: str = REPOSITORY,
        timeout: float = 30.0,
    ) -> None:
        self.url = endpoint.url
        self.location = location
        self.repository = repository
        self._http = HttpEngine(self.engine, endpoint.url, timeout=timeout)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run a query and return its `data`; EngineError when the server reports errors."""
        body = self._http.json("POST", "/graphql", json={"query": query, "variables": dict(variables or {})})
        if body.get("errors"):
            raise EngineError(self.engine, "; ".join(str(e.get("message")) for e in body["errors"])[:2000])
        return dict(body["data"])

    def version(self) -> str:
        """The webserver's version."""
        return str(self.graphql("{ version }")["version"])

    # --- code location -------------------------------------------------------------------------------

    def location_error(self) -> str | None:
        """Why the code location could not be loaded; None when it is loaded.

        EngineError when the workspace does not know the location at all.
        """
        query = """query($name: String!) { workspaceLocationEntryOrError(name: $name) { __typename
          ... on WorkspaceLocationEntry { loadStatus locationOrLoadError { __typename
            ... on PythonError { message } } } ... on PythonError { message } } }"""
        entry = self.graphql(query, {"name": self.location})["workspaceLocationEntryOrError"]
        if entry is None:
            raise EngineError(self.engine, f"the workspace has no code location {self.location}")
        if entry["__typename"] != "WorkspaceLocationEntry":
            return str(entry.get("message"))
        loaded = entry["locationOrLoadError"]
        if loaded is None:
            return f"load status {entry['loadStatus']}"
        return None if loaded["__typename"] == "RepositoryLocation" else str(loaded.get("message"))

    def reload_location(self) -> None:
        """Load the code location anew; EngineError with the reason when that fails."""
        query = f"""mutation($name: String!) {{ reloadRepositoryLocation(repositoryLocationName: $name) {{
          __typename ... on WorkspaceLocationEntry {{ locationOrLoadError {{ __typename {_PYTHON_ERROR} }} }}
          {_ERROR} }} }}"""
        result = self.graphql(query, {"name": self.location})["reloadRepositoryLocation"]
        loaded = result.get("locationOrLoadError") or {}
        message = result.get("message") or loaded.get("message")
        if message:
            raise EngineError(self.engine, f"the code location {self.location} does not load: {message}")

    # --- runs ----------------------------------------------------------------------------------------

    def launch_job(
        self,
        job: str,
        *,
        run_config: Mapping[str, Any] | None = None,
        assets: Iterable[AssetKey] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Launch a run of a job and return its id. `assets` restricts an asset job to those keys."""
        selector: dict[str, Any] = {
            "repositoryLocationName": self.location,
            "repositoryName": self.repository,
            "jobName": job,
        }
        if assets is not None:
            selector["assetSelection"] = [{"path": list(key)} for key in assets]
        params = {
            "selector": selector,
            "runConfigData": dict(run_config or {}),
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in (tags or {}).items()]},
        }
        query = f"""mutation($params: ExecutionParams!) {{ launchRun(executionParams: $params) {{ __typename
          ... on LaunchRunSuccess {{ run {{ runId }} }}
          ... on RunConfigValidationInvalid {{ errors {{ message }} }} {_ERROR} }} }}"""
        result = self.graphql(query, {"params": params})["launchRun"]
        if result["__typename"] != "LaunchRunSuccess":
            message = result.get("message") or "; ".join(e["message"] for e in result.get("errors", []))
            raise EngineError(self.engine, f"job {job} was not launched: {result['__typename']}: {message}")
        return str(result["run"]["runId"])

    def materialize(
        self,
        assets: Sequence[AssetKey],
        *,
        run_config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Launch a run that materializes the given assets, as the UI's button does; returns its id."""
        return self.launch_job(ASSET_JOB, run_config=run_config, assets=assets, tags=tags)

    def run(self, run_id: str) -> RunStatus:
        """State of a run; EngineError when it is not known."""
        query = f"""query($id: ID!) {{ runOrError(runId: $id) {{ __typename
          ... on Run {{ runId jobName status startTime endTime }} {_ERROR} }} }}"""
        result = self.graphql(query, {"id": run_id})["runOrError"]
        if result["__typename"] != "Run":
            raise EngineError(self.engine, str(result.get("message")))
        return RunStatus(
            result["runId"], result["jobName"], result["status"], result["startTime"], result["endTime"]
        )

    def wait_run(self, run_id: str, *, timeout: float = 300.0, poll: float = 0.5) -> RunStatus:
        """Wait for the end of a run. EngineError after `timeout` seconds (the run goes on)."""
        deadline = time.monotonic() + timeout
        while True:
            status = self.run(run_id)
            if status.ended:
                return status
            if time.monotonic() > deadline:
                raise EngineError(self.engine, f"run {run_id} is still {status.status} after {timeout:.0f} s")
            time.sleep(poll)

    def require_success(self, run_id: str, *, timeout: float = 300.0) -> RunStatus:
        """Like `wait_run`, and EngineError with the failed steps' messages unless it succeeded."""
        status = self.wait_run(run_id, timeout=timeout)
        if status.status != "SUCCESS":
            errors = " | ".join(self.run_errors(run_id)) or "see its log in the UI"
            raise EngineError(self.engine, f"run {run_id} of {status.job} ended {status.status}: {errors}")
        return status

    def run_errors(self, run_id: str) -> list[str]:
        """Messages of the failures in a run's log, root causes first."""
        query = """query($id: ID!, $after: String) {
          logsForRun(runId: $id, afterCursor: $after, limit: 1000) {
          ... on EventConnection { cursor hasMore events { __typename
            ... on ExecutionStepFailureEvent { stepKey error { message errorChain { error { message } } } }
            ... on RunFailureEvent { message error { message } } } } } }"""
        messages: list[str] = []
        after: str | None = None
        while True:
            page = self.graphql(query, {"id": run_id, "after": after})["logsForRun"]
            for event in page.get("events", []):
                error = event.get("error") or {}
                for link in error.get("errorChain") or []:
                    messages.append(link["error"]["message"].strip())
                if error.get("message"):
                    messages.append(f"{event.get('stepKey', 'run')}: {error['message'].strip()}")
            if not page.get("hasMore"):
                return messages
            after = page["cursor"]

    def terminate(self, run_id: str) -> None:
        """Ask a run to stop."""
        query = f"""mutation($id: String!) {{ terminateRun(runId: $id) {{ __typename {_ERROR} }} }}"""
        result = self.graphql(query, {"id": run_id})["terminateRun"]
        if result["__typename"] != "TerminateRunSuccess":
            raise EngineError(self.engine, str(result.get("message")))

    def runs(self, *, limit: int = 25, job: str | None = None) -> list[RunStatus]:
        """The newest runs, newest first."""
        query = """query($limit: Int!, $filter: RunsFilter) { runsOrError(limit: $limit, filter: $filter) {
          ... on Runs { results { runId jobName status startTime endTime } } } }"""
        chosen = {"pipelineName": job} if job else None
        found = self.graphql(query, {"limit": limit, "filter": chosen})["runsOrError"]
        return [
            RunStatus(r["runId"], r["jobName"], r["status"], r["startTime"], r["endTime"])
            for r in found.get("results", [])
        ]

    # --- assets --------------------------------------------------------------------------------------

    def assets(self) -> list[AssetInfo]:
        """All assets of the loaded definitions, by key."""
        query = """{ assetNodes { assetKey { path } groupName kinds description isExecutable
          dependencyKeys { path } owners { __typename ... on TeamAssetOwner { team }
          ... on UserAssetOwner { email } } } }"""
        found = [
            AssetInfo(
                key=tuple(node["assetKey"]["path"]),
                group=node["groupName"],
                kinds=tuple(node["kinds"]),
                description=node["description"] or "",
                dependencies=tuple(tuple(key["path"]) for key in node["dependencyKeys"]),
                executable=node["isExecutable"],
                owners=tuple(f"team:{o['team']}" if "team" in o else o["email"] for o in node["owners"]),
            )
            for node in self.graphql(query)["assetNodes"]
        ]
        return sorted(found, key=lambda asset: asset.key)

    def materializations(self, asset: AssetKey, *, limit: int = 1) -> list[Materialization]:
        """The newest materializations of an asset with their metadata, newest first."""
        return self._events(asset, "assetMaterializations", limit)

    def observations(self, asset: AssetKey, *, limit: int = 1) -> list[Materialization]:
        """The newest observations of an asset with their metadata, newest first."""
        return self._events(asset, "assetObservations", limit)

    def latest_materialization(self, asset: AssetKey) -> Materialization | None:
        """The newest materialization of an asset, None when there was none."""
        return next(iter(self.materializations(asset)), None)

    def _events(self, asset: AssetKey, kind: str, limit: int) -> list[Materialization]:
        query = f"""query($key: AssetKeyInput!, $limit: Int!) {{ assetOrError(assetKey: $key) {{ __typename
          ... on Asset {{ {kind}(limit: $limit) {{ timestamp runId {_METADATA} }} }} }} }}"""
        result = self.graphql(query, {"key": {"path": list(asset)}, "limit": limit})["assetOrError"]
        return [
            Materialization(
                asset=asset,
                timestamp=float(event["timestamp"]) / 1000,
                run_id=event["runId"],
                metadata={entry["label"]: _metadata(entry) for entry in event["metadataEntries"]},
            )
            for event in result.get(kind, [])
        ]

    # --- sensors -------------------------------------------------------------------------------------

    def sensor_running(self, name: str) -> bool:
        """Whether a sensor is switched on. EngineError when there is no such sensor."""
        return str(self._sensor(name)["sensorState"]["status"]) == "RUNNING"

    def sensor_errors(self, name: str, *, limit: int = 10) -> list[str]:
        """Error messages of the sensor's newest ticks."""
        ticks = self._sensor(name, f"ticks(limit: {limit}) {{ status error {{ message }} }}")["sensorState"][
            "ticks"
        ]
        return [tick["error"]["message"] for tick in ticks if tick.get("error")]

    def sensor_ticks(self, name: str, *, limit: int = 10) -> list[dict[str, Any]]:
        """The sensor's newest ticks: status, timestamp (seconds), skipReason, cursor."""
        fields = f"ticks(limit: {limit}) {{ status timestamp skipReason cursor }}"
        return list(self._sensor(name, fields)["sensorState"]["ticks"])

    def start_sensor(self, name: str) -> None:
        """Switch a sensor on."""
        query = f"""mutation($s: SensorSelector!) {{
          startSensor(sensorSelector: $s) {{ __typename {_ERROR} }} }}"""
        self._expect(self.graphql(query, {"s": self._selector(name)})["startSensor"], "Sensor")

    def stop_sensor(self, name: str) -> None:
        """Switch a sensor off."""
        query = f"""mutation($id: String!) {{ stopSensor(id: $id) {{ __typename {_ERROR} }} }}"""
        result = self.graphql(query, {"id": self._sensor(name)["id"]})["stopSensor"]
        self._expect(result, "StopSensorMutationResult")

    def _sensor(self, name: str, fields: str = "") -> dict[str, Any]:
        query = f"""query($s: SensorSelector!) {{ sensorOrError(sensorSelector: $s) {{ __typename
          ... on Sensor {{ id name sensorState {{ status {fields} }} }} {_ERROR} }} }}"""
        result = self.graphql(query, {"s": self._selector(name)})["sensorOrError"]
        self._expect(result, "Sensor")
        return dict(result)

    def _selector(self, name: str) -> dict[str, str]:
        return {
            "repositoryLocationName": self.location,
            "repositoryName": self.repository,
            "sensorName": name,
        }

    def _expect(self, result: Mapping[str, Any], kind: str) -> None:
        if result["__typename"] != kind:
            raise EngineError(self.engine, f"{result['__typename']}: {result.get('message', '')}")


def _metadata(entry: Mapping[str, Any]) -> Any:
    """A metadata entry's plain value."""
    match entry["__typename"]:
        case "IntMetadataEntry":
            return int(entry["intRepr"])
        case "FloatMetadataEntry":
            return float(entry["floatRepr"])
        case "JsonMetadataEntry":
            return json.loads(entry["jsonString"])
        case "AssetMetadataEntry":
            return tuple(entry["assetKey"]["path"])
        case "TableSchemaMetadataEntry":
            return entry["schema"]["columns"]
        case "TableMetadataEntry":
            return [json.loads(record) for record in entry["table"]["records"]]
    for name in ("text", "boolValue", "url", "path", "mdStr", "timestamp"):
        if name in entry:
            return entry[name]
    return None
