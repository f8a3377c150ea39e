"""Settling: waiting until everything the source had committed at one point has arrived in every place.

Four waits, in the order of the way a change takes:

1. the connector's stored offset contains the source's GTID set of that point: its changes are in the topics;
2. every consumer group has committed the topics' end offsets of that moment: both Flink jobs have read them;
3. further checkpoints have completed since (the groups are committed when a checkpoint completes, but Paimon
   commits its snapshot just after that moment; after the next checkpoint it has);
4. Nessie shows the Iceberg metadata every table had at that moment, or a newer one.

A table that is stopped (``Contract.stopped``) is not waited for; whoever waits is told so.

The decision is a pure function of observed facts; only `observe` talks to engines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lakehouse_dagster.contract.contract import Contract, LakePath
from lakehouse_dagster.contract.position import file_number
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.connect import stored_offset
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.mysql import SourcePosition
from lakehouse_dagster.governance.hold import HoldStore, said
from lakehouse_dagster.proof.subject import LAKE_PLACES, PlaceName

#: Completed checkpoints to wait for after the groups have committed.
FURTHER_CHECKPOINTS = 2
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Facts:
    """What was seen at one moment.

    `missing_gtids` is what the connector's offset still lacks of the goal (None: there is no offset yet, or
    its initial snapshot goes on). `ends` are the topics' end offsets *read after* the connector's offset,
    `begins` their first kept ones, `committed` the offsets per consumer group. `checkpoints` is, per living
    job, its id and the id of its newest completed checkpoint (0: none yet). `lake` is the number of the
    newest Iceberg metadata of each table, `shown` the number Nessie shows (absent: none, or not one of ours).
    `held` says in words that publication is held back and why; it is asked only when Nessie shows less than
    there is (None: it is not, or was not asked).
    """

    missing_gtids: str | None
    ends: Mapping[Partition, int] = field(default_factory=dict)
    begins: Mapping[Partition, int] = field(default_factory=dict)
    committed: Mapping[str, Mapping[Partition, int]] = field(default_factory=dict)
    checkpoints: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    lake: Mapping[str, int] = field(default_factory=dict)
    shown: Mapping[str, int] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    """Tables of which Nessie shows what is not ours."""
    connector_state: str = "RUNNING"
    held: str | None = None
    visible: Mapping[str, int] = field(default_factory=dict)
    """By table, of those that not every commit makes visible to Iceberg readers: seconds until one does."""


@dataclass(frozen=True)
class Goal:
    """What is waited for; it becomes more concrete with every stage.

    `groups` maps each consumer group (which is also its job's name) to the topics it reads. `ends` is set
    when stage 1 is reached, `checkpoints` (job to its id and checkpoint id) when stage 2 is, `lake` (table
    to metadata number) when stage 3 is. `published` is False where stage 4 does not matter: it ends with 3.
    `foreign` tells that what is not ours counts as shown: whoever compares its rows finds out what it is.
    """

    groups: Mapping[str, tuple[str, ...]]
    ends: Mapping[Partition, int] | None = None
    checkpoints: Mapping[str, tuple[str, int]] | None = None
    lake: Mapping[str, int] | None = None
    published: bool = True
    foreign: bool = False


def advance(goal: Goal, facts: Facts) -> tuple[Goal, tuple[str, ...]]:
    """Take the goal as far as the facts allow; returns it and what is still waited for (empty: settled)."""
    if goal.ends is None:
        if facts.missing_gtids is None:
            return goal, (f"the connector ({facts.connector_state}) has not finished its initial snapshot",)
        if facts.missing_gtids:
            return goal, (f"the connector ({facts.connector_state}) has not read {facts.missing_gtids}",)
        goal = replace(goal, ends=dict(facts.ends))
    if goal.checkpoints is not None and goal.lake is None:
        moved = [j for j, (i, _) in goal.checkpoints.items() if facts.checkpoints.get(j, (i, 0))[0] != i]
        if moved:
            # Another run of the job counts its checkpoints by itself: see again what it has read.
            goal = replace(goal, checkpoints=None)
    if goal.checkpoints is None:
        waiting = _uncommitted(goal, facts)
        waiting += [f"job {job} is not running" for job in goal.groups if job not in facts.checkpoints]
        if waiting:
            return goal, tuple(waiting)
        targets = {
            job: (facts.checkpoints[job][0], facts.checkpoints[job][1] + FURTHER_CHECKPOINTS)
            for job in goal.groups
        }
        goal = replace(goal, checkpoints=targets)
    if goal.lake is None:
        waiting = []
        for job, (_, target) in (goal.checkpoints or {}).items():
            latest = facts.checkpoints[job][1] if job in facts.checkpoints else 0
            if latest < target:
                waiting.append(f"job {job} has to complete checkpoint {target} (now at {latest})")
        if waiting:
            return goal, tuple(waiting)
        goal = replace(goal, lake=dict(facts.lake) if goal.published else {})
    behind = _behind(goal.lake or {}, facts.shown)
    ignored = facts.foreign if goal.foreign else frozenset()
    waiting = [
        f"Nessie does not show the newest version of {table}{_policy(facts.visible.get(table))}"
        for table in behind
        if table not in ignored
    ]
    # First, because it is why.
    return goal, (facts.held, *waiting) if waiting and facts.held else tuple(waiting)


def _policy(seconds: int | None) -> str:
    return f", whose rows become visible up to {seconds} s after a commit" if seconds else ""


def allowance(contract: Contract) -> int:
    """Seconds that are waited on top, for the table whose rows become visible last."""
    return max((contract.visible_seconds(table.name) for table in contract.flowing), default=0)


def _behind(lake: Mapping[str, int], shown: Mapping[str, int]) -> list[str]:
    return [table for table, number in lake.items() if shown.get(table, -1) < number]


def _held(contract: Contract, clients: Clients) -> str | None:
    try:
        hold = HoldStore(clients.postgres).blocked(contract.name)
    except EngineError as error:
        return f"whether publication is held back is not known: {error}"
    return None if hold is None else said(hold)


def _uncommitted(goal: Goal, facts: Facts) -> list[str]:
    waiting = []
    for group, topics in goal.groups.items():
        done = facts.committed.get(group, {})
        for partition, end in sorted((goal.ends or {}).items()):
            if partition.topic not in topics:
                continue
            # A partition that never held a record is never committed.
            at = done.get(partition, facts.begins.get(partition, 0))
            if at < end:
                waiting.append(f"{group} has {end - at} records of {partition.topic} to commit")
    return waiting


def goal(contract: Contract) -> Goal:
    """The goal of a pipeline: its two jobs and the topics each reads. Stopped tables belong to none."""
    lake = tuple(contract.topic(table.name) for table in contract.flowing)
    served = {view.table for view in contract.flowing_views}
    serving = tuple(contract.topic(table.name) for table in contract.flowing if table.name in served)
    groups = {contract.lake_job: lake, contract.serving_job: serving}
    return Goal({job: topics for job, topics in groups.items() if topics})


def stopped_tables(contract: Contract) -> tuple[str, ...]:
    """One line for each table that is not waited for because it is stopped."""
    return tuple(f"{table} is stopped and not waited for: {why}" for table, why in contract.stopped.items())


def observe(contract: Contract, clients: Clients, gtids: str) -> Facts:
    """Look at every engine of the way once, in the order of the way.

    The order matters: the topics' ends are read after the connector's offset, so they cover it.
    """
    status = clients.connect.status(contract.connector_name)
    missing = _missing(contract, clients, gtids)
    topics = [contract.topic(table.name) for table in contract.flowing]
    ends, begins = clients.kafka.end_offsets(topics), clients.kafka.begin_offsets(topics)
    groups = goal(contract).groups
    committed = {group: clients.kafka.committed(group) for group in groups}
    checkpoints = {}
    for job_name in groups:
        job = clients.flink.find(job_name)
        if job is not None and job.alive:
            checkpoints[job_name] = (job.id, clients.flink.checkpoints(job.id).latest_id or 0)
    lake, shown, foreign = published(contract, clients)
    visible = contract.visible_seconds
    return Facts(
        missing_gtids=missing,
        ends=ends,
        begins=begins,
        committed=committed,
        checkpoints=checkpoints,
        lake=lake,
        shown=shown,
        foreign=frozenset(foreign),
        connector_state=status.state if status else "not there",
        held=_held(contract, clients) if _behind(lake, shown) else None,
        visible={table.name: seconds for table in contract.flowing if (seconds := visible(table.name))},
    )


def published(contract: Contract, clients: Clients) -> tuple[dict[str, int], dict[str, int], set[str]]:
    """Numbers of each table's Iceberg metadata: the newest in the lake, and the one Nessie's main shows.

    Of a table that not every commit makes visible, Nessie counts as showing a version only if readers get all
    that the lake had then. A table that has none, or that Nessie shows at a place of somebody else's, is
    absent; the latter are given by name. So is one that is stopped.
    """
    foreign: set[str] = set()
    lake: dict[str, int] = {}
    shown: dict[str, int] = {}
    paths = {table.name: contract.lake_path(table.name) for table in contract.flowing}
    for table, path in paths.items():
        version = clients.paimon.iceberg_version(path.database, path.table)
        if version is not None:
            lake[table] = version
    held = clients.nessie.get_tables([tuple(path) for path in paths.values()], clients.nessie.get_reference())
    for table, path in paths.items():
        content = held.get(tuple(path))
        if content is None:
            continue
        prefix = f"{clients.paimon.location(path.database, path.table)}/metadata/v"
        number = content.metadata_location.removeprefix(prefix).removesuffix(".metadata.json")
        if number.isdigit():
            if contract.visible_seconds(table) == 0 or _all_visible(clients, path, int(number)):
                shown[table] = int(number)
        else:
            foreign.add(table)
    return lake, shown, foreign


def _all_visible(clients: Clients, path: LakePath, number: int) -> bool:
    state = clients.paimon.iceberg_at(path.database, path.table, number)
    try:
        return state is not None and clients.paimon.complete(path.database, path.table, state)
    except EngineUnavailable:
        raise
    except EngineError:
        return False  # its manifests have just expired: there is a newer one


def place_goal(contract: Contract, place: PlaceName) -> Goal:
    """The goal of one place alone: the job that writes it, and for Trino the publication too."""
    groups = goal(contract).groups
    job = contract.lake_job if place in LAKE_PLACES else contract.serving_job
    # A job of which all tables are stopped is not waited for.
    return Goal({job: groups[job]} if job in groups else {}, published=place == "trino", foreign=True)


def wait_each(
    contract: Contract,
    clients: Clients,
    gtids: str,
    places: Iterable[PlaceName],
    *,
    timeout: float,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[PlaceName, tuple[str, ...]]]:
    """Give each place as soon as everything of the GTID set has arrived in it, with an empty tuple.

    A place where it has not after `timeout` seconds of waiting (what the caller does with a place that was
    given does not count) comes last, with what is still missing. The source may go on being written: what is
    waited for was fixed when the connector had read the GTID set. EngineError when an engine cannot be asked.
    """
    deadline = time.monotonic() + timeout + allowance(contract)
    for line in stopped_tables(contract):
        report(line)
    goals = {place: place_goal(contract, place) for place in places}
    told: tuple[str, ...] = ()
    while goals:
        facts = observe(contract, clients, gtids)
        late = time.monotonic() >= deadline
        open_: dict[PlaceName, tuple[str, ...]] = {}
        arrived = []
        for place, target in goals.items():
            goals[place], waiting = advance(target, facts)
            if waiting:
                open_[place] = waiting
            else:
                arrived.append(place)
        for place in arrived:
            del goals[place]
            reading = time.monotonic()
            yield place, ()
            deadline += time.monotonic() - reading
        if late and not arrived:
            yield from open_.items()
            return
        waiting = tuple(dict.fromkeys(line for lines in open_.values() for line in lines))
        if waiting and waiting != told:
            told = waiting
            report("; ".join(waiting))
        if goals and not arrived:
            time.sleep(POLL_SECONDS)


def settle(
    contract: Contract,
    clients: Clients,
    gtids: str,
    *,
    timeout: float,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Wait until everything of the GTID set has arrived everywhere, but for tables that are stopped.

    Returns what is still missing after `timeout` seconds (and `allowance`): an empty tuple means settled.
    `report` gets one line whenever what is waited for changes. EngineError when an engine cannot be asked.
    """
    deadline = time.monotonic() + timeout + allowance(contract)
    for line in stopped_tables(contract):
        report(line)
    target = goal(contract)
    told: tuple[str, ...] = ()
    while True:
        target, waiting = advance(target, observe(contract, clients, gtids))
        if not waiting:
            return ()
        if waiting != told:
            told = waiting
            report("; ".join(waiting))
        if time.monotonic() >= deadline:
            return waiting
        time.sleep(POLL_SECONDS)


def _missing(contract: Contract, clients: Clients, gtids: str) -> str | None:
    offsets = clients.connect.offsets(contract.connector_name)
    if not offsets:
        return None
    offset = stored_offset(offsets)
    # A re-snapshot of single tables (INCREMENTAL) goes on beside the stream and holds nothing up.
    snapshotting = str(offset.get("snapshot", "false")).lower() not in {"false", "none", "incremental"}
    if snapshotting and not offset.get("snapshot_completed"):
        return None
    held = offset.get("gtids")
    if not isinstance(held, str):
        raise EngineError(
            "connect",
            f"the offset of {contract.connector_name} has no GTID set; is gtid-mode=ON in the source?",
        )
    missing = clients.reading.mysql.missing_gtids(held, gtids)
    if missing and at_the_end(offset, clients.reading.mysql.position()):
        # A DDL ends no transaction, so the offset has its GTID only with the next one: perhaps never.
        return ""
    return missing


def at_the_end(offset: Mapping[str, Any], position: SourcePosition) -> bool:
    """Whether a connector's offset is at the end of the binary log, so that nothing is left to read."""
    file, pos = offset.get("file"), offset.get("pos")
    if not isinstance(file, str) or not isinstance(pos, int):
        return False
    return (file_number(file), pos) >= (file_number(position.file), position.pos)
