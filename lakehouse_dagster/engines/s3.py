"""The object store over S3."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import boto3
import botocore.exceptions
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

from lakehouse_dagster.engines.endpoints import S3Endpoint
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_MISSING = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchBucket"})
_TRANSIENT_STATUS = frozenset({500, 502, 503, 504})
_REGION = "us-east-1"
_ONE_COPY = 5 * 1024**3
"""S3 copies an object up to this size at once; a larger one is copied in parts."""
_CONNECTIONS = 32
"""Open connections at most; as many threads may read at once without waiting for each other."""


@dataclass(frozen=True)
class StoredObject:
    """One object: key inside the bucket, bytes, time of its last change."""

    key: str
    size: int
    modified: datetime


class ObjectStore:
    """Objects of the installation's one bucket, addressed by key or by `s3://bucket/key`."""

    engine = "minio"

    def __init__(self, endpoint: S3Endpoint, *, timeout: float = 10.0) -> None:
        self.endpoint = endpoint
        self.bucket = endpoint.bucket
        self.client: S3Client = boto3.client(
            "s3",
            endpoint_url=endpoint.endpoint,
            aws_access_key_id=endpoint.access_key,
            aws_secret_access_key=endpoint.secret_key.get_secret_value(),
            region_name=_REGION,
            config=Config(
                connect_timeout=max(1.0, timeout / 4),
                read_timeout=timeout,
                max_pool_connections=_CONNECTIONS,
                retries={"max_attempts": 2, "mode": "standard"},
                s3={"addressing_style": "path"},
                proxies={},
            ),
        )
        # Reading a small object through boto3 costs four times as much as signing and sending the request,
        # and a sensor's tick reads a thousand of them.
        credentials = Credentials(endpoint.access_key, endpoint.secret_key.get_secret_value())
        self._signer = S3SigV4Auth(credentials, "s3", _REGION)
        # The stubs know one number only; the session takes (connect, read) as well.
        timeouts: Any = (max(1.0, timeout / 4), timeout)
        self._session = URLLib3Session(timeout=timeouts, max_pool_connections=_CONNECTIONS, proxies={})

    def close(self) -> None:
        """Close the pooled connections."""
        self.client.close()
        self._session.close()

    def key(self, location: str) -> str:
        """The key behind an `s3://`, `s3a://` address of this bucket; a plain key is returned as it is."""
        if "://" not in location:
            return location
        parts = urlsplit(location)
        if parts.scheme not in {"s3", "s3a"} or parts.netloc != self.bucket:
            raise EngineError(self.engine, f"{location} is not in the bucket {self.bucket}")
        return parts.path.lstrip("/")

    def get(self, location: str) -> bytes | None:
        """Content of an object, None when it does not exist."""
        url = f"{self.endpoint.endpoint.rstrip('/')}/{self.bucket}/{quote(self.key(location), safe='/~')}"
        with self._translated():
            answer = self._send(url)
        if answer.status_code == 404:
            return None
        if answer.status_code >= 300:
            raise EngineError(
                self.engine, f"GET {location} answered {_said(answer.content)}", status=answer.status_code
            )
        content: bytes = answer.content
        return content

    def _send(self, url: str) -> Any:
        """Send a GET; once more when the connection broke or the server was not ready."""
        for last in (False, True):
            request = AWSRequest("GET", url)
            self._signer.add_auth(request)
            try:
                answer = self._session.send(request.prepare())
                if last or answer.status_code not in _TRANSIENT_STATUS:
                    return answer
            except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError):
                if last:
                    raise
            time.sleep(0.1)
        raise AssertionError("the last attempt returns or raises")

    def lines(self, location: str) -> Iterator[str]:
        """Lines of a text object, streamed. EngineError when it does not exist."""
        with self._translated():
            answer = self.client.get_object(Bucket=self.bucket, Key=self.key(location))
            for line in answer["Body"].iter_lines(chunk_size=1 << 18):
                yield line.decode("utf-8")

    def exists(self, location: str) -> bool:
        """Whether an object exists."""
        with self._translated():
            try:
                self.client.head_object(Bucket=self.bucket, Key=self.key(location))
            except botocore.exceptions.ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
            return True

    def put(self, location: str, content: bytes) -> None:
        """Write an object."""
        with self._translated():
            self.client.put_object(Bucket=self.bucket, Key=self.key(location), Body=content)

    def copy(self, source: str, target: str, *, size: int) -> bool:
        """Copy an object inside the store; False when the source does not exist. ``size`` is its bytes."""
        origin: Any = {"Bucket": self.bucket, "Key": self.key(source)}
        with self._translated():
            try:
                if size > _ONE_COPY:
                    self.client.copy(origin, self.bucket, self.key(target))
                else:
                    self.client.copy_object(Bucket=self.bucket, Key=self.key(target), CopySource=origin)
            except botocore.exceptions.ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
            return True

    def delete(self, keys: Iterable[str]) -> int:
        """Delete objects by key, also such as do not exist; returns how many keys there were."""
        wanted = [self.key(key) for key in keys]
        with self._translated():
            for at in range(0, len(wanted), 1000):
                self.client.delete_objects(
                    Bucket=self.bucket,
                    Delete={"Objects": [{"Key": key} for key in wanted[at : at + 1000]], "Quiet": True},
                )
        return len(wanted)

    def folders(self, prefix: str) -> Sequence[str]:
        """Names, without slashes, of the folders right below a prefix that ends with a slash."""
        start = self.key(prefix)
        with self._translated():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=start, Delimiter="/"
            )
            folders = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
        return [name.removeprefix(start).rstrip("/") for name in folders]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below a prefix, in key order."""
        with self._translated():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.key(prefix)
            )
            for page in pages:
                for item in page.get("Contents", []):
                    yield StoredObject(item["Key"], item["Size"], item["LastModified"])

    def delete_prefix(self, prefix: str) -> int:
        """Delete all objects below a prefix (which must not be empty); returns how many there were."""
        start = self.key(prefix)
        if not start.strip("/"):
            raise EngineError(self.engine, "refusing to delete the whole bucket")
        return self.delete([item.key for item in self.list(start)])

    def ensure_bucket(self) -> bool:
        """Create the bucket; False when it was already there."""
        with self._translated():
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except botocore.exceptions.ClientError as error:
                if _code(error) not in _MISSING:
                    raise
                self.client.create_bucket(Bucket=self.bucket)
                return True
            return False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (
            botocore.exceptions.HTTPClientError,
            botocore.exceptions.ConnectionError,
            botocore.exceptions.IncompleteReadError,
        ) as error:
            raise EngineUnavailable(self.engine, self.endpoint.endpoint, cause=str(error)[:200]) from error
        except botocore.exceptions.ClientError as error:
            text = error.response.get("Error", {}).get("Message", "") or str(error)
            raise EngineError(self.engine, f"{_code(error)}: {text}") from error


def _code(error: botocore.exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _said(content: bytes) -> str:
    """Code and message out of an S3 error's XML, or its beginning."""
    text = content.decode("utf-8", "replace")
    found = [re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("Code", "Message")]
    return ": ".join(match[1] for match in found if match) or text[:200]
