"""What an operator can ask for, told as done or not done: the same for jobs and the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.streams.assets import CONNECTOR, Stream
from lakehouse_dagster.streams.decision import Action, State, Verb
from lakehouse_dagster.streams.memory import Event, EventKind

# The modules that act bring the clients of the engines, which loading definitions must not need.
if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients
    from lakehouse_dagster.streams.act import Outcome, RewindTarget
    from lakehouse_dagster.streams.repair import Repair
    from lakehouse_dagster.streams.resnapshot import Resnapshot

Log = Callable[[str], None]


class NotDone(Exception):  # noqa: N818 - a state of affairs, told to the operator
    """What was asked for was not done; the text says why and what happens next."""


@dataclass(frozen=True)
class Operator:
    """Someone who asks for things: with which clients, under which name, and where progress is told."""

    contract: Contract
    clients: Clients
    actor: str
    log: Log

    def reconcile(self, stream: Stream, *, savepoint: str | None = None) -> Outcome:
        """Bring ``stream`` to its declared state; waiting is an answer too."""
        from lakehouse_dagster.streams import act

        return _up(
            stream,
            act.reconcile(
                self.contract, stream, self.clients, log=self.log, actor=self.actor, savepoint=savepoint
            ),
        )

    def pause(self, stream: Stream, reason: str = "") -> Outcome:
        """Stop ``stream`` with a savepoint and keep it stopped."""
        from lakehouse_dagster.streams import act

        done = act.pause(self.contract, stream, self.clients, log=self.log, actor=self.actor, reason=reason)
        if done.action.verb not in (Verb.STOP, Verb.NOTHING):
            raise NotDone(
                f"{stream.engine_name} is declared paused, but that could not be carried out yet: "
                f"{done.action.reason}; the sensor does it as soon as it can"
            )
        return done

    def resume(self, stream: Stream) -> Outcome:
        """Run ``stream`` again."""
        from lakehouse_dagster.streams import act

        done = act.resume(self.contract, stream, self.clients, log=self.log, actor=self.actor)
        if not (done.action.acts or done.action.verb is Verb.NOTHING or _alive(done.state)):
            raise NotDone(_declared_running(stream, done.action))
        return _up(stream, done)

    def upgrade(self, stream: Stream) -> Outcome:
        """Stop ``stream`` with a savepoint and start its present specification."""
        from lakehouse_dagster.streams import act

        done = act.upgrade(self.contract, stream, self.clients, log=self.log, actor=self.actor)
        if not done.action.acts:
            raise NotDone(f"{stream.engine_name} was not upgraded: {done.action.reason}")
        return _up(stream, done)

    def rewind(self, stream: Stream, target: RewindTarget) -> Outcome:
        """Let ``stream`` read again from ``target`` on; raises ``ValueError`` for a target that is none."""
        from lakehouse_dagster.streams import act

        done = act.rewind(self.contract, stream, self.clients, target, log=self.log, actor=self.actor)
        if not done.action.acts:
            raise NotDone(f"{stream.engine_name} was not rewound: {done.action.reason}")
        return done

    def resnapshot(self, tables: Sequence[str], condition: str | None = None) -> Resnapshot:
        """Read ``tables`` from the source again, and write it into the history."""
        from lakehouse_dagster.streams.resnapshot import resnapshot
        from lakehouse_dagster.streams.store import StreamStore

        where = f" where {condition}" if condition else ""
        asked = f"{', '.join(tables)}{where}"
        store = StreamStore(self.clients.postgres)

        def record(said: str, ok: bool) -> None:
            store.record(
                Event(
                    self.contract.name,
                    CONNECTOR,
                    EventKind.RESNAPSHOT,
                    reason=said,
                    actor=self.actor,
                    ok=ok,
                )
            )

        try:
            done = resnapshot(self.contract, self.clients, tables, condition=condition, log=self.log)
        except EngineError as error:
            record(f"{asked}: {error}", ok=False)
            raise
        record(f"{asked}: {done.rows:,} row(s) in {done.seconds:.0f} s", ok=True)
        return done

    def repair(self, tables: Sequence[str] = ()) -> Repair:
        """Make up for lost changes of ``tables`` (none: of all that lack any), and prove it."""
        from lakehouse_dagster.streams.repair import repair
        from lakehouse_dagster.streams.store import StreamStore

        return repair(
            self.contract,
            self.clients,
            StreamStore(self.clients.postgres),
            tables=list(tables) or None,
            log=self.log,
            actor=self.actor,
        )


def rewind_target(*, time: datetime | None = None, offsets: Mapping[str, int] | None = None) -> RewindTarget:
    """Return where to go back to: a time, offsets, or else the earliest records there are."""
    from lakehouse_dagster.streams.act import AtOffsets, AtTime, Earliest

    if time is not None:
        return AtTime(time)
    if offsets:
        return AtOffsets(dict(offsets))
    return Earliest()


def told(outcome: Outcome) -> str:
    """Return what was done to a stream in one line."""
    where = f" from {outcome.checkpoint}" if outcome.checkpoint else ""
    what = f"{outcome.action.verb.value.replace('_', ' ')}{where}, now {outcome.state}"
    detail = f" ({outcome.detail})" if outcome.detail else ""
    return f"{what}{detail} after {outcome.seconds:.1f} s: {outcome.action.reason}"


def _up(stream: Stream, done: Outcome) -> Outcome:
    """Return ``done``; raises ``NotDone`` when the stream was started and did not come up."""
    if done.action.verb in (Verb.START, Verb.RESTART, Verb.UPGRADE) and not _alive(done.state):
        raise NotDone(f"{stream.engine_name} was started and is {done.state}: {done.detail}")
    return done


def _alive(state: str) -> bool:
    return state in {one.value for one in State if one.alive}


def _declared_running(stream: Stream, action: Action) -> str:
    later = "a person has to act first" if action.verb is Verb.HALT else "the sensor starts it when it can"
    return f"{stream.engine_name} is declared running, but does not run yet: {action.reason}; {later}"
