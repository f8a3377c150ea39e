"""The shared way to talk HTTP to an engine: timeouts, retries of transient failures, clear errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from lakehouse_dagster.engines.closing import Closing
from lakehouse_dagster.engines.errors import ConflictError, EngineError, EngineUnavailable

#: Answers of a gateway or of a server that is still starting; worth asking again.
_TRANSIENT_STATUS = frozenset({502, 503, 504})
_RETRIED_METHODS = frozenset({"GET", "HEAD"})


class _TransientAnswer(Exception):  # noqa: N818 - an inner signal
    """Inner signal: the answer is one to ask again for."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class HttpEngine(Closing):
    """A JSON-over-HTTP engine at one address.

    Only reads are retried (three attempts within about a second), because a write that timed out may
    have happened. Every request has a deadline: `timeout` seconds to read, a quarter of it to connect.
    """

    def __init__(
        self,
        engine: str,
        url: str,
        *,
        auth: tuple[str, str] | None = None,
        timeout: float = 10.0,
        attempts: int = 3,
    ) -> None:
        self.engine = engine
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._client = httpx.Client(
            base_url=self.url,
            auth=auth,
            timeout=httpx.Timeout(timeout, connect=max(1.0, timeout / 4)),
            # Loopback engines must not be reached through a proxy of the environment.
            trust_env=False,
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        accept: tuple[int, ...] = (),
        timeout: float | None = None,
    ) -> httpx.Response:
        """Send one request and return its response.

        Statuses under 400 and those in `accept` are returned. Raises EngineUnavailable when nobody
        answers, ConflictError on 409 and EngineError with the engine's message on any other status.
        """

        def once() -> httpx.Response:
            kwargs: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
            if json is not None:
                kwargs["json"] = json
            response = self._client.request(method, path, params=params, **kwargs)
            if response.status_code in _TRANSIENT_STATUS and response.status_code not in accept:
                raise _TransientAnswer(response)
            return response

        attempts = self._attempts if method in _RETRIED_METHODS else 1
        try:
            response = Retrying(
                stop=stop_after_attempt(attempts),
                wait=wait_exponential_jitter(multiplier=0.1, max=0.5, jitter=0.1),
                retry=retry_if_exception_type(
                    (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, _TransientAnswer)
                ),
                reraise=True,
            )(once)
        except _TransientAnswer as answer:
            response = answer.response
        except httpx.TransportError as error:
            cause = str(error) or type(error).__name__
            raise EngineUnavailable(self.engine, self.url, cause=cause) from error
        status = response.status_code
        if status < 400 or status in accept:
            return response
        message = f"{method} {path} answered {status}: {error_text(response)}"
        if status == 409:
            raise ConflictError(self.engine, message, status=status)
        raise EngineError(self.engine, message, status=status)

    def json(self, method: str, path: str, **kwargs: Any) -> Any:
        """Like `request`, returning the parsed JSON body (None when the body is empty)."""
        response = self.request(method, path, **kwargs)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            text = response.text[:200]
            raise EngineError(self.engine, f"{method} {path}: the answer is no JSON: {text!r}") from error


def error_text(response: httpx.Response, limit: int = 2000) -> str:
    """The engine's own words out of an error answer, shortened to `limit` characters."""
    try:
        body = response.json()
    except ValueError:
        return response.text[:limit].strip() or response.reason_phrase
    if isinstance(body, dict):
        for field in ("message", "error_description", "reason", "errors", "error"):
            value = body.get(field)
            if value:
                text = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
                return text[:limit].strip()
    return str(body)[:limit]
