"""The prober as a service: every pipeline with a probe, metrics on a port, one row per place and minute."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.loader import DEFS_ROOT, discover
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.proof.freshness import Minute
from lakehouse_dagster.proof.freshness_prober import Probing, Watcher
from lakehouse_dagster.proof.freshness_store import FreshnessStore

logger = logging.getLogger("lakehouse.prober")

MINUTE_SECONDS = 60.0
FIRST_MINUTE_SECONDS = 20.0
"""The first row is written sooner, so that somebody who has just started everything sees figures."""
STATE_SECONDS = 2.0
"""So often ages are told to the metrics, and what is late is counted."""
FORGET_EVERY = 60
"""So many minutes apart old rows are looked for."""
KEPT_ROWS = 10_000
"""Rows kept in memory while PostgreSQL is away (a day of seven places); the oldest go beyond."""
CONTRACTS_SECONDS = 30.0
"""So often wrong contracts are read again; right ones once, because `lakehouse up` restarts the process when
they change.
"""


def follow(
    endpoints: Callable[[], Endpoints],
    stop: threading.Event,
    watcher: Watcher,
    *,
    defs_root: Path = DEFS_ROOT,
) -> None:
    """Probe every pipeline below ``defs_root`` that names a probe, until ``stop`` is set."""
    contracts = _contracts(defs_root, stop)
    probings = [
        Probing(contract, endpoints, watcher=watcher)
        for contract in contracts
        if contract.pipeline.probe is not None
    ]
    names = ", ".join(probing.contract.name for probing in probings) or "none"
    logger.info("pipelines with a probe: %s", names)
    for probing in probings:
        probing.start()
    rows: deque[Minute] = deque(maxlen=KEPT_ROWS)
    store: FreshnessStore | None = None
    postgres: PostgresClient | None = None
    away = ""
    minutes = 0
    due = time.monotonic() + FIRST_MINUTE_SECONDS
    try:
        while not stop.wait(STATE_SECONDS):
            now = time.monotonic()
            for probing in probings:
                probing.ledger.look(now, time.time())
            if now < due:
                continue
            due = now + MINUTE_SECONDS
            for probing in probings:
                rows.extend(probing.ledger.minute(time.monotonic(), time.time()))
            try:
                if store is None:
                    postgres = PostgresClient(
                        endpoints().postgres, timeout=5.0, application="lakehouse prober"
                    )
                    store = FreshnessStore(postgres)
                _keep(store, rows)
                if minutes % FORGET_EVERY == 0:
                    store.forget()
                minutes += 1
                if away:
                    logger.info("the figures are stored again")
                away = ""
            except EngineError as error:
                if not away:
                    logger.warning("the figures wait to be stored: %s", error)
                away = str(error)
    finally:
        for probing in probings:
            probing.stop()
        if store is not None:
            try:
                for probing in probings:
                    rows.extend(probing.ledger.minute(time.monotonic(), time.time()))
                _keep(store, rows)
            except EngineError as error:
                logger.warning("the last figures are lost: %s", error)
        if postgres is not None:
            postgres.close()


def _keep(store: FreshnessStore, rows: deque[Minute]) -> None:
    """Store all rows, some at a time; those that could not be stored stay."""
    while rows:
        batch = [rows[at] for at in range(min(200, len(rows)))]
        store.add(batch)
        for _ in batch:
            rows.popleft()


def _contracts(defs_root: Path, stop: threading.Event) -> Iterable[Contract]:
    while not stop.is_set():
        try:
            return discover(defs_root)
        except ContractError as error:
            logger.error("%s", error)
            stop.wait(CONTRACTS_SECONDS)
    return []


def main() -> int:
    """Run until SIGTERM or SIGINT; addresses come from the native instance's settings."""
    # Only this program knows about the native runtime; the rest of the module takes endpoints as given.
    from lakehouse_dagster.proof.freshness_metrics import Metrics
    from lakehouse_dagster.runtime.endpoints import load_endpoints
    from lakehouse_dagster.runtime.settings import Settings

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout, force=True
    )
    for noisy in ("botocore", "boto3", "urllib3", "httpx", "httpcore", "kafka", "cassandra", "trino"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings.load()
    metrics = Metrics()
    metrics.serve(settings.host, settings.port("prober"))
    logger.info("prober started, metrics on %s/metrics", settings.url("prober"))
    follow(load_endpoints, stop, metrics)
    logger.info("prober stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
