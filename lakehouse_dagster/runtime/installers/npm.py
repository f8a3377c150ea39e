"""A locked npm project, installed with its lock's integrity checks and without running install scripts."""

from __future__ import annotations

import json
import shutil

from lakehouse_dagster.runtime.bundles import NpmProject
from lakehouse_dagster.runtime.installers.context import Context

_TIMEOUT = 900

# npm's own retries are short: ours are around all of it.
_BRIEF = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")


def install_npm_project(part: NpmProject, context: Context) -> None:
    """Run `npm ci` in a copy of the project's two files."""
    source = context.project / part.folder
    name, _, version = part.require.rpartition("@")
    wanted = (
        json.loads((source / "package.json").read_text(encoding="utf-8")).get("dependencies", {}).get(name)
    )
    if wanted != version:
        raise context.fail(
            f"{source / 'package.json'} asks for {name} {wanted}, the pin is {version}", "make them equal"
        )
    for file in ("package.json", "package-lock.json"):
        shutil.copy2(source / file, context.target / file)
    context.say("asking the registry")
    # Without a network `npm ci` takes minutes to give up on hundreds of packages; one question tells at once.
    cache = f"--cache={context.cache / 'npm'}"
    ask = ("npm", "view", part.require, "version", "--prefer-online", *_BRIEF, cache)
    context.run(*ask, cwd=context.target, timeout=120, network=True)
    context.say("downloading and installing the packages")
    context.run(
        "npm",
        "ci",
        "--ignore-scripts",
        "--omit=dev",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        *_BRIEF,
        cache,
        cwd=context.target,
        timeout=_TIMEOUT,
        network=True,
    )
    shutil.rmtree(context.cache / "npm", ignore_errors=True)
