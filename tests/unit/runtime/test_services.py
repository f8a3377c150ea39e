from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from lakehouse_dagster.runtime import services
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.ports import DEFAULT_PORTS
from lakehouse_dagster.runtime.secrets import Secrets
from lakehouse_dagster.runtime.services.base import Instance, Rendering, quoted
from lakehouse_dagster.runtime.services.control import code_digest
from lakehouse_dagster.runtime.settings import PROJECT, Settings


def instance(tmp_path: Path, project: Path | None = None) -> Instance:
    settings = Settings(project=project or PROJECT, home=tmp_path / "home", data=tmp_path / "data")
    settings.run.mkdir(parents=True)
    return Instance(settings, Secrets())


def test_every_dependency_exists_and_every_port_is_known() -> None:
    used = [port for service in services.SERVICES.values() for port in service.ports]
    assert sorted(used) == sorted(DEFAULT_PORTS)
    for name, service in services.SERVICES.items():
        assert service.name == name
        assert set(service.depends) <= set(services.SERVICES)


def test_closure_brings_dependencies_first() -> None:
    order = services.closure(["trino"])
    assert set(order) == {"postgres", "minio", "nessie", "trino"}
    assert order.index("nessie") > max(order.index("postgres"), order.index("minio"))
    assert order[-1] == "trino"
    assert set(services.closure(())) == set(services.SERVICES)


def test_dependants_go_first_when_stopping() -> None:
    order = services.dependants(["minio"])
    assert set(order) == {"minio", "nessie", "flink-jobmanager", "flink-taskmanager", "trino", "publisher"}
    assert order[-1] == "minio"
    assert order.index("flink-taskmanager") < order.index("flink-jobmanager")
    assert order.index("trino") < order.index("nessie")
    everything = services.dependants(())
    for name, service in services.SERVICES.items():
        assert all(everything.index(name) < everything.index(item) for item in service.depends)


@pytest.mark.parametrize("choose", [services.closure, services.dependants])
def test_unknown_service_is_named_with_the_known_ones(choose: object) -> None:
    with pytest.raises(RuntimeFailure, match="'mysqld'") as failure:
        choose(["mysqld"])  # type: ignore[operator]
    assert "mysql" in failure.value.fix
    with pytest.raises(RuntimeFailure, match="Compose"):
        choose(["doris"])  # type: ignore[operator]


def test_graph_is_limited_to_the_chosen() -> None:
    assert services.graph(["nessie", "minio"]) == {"nessie": ("minio",), "minio": ()}


def test_rendering_writes_private_files_and_a_digest_of_their_content(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "compose" / "x").mkdir(parents=True)
    template = project / "compose" / "x" / "a.conf"
    template.write_text("password=${PASSWORD} cost=$$5 reference=$${env:NAME}\n")
    made = Rendering(instance(tmp_path, project), "x")
    path = made.file("x/a.conf", "sub/a.conf", {"PASSWORD": "s$ecret${X}"})
    assert path == tmp_path / "data" / "run" / "x" / "sub" / "a.conf"
    assert path.read_text() == "password=s$ecret${X} cost=$5 reference=${env:NAME}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def digest(password: str) -> str:
        again = Rendering(made.instance, "x")
        again.file("x/a.conf", "sub/a.conf", {"PASSWORD": password})
        return again.digest

    assert digest("s$ecret${X}") == made.digest
    assert digest("other") != made.digest


@pytest.mark.parametrize(("text", "named"), [("${UNKNOWN}", "UNKNOWN"), ("cost $5", "line 1")])
def test_bad_template_names_file_and_place(tmp_path: Path, text: str, named: str) -> None:
    project = tmp_path / "project"
    (project / "compose" / "x").mkdir(parents=True)
    (project / "compose" / "x" / "a.conf").write_text(text)
    with pytest.raises(RuntimeFailure, match=r"compose/x/a\.conf") as failure:
        Rendering(instance(tmp_path, project), "x").file("x/a.conf", "a.conf")
    assert named in failure.value.problem
    assert "$$" in failure.value.fix


def test_quoted_survives_json_and_yaml() -> None:
    import json

    text = 'a "quoted" \\ path: {x} # é'
    assert json.loads(quoted(text)) == text
    assert yaml.safe_load(f"key: {quoted(text)}") == {"key": text}


def test_no_configuration_template_names_a_password_or_opens_an_address() -> None:
    templates = [path for path in (PROJECT / "compose").rglob("*") if path.is_file()]
    assert len(templates) > 10
    for path in templates:
        if path.name == "compose.yaml":
            continue
        assert "0.0.0.0" not in path.read_text(encoding="utf-8"), path


def test_the_connect_worker_serves_what_debezium_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Instance, "engine", lambda self, name: tmp_path / name)
    monkeypatch.setattr(Instance, "java17", lambda self: "java")
    made = instance(tmp_path)
    command = services.SERVICES["connect"].program(Rendering(made, "connect")).command
    (agent,) = (part for part in command if part.startswith("-javaagent:"))
    jar, _, options = agent.removeprefix("-javaagent:").partition("=")
    assert jar == f"{tmp_path / 'kafka'}/agents/jmx_prometheus_javaagent.jar"
    host, port, config = options.split(":")
    assert (host, int(port)) == ("127.0.0.1", made.settings.port("connect-metrics"))
    assert made.endpoints.connect.metrics_url == f"http://{host}:{port}/metrics"
    labels = yaml.safe_load(Path(config).read_text())["rules"][0]["labels"]
    assert labels == {"server": "$1", "attribute": "$2"}


def test_changed_code_or_contracts_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "act.py").write_text("one\n")
    (tmp_path / "defs.yaml").write_text("name: one\n")
    before = code_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("nobody loads this\n")
    assert code_digest(tmp_path) == before
    (tmp_path / "defs.yaml").write_text("name: two\n")
    changed = code_digest(tmp_path)
    (tmp_path / "streams" / "act.py").rename(tmp_path / "act.py")
    assert len({before, changed, code_digest(tmp_path)}) == 3
