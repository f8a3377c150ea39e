from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse_dagster.runtime.bundles import Bundle
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.installers.context import CommandFailed, Commands, Context, ProvisionError
from lakehouse_dagster.runtime.manifest import check_manifest, write_manifest
from lakehouse_dagster.runtime.progress import Silent, Step
from lakehouse_dagster.runtime.provision import Installation, NotInstalled, Store, explain, run_provision

A = Bundle("a", "A", "1", "one", 1, ())
B = Bundle("b", "B", "2", "two", 1, (), needs=("a",))
C = Bundle("c", "C", "3", "one", 1, ())
ALL = {bundle.name: bundle for bundle in (A, B, C)}


def fill(bundle: Bundle, context: Context) -> str | None:
    (context.target / "lib").mkdir()
    (context.target / "lib" / "x.jar").write_text(bundle.name)
    (context.target / "needs").write_text(" ".join(str(path) for path in context.needs.values()))
    return None


class Recorder(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.notices: list[str] = []

    def __call__(self, step: Step) -> None:
        self.steps.append(step)

    def notice(self, text: str) -> None:
        self.notices.append(text)


def go(
    home: Path,
    *wanted: Bundle,
    install: Callable[[Bundle, Context], str | None] = fill,
    timeout: float = 10.0,
) -> tuple[dict[str, Installation], Recorder]:
    told = Recorder()
    done = run_provision(Store(home, ALL), list(wanted), install=install, progress=told, lock_timeout=timeout)
    return done, told


def test_installs_in_order_of_need_and_records_what_it_is(tmp_path: Path) -> None:
    done, told = go(tmp_path, A, B, C)
    assert list(done) == ["a", "b", "c"]
    assert (done["b"].root / "needs").read_text() == str(done["a"].root)
    assert done["a"] == Store(tmp_path, ALL).get(A)
    assert next(step.name for step in told.steps if step.state == "ready") == "a"
    assert not list((tmp_path / "engines").glob("*.partial"))


def test_a_second_run_does_nothing_and_takes_no_lock(tmp_path: Path) -> None:
    go(tmp_path, A, B)
    (tmp_path / "install.lock").unlink(missing_ok=True)

    def never(bundle: Bundle, context: Context) -> str | None:
        raise AssertionError(f"{bundle.name} was installed again")

    _, told = go(tmp_path, A, B, install=never)
    assert {step.state for step in told.steps} == {"present"}
    assert not (tmp_path / "install.lock").exists()


def test_a_failure_leaves_nothing_that_looks_complete_and_the_rest_is_finished(tmp_path: Path) -> None:
    def break_a(bundle: Bundle, context: Context) -> str | None:
        fill(bundle, context)
        if bundle is A:
            context.log.write_text("half way\n")
            raise CommandFailed(["mvn"], 1, "[ERROR] Could not find artifact x:y:1\nmore")
        return None

    with pytest.raises(ProvisionError) as caught:
        go(tmp_path, A, B, C, install=break_a)
    assert caught.value.engine == "a"
    assert "Could not find artifact x:y:1" in caught.value.problem
    assert str(tmp_path / "logs" / "install-a.log") in caught.value.problem
    assert "run `lakehouse install` again" in caught.value.fix
    store = Store(tmp_path, ALL)
    assert store.get(C).version == "3"
    for missing in (A, B):
        with pytest.raises(NotInstalled):
            store.get(missing)
    done, told = go(tmp_path, A, B, C)
    assert sorted(done) == ["a", "b", "c"]
    assert {step.name for step in told.steps if step.state == "ready"} == {"a", "b"}
    assert not list((tmp_path / "engines").glob("*.partial"))


def install_then_hang(home: Path, reached: str) -> None:
    def hang(bundle: Bundle, context: Context) -> str | None:
        fill(bundle, context)
        Path(reached).touch()
        time.sleep(60)
        return None

    go(home, A, install=hang)


def test_a_killed_run_is_taken_up_by_the_next(tmp_path: Path) -> None:
    home, reached = tmp_path / "home", tmp_path / "reached"
    child = multiprocessing.get_context("fork").Process(target=install_then_hang, args=(home, str(reached)))
    child.start()
    wait_for(reached.exists)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with pytest.raises(NotInstalled):
        Store(home, ALL).get(A)
    assert len(list((home / "engines").glob("*.partial"))) == 1
    done, told = go(home, A)
    assert check_manifest(done["a"].root) == []
    assert told.notices == []
    assert not list((home / "engines").glob("*.partial"))


def test_the_second_of_two_runs_waits_says_so_and_installs_nothing_again(tmp_path: Path) -> None:
    entered, leave, installed = threading.Event(), threading.Event(), []

    def slow(bundle: Bundle, context: Context) -> str | None:
        installed.append(bundle.name)
        entered.set()
        assert leave.wait(20)
        return fill(bundle, context)

    first = threading.Thread(target=go, args=(tmp_path, A), kwargs={"install": slow})
    first.start()
    assert entered.wait(20)
    results: list[tuple[dict[str, Installation], Recorder]] = []
    second = threading.Thread(target=lambda: results.append(go(tmp_path, A, install=slow, timeout=20)))
    second.start()
    time.sleep(0.5)
    assert second.is_alive()
    leave.set()
    first.join(20)
    second.join(20)
    ((done, told),) = results
    assert installed == ["a"]
    assert done["a"].version == "1"
    assert f"process {os.getpid()}" in told.notices[0]


def test_waiting_for_another_run_ends_with_a_clear_error(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(bundle: Bundle, context: Context) -> str | None:
        entered.set()
        assert leave.wait(20)
        return fill(bundle, context)

    first = threading.Thread(target=go, args=(tmp_path, A), kwargs={"install": slow})
    first.start()
    assert entered.wait(20)
    try:
        with pytest.raises(ProvisionError, match=f"process {os.getpid()} has been installing"):
            go(tmp_path, A, timeout=0.3)
    finally:
        leave.set()
        first.join(20)


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_a_damaged_installation_is_replaced(tmp_path: Path, damage: str) -> None:
    done, _ = go(tmp_path, A)
    jar = done["a"].root / "lib" / "x.jar"
    jar.unlink() if damage == "missing" else jar.write_text("")
    done, told = go(tmp_path, A)
    assert [step.state for step in told.steps][-1] == "ready"
    assert jar.read_text() == "a"
    assert list((tmp_path / "engines").iterdir()) == [done["a"].root]


def test_the_manifest_notices_missing_changed_and_relinked_files(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("same size")
    (tmp_path / "two").write_text("x")
    (tmp_path / "link").symlink_to("one")
    (tmp_path / "nowhere").symlink_to("/does/not/exist")
    assert write_manifest(tmp_path) == 4
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "new.pyc").write_text("a new file is no damage")
    assert check_manifest(tmp_path, deep=True) == []
    (tmp_path / "one").write_text("SAME SIZE")
    assert check_manifest(tmp_path) == []
    assert check_manifest(tmp_path, deep=True) == [f"{tmp_path / 'one'} has changed (its SHA-256 differs)"]
    (tmp_path / "two").unlink()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("two")
    problems = check_manifest(tmp_path)
    assert f"{tmp_path / 'two'} is missing" in problems
    assert f"{tmp_path / 'link'} is no longer a link to one" in problems
    assert len(problems) == 2


def test_a_broken_manifest_is_damage(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    write_manifest(tmp_path)
    (tmp_path / ".manifest.json.gz").write_bytes(b"\x1f\x8bbroken")
    assert "cannot be read" in check_manifest(tmp_path)[0]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "is full"),
        (CommandFailed(["go"], 1, "write /x: No space left on device"), "is full"),
        (CommandFailed(["mvn"], 1, "Unknown host example.org"), "the package registry cannot be reached"),
        (
            CommandFailed(["npm"], 1, "npm error code EINTEGRITY\nnpm error sha512"),
            "npm error code EINTEGRITY",
        ),
        (RuntimeFailure("this machine lacks Maven", "run: x"), "this machine lacks Maven"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_every_failure_names_engine_log_and_fix(tmp_path: Path, error: Exception, problem: str) -> None:
    failure = explain(A, error, tmp_path / "a.log", tmp_path)
    assert failure.engine == "a"
    assert failure.problem.startswith("a: ")
    assert problem in failure.problem
    assert str(tmp_path / "a.log") in failure.problem
    assert failure.fix


def test_too_little_space_is_refused_before_anything_starts(tmp_path: Path) -> None:
    huge = Bundle("a", "A", "1", "one", 1 << 40, ())
    with pytest.raises(ProvisionError, match=r"needs .* GiB in .* and .* GiB are free"):
        run_provision(Store(tmp_path, {"a": huge}), [huge], install=fill, progress=Silent())
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_command_that_fails_is_retried_only_when_it_uses_the_network(tmp_path: Path) -> None:
    script = 'echo x >> tries; test "$(wc -l < tries)" -ge 2'
    told: list[str] = []
    context = Context("a", tmp_path, tmp_path, tmp_path, tmp_path / "log", told.append, {}, Commands())
    with pytest.raises(CommandFailed):
        context.run("sh", "-c", script, cwd=tmp_path, timeout=10)
    (tmp_path / "tries").unlink()
    context.run("sh", "-c", script, cwd=tmp_path, timeout=10, network=True)
    assert told == ["failed, trying again (2 of 4)"]
    assert "$ sh -c" in (tmp_path / "log").read_text()


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    context = Context("a", tmp_path, tmp_path, tmp_path, tmp_path / "log", print, {}, Commands())
    begin = time.monotonic()
    with pytest.raises(CommandFailed, match="code 124"):
        context.run("sh", "-c", "sleep 30 & sleep 30", timeout=0.5)
    assert time.monotonic() - begin < 10
    assert "stopped after" in (tmp_path / "log").read_text()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
