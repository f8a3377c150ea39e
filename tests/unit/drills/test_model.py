from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lakehouse_dagster.drills.model import (
    DRILLS,
    EVERYWHERE,
    KILLED,
    OWN_VOLUME,
    SOAK_KILLS,
    STALLED,
    Fault,
    resolve,
    soak_choice,
)
from lakehouse_dagster.drills.report import catalogue
from lakehouse_dagster.runtime.services import SERVICES

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"


def test_every_service_of_the_runtime_has_a_kill_drill() -> None:
    assert {service for service, _ in KILLED.values()} == set(SERVICES)
    assert set(STALLED) <= set(SERVICES)


def test_every_drill_is_told_whole() -> None:
    for name, drill in DRILLS.items():
        assert drill.name == name
        assert drill.injects
        assert drill.expected
        assert drill.limit > 0
        assert drill.service is None or drill.service in SERVICES
        if drill.fault in (Fault.KILL, Fault.STALL, Fault.TIMEZONE, Fault.CORRUPT_CHECKPOINT):
            assert drill.service is not None


def test_every_fault_can_be_injected() -> None:
    """A kind of fault without its code would be noticed only in the middle of the night."""
    from lakehouse_dagster.drills.faults import PLAIN
    from lakehouse_dagster.drills.special import SPECIAL

    assert set(PLAIN) | set(SPECIAL) == set(Fault)
    assert not set(PLAIN) & set(SPECIAL)
    assert {drill.fault for drill in DRILLS.values()} == set(Fault)


def test_all_means_what_any_instance_can_do() -> None:
    names = [drill.name for drill in resolve(["all"])]
    assert names == list(EVERYWHERE)
    assert set(names) == set(DRILLS) - OWN_VOLUME


def test_names_are_resolved_in_their_order() -> None:
    assert [drill.name for drill in resolve(["kill-kafka", "cancel-job"])] == ["kill-kafka", "cancel-job"]
    with pytest.raises(KeyError, match="there is no drill 'kill-oracle'"):
        resolve(["kill-kafka", "kill-oracle"])


def test_a_seed_chooses_always_the_same() -> None:
    assert soak_choice(1, 50) == soak_choice(1, 50)
    assert soak_choice(1, 50) != soak_choice(2, 50)
    assert soak_choice(1, 20) == soak_choice(1, 50)[:20]


@pytest.mark.parametrize("seed", range(5))
def test_the_soak_leaves_nothing_out(seed: int) -> None:
    kills = 50
    counts = Counter(soak_choice(seed, kills))
    assert set(counts) == set(SOAK_KILLS)
    assert sum(counts.values()) == kills
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_document_lists_the_drills_as_they_are() -> None:
    assert catalogue() in DOCUMENT.read_text(encoding="utf-8"), (
        "docs/reliability.md is older than the drills: `lakehouse drill --report docs/reliability.md`"
    )
