"""The Doris client against a scripted double of a frontend; tests/engine/test_doris.py is for a real one."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.engines.doris import DorisClient, setup_values
from lakehouse_dagster.engines.endpoints import DorisEndpoint, Endpoints
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.render import doris
from lakehouse_dagster.runtime.endpoints import build_endpoints
from lakehouse_dagster.runtime.secrets import Secrets
from lakehouse_dagster.runtime.settings import Settings
from tests.doris_double import PASSWORD, DorisDouble, Error, Gone, Slow, Views, raises, task_row

MART = "delay_by_carrier_hour"


@pytest.fixture(scope="module")
def contract() -> Contract:
    loaded = load_contract(DEFS_ROOT / "flights")
    return with_doris(loaded)


def with_doris(contract: Contract) -> Contract:
    marts = tuple(mart.model_copy(update={"engines": ("trino", "doris")}) for mart in contract.marts)
    return dataclasses.replace(contract, marts=marts)


@pytest.fixture(scope="module")
def mart(contract: Contract) -> doris.DorisMart:
    return doris.view(contract, MART)


@pytest.fixture
def views() -> Views:
    return Views(rows={MART: 7})


@pytest.fixture
def double(views: Views) -> Iterator[DorisDouble]:
    with DorisDouble(views).serving() as served:
        yield served


def client(double: DorisDouble, **changes: object) -> DorisClient:
    endpoint = DorisEndpoint(host="127.0.0.1", port=double.port, password=SecretStr(PASSWORD), replicas=3)
    settings: dict[str, object] = {"pause": 0.01, "timeout": 5.0, "deadline": 5.0, "grace": 1.0, **changes}
    return DorisClient(endpoint, **settings)  # type: ignore[arg-type]


def said(double: DorisDouble, part: str) -> list[str]:
    return [sql for sql in double.said if part in sql]


# --- connection ---------------------------------------------------------------------------------------------


def test_nobody_there_names_address_and_fix() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = DorisEndpoint(host="127.0.0.1", port=port)
    with DorisClient(endpoint, pause=0.01) as nobody, pytest.raises(EngineUnavailable) as caught:
        nobody.ping()
    assert caught.value.engine == "doris"
    assert str(port) in caught.value.address
    assert "LAKEHOUSE_DORIS_HOST" in str(caught.value)
    assert "Compose" in str(caught.value)


def test_a_wrong_password_is_said_and_not_tried_again(double: DorisDouble) -> None:
    double.password = "another"
    with client(double) as opened, pytest.raises(EngineError, match="Access denied") as caught:
        opened.ping()
    assert not isinstance(caught.value, EngineUnavailable)
    assert caught.value.status == 1045
    assert PASSWORD not in str(caught.value)


def test_a_refused_statement_carries_doris_message_and_is_not_tried_again(double: DorisDouble) -> None:
    double.answer = lambda sql: Error("errCode = 2, detailMessage = Unknown catalog lake_paimon", 1105)
    with client(double) as opened, pytest.raises(EngineError, match="Unknown catalog lake_paimon") as caught:
        opened.execute("REFRESH CATALOG `lake_paimon`")
    assert not isinstance(caught.value, EngineUnavailable)
    assert len(double.said) == 1


@pytest.mark.parametrize(
    "moment",
    [
        raises(Gone()),
        lambda: Error("errCode = 2, detailMessage = Node catalog is not ready, please wait for a while."),
        lambda: Error("There is no scanNode Backend available.[10001: not alive]"),
        lambda: Error("this frontend is not master, the master is unknown"),
        lambda: Error("Too many connections", 1040),
    ],
)
def test_a_frontend_that_cannot_serve_for_a_moment_is_asked_again(
    moment: Callable[[], object], double: DorisDouble, views: Views
) -> None:
    views.breaks = [("SELECT 1", moment), ("SELECT 1", moment)]
    with client(double) as opened:
        opened.ping()
    assert len(double.said) == 3


def test_it_gives_up_after_its_attempts(double: DorisDouble) -> None:
    double.answer = lambda sql: Error("catalog is not ready")
    with client(double, attempts=3) as opened, pytest.raises(EngineUnavailable, match="not ready"):
        opened.ping()
    assert len(double.said) == 3


def test_one_that_does_not_answer_in_time_is_given_up(double: DorisDouble) -> None:
    double.answer = lambda sql: Slow(2.0)
    with (
        client(double, timeout=0.2, attempts=1) as opened,
        pytest.raises(EngineUnavailable, match="timed out"),
    ):
        opened.ping()


def test_the_client_is_usable_after_a_break(double: DorisDouble, views: Views) -> None:
    views.breaks = [("SELECT 1", raises(Gone()))]
    with client(double, attempts=1) as opened:
        with pytest.raises(EngineUnavailable):
            opened.ping()
        opened.ping()


# --- refreshes ----------------------------------------------------------------------------------------------


def test_a_refresh_looks_at_the_lake_first_and_waits_for_its_task(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create
    with client(double) as opened:
        done = opened.refresh_mart(mart)
    assert done.rows == 7
    assert done.task.status == "SUCCESS"
    assert done.task.seconds == 1.234
    order = [sql for sql in double.said if sql.startswith("REFRESH")]
    assert order == [*mart.refresh_sources, mart.refresh]
    assert len(said(double, "FROM tasks(")) >= 4


def test_the_success_of_an_earlier_task_is_not_taken_for_ours(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create
    views.tasks[MART] = [{"number": 1, "states": ["SUCCESS"]}, {"number": 2, "states": ["SUCCESS"]}]
    views.lives = lambda number: ("RUNNING", "FAILED")
    with client(double) as opened, pytest.raises(EngineError, match="memory exceeded") as caught:
        opened.refresh_mart(mart)
    assert "task 1001" in str(caught.value)


def test_a_task_that_was_running_already_is_not_taken_for_ours(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create
    views.tasks[MART] = [{"number": 5, "states": ["RUNNING", "RUNNING", "SUCCESS"]}]
    with client(double) as opened:
        assert opened.refresh_mart(mart).task.id == "1001"


def test_a_task_that_appears_late_is_waited_for(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create
    views.lives = lambda number: ("GONE", "GONE", "GONE", "PENDING", "SUCCESS")
    with client(double) as opened:
        assert opened.refresh_mart(mart).task.id == "1001"


@pytest.mark.parametrize(
    ("life", "message"),
    [
        (("PENDING", "RUNNING", "FAILED"), "FAILED: errCode = 2, detailMessage = memory exceeded"),
        (("RUNNING", "CANCELED"), "CANCELED: no reason told"),
        (("RUNNING", "GONE"), "vanished"),
        (("GONE",), "shows no task"),
        (("PENDING",), r"is PENDING \(no progress told\) after 0 s; it goes on"),
    ],
)
def test_what_is_no_success_is_an_error(
    life: tuple[str, ...], message: str, double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create
    views.lives = lambda number: life
    # Only the task that never ends waits for the deadline.
    deadline = 0.3 if life == ("PENDING",) else 30.0
    with client(double, grace=0.05, deadline=deadline) as opened, pytest.raises(EngineError, match=message):
        opened.refresh_mart(mart)
    assert said(double, "COUNT(*)") == []


def test_a_task_out_of_sight_for_a_moment_is_not_lost(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create
    views.lives = lambda number: ("RUNNING", "GONE", "GONE", "RUNNING", "SUCCESS")
    with client(double) as opened:
        assert opened.refresh_mart(mart).task.status == "SUCCESS"


def test_a_request_that_was_heard_is_not_made_twice(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create

    def heard() -> object:
        views.play(mart.refresh)
        raise Gone

    views.breaks = [(mart.refresh, heard)]
    with client(double) as opened:
        assert opened.refresh_mart(mart).task.id == "1001"
    assert len(said(double, mart.refresh)) == 1


def test_a_request_that_was_not_heard_is_made_again(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create
    views.breaks = [(mart.refresh, raises(Gone()))]
    with client(double) as opened:
        assert opened.refresh_mart(mart).task.id == "1001"
    assert len(said(double, mart.refresh)) == 2


def test_a_frontend_that_goes_away_while_a_task_runs_is_asked_again(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create
    with client(double) as opened:
        asked = iter(range(100))

        def third_look_breaks() -> object:
            if next(asked) == 2:
                raise Gone
            views.breaks.append(("FROM tasks(", third_look_breaks))
            return views.play(doris.tasks_query(mart.database, MART))

        views.breaks = [("FROM tasks(", third_look_breaks)]
        assert opened.refresh_mart(mart).task.status == "SUCCESS"


def test_texts_that_mean_nothing_are_empty(double: DorisDouble) -> None:
    double.answer = lambda sql: [task_row(4, "PENDING")]
    with client(double) as opened:
        (task,) = opened.tasks("flights_marts", MART)
    assert (task.finished, task.seconds, task.error, task.progress) == ("", None, "", "")


# --- definitions --------------------------------------------------------------------------------------------


def test_a_new_mart_is_created_a_known_one_left_alone(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    with client(double) as opened:
        assert opened.apply_mart(mart).did == "created"
        assert "'replication_num' = '3'" in views.views[MART]
        assert opened.apply_mart(mart).did == "unchanged"
    assert len(said(double, "CREATE MATERIALIZED VIEW IF")) == 1


def test_a_changed_mart_is_built_before_it_takes_the_old_ones_place(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create.replace(mart.fingerprint, "0" * 16)
    views.views[mart.view_next] = "left by an interrupted replacement"
    with client(double) as opened:
        applied = opened.apply_mart(mart)
        assert applied.did == "replaced"
        assert applied.refreshed is not None
        assert applied.refreshed.task.status == "SUCCESS"
        assert opened.fingerprint(mart.database, MART) == mart.fingerprint
    assert list(views.views) == [MART]
    assert views.built == {MART}


def test_a_changed_mart_that_cannot_be_built_leaves_the_old_one(
    double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    old = mart.create.replace(mart.fingerprint, "0" * 16)
    views.views[MART] = old
    views.lives = lambda number: ("FAILED",)
    with client(double) as opened:
        with pytest.raises(EngineError, match="memory exceeded"):
            opened.apply_mart(mart)
        assert views.views[MART] == old
        views.lives = lambda number: ("SUCCESS",)
        assert opened.apply_mart(mart).did == "replaced"


@pytest.mark.parametrize("heard", [True, False])
def test_a_replacement_whose_answer_is_lost_is_done_once(
    heard: bool, double: DorisDouble, views: Views, mart: doris.DorisMart
) -> None:
    views.views[MART] = mart.create.replace(mart.fingerprint, "0" * 16)

    def lost() -> object:
        if heard:
            views.play(mart.replace)
        raise Gone

    views.breaks = [("REPLACE WITH", lost)]
    with client(double) as opened:
        assert opened.apply_mart(mart).did == "replaced"
    assert list(views.views) == [MART]
    assert mart.fingerprint in views.views[MART]


def test_setup_fills_in_what_doris_reaches(double: DorisDouble, contract: Contract) -> None:
    endpoints = native_endpoints()
    with client(double) as opened:
        opened.endpoint = opened.endpoint.model_copy(
            update={
                "s3_endpoint": "http://minio:9000",
                "nessie_url": "http://nessie:19120",
                "reporter_password": SecretStr(r"it's \ a secret"),
            }
        )
        assert opened.apply_setup(doris.setup(contract), endpoints) == ()
    text = "\n".join(double.said)
    assert "'minio.endpoint' = 'http://minio:9000'" in text
    assert "'iceberg.rest.uri' = 'http://nessie:19120/iceberg/main'" in text
    assert endpoints.s3.secret_key.get_secret_value() in text
    assert r"IDENTIFIED BY 'it''s \\ a secret'" in text
    assert "${" not in text


def test_setup_without_a_reporters_password_leaves_the_user_out(
    double: DorisDouble, contract: Contract
) -> None:
    with client(double) as opened:
        left = opened.apply_setup(doris.setup(contract), native_endpoints())
    assert len(left) == 3
    assert all(doris.REPORTER in statement for statement in left)
    assert not any(doris.REPORTER in statement for statement in double.said)
    assert any("CREATE ROLE" in statement for statement in double.said)


def test_values_are_those_of_our_own_addresses_by_default() -> None:
    endpoints = native_endpoints()
    values = setup_values(DorisEndpoint(host="doris"), endpoints)
    assert values["S3_ENDPOINT"] == endpoints.s3.endpoint
    assert values["NESSIE_URL"] == endpoints.nessie.url
    assert values["PAIMON_WAREHOUSE"] == "s3://lake/paimon"


def native_endpoints() -> Endpoints:
    return build_endpoints(Settings.load({}), Secrets())
