"""Events get to the file always and to a backend when it is there; the work never suffers."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lakehouse_dagster.lineage.emitter import Emitter, new_run_id, now
from lakehouse_dagster.lineage.event_file import EventFile
from lakehouse_dagster.lineage.event_post import EventPost
from lakehouse_dagster.lineage.model import DatasetFacts, DatasetName, Job, RunFacts, State
from lakehouse_dagster.lineage.settings import LineageSettings, handed_on
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.supervision import base_environment
from tests.unit.lineage.conftest import events

JOB = Job("shop.load", "BATCH", "SPARK", "JOB")
TABLE = DatasetFacts(DatasetName("s3://lake", "orders"))


def fact(state: State = State.START) -> RunFacts:
    return RunFacts(state, new_run_id(), now(), JOB)


def test_an_owned_run_begins_and_ends(emitter: Emitter) -> None:
    with emitter.run(JOB, inputs=[TABLE]) as run:
        assert [event["eventType"] for event in events(emitter)] == ["START"]
        run.outputs = [TABLE]
    begun, done = events(emitter)
    assert (begun["eventType"], done["eventType"]) == ("START", "COMPLETE")
    assert begun["run"]["runId"] == done["run"]["runId"]
    assert done["outputs"][0]["name"] == "orders"
    assert emitter.emitted == 2


@pytest.mark.parametrize(
    ("error", "ended"), [(ValueError("no such table"), "FAIL"), (KeyboardInterrupt(), "ABORT")]
)
def test_what_goes_wrong_is_told_and_goes_on_to_the_caller(
    emitter: Emitter, error: BaseException, ended: str
) -> None:
    with pytest.raises(type(error)), emitter.run(JOB):
        raise error
    last = events(emitter)[-1]
    assert last["eventType"] == ended
    assert last["run"]["facets"]["errorMessage"]["message"].startswith(type(error).__name__)


def test_a_folder_that_cannot_be_written_breaks_nothing_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    emitter = Emitter(LineageSettings(tmp_path / "file" / "lineage"))
    done = []
    with caplog.at_level(logging.WARNING), emitter.run(JOB):
        done.append(True)
    assert done
    assert (emitter.emitted, emitter.failed) == (0, 2)
    assert len(caplog.records) == 1
    assert "NotADirectoryError" in caplog.text


def test_disabled_emits_nothing(tmp_path: Path) -> None:
    emitter = Emitter(LineageSettings(tmp_path, url="http://127.0.0.1:1", enabled=False))
    emitter.emit([fact()])
    assert (emitter.post, emitter.failed, list(tmp_path.iterdir())) == (None, 0, [])


def test_facts_that_cannot_be_made_are_left_out(emitter: Emitter) -> None:
    assert emitter.tried(lambda: 1 // 0, 7) == 7
    assert emitter.tried(lambda: 3, 7) == 3
    assert emitter.failed == 1


# --- the file ---


def test_a_new_file_is_begun_and_the_oldest_goes(tmp_path: Path) -> None:
    file = EventFile(tmp_path, max_bytes=30, kept=2)
    for number in range(10):
        file.write(f'{{"number": {number}}}')
    texts = [path.read_text().split() for path in file.files()]
    assert [path.name for path in file.files()] == ["events.2.jsonl", "events.1.jsonl", "events.jsonl"]
    assert [len(text) for text in texts] == [4, 4, 4]  # two lines of two words each
    assert '{"number": 9}' in file.path.read_text()
    assert file.path.stat().st_mode & 0o077 == 0


def _write_many(folder: str, name: int) -> None:
    file = EventFile(Path(folder), max_bytes=200_000, kept=7)
    for number in range(100):
        file.write(json.dumps({"by": name, "number": number, "filler": "x" * 2_000}))


def test_processes_do_not_mix_their_lines_nor_lose_any(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_write_many, [str(tmp_path)] * 2, range(2)))
    lines = [line for path in EventFile(tmp_path).files() for line in path.read_text().splitlines()]
    found = {(body["by"], body["number"]) for body in map(json.loads, lines)}
    assert len(lines) == 200
    assert len(found) == 200


# --- the backend ---


class Backend:
    """An HTTP server that takes events; ``answers`` are the statuses of the next requests, then 201."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str | None]] = []
        self.answers: list[int] = []


@contextmanager
def serving(port: int = 0) -> Iterator[tuple[Backend, str]]:
    backend = Backend()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            backend.requests.append((self.path, self.headers.get("Authorization")))
            status = backend.answers.pop(0) if backend.answers else 201
            if status == 201:
                backend.got.append(body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield backend, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_backend_gets_what_the_file_gets(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    with serving() as (backend, url):
        emitter = Emitter(LineageSettings(tmp_path / "lineage", url=url, api_key_file=tmp_path / "key"))
        with emitter.run(JOB, inputs=[TABLE]):
            pass
        emitter.close()
    assert [event["eventType"] for event in backend.got] == ["START", "COMPLETE"]
    assert backend.got == events(emitter)
    assert backend.requests == [("/api/v1/lineage", "Bearer s3cret")] * 2


def test_a_backend_in_trouble_gets_everything_later_and_in_order(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as (backend, url), caplog.at_level(logging.INFO):
        backend.answers = [503, 500]
        post = EventPost(url, pauses=(0.01, 0.02))
        _put(post, [State.START, State.COMPLETE])
        assert post.flush(10)
        post.close()
    assert [event["eventType"] for event in backend.got] == ["START", "COMPLETE"]
    assert (post.sent, post.lost) == (2, 0)
    assert len([r for r in caplog.records if "trying again" in r.message]) == 1


def test_an_event_that_is_refused_does_not_hold_up_the_next(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as (backend, url), caplog.at_level(logging.WARNING):
        backend.answers = [422]
        post = EventPost(url, pauses=(0.01, 0.02))
        _put(post, [State.START, State.COMPLETE])
        assert post.flush(10)
        post.close()
    assert [event["eventType"] for event in backend.got] == ["COMPLETE"]
    assert (post.sent, post.lost) == (1, 1)
    assert "refuses a lineage event" in caplog.text


def test_nobody_waits_for_a_backend_that_is_away_and_memory_is_bounded(tmp_path: Path) -> None:
    post = EventPost("http://127.0.0.1:9", most_waiting=3, pauses=(0.5, 0.5))
    _put(post, [State.START] * 10)
    assert not post.flush(0.05)
    assert post.lost == 7
    post.close()


def _put(post: EventPost, states: list[State]) -> None:
    from lakehouse_dagster.lineage.events import run_event

    for state in states:
        post.put(run_event(fact(state), "lakehouse"))


# --- settings ---


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    env = {
        "LAKEHOUSE_DATA": str(tmp_path),
        "LAKEHOUSE_OPENLINEAGE_URL": "http://marquez:5000",
        "LAKEHOUSE_OPENLINEAGE_API_KEY_FILE": "/run/key",
        "LAKEHOUSE_OPENLINEAGE_NAMESPACE": "prod",
        "OTHER": "x",
    }
    found = LineageSettings.load(env)
    assert found == LineageSettings(tmp_path / "lineage", "http://marquez:5000", Path("/run/key"), "prod")
    assert set(handed_on(env)) == set(env) - {"LAKEHOUSE_DATA", "OTHER"}
    assert LineageSettings.load({"LAKEHOUSE_OPENLINEAGE_DISABLED": "True"}).enabled is False


def test_services_get_the_settings_of_whoever_starts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_OPENLINEAGE_URL", "http://marquez:5000")
    environment = base_environment(Settings.load())
    assert environment["LAKEHOUSE_OPENLINEAGE_URL"] == "http://marquez:5000"
    monkeypatch.delenv("LAKEHOUSE_OPENLINEAGE_URL")
    assert "LAKEHOUSE_OPENLINEAGE_URL" not in base_environment(Settings.load())
