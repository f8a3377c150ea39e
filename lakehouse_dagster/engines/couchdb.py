"""CouchDB's HTTP interface (also spoken by pouchdb-server, the native stand-in)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lakehouse_dagster.engines.endpoints import CouchDbEndpoint
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.http import HttpEngine


@dataclass(frozen=True)
class CouchDbInfo:
    """Documents (deleted ones excluded) and the newest change of a database."""

    name: str
    doc_count: int
    update_seq: str


class CouchDbClient:
    """Databases and documents. All calls have deadlines, because the stand-in can hang on a feed."""

    engine = "couchdb"

    def __init__(self, endpoint: CouchDbEndpoint, *, timeout: float = 20.0) -> None:
        self.url = endpoint.url
        auth = (endpoint.username, endpoint.password.get_secret_value()) if endpoint.username else None
        self._http = HttpEngine(self.engine, endpoint.url, auth=auth, timeout=timeout)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def version(self) -> str:
        """What the root document says: vendor and version in one line."""
        body = self._http.json("GET", "/")
        names = [name for name in ("couchdb", "express-pouchdb") if name in body]
        return f"{names[-1] if names else 'unknown'} {body.get('version', '')}".strip()

    def databases(self) -> list[str]:
        """Names of all databases."""
        return sorted(self._http.json("GET", "/_all_dbs"))

    def ensure_database(self, name: str) -> bool:
        """Create the database; False when it was already there."""
        response = self._http.request("PUT", f"/{quote(name, safe='')}", accept=(412,))
        return response.status_code != 412

    def delete_database(self, name: str) -> None:
        """Delete the database; a missing one is no error."""
        self._http.request("DELETE", f"/{quote(name, safe='')}", accept=(404,))

    def info(self, database: str) -> CouchDbInfo | None:
        """Size of a database, None when it does not exist."""
        response = self._http.request("GET", f"/{quote(database, safe='')}", accept=(404,))
        if response.status_code == 404:
            return None
        body = response.json()
        return CouchDbInfo(database, int(body["doc_count"]), str(body["update_seq"]))

    def doc(self, database: str, doc_id: str) -> dict[str, Any] | None:
        """One document, None when it does not exist or was deleted."""
        response = self._http.request("GET", self._path(database, doc_id), accept=(404,))
        return None if response.status_code == 404 else dict(response.json())

    def newest(self, database: str, doc_id: str) -> dict[str, Any] | None:
        """The newest revision of a document, its tombstone (``_deleted``) if it was deleted; None when there
        never was one.
        """
        path = f"/{quote(database, safe='')}/_all_docs"
        row = self._http.json("POST", path, json={"keys": [doc_id]})["rows"][0]
        if "value" not in row:
            return None
        # A listing leaves out the body of a deleted document; by its revision it can be had.
        return dict(self._http.json("GET", self._path(database, doc_id), params={"rev": row["value"]["rev"]}))

    def put(self, database: str, doc_id: str, body: Mapping[str, Any]) -> str:
        """Write one document (`_rev` of the current one needed in `body`); returns the new revision."""
        return str(self._http.json("PUT", self._path(database, doc_id), json=dict(body))["rev"])

    def bulk(self, database: str, docs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Write many documents; the answer per document tells `ok`/`rev` or `error`/`reason`."""
        path = f"/{quote(database, safe='')}/_bulk_docs"
        return list(self._http.json("POST", path, json={"docs": list(docs)}, timeout=60.0))

    def all_docs(self, database: str, *, page: int = 2000) -> Iterator[dict[str, Any]]:
        """Every living document of a database in id order, read page by page.

        Design documents are left out. EngineError with status 404 when the database does not exist.
        """
        path = f"/{quote(database, safe='')}/_all_docs"
        start: str | None = None
        while True:
            params: dict[str, Any] = {"include_docs": "true", "limit": page + 1}
            if start is not None:
                params["startkey"] = json.dumps(start)
            body = self._http.json("GET", path, params=params, timeout=120.0)
            if "rows" not in body:
                raise EngineError(self.engine, f"GET {path} answered without rows: {str(body)[:200]}")
            rows = body["rows"]
            for row in rows[:page]:
                if not row["id"].startswith("_design/") and row.get("doc") is not None:
                    yield row["doc"]
            if len(rows) <= page:
                return
            start = rows[page]["id"]

    def docs(self, database: str, ids: Sequence[str], *, page: int = 1000) -> Iterator[dict[str, Any]]:
        """The living documents of some ids, asked for page by page; ids without one are passed over."""
        path = f"/{quote(database, safe='')}/_all_docs"
        for start in range(0, len(ids), page):
            asked = {"keys": list(ids[start : start + page])}
            body = self._http.json("POST", path, params={"include_docs": "true"}, json=asked, timeout=120.0)
            if "rows" not in body:
                raise EngineError(self.engine, f"POST {path} answered without rows: {str(body)[:200]}")
            for row in body["rows"]:
                if row.get("doc") is not None and not (row.get("value") or {}).get("deleted"):
                    yield row["doc"]

    def find(
        self,
        database: str,
        selector: Mapping[str, Any],
        *,
        fields: Sequence[str] | None = None,
        sort: Sequence[Mapping[str, str]] | None = None,
        limit: int = 25,
    ) -> list[dict[str, Any]]:
        """A Mango query; sorting needs an index made with `create_index`."""
        body: dict[str, Any] = {"selector": dict(selector), "limit": limit}
        if fields:
            body["fields"] = list(fields)
        if sort:
            body["sort"] = [dict(item) for item in sort]
        answer = self._http.json("POST", f"/{quote(database, safe='')}/_find", json=body, timeout=60.0)
        return list(answer["docs"])

    def create_index(self, database: str, name: str, fields: Sequence[str]) -> None:
        """Create a Mango index; an existing equal one is no error."""
        body = {"index": {"fields": list(fields)}, "name": name, "type": "json"}
        self._http.request("POST", f"/{quote(database, safe='')}/_index", json=body, timeout=60.0)

    def _path(self, database: str, doc_id: str) -> str:
        return f"/{quote(database, safe='')}/{quote(doc_id, safe='')}"
