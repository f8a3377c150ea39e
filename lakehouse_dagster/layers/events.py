"""News as Dagster events: one materialization per asset, with what the UI shows about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from lakehouse_dagster.contract.position import decode
from lakehouse_dagster.governance.decision import PREFIX
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.observe import LakeNews, PublicationNews, TopicNews, ViewNews
from lakehouse_dagster.layers.recorded import MARK

DATA_VERSION = "dagster/data_version"
SHOWN_COMMITS = 20

AssetEvent = dg.AssetMaterialization | dg.AssetObservation


def lake_event(pipeline: str, news: LakeNews) -> dg.AssetMaterialization:
    """Report the snapshots of one lake table."""
    status = news.status
    metadata: dict[str, Any] = {
        "first_snapshot": news.first_id,
        "last_snapshot": news.last_id,
        "snapshots": news.count,
        "committed_at": dg.MetadataValue.timestamp(status.committed_ms / 1000),
        "rows_written": status.appended,
        "dagster/row_count": status.rows,
        "bytes": status.bytes,
        "readable_snapshot": status.readable_id,
        "source_position": status.position,
        "source_position_text": None if status.position is None else position_text(status.position),
        "event_time": None if status.event_ms is None else dg.MetadataValue.timestamp(status.event_ms / 1000),
        "freshness_seconds": news.freshness_seconds,
        "restarted": True if news.restarted else None,
        MARK: _mark(news),
    }
    said = f"snapshot {news.first_id}" if news.count == 1 else f"snapshots {news.first_id} to {news.last_id}"
    if news.restarted:
        said += "; the table was dropped and created again since the last report"
    return dg.AssetMaterialization(
        keys.lake(pipeline, news.table),
        description=said,
        metadata=_known(metadata),
        tags={DATA_VERSION: f"{news.last_id}-{status.committed_ms}"},
    )


def publication_event(pipeline: str, news: PublicationNews) -> dg.AssetMaterialization:
    """Report the publications since the last report."""
    newest = news.newest
    metadata: dict[str, Any] = {
        "nessie_hash": newest.hash,
        "commits": len(news.commits),
        "committed_at": newest.committed_at or None,
        "message": newest.message,
        "tables": dg.MetadataValue.md(_published_tables(newest.properties)),
        "requested_by": newest.properties.get(f"{PREFIX}.requested-by"),
        "checks": newest.properties.get(f"{PREFIX}.checks"),
        "checks_waived": newest.properties.get(f"{PREFIX}.checks-waived"),
        "history": dg.MetadataValue.md(
            "\n".join(
                f"- `{commit.hash[:12]}` {commit.committed_at} {commit.message}"
                for commit in reversed(news.commits[-SHOWN_COMMITS:])
            )
        ),
        "gap": True if news.gap else None,
        MARK: _mark(news),
    }
    said = f"{len(news.commits)} commit(s) up to {newest.hash[:12]}"
    if news.gap:
        said += "; the commit reported last is no longer in the branch's recent history"
    return dg.AssetMaterialization(
        keys.publication(pipeline),
        description=said,
        metadata=_known(metadata),
        tags={DATA_VERSION: newest.hash},
    )


def topic_event(pipeline: str, topic: str, news: TopicNews) -> AssetEvent:
    """Report the messages of one topic; without messages (its readers caught up) it is an observation."""
    metadata = {**_ranges(news.ranges), "messages": news.messages, "topic": topic}
    metadata |= {f"lag_{reader}": lag for reader, lag in news.status.lags.items()}
    metadata["end_offset"] = sum(news.status.ends.values())
    metadata[MARK] = _mark(news)
    if news.restarted:
        metadata["restarted"] = True
    key = keys.topic(pipeline, news.table)
    if not news.messages and not news.restarted:
        return dg.AssetObservation(key, description="all readers have caught up", metadata=metadata)
    said = f"{news.messages} message(s)"
    if news.restarted:
        said += "; the topic was deleted and created again since the last report"
    return dg.AssetMaterialization(
        key, description=said, metadata=metadata, tags={DATA_VERSION: _version(news.status.ends)}
    )


def view_event(pipeline: str, news: ViewNews) -> dg.AssetMaterialization:
    """Report what was applied to one view."""
    metadata: dict[str, Any] = {
        **_ranges(news.ranges),
        "messages": news.messages,
        "lag": news.status.lag,
        "dagster/row_count": news.status.documents,
        "restarted": True if news.restarted else None,
        MARK: _mark(news),
    }
    return dg.AssetMaterialization(
        keys.view(pipeline, news.view),
        description=f"{news.messages} change(s) applied",
        metadata=_known(metadata),
        tags={DATA_VERSION: _version(news.status.applied)},
    )


def position_text(position: int) -> str:
    """Return an encoded source position in words; the byte is exact to the 16-byte unit it is stored in."""
    place = decode(position)
    epoch = f"epoch {place.epoch}, " if place.epoch else ""
    return f"{epoch}binlog file {place.file_number}, byte {place.pos}, row {place.row}"


def _published_tables(properties: Mapping[str, str]) -> str:
    """Return what readers see of each table, from the commit's properties, as a Markdown table."""
    facts: dict[str, dict[str, str]] = {}
    for name, value in properties.items():
        if name.startswith(f"{PREFIX}.table."):
            table, _, fact = name.removeprefix(f"{PREFIX}.table.").rpartition(".")
            facts.setdefault(table, {})[fact] = value
    columns = ("paimon-snapshot", "position", "committed-at", "rows")
    lines = [f"| table | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {table} | {' | '.join(told.get(column, '') for column in columns)} |"
        for table, told in sorted(facts.items())
    ]
    return "\n".join(lines)


def _ranges(ranges: Mapping[int, tuple[int, int]]) -> dict[str, Any]:
    if len(ranges) == 1:
        [(start, end)] = ranges.values()
        return {"first_offset": start, "last_offset": end - 1}
    if not ranges:
        return {}
    return {
        "offsets": dg.MetadataValue.json({str(p): [start, end - 1] for p, (start, end) in ranges.items()})
    }


def _version(offsets: Mapping[int, int]) -> str:
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(offsets.items()))


def _mark(news: LakeNews | PublicationNews | TopicNews | ViewNews) -> dg.JsonMetadataValue:
    """Return what a later tick brings its cursor forward by, should this tick's be lost."""
    return dg.MetadataValue.json(news.mark.as_mark())


def _known(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if value is not None}
