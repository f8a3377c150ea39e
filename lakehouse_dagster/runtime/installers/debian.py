"""Debian packages of another suite, unpacked into a folder of their own; the host is not touched.

apt gets a configuration of its own (sources, state, cache, an empty list of installed packages), so it
downloads the packages with everything they need down to the C library, and checks the archive's signature
with the host's Debian keyring. The programs are started through the prefix's own loader, because the host's C
library is older.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from lakehouse_dagster.runtime.bundles import RelocatedDebian
from lakehouse_dagster.runtime.installers.context import Context

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TIMEOUT = 900

_LAUNCHER = """\
#!/bin/sh
# Starts the relocated program through the loader and the libraries it was built for.
root=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd -P)
exec "$root/{loader}" --library-path "$root/{libraries}" "$root/{program}" "$@"
"""


def install_debian(part: RelocatedDebian, context: Context) -> str:
    """Download, unpack and write the launchers; return the version of the first package, without revision."""
    context.say("reading the package lists")
    private = _private_apt(part, context)
    # Errors of single lists are failures: a stale or unsigned list must not be used.
    context.run(
        "apt-get", "update", "-o", "APT::Update::Error-Mode=any", env=private, timeout=_TIMEOUT, network=True
    )
    version = _candidate(part, private, context)
    context.say(f"downloading {part.packages[0]} {version}")
    apt = context.cache / "apt"
    context.run(
        "apt-get", "install", "--yes", "--download-only", "--no-install-recommends", *part.packages,
        env=private, timeout=_TIMEOUT, network=True,
    )  # fmt: skip
    prefix = context.target / "prefix"
    prefix.mkdir(parents=True)
    archives = sorted((apt / "archives").glob("*.deb"))
    context.say(f"unpacking {len(archives)} packages")
    for archive in archives:
        context.run("dpkg-deb", "--extract", archive, prefix, timeout=300)
    _write_launchers(part, context)
    for name, pattern in part.links.items():
        found = sorted(path for path in prefix.glob(pattern) if path.is_dir())
        if len(found) != 1:
            raise context.fail(f"{len(found)} folders match {pattern} in the packages", "correct bundles.py")
        (context.target / name).symlink_to(found[0].relative_to(context.target))
    first = next(iter(part.programs))
    printed = context.run(context.target / "bin" / first, "--no-defaults", "--version", timeout=60)
    upstream = re.split(r"[-+~]", version.split(":")[-1])[0]
    if upstream not in printed:
        raise context.fail(
            f"{first} says {printed.strip()!r} instead of {upstream}", "run again; if it stays, report it"
        )
    shutil.rmtree(apt)
    return upstream


def _private_apt(part: RelocatedDebian, context: Context) -> dict[str, str]:
    """Write the private configuration and return the environment that makes apt use it."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise context.fail(
            "this machine has no apt-get and dpkg-deb", "use a Debian machine, or Docker Compose"
        )
    if not _KEYRING.exists():
        raise context.fail(f"{_KEYRING} is missing", "apt-get install debian-archive-keyring")
    apt = context.cache / "apt"
    for folder in ("state/lists/partial", "archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    # Packages of an earlier, interrupted attempt may be of other versions; apt keeps what is still right.
    (apt / "state" / "status").write_text("")
    mirror = debian_mirror(context)
    (apt / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror} {part.suite} main\n")
    settings = {
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "state" / "status",
        "Dir::Cache": apt,
        "Dir::Cache::archives": apt / "archives",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    lines = "".join(f'{key} "{value}";\n' for key, value in settings.items())
    (apt / "apt.conf").write_text(lines)
    return {"APT_CONFIG": str(apt / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def debian_mirror(context: Context) -> str:
    """Return the Debian mirror of this machine's own apt sources, so that no address is written down here."""
    if chosen := os.environ.get("LAKEHOUSE_DEBIAN_MIRROR"):
        return chosen
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    for uri in dict.fromkeys(asked.stdout.split()):
        if uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    raise context.fail(
        "this machine's apt sources name no Debian mirror",
        "set LAKEHOUSE_DEBIAN_MIRROR to the mirror's address",
    )


def _candidate(part: RelocatedDebian, private: dict[str, str], context: Context) -> str:
    printed = context.run("apt-cache", "policy", part.packages[0], env=private, timeout=60)
    found = re.search(r"Candidate: (\S+)", printed)
    if found is None or found[1] == "(none)":
        raise context.fail(
            f"Debian {part.suite} offers no {part.packages[0]}", "set MYSQL_DEBIAN_SUITE to a suite that does"
        )
    if found[1].split(":")[-1].split(".")[0] != part.major:
        raise context.fail(
            f"Debian {part.suite} offers {part.packages[0]} {found[1]}, and only {part.major}.x is supported",
            "set MYSQL_DEBIAN_SUITE in compose/versions.env to a suite with that line",
        )
    return found[1]


def _write_launchers(part: RelocatedDebian, context: Context) -> None:
    prefix = context.target / "prefix"
    loaders = sorted(prefix.glob("usr/lib/*-linux-gnu*/ld-linux*.so.*")) or sorted(
        prefix.glob("usr/lib/ld-linux*.so.*")
    )
    if not loaders:
        raise context.fail("the unpacked packages hold no dynamic loader", "correct bundles.py")
    loader = loaders[0]
    libraries = (
        [loader.parent] if loader.parent.name != "lib" else sorted(prefix.glob("usr/lib/*-linux-gnu*"))
    )
    for name, program in part.programs.items():
        if not (prefix / program).is_file():
            raise context.fail(f"the packages hold no {program}", "correct bundles.py")
        launcher = context.target / "bin" / name
        launcher.parent.mkdir(exist_ok=True)
        root = context.target
        launcher.write_text(
            _LAUNCHER.format(
                loader=loader.relative_to(root),
                libraries=":$root/".join(str(path.relative_to(root)) for path in libraries),
                program=f"prefix/{program}",
            )
        )
        launcher.chmod(0o755)
