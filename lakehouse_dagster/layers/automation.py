"""When a mart is refreshed: by a cron expression, and usually only if the tables it reads had news."""

from __future__ import annotations

import dagster as dg


def refresh_on_news(cron: str, timezone: str = "UTC") -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition: a tick of ``cron`` passed, there is news since the last refresh, none runs now.

    * News is remembered until the asset is *materialized*, not until a refresh is requested: a failed
      refresh is tried again at the next tick of ``cron``, once per tick, and never in a tight loop.
    * News that arrives in the same evaluation as a refresh's end is kept. (``.since()`` alone would let the
      refresh win, and leave the mart stale for good when the stream then falls silent.) The price is one
      refresh too many at times.
    * A tick without news is remembered, so news after a quiet hour is not kept waiting for the next one.
    * A mart that was never built is built as soon as all it reads is there.
    """
    condition = dg.AutomationCondition
    arrived = condition.any_deps_updated()
    news = arrived.since(condition.newly_updated() & ~arrived).with_label("news since the last refresh")
    tick = (
        condition.cron_tick_passed(cron, timezone)
        .since(condition.newly_requested() | condition.newly_updated())
        .with_label(f"cron tick ({cron}) not yet used")
    )
    readable = (~condition.any_deps_missing()).with_label("everything it reads is there")
    first = (condition.missing() & readable).newly_true().with_label("can be built for the first time")
    due = (tick & (news | condition.missing())).with_label("due")
    return ((due | first) & readable & ~condition.in_progress()).with_label(
        f"refresh on news, at most by {cron}"
    )


def refresh_at_ticks(cron: str, timezone: str = "UTC") -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition: a tick of ``cron`` passed, news or not; none runs now, all it reads is there.

    A tick that passes while a refresh runs is used after its end. A mart that was never built is built as
    soon as all it reads is there.
    """
    condition = dg.AutomationCondition
    tick = condition.cron_tick_passed(cron, timezone).since(condition.newly_requested())
    readable = (~condition.any_deps_missing()).with_label("everything it reads is there")
    first = (condition.missing() & readable).newly_true().with_label("can be built for the first time")
    due = tick.with_label(f"cron tick ({cron}) not yet used")
    return ((due | first) & readable & ~condition.in_progress()).with_label(f"refresh by {cron}")
