"""Poison in a topic: nothing good is lost, the bad record is named, and it is replayed or dropped.

Ten thousand good changes go through MySQL while records that no connector would write lie among them in the
same topic. One is about a row that nothing else tells of: it is put into the source past the binary log, as
if its record had been the bad one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pymysql
import pytest

from lakehouse_dagster.engines.connect_metrics import read_counters
from lakehouse_dagster.engines.kafka_records import RecordWriter
from lakehouse_dagster.runtime.secrets import load_secrets
from lakehouse_dagster.runtime.settings import Settings
from tests.conftest import lakehouse
from tests.e2e.conftest import Flow, Verify

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

TABLE = "planes"
ROWS = 10_000
HIDDEN = "QHIDDEN"
"""A row that is in the source and in no binary log."""
GONE = "QGONE"
"""A row that was deleted before its bad record came."""


def until(question: Callable[[], bool], what: str, timeout: float = 180.0) -> None:
    deadline = time.monotonic() + timeout
    while not question():
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        time.sleep(1)


def execute_as_root(flow: Flow, *statements: str) -> None:
    """Run statements in one session that writes nothing into the binary log."""
    mysql = flow.clients.endpoints.mysql
    password = load_secrets(Settings.load().secrets_file).mysql_root.get_secret_value()
    with (
        closing(
            pymysql.connect(
                host=mysql.host, port=mysql.port, user="root", password=password, database=mysql.database,
                autocommit=True,
            )
        ) as root,
        closing(root.cursor()) as cursor,
    ):  # fmt: skip
        cursor.execute("SET SESSION sql_log_bin = 0")
        for statement in statements:
            cursor.execute(statement)


def write_raw(flow: Flow, key: bytes, *values: bytes) -> None:
    """Put records into the table's topic that the connector has not written."""
    with RecordWriter(flow.clients.endpoints.kafka) as writer:
        for value in values:
            writer.write(flow.contract.topic(TABLE), key, value)


def keyed(tailnum: str) -> bytes:
    return json.dumps({"tailnum": tailnum}).encode()


def bad_row(tailnum: str) -> bytes:
    """A record as the connector writes them, but for one column."""
    body = {"tailnum": tailnum, "year": "not a year", "__op": "c", "__deleted": "false"}
    source = {"file": "binlog.000001", "pos": 4, "row": 0, "gtid": None, "ts_us": 1_700_000_000_000_000}
    return json.dumps(body | {f"__source_{name}": value for name, value in source.items()}).encode()


def insert(flow: Flow, numbers: Sequence[int]) -> None:
    values = ", ".join(f"('Q{number:05}', 2013, 'Fixed wing', 'MAKER {number}')" for number in numbers)
    flow.clients.mysql.execute(f"INSERT INTO {TABLE} (tailnum, year, type, manufacturer) VALUES {values}")


def listed(*more: str) -> tuple[int, dict[str, Any]]:
    done = lakehouse("quarantine", "list", "flights", "--json", *more, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def differing(verify: Verify) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Missing, extra and different rows by table and place, where there are any."""
    _, results = verify()
    counts = {key: (one["missing"], one["extra"], one["different"]) for key, one in results.items()}
    return {key: found for key, found in counts.items() if any(found)}


CHECK = """
query ($key: AssetKeyInput!, $name: String!) {
  assetCheckExecutions(assetKey: $key, checkName: $name, limit: 1) { evaluation { success } }
}
"""


def check_passes(flow: Flow, table: str = TABLE) -> bool | None:
    """The newest result of `nothing_quarantined`; None when there is none."""
    key = {"path": ["flights", "lake", table]}
    found = flow.dagster.graphql(CHECK, {"key": key, "name": "nothing_quarantined"})["assetCheckExecutions"]
    return found[0]["evaluation"]["success"] if found and found[0]["evaluation"] else None


@pytest.fixture
def poisoned(flow: Flow) -> Iterator[Flow]:
    """The table with its good rows and the bad records among them; all of it is gone afterwards."""
    insert(flow, [99_999])
    flow.clients.mysql.execute(
        f"INSERT INTO {TABLE} (tailnum, manufacturer) VALUES (%s, 'soon gone')", (GONE,)
    )
    flow.clients.mysql.execute(f"DELETE FROM {TABLE} WHERE tailnum = %s", (GONE,))
    execute_as_root(flow, f"INSERT INTO {TABLE} (tailnum, manufacturer) VALUES ('{HIDDEN}', 'no record')")
    for start in range(0, ROWS, 500):
        insert(flow, range(start, start + 500))
        if start == ROWS // 2:
            write_raw(flow, keyed(HIDDEN), bad_row(HIDDEN))
    yield flow
    # With the binary log: by now the lake has the hidden row too.
    flow.clients.mysql.execute(f"DELETE FROM {TABLE} WHERE tailnum LIKE 'Q%%'")


def test_one_bad_record_among_ten_thousand_loses_no_good_one(poisoned: Flow, verify: Verify) -> None:
    flow = poisoned
    # --- the good ones are all there; only the row that nothing tells of is not
    assert differing(verify) == {(TABLE, "paimon"): (1, 0, 0), (TABLE, "trino"): (1, 0, 0)}
    in_lake = flow.clients.trino.scalar(f"SELECT count(*) FROM lake.flights.{TABLE} WHERE tailnum LIKE 'Q%'")
    assert in_lake == ROWS + 1
    jobs = {job.name: job.state for job in flow.clients.flink.jobs()}
    assert jobs["flights-lake"] == "RUNNING"

    # --- the bad one is named, here, in the lake, and by the check
    code, found = listed()
    assert (code, found["open"]) == (1, 1), found
    [bad] = found["records"]
    assert bad["topic"] == flow.contract.topic(TABLE)
    assert "year" in bad["reason"]
    until(lambda: check_passes(flow) is False, "the check to fail")
    assert check_passes(flow, "airlines") is not False
    path = flow.contract.quarantine_path
    row = flow.clients.trino.execute(
        'SELECT topic, "partition", "offset", reason, from_utf8(raw)'
        f' FROM lake.{path.database}."{path.table}" WHERE "offset" = {bad["offset"]}'
    ).rows
    assert [tuple(one[:4]) for one in row] == [(bad["topic"], 0, bad["offset"], bad["reason"])]
    assert "not a year" in row[0][4]

    # --- replayed, it is as the source has it
    assert lakehouse("quarantine", "replay", "flights", bad["id"], timeout=600).returncode == 0
    assert differing(verify) == {}
    assert listed()[0] == 0
    until(lambda: check_passes(flow) is True, "the check to pass")
    # --- and told once more, after a rewind say, it is the same record
    _, everything = listed("--all")
    assert [one["decision"]["verdict"] for one in everything["records"] if one["id"] == bad["id"]] == [
        "replayed"
    ]


def test_a_replay_brings_no_deleted_row_back(poisoned: Flow, verify: Verify) -> None:
    flow = poisoned
    lakehouse("quarantine", "replay", "flights", "--all", timeout=600)
    assert differing(verify) == {}
    write_raw(flow, keyed(GONE), bad_row(GONE))
    until(lambda: listed()[0] == 1, "the bad record to be listed")
    lakehouse("quarantine", "replay", "flights", "--table", TABLE, timeout=600)
    assert listed()[0] == 0
    assert differing(verify) == {}
    assert (
        flow.clients.trino.scalar(f"SELECT count(*) FROM lake.flights.{TABLE} WHERE tailnum = '{GONE}'") == 0
    )


@pytest.mark.slow
def test_what_tells_no_row_cannot_be_replayed_and_is_dropped(flow: Flow, verify: Verify) -> None:
    lakehouse("quarantine", "replay", "flights", "--all", timeout=600, check=False)
    assert differing(verify) == {}
    write_raw(flow, b"\xff\xfe", b"\x00\x1b[2Jbinary")
    until(lambda: listed()[0] == 1, "the bad record to be listed")
    [bad] = listed()[1]["records"]
    done = lakehouse("quarantine", "replay", "flights", bad["id"], timeout=600, check=False)
    assert done.returncode == 1
    assert "--repair" in done.stderr
    done = lakehouse("quarantine", "list", "flights", check=False)
    assert "\x1b" not in done.stdout
    until(lambda: check_passes(flow) is False, "the check to fail")
    lakehouse("quarantine", "drop", "flights", bad["id"], "--why", "a test of this instance")
    until(lambda: check_passes(flow) is True, "the check to pass")
    assert differing(verify) == {}


def test_a_repair_decides_about_what_tells_no_row(flow: Flow, verify: Verify) -> None:
    write_raw(flow, b"\xff\xfe", b"no row")
    until(lambda: listed()[0] == 1, "the bad record to be listed")
    lakehouse("quarantine", "replay", "flights", "--table", TABLE, "--repair", timeout=1200)
    assert listed()[0] == 0
    assert differing(verify) == {}


def test_what_the_connector_counts_is_served(flow: Flow) -> None:
    counters = read_counters(flow.clients.endpoints.connect.metrics_url)
    assert flow.contract.name in counters
    assert not counters[flow.contract.name].lost
