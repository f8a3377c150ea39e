"""Nessie over its REST API v2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from lakehouse_dagster.engines.endpoints import NessieEndpoint
from lakehouse_dagster.engines.errors import ConflictError
from lakehouse_dagster.engines.http import HttpEngine

Key = tuple[str, ...]


@dataclass(frozen=True)
class Reference:
    """A branch or tag and the commit it points at."""

    name: str
    hash: str
    type: str = "BRANCH"

    @property
    def pinned(self) -> str:
        """`name@hash`, the form the API takes as a reference with an expected hash."""
        return f"{self.name}@{self.hash}"


@dataclass(frozen=True)
class IcebergTable:
    """An Iceberg table as Nessie holds it. `id` is Nessie's content id: None only before the first PUT."""

    metadata_location: str
    snapshot_id: int
    schema_id: int
    spec_id: int = 0
    sort_order_id: int = 0
    id: str | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> IcebergTable:
        """From Nessie's own JSON of an ICEBERG_TABLE."""
        return cls(
            metadata_location=content["metadataLocation"],
            snapshot_id=content["snapshotId"],
            schema_id=content["schemaId"],
            spec_id=content["specId"],
            sort_order_id=content["sortOrderId"],
            id=content["id"],
        )

    def to_json(self) -> dict[str, Any]:
        """Content of a PUT operation."""
        body: dict[str, Any] = {
            "type": "ICEBERG_TABLE",
            "metadataLocation": self.metadata_location,
            "snapshotId": self.snapshot_id,
            "schemaId": self.schema_id,
            "specId": self.spec_id,
            "sortOrderId": self.sort_order_id,
        }
        if self.id is not None:
            body["id"] = self.id
        return body


@dataclass(frozen=True)
class PutTable:
    """Operation: set the table at `key`. An existing key needs the content id it already has."""

    key: Key
    table: IcebergTable

    def to_json(self) -> dict[str, Any]:
        """The operation as the API takes it."""
        return {"type": "PUT", "key": {"elements": list(self.key)}, "content": self.table.to_json()}


@dataclass(frozen=True)
class PutNamespace:
    """Operation: create a namespace; tables cannot be put below one that does not exist."""

    key: Key

    def to_json(self) -> dict[str, Any]:
        """The operation as the API takes it."""
        content = {
            "type": "NAMESPACE",
            "elements": list(self.key),
            "properties": {},
        }
        return {"type": "PUT", "key": {"elements": list(self.key)}, "content": content}


@dataclass(frozen=True)
class Delete:
    """Operation: remove the content at `key`."""

    key: Key

    def to_json(self) -> dict[str, Any]:
        """The operation as the API takes it."""
        return {"type": "DELETE", "key": {"elements": list(self.key)}}


Operation = PutTable | PutNamespace | Delete


@dataclass(frozen=True)
class Difference:
    """One key that differs between two commits, with Nessie's JSON of the content in each (None: absent)."""

    key: Key
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True)
class Merge:
    """What a merge did or, as a dry run, would do. ``conflicts`` are keys that both sides have changed."""

    done: bool
    hash: str | None
    conflicts: tuple[Key, ...] = ()


@dataclass(frozen=True)
class LogEntry:
    """One commit of a reference's history. `commit_time` is ISO-8601 in UTC."""

    hash: str
    message: str
    author: str
    commit_time: str
    properties: Mapping[str, str] = field(default_factory=dict)


class NessieClient:
    """Nessie's API v2: references, contents, commits. The root address is the server's, without `/api/v2`."""

    engine = "nessie"

    def __init__(self, endpoint: NessieEndpoint, *, timeout: float = 10.0) -> None:
        self.url = endpoint.url
        self._http = HttpEngine(self.engine, f"{endpoint.url.rstrip('/')}/api/v2", timeout=timeout)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def get_reference(self, name: str = "main") -> Reference:
        """The branch or tag and its current hash. EngineError with status 404 when it does not exist."""
        body = self._http.json("GET", f"/trees/{quote(name, safe='')}")["reference"]
        return Reference(body["name"], body["hash"], body["type"])

    def references(self) -> list[Reference]:
        """All branches and tags (first 1000)."""
        body = self._http.json("GET", "/trees", params={"max-records": 1000})
        return [Reference(r["name"], r["hash"], r["type"]) for r in body["references"]]

    def create_reference(self, name: str, source: Reference, *, type: str = "BRANCH") -> Reference:
        """Create a branch (or a tag, `type="TAG"`) at the commit `source` points at."""
        body = {"type": source.type, "name": source.name, "hash": source.hash}
        answer = self._http.json("POST", "/trees", params={"name": name, "type": type}, json=body)
        ref = answer["reference"]
        return Reference(ref["name"], ref["hash"], ref["type"])

    def delete_reference(self, reference: Reference) -> None:
        """Delete a branch or tag if it still points at the given commit (ConflictError otherwise)."""
        self._http.request("DELETE", f"/trees/{quote(reference.pinned, safe='@')}")

    def get_contents(self, keys: Iterable[Key], reference: Reference) -> dict[Key, dict[str, Any]]:
        """The contents at those keys as of the given commit; absent keys are absent in the answer.

        One request. Each content is Nessie's own JSON (`type`, `id`, `metadataLocation` ...).
        """
        wanted = [{"elements": list(key)} for key in keys]
        if not wanted:
            return {}
        path = f"/trees/{quote(reference.pinned, safe='@')}/contents"
        body = self._http.json("POST", path, json={"requestedKeys": wanted})
        return {tuple(item["key"]["elements"]): item["content"] for item in body["contents"]}

    def get_tables(self, keys: Iterable[Key], reference: Reference) -> dict[Key, IcebergTable]:
        """Like `get_contents`, only the Iceberg tables among them."""
        return {
            key: IcebergTable.from_json(content)
            for key, content in self.get_contents(keys, reference).items()
            if content["type"] == "ICEBERG_TABLE"
        }

    def commit(
        self,
        operations: Sequence[Operation],
        message: str,
        *,
        reference: Reference,
        properties: Mapping[str, str] | None = None,
        author: str = "lakehouse",
    ) -> Reference:
        """Commit all operations at once; returns the branch at its new hash.

        `reference` carries the expected hash: the commit is refused with ConflictError only if one of
        the *touched keys* changed since (other keys may have moved), so it is a compare-and-set per key.
        A location that does not exist is accepted: check the object before.
        """
        body = {
            "commitMeta": {
                "message": message,
                "authors": [author],
                "allProperties": {name: [value] for name, value in (properties or {}).items()},
            },
            "operations": [operation.to_json() for operation in operations],
        }
        path = f"/trees/{quote(reference.pinned, safe='@')}/history/commit"
        target = self._http.json("POST", path, json=body)["targetBranch"]
        return Reference(target["name"], target["hash"], target["type"])

    def assign(self, reference: Reference, to: Reference) -> Reference:
        """Let a branch or tag point at another commit; ConflictError when it has moved from the given one."""
        body = {"type": to.type, "name": to.name, "hash": to.hash}
        path = f"/trees/{quote(reference.pinned, safe='@')}"
        answer = self._http.json("PUT", path, json=body)["reference"]
        return Reference(answer["name"], answer["hash"], answer["type"])

    def merge(
        self,
        source: Reference,
        into: Reference,
        message: str,
        *,
        dry_run: bool = False,
        properties: Mapping[str, str] | None = None,
        leave_out: Iterable[Key] = (),
    ) -> Merge:
        """Merge the commits of one reference into a branch as one commit, all keys but ``leave_out``.

        Only tables that one side alone has changed since both were the same are merged; where both have, the
        answer names them and nothing is done. ``into`` may have moved meanwhile where no key conflicts.
        """
        body: dict[str, Any] = {
            "fromRefName": source.name,
            "fromHash": source.hash,
            "message": message,
            "isReturnConflictAsResult": True,
            "isDryRun": dry_run,
        }
        path = f"/trees/{quote(into.pinned, safe='@')}/history/merge"
        if unwanted := set(leave_out):
            # Nessie refuses to leave out what the commits do not touch: a dry run tells what they do.
            touched = self._http.json("POST", path, json={**body, "isDryRun": True}).get("details") or []
            keys = [detail["key"] for detail in touched if tuple(detail["key"]["elements"]) in unwanted]
            body["keyMergeModes"] = [{"key": key, "mergeBehavior": "DROP"} for key in keys]
        if properties:
            body["commitMeta"] = {
                "message": message,
                "allProperties": {name: [value] for name, value in properties.items()},
            }
        answer = self._http.json("POST", path, json=body)
        conflicts = tuple(
            tuple(detail["key"]["elements"])
            for detail in answer.get("details") or []
            if detail.get("conflict") is not None
        )
        # The same commits merged again are successful without being applied.
        done = bool(answer.get("wasSuccessful")) and not conflicts
        return Merge(done, answer.get("resultantTargetHash"), conflicts)

    def diff(self, before: Reference, after: Reference) -> list[Difference]:
        """The keys (of namespaces too) whose content differs between two commits."""
        path = f"/trees/{quote(before.pinned, safe='@')}/diff/{quote(after.pinned, safe='@')}"
        found = []
        for item in self._pages(path, "diffs"):
            found.append(Difference(tuple(item["key"]["elements"]), item.get("from"), item.get("to")))
        return found

    def entries(self, reference: Reference) -> dict[Key, dict[str, Any]]:
        """Every key as of a commit with Nessie's JSON of its content."""
        path = f"/trees/{quote(reference.pinned, safe='@')}/entries"
        return {
            tuple(item["name"]["elements"]): item["content"]
            for item in self._pages(path, "entries", {"content": "true"})
        }

    def _pages(
        self, path: str, name: str, params: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Iterator[Any]:
        """The items of a listing, however many pages it has."""
        token: str | None = None
        while True:
            asked = {**(params or {}), **({"page-token": token} if token else {})}
            answer = self._http.json("GET", path, params=asked, **({"timeout": timeout} if timeout else {}))
            yield from answer[name]
            token = answer.get("token")
            if not answer.get("hasMore") or not token:
                return

    def ensure_namespace(self, namespace: str, branch: str = "main") -> bool:
        """Create the namespace on the branch if it is not there; True when it was created now."""
        reference = self.get_reference(branch)
        if (namespace,) in self.get_contents([(namespace,)], reference):
            return False
        try:
            operations = [PutNamespace((namespace,))]
            self.commit(operations, f"create namespace {namespace}", reference=reference)
        except ConflictError:
            # Somebody else was first; if it is still missing, this is a real conflict.
            if (namespace,) not in self.get_contents([(namespace,)], self.get_reference(branch)):
                raise
            return False
        return True

    def log(self, branch: str = "main", *, limit: int = 50) -> list[LogEntry]:
        """The newest commits of a branch or tag, newest first."""
        path = f"/trees/{quote(branch, safe='@')}/history"
        body = self._http.json("GET", path, params={"max-records": limit})
        return [_log_entry(item["commitMeta"]) for item in body["logEntries"]]

    def history(
        self, branch: str = "main", *, where: str | None = None, page: int = 200
    ) -> Iterator[LogEntry]:
        """All commits of a branch or tag, newest first, read ``page`` at a time.

        ``where`` is a condition in CEL over ``commit``, judged by the server.
        """
        path = f"/trees/{quote(branch, safe='@')}/history"
        params = {"max-records": str(page), **({"filter": where} if where else {})}
        # The server passes over what the condition leaves out, a few thousand commits in a second.
        for item in self._pages(path, "logEntries", params, timeout=60.0):
            yield _log_entry(item["commitMeta"])

    def commits_before(
        self, moment: datetime, branch: str = "main", *, page: int = 100
    ) -> Iterator[LogEntry]:
        """The commits of a branch or tag made before a moment (with a time zone), newest first."""
        until = moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        # A text in CEL; the moment's own form holds no quote.
        where = f"timestamp(commit.commitTime) < timestamp('{until}')"
        return self.history(branch, where=where, page=page)


def _log_entry(meta: Mapping[str, Any]) -> LogEntry:
    raw = meta.get("allProperties") or {k: [v] for k, v in meta.get("properties", {}).items()}
    return LogEntry(
        hash=meta["hash"],
        message=meta["message"],
        author=next(iter(meta.get("authors") or [meta.get("author") or ""]), ""),
        commit_time=meta["commitTime"],
        properties={name: ", ".join(values) for name, values in raw.items()},
    )
