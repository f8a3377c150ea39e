"""FLINK_HOME: PyFlink's own distribution with this project's jars, put together from hard links."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lakehouse_dagster.runtime.bundles import FlinkHome
from lakehouse_dagster.runtime.installers.context import Context, link_or_copy
from lakehouse_dagster.runtime.installers.maven import resolve

_DISTRIBUTION = ("bin", "conf", "lib", "opt", "plugins", "licenses", "LICENSE", "NOTICE")


def install_flink_home(part: FlinkHome, context: Context) -> None:
    """Fill `home/` and point `venv` at the PyFlink environment."""
    environment = context.needs["pyflink"] / "venv"
    (context.target / "venv").symlink_to(os.path.relpath(environment, context.target))
    packages = sorted(environment.glob("lib/python*/site-packages/pyflink"))
    if len(packages) != 1:
        raise context.fail(f"{environment} holds no PyFlink", "run `lakehouse install pyflink --deep`")
    home = context.target / "home"
    context.say("linking PyFlink's distribution")
    for name in _DISTRIBUTION:
        _link_tree(packages[0] / name, home / name)
    for script in (home / "bin").iterdir():
        script.chmod(script.stat().st_mode | 0o111)
    for jars in part.lib:
        context.say("jars of Paimon, Kafka, Cassandra and S3")
        files = resolve(jars.coordinates, context, transitive=jars.transitive, exclude=jars.exclude)
        _link_new(files, home / "lib", context)
    for plugin, coordinates in part.plugins.items():
        _link_new(resolve(coordinates, context, transitive=False), home / "plugins" / plugin, context)
    own = sorted(context.needs["connectors"].glob("*.jar"))
    if not own:
        raise context.fail(
            "this project's connectors jar is missing", "run `lakehouse install connectors --deep`"
        )
    _link_new(own, home / "lib", context)


def _link_new(files: list[Path], folder: Path, context: Context) -> None:
    for file in files:
        if (folder / file.name).exists():
            raise context.fail(f"{file.name} is in {folder.name}/ already", "remove it from bundles.py")
        link_or_copy(file, folder / file.name)


def _link_tree(source: Path, target: Path) -> None:
    if source.is_file():
        # Text files are copied: a configuration that is edited here must not change inside the environment.
        if source.suffix == ".jar":
            link_or_copy(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)
        return
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            if not re.fullmatch(r"__pycache__|.*\.py[co]?", path.name):
                _link_tree(path, target / path.name)
