"""What to do about one stream: a pure table from observed facts to an action.

A stream is a Debezium connector or a Flink job that ought to run all the time. Dagster never owns its
process; every few seconds the facts are gathered (``streams.observe``), this table is asked, and the answer
is carried out (``streams.act``). The rules are tried from top to bottom; the first that applies decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

FIRST_DELAY_SECONDS = 10.0
"""Pause between the first start of a stream and its second; doubles with every further start."""
LONGEST_DELAY_SECONDS = 300.0
"""Upper bound of that pause."""
JITTER = 0.2
"""A pause is up to this share shorter or longer, so that streams that failed together do not return together.
"""
BREAKER_STARTS = 5
"""Starts in a row that did not last: the circuit breaker opens."""
BREAKER_SECONDS = 900.0
"""How long it stays open; then one more start is tried."""
LOOP_RESTARTS = 6
"""Restarts by Flink itself without a completed checkpoint in between: the job will not come round alone."""
LOOP_SECONDS = 60.0
"""And at least this long without one, so that a short outage of a neighbour is left to Flink."""
RECOVERY_SECONDS = 20.0
"""How long a connector that ran before may be unknown to a Connect worker that knows none at all."""


class Kind(StrEnum):
    """What a stream is made of."""

    CONNECTOR = "connector"
    FLINK_JOB = "flink_job"


class Desired(StrEnum):
    """What the operator wants."""

    RUNNING = "running"
    PAUSED = "paused"


class State(StrEnum):
    """How the engine describes the stream, reduced to what decides."""

    ABSENT = "absent"
    """The engine does not know it, or knows only ended incarnations of it (cancelled, finished)."""
    STARTING = "starting"
    """Being set up for the first time."""
    RESTARTING = "restarting"
    """Failed, and being restarted by the engine's own means."""
    RUNNING = "running"
    PAUSED = "paused"
    """A connector that was paused or stopped in Connect itself."""
    FAILED = "failed"
    """The engine gave up on it."""

    @property
    def alive(self) -> bool:
        """Whether something of it holds resources in its engine."""
        return self in (State.STARTING, State.RESTARTING, State.RUNNING)


@dataclass(frozen=True)
class Facts:
    """Everything the table looks at, for one stream at one moment."""

    stream: str
    kind: Kind
    desired: Desired = Desired.RUNNING
    busy: bool = False
    """Another process is acting on this stream: a run of Dagster, or an operator at the command line."""
    unreachable: str | None = None
    """Why the engine could not be asked, with the fix; ``None`` when it answered."""
    missing: str | None = None
    """What has to be there before a start makes sense and is not, with the fix: an engine it reads or writes,
    free slots, source tables. ``None`` when nothing is missing.
    """
    refused: str | None = None
    """Why the stream must not run although it could, with the fix (a source whose clock is not UTC)."""
    gap: str | None = None
    """Changes that can no longer be read, by name; ``None`` when there are none."""
    state: State = State.ABSENT
    detail: str = ""
    """The engine's own words on the state, such as the first line of a failed task's trace."""
    living: int = 0
    """Living incarnations of the stream; more than one is a mistake."""
    spec: str = ""
    """Hash of the specification that should run."""
    running_spec: str | None = None
    """Hash of the one that runs; ``None`` when nothing runs or the engine does not say."""
    upgrade_by_hand: bool = False
    """The pipeline wants its streams upgraded by an operator only."""
    failed_starts: int = 0
    """Starts of this specification in a row that did not last, up to now."""
    seconds_since_start: float | None = None
    """Age of the newest of them."""
    restarts: int = 0
    """Restarts by the engine itself since its newest completed checkpoint."""
    seconds_without_progress: float | None = None
    """How long a living job has completed no checkpoint; ``None`` when that is not known."""
    checkpoints: tuple[str, ...] = ()
    """Retained checkpoints and savepoints that this specification can start from, best first."""
    no_connectors: bool = False
    """Connect answers, and knows no connector at all."""
    seen_before: bool = False
    """The stream was running at some time before."""
    seconds_down: float | None = None
    """How long it has not been running; ``None`` when it was running at the last look."""

    @property
    def outdated(self) -> bool:
        """Whether what runs is not what should run."""
        return self.running_spec is not None and self.running_spec != self.spec

    @property
    def looping(self) -> bool:
        """Whether a living job fails again and again without getting anywhere."""
        stuck = self.seconds_without_progress
        return (
            self.state.alive
            and self.restarts >= LOOP_RESTARTS
            and stuck is not None
            and stuck >= LOOP_SECONDS
        )

    @property
    def may_write(self) -> bool:
        """Whether it writes or its engine may let it: a restarted Connect worker starts failed tasks anew."""
        return self.state.alive or (self.kind is Kind.CONNECTOR and self.state is State.FAILED)


class Verb(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    WAIT = "wait"
    """Nothing now; time or another engine's return will change the answer."""
    HALT = "halt"
    """Nothing until a person has acted; the stream's checks fail and say what is to be done."""
    START = "start"
    RESTART = "restart"
    """A connector: its tasks once more. A living job: cancelled, then started from another checkpoint."""
    UPGRADE = "upgrade"
    """Stop with a savepoint, start the present specification."""
    STOP = "stop"
    """Stop with a savepoint, and leave it."""
    CANCEL_EXTRA = "cancel_extra"
    """Cancel all living jobs of the name but one."""


ACTING = frozenset({Verb.START, Verb.RESTART, Verb.UPGRADE, Verb.STOP, Verb.CANCEL_EXTRA})
"""Verbs that change something."""


@dataclass(frozen=True)
class Action:
    """The table's answer: what to do and, in words for the operator, why; ``rule`` names the line."""

    verb: Verb
    reason: str
    checkpoints: tuple[str, ...] = ()
    """To start from, best first; none: from a little before the group's committed offsets."""
    rule: str = ""

    @property
    def acts(self) -> bool:
        """Whether something is to be done now."""
        return self.verb in ACTING


@dataclass(frozen=True)
class Rule:
    """One line of the table."""

    name: str
    applies: Callable[[Facts], bool]
    action: Callable[[Facts], Action]


def delay(failed_starts: int, stream: str = "") -> float:
    """Return the seconds between the newest of ``failed_starts`` starts and the next one.

    The first start waits for nothing; after that the pause doubles from ``FIRST_DELAY_SECONDS``, so that a
    stream which fails right after every start neither hammers the engine nor is ever given up. With a
    ``stream`` the pause is varied by up to ``JITTER``; the same start of the same stream always by as much,
    because the table has no memory and must give every tick the same answer.
    """
    if failed_starts <= 0:
        return 0.0
    # The exponent is bounded before it is used: 2**1000 is not a float.
    pause = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failed_starts - 1, 16))
    if not stream:
        return pause
    digest = hashlib.sha256(f"{stream}/{failed_starts}".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 0xFFFFFFFF
    return pause * (1 + JITTER * (2 * share - 1))


def _since(facts: Facts) -> float:
    # A start whose age is not known counts as old: it must not block the stream for ever.
    return float("inf") if facts.seconds_since_start is None else facts.seconds_since_start


def _backing_off(facts: Facts) -> bool:
    return _since(facts) < delay(facts.failed_starts, facts.stream)


def _broken(facts: Facts) -> bool:
    return facts.failed_starts >= BREAKER_STARTS and _since(facts) < BREAKER_SECONDS


def _said(facts: Facts) -> str:
    return f" ({facts.detail})" if facts.detail else ""


def _start(facts: Facts) -> Action:
    what = "is not there" if facts.state is State.ABSENT else f"failed{_said(facts)}"
    if facts.kind is Kind.CONNECTOR:
        return Action(Verb.START, f"the connector {what}; it continues from its stored offsets")
    return Action(Verb.START, f"the job {what}; {origin(facts.checkpoints)}", facts.checkpoints)


def origin(checkpoints: tuple[str, ...]) -> str:
    """Say in words where a job will go on."""
    if checkpoints:
        return f"it continues from {checkpoints[0]}"
    return (
        "no checkpoint that it could use is retained: it starts a little before its group's committed offsets"
    )


def _open_circuit(facts: Facts) -> Action:
    return Action(
        Verb.HALT,
        f"the circuit breaker is open: {facts.failed_starts} starts in a row did not last{_said(facts)}; "
        f"mend the cause and resume the stream, or wait: it is tried once more in "
        f"{BREAKER_SECONDS - _since(facts):.0f} s",
    )


def _back_off(facts: Facts) -> Action:
    return Action(
        Verb.WAIT,
        f"{facts.failed_starts} start(s) in a row did not last{_said(facts)}; next attempt in "
        f"{delay(facts.failed_starts, facts.stream) - _since(facts):.0f} s",
    )


def _running(facts: Facts) -> Action:
    if facts.gap:
        return Action(Verb.NOTHING, f"running, but with a gap behind it: {facts.gap}")
    return Action(Verb.NOTHING, "running")


def _wants_running(facts: Facts) -> bool:
    return facts.desired is Desired.RUNNING


RULES: tuple[Rule, ...] = (
    Rule(
        "busy",
        lambda f: f.busy,
        lambda f: Action(Verb.WAIT, "another process is acting on this stream right now"),
    ),
    Rule(
        "unreachable",
        lambda f: f.unreachable is not None,
        lambda f: Action(Verb.WAIT, f.unreachable or ""),
    ),
    Rule(
        "running twice",
        lambda f: f.living > 1,
        lambda f: Action(Verb.CANCEL_EXTRA, f"{f.living} jobs of this name are alive; all but one are ended"),
    ),
    Rule(
        "to be paused",
        lambda f: f.desired is Desired.PAUSED and f.may_write,
        lambda f: Action(Verb.STOP, "the operator wants it paused"),
    ),
    Rule(
        "paused",
        lambda f: f.desired is Desired.PAUSED,
        lambda f: Action(Verb.NOTHING, "paused by the operator"),
    ),
    Rule(
        "must not run",
        lambda f: f.refused is not None and f.may_write,
        lambda f: Action(Verb.STOP, f.refused or ""),
    ),
    Rule(
        "refused",
        lambda f: f.refused is not None,
        lambda f: Action(Verb.HALT, f.refused or ""),
    ),
    Rule(
        # Another start would meet the same hole; going round it by itself is what must not happen.
        "crash loop, gap",
        lambda f: f.looping and f.gap is not None,
        lambda f: Action(Verb.STOP, f"it cannot go on, because changes are lost to it: {f.gap}"),
    ),
    Rule(
        "crash loop, circuit open",
        lambda f: f.looping and _broken(f),
        _open_circuit,
    ),
    Rule(
        "crash loop, neighbour away",
        lambda f: f.looping and f.missing is not None,
        lambda f: Action(Verb.WAIT, f.missing or ""),
    ),
    Rule(
        "crash loop, backing off",
        lambda f: f.looping and _backing_off(f),
        _back_off,
    ),
    Rule(
        "crash loop",
        lambda f: f.looping,
        lambda f: Action(
            Verb.RESTART,
            f"{f.restarts} restarts without a checkpoint in {f.seconds_without_progress or 0:.0f} s"
            f"{_said(f)}; it is cancelled, and then {origin(f.checkpoints)}",
            f.checkpoints,
        ),
    ),
    Rule(
        "outdated, by hand",
        lambda f: f.outdated and f.state.alive and f.upgrade_by_hand,
        lambda f: Action(
            Verb.NOTHING,
            f"runs specification {f.running_spec}; {f.spec} waits for an operator to upgrade the stream",
        ),
    ),
    Rule(
        "outdated, prerequisite missing",
        lambda f: f.outdated and f.state.alive and f.missing is not None,
        lambda f: Action(Verb.WAIT, f"specification {f.spec} cannot start yet: {f.missing}"),
    ),
    Rule(
        # If the new one did not come up, the gap would keep the old one from coming back.
        "outdated, gap",
        lambda f: f.outdated and f.state.alive and f.gap is not None,
        lambda f: Action(
            Verb.HALT,
            f"runs specification {f.running_spec}; {f.spec} waits until the gap is repaired: {f.gap}",
        ),
    ),
    Rule(
        "outdated, circuit open",
        lambda f: f.outdated and f.state.alive and _broken(f),
        _open_circuit,
    ),
    Rule(
        "outdated, backing off",
        lambda f: f.outdated and f.state.alive and _backing_off(f),
        _back_off,
    ),
    Rule(
        "outdated",
        lambda f: f.outdated and f.state.alive,
        lambda f: Action(Verb.UPGRADE, f"runs specification {f.running_spec}, {f.spec} is wanted"),
    ),
    Rule(
        "running",
        lambda f: f.state is State.RUNNING,
        _running,
    ),
    Rule(
        "coming up",
        lambda f: f.state.alive,
        lambda f: Action(Verb.WAIT, f"the engine is bringing it up itself{_said(f)}"),
    ),
    Rule(
        "gap",
        lambda f: f.gap is not None,
        lambda f: Action(Verb.HALT, f"changes are lost to it: {f.gap}"),
    ),
    Rule(
        "Connect is recovering",
        lambda f: (
            f.kind is Kind.CONNECTOR
            and f.state is State.ABSENT
            and f.no_connectors
            and f.seen_before
            and (f.seconds_down or 0.0) < RECOVERY_SECONDS
        ),
        lambda f: Action(
            Verb.WAIT, "Connect knows no connector at all; it may still be reading its own topics"
        ),
    ),
    Rule(
        "prerequisite missing",
        lambda f: f.missing is not None,
        lambda f: Action(Verb.WAIT, f.missing or ""),
    ),
    Rule(
        "circuit open",
        _broken,
        _open_circuit,
    ),
    Rule(
        "backing off",
        _backing_off,
        _back_off,
    ),
    Rule(
        "connector failed",
        lambda f: f.kind is Kind.CONNECTOR and f.state is State.FAILED,
        lambda f: Action(Verb.RESTART, f"the connector or its task failed{_said(f)}"),
    ),
    Rule(
        "connector paused outside",
        lambda f: f.kind is Kind.CONNECTOR and f.state is State.PAUSED,
        lambda f: Action(Verb.RESTART, "stopped in Connect although it should run; it is resumed"),
    ),
    Rule(
        "absent or failed",
        _wants_running,
        _start,
    ),
)
"""The table. Every combination of facts is answered by exactly one rule, the first that applies."""


def rule_for(facts: Facts) -> Rule:
    """Return the rule that decides ``facts``."""
    return next(rule for rule in RULES if rule.applies(facts))


def decide(facts: Facts) -> Action:
    """Return what to do about the stream that ``facts`` describe."""
    rule = rule_for(facts)
    action = rule.action(facts)
    return Action(action.verb, action.reason, action.checkpoints, rule.name)
