from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lakehouse_dagster.runtime.bundles import Bundle, OwnJar, bundles, fingerprint, with_needs
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.installers import maven
from lakehouse_dagster.runtime.installers.context import Commands, Context
from lakehouse_dagster.runtime.installers.maven import matches_checksum, parse_listing, project_model
from lakehouse_dagster.runtime.provision import ENGINE_NAMES, install_bundle
from lakehouse_dagster.runtime.settings import PROJECT
from lakehouse_dagster.runtime.versions import Versions, load_versions


def changed(key: str, value: str) -> Versions:
    versions = load_versions()
    return Versions({**versions, key: value}, versions.path)


def test_every_bundle_is_an_engine_name() -> None:
    assert set(bundles(load_versions())) == set(ENGINE_NAMES)


def test_a_pin_changes_the_fingerprints_of_what_it_is_in_and_of_what_needs_that() -> None:
    before, after = bundles(load_versions()), bundles(changed("JDK25_VERSION", "25.9.9"))
    moved = {name for name in before if fingerprint(name, before) != fingerprint(name, after)}
    assert moved == {"jdk25", "nessie", "trino"}


def test_every_pin_is_used() -> None:
    """A pin that changes no fingerprint installs nothing: it would be a version that nobody obeys."""
    # Of the machine, of Maven itself, only there when the machine has no Go, or only in Docker Compose.
    elsewhere = {"POSTGRES_MAJOR", "JAVA17_MAJOR", "MAVEN_DEPENDENCY_PLUGIN_VERSION", "DORIS_VERSION"}
    before = bundles(load_versions())
    prints = {name: fingerprint(name, before) for name in before}
    for key in set(load_versions()) - elsewhere:
        after = bundles(changed(key, "0.0.1"))
        assert {name: fingerprint(name, after) for name in after} != prints, f"{key} is pinned and not used"


def test_sources_of_our_own_jar_are_part_of_its_fingerprint(tmp_path: Path) -> None:
    def bundle(version: str = "1") -> dict[str, Bundle]:
        return {"own": Bundle("own", "own", version, "maven", 1, (), inputs=("module",))}

    source = tmp_path / "module" / "src" / "main" / "A.java"
    source.parent.mkdir(parents=True)
    source.write_text("class A {}")
    (tmp_path / "module" / "pom.xml").write_text("<project/>")
    first = fingerprint("own", bundle(), tmp_path)
    built = tmp_path / "module" / "target" / "main" / "A.class"
    built.parent.mkdir(parents=True)
    built.write_text("built")
    assert fingerprint("own", bundle(), tmp_path) == first
    source.write_text("class A { }")
    assert fingerprint("own", bundle(), tmp_path) != first
    shutil.rmtree(tmp_path / "module")
    with pytest.raises(RuntimeFailure, match="module is missing"):
        fingerprint("own", bundle(), tmp_path)


def test_every_module_of_ours_is_an_input_of_what_it_is_built_into() -> None:
    """Otherwise a changed source would change no fingerprint, and the old jar would stay."""
    for bundle in bundles(load_versions()).values():
        for part in bundle.parts:
            if isinstance(part, OwnJar):
                assert part.folder in bundle.inputs
                pom = ElementTree.parse(PROJECT / part.folder / "pom.xml")
                name = pom.findtext("{http://maven.apache.org/POM/4.0.0}artifactId")
                assert part.jar == f"{name}.jar"


def test_the_plugin_is_built_into_debeziums_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It extends Debezium's classes, which the loader of that folder alone has."""
    kafka = bundles(load_versions())["kafka"]
    (plugin,) = (part for part in kafka.parts if isinstance(part, OwnJar))

    def build(context: Context, folder: Path, *arguments: str) -> None:
        del context
        assert "-Dmaven.test.skip=true" in arguments
        assert not (folder / "src" / "test").exists()
        (folder / "target").mkdir()
        (folder / "target" / plugin.jar).write_bytes(b"jar")

    monkeypatch.setattr(maven, "maven", build)
    target = tmp_path / "kafka.partial"
    (target / plugin.into).mkdir(parents=True)
    context = Context(
        "kafka", tmp_path, target, PROJECT, tmp_path / "log", lambda _text: None, {}, Commands()
    )
    install_bundle(replace(kafka, parts=(plugin,)), context)
    assert [path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()] == [
        "plugins/debezium-mysql/lakehouse-connect-plugins.jar"
    ]


def test_needed_bundles_come_first_and_once() -> None:
    names = [bundle.name for bundle in with_needs(bundles(load_versions()), ["flink", "trino", "nessie"])]
    assert names == ["pyflink", "connectors", "flink", "jdk25", "trino", "nessie"]


def test_an_unknown_engine_is_refused_with_the_choice() -> None:
    with pytest.raises(RuntimeFailure, match=r"no engine 'oracle'(.|\n)*choose from kafka"):
        with_needs(bundles(load_versions()), ["oracle"])


def test_the_generated_project_names_types_classifiers_and_exclusions() -> None:
    text = project_model(["g:a:1", "g:b:2:tar.gz", "g:c:3:jar:runner"], ["x:*"])
    space = "{http://maven.apache.org/POM/4.0.0}"
    found = [
        {child.tag.removeprefix(space): child.text for child in dependency if child.text}
        for dependency in ElementTree.fromstring(text).iter(f"{space}dependency")
    ]
    assert found == [
        {"groupId": "g", "artifactId": "a", "version": "1"},
        {"groupId": "g", "artifactId": "b", "version": "2", "type": "tar.gz"},
        {"groupId": "g", "artifactId": "c", "version": "3", "type": "jar", "classifier": "runner"},
    ]
    assert text.count("<groupId>x</groupId><artifactId>*</artifactId>") == 3


def test_mavens_listing_is_read_with_colours_modules_and_classifiers() -> None:
    listing = (
        "\nThe following files have been resolved:\n"
        "   g:a:jar:1:compile:/m2/a-1.jar\x1b[36m -- module a.b\x1b[0;1m (auto)\x1b[m\n"
        "   g:c:jar:runner:3:compile:/m2/c-3-runner.jar\n"
        "   none\n"
    )
    assert parse_listing(listing) == [Path("/m2/a-1.jar"), Path("/m2/c-3-runner.jar")]


def test_a_damaged_jar_of_the_local_repository_is_noticed(tmp_path: Path) -> None:
    jar = tmp_path / "a-1.jar"
    jar.write_bytes(b"content")
    assert not matches_checksum(jar), "without a checksum nothing is trusted"
    (tmp_path / "a-1.jar.sha1").write_text("040F06FD774092478D450774F5BA30C5DA78ACC8  a-1.jar\n")
    assert matches_checksum(jar)
    jar.write_bytes(b"c0ntent")
    assert not matches_checksum(jar)
