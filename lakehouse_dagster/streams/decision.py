"""What to do about one stream: a pure table from observed facts to an action.

A stream is a Debezium connector or a Flink job that ought to run all the time. Dagster never owns its
process; every few seconds the facts are gathered (``streams.observe``), this table is asked, and the answer
is carried out (``streams.act``). The rules are tried from top to bottom; the first that applies decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

FIRST_DELAY_SECONDS = 10.0
"""Pause between the first start of a stream and its second; doubles with every further start."""
LONGEST_DELAY_SECONDS = 300.0
"""Upper bound of that pause."""
CALM_SECONDS = 900.0
"""Starts older than this no longer count: the stream has been calm since."""


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
    """Being set up, or restarting by the engine's own means."""
    RUNNING = "running"
    PAUSED = "paused"
    """A connector that was paused or stopped in Connect itself."""
    FAILED = "failed"
    """The engine gave up on it."""


@dataclass(frozen=True)
class Facts:
    """Everything the table looks at, for one stream at one moment."""

    stream: str
    kind: Kind
    desired: Desired = Desired.RUNNING
    unreachable: str | None = None
    """Why the engine could not be asked, with the fix; ``None`` when it answered."""
    missing: str | None = None
    """What has to exist before a start makes sense and does not, with the fix; ``None`` when nothing is
    missing.
    """
    state: State = State.ABSENT
    detail: str = ""
    """The engine's own words on the state, such as the first line of a failed task's trace."""
    start_in_progress: bool = False
    """A run that starts this stream is queued or running."""
    recent_starts: int = 0
    """Starts of this stream within the last ``CALM_SECONDS``."""
    seconds_since_start: float | None = None
    """Age of the newest of them."""
    checkpoint: str | None = None
    """Newest retained checkpoint or savepoint of the same specification (Flink jobs only)."""


class Verb(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    WAIT = "wait"
    START = "start"
    RESTART = "restart"


@dataclass(frozen=True)
class Action:
    """The table's answer: what to do and, in words for the operator, why."""

    verb: Verb
    reason: str
    savepoint: str | None = None
    """Checkpoint or savepoint to start from; ``None``: from a little before the group's committed offsets."""

    @property
    def acts(self) -> bool:
        """Whether something is to be done now."""
        return self.verb in (Verb.START, Verb.RESTART)


@dataclass(frozen=True)
class Rule:
    """One line of the table."""

    name: str
    applies: Callable[[Facts], bool]
    action: Callable[[Facts], Action]


def delay(recent_starts: int) -> float:
    """Return the seconds that must lie between the newest of ``recent_starts`` starts and the next one.

    The first start waits for nothing; after that the pause doubles from ``FIRST_DELAY_SECONDS``, so that a
    stream which fails right after every start neither hammers the engine nor is ever given up.
    """
    if recent_starts <= 0:
        return 0.0
    # The exponent is bounded before it is used: 2**1000 is not a float.
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(recent_starts - 1, 16))


def _backing_off(facts: Facts) -> bool:
    since = facts.seconds_since_start
    return since is not None and since < delay(facts.recent_starts)


def _remaining(facts: Facts) -> float:
    return delay(facts.recent_starts) - (facts.seconds_since_start or 0.0)


def _start(facts: Facts) -> Action:
    what = "is not there" if facts.state is State.ABSENT else f"failed{_said(facts)}"
    if facts.kind is Kind.CONNECTOR:
        return Action(Verb.START, f"the connector {what}; it continues from its stored offsets")
    if facts.checkpoint:
        return Action(
            Verb.START, f"the job {what}; it continues from {facts.checkpoint}", savepoint=facts.checkpoint
        )
    return Action(
        Verb.START,
        f"the job {what} and no checkpoint of it is retained; it starts a little before the group's "
        "committed offsets",
    )


def _said(facts: Facts) -> str:
    return f" ({facts.detail})" if facts.detail else ""


RULES: tuple[Rule, ...] = (
    Rule(
        "paused",
        lambda f: f.desired is Desired.PAUSED,
        lambda f: Action(Verb.NOTHING, "paused by the operator"),
    ),
    Rule(
        "start in progress",
        lambda f: f.start_in_progress,
        lambda f: Action(Verb.WAIT, "a start is already in progress"),
    ),
    Rule(
        "unreachable",
        lambda f: f.unreachable is not None,
        lambda f: Action(Verb.WAIT, f.unreachable or ""),
    ),
    Rule(
        "running",
        lambda f: f.state is State.RUNNING,
        lambda f: Action(Verb.NOTHING, "running"),
    ),
    Rule(
        "coming up",
        lambda f: f.state is State.STARTING,
        lambda f: Action(Verb.WAIT, f"the engine is bringing it up itself{_said(f)}"),
    ),
    Rule(
        "prerequisite missing",
        lambda f: f.missing is not None,
        lambda f: Action(Verb.WAIT, f.missing or ""),
    ),
    Rule(
        "backing off",
        _backing_off,
        lambda f: Action(
            Verb.WAIT,
            f"{f.recent_starts} start(s) in the last {CALM_SECONDS / 60:.0f} minutes did not last{_said(f)}; "
            f"next attempt in {_remaining(f):.0f} s",
        ),
    ),
    Rule(
        "connector failed",
        lambda f: f.kind is Kind.CONNECTOR and f.state is State.FAILED,
        lambda f: Action(Verb.RESTART, f"the connector or its task failed{_said(f)}"),
    ),
    Rule(
        "connector paused outside",
        lambda f: f.kind is Kind.CONNECTOR and f.state is State.PAUSED,
        lambda f: Action(Verb.RESTART, "paused in Connect although it should run; it is resumed"),
    ),
    Rule(
        "absent or failed",
        lambda f: f.state in (State.ABSENT, State.FAILED, State.PAUSED),
        _start,
    ),
)
"""The table. Every combination of facts is answered by exactly one rule, the first that applies."""


def rule_for(facts: Facts) -> Rule:
    """Return the rule that decides ``facts``."""
    return next(rule for rule in RULES if rule.applies(facts))


def decide(facts: Facts) -> Action:
    """Return what to do about the stream that ``facts`` describe."""
    return rule_for(facts).action(facts)
