from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse_dagster.contract import applied

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def committed_locks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """What the instance of other tests has applied before is not in force here."""
    inside, default = applied.applied_path, os.environ["LAKEHOUSE_DATA"]
    nowhere = tmp_path_factory.mktemp("no-instance")

    def path(pipeline: str, data: Path | None = None) -> Path:
        if data is None and os.environ.get("LAKEHOUSE_DATA") == default:
            data = nowhere
        return inside(pipeline, data)

    with pytest.MonkeyPatch.context() as patch:
        # Where the instance's own tests run too, they need what it has applied.
        if all(HERE in item.path.parents for item in request.session.items):
            patch.setattr(applied, "applied_path", path)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_lineage_events() -> Iterator[None]:
    """Nothing tested here writes into an instance's folder; tests of lineage make their own emitter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKEHOUSE_OPENLINEAGE_DISABLED", "true")
        yield
