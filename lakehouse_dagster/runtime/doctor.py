"""Is this machine fit to run the platform? Every prerequisite, what was found, and the fix."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict
from typing import Any

from lakehouse_dagster.runtime import host, provision, services
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.host import GIB, Finding
from lakehouse_dagster.runtime.ports import DEFAULT_PORTS
from lakehouse_dagster.runtime.prerequisites import install_command_for, java_major, prerequisites
from lakehouse_dagster.runtime.secrets import load_secrets
from lakehouse_dagster.runtime.services.postgres import server_account
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.status import memory_of
from lakehouse_dagster.runtime.supervision import Supervisor, orphans, private_folder

INSTALL_DISK = 10 * GIB
"""Bytes that a first installation of all engines needs, its downloads included."""


def examine(settings: Settings) -> list[Finding]:
    """Return every finding, the good ones too. Changes nothing."""
    supervisor = Supervisor(settings)
    pid = supervisor.pid()
    return [
        *_machine(),
        *_programs(),
        *_engines(settings),
        *_disk(settings),
        host.memory_finding(memory_of(pid) if pid else 0),
        *_instance(settings),
        *_ports(settings, supervisor),
    ]


def to_json(findings: list[Finding]) -> dict[str, Any]:
    """Return plain values: ``ok`` is whether everything required is there."""
    return {"ok": healthy(findings), "checks": [asdict(finding) for finding in findings]}


def healthy(findings: list[Finding]) -> bool:
    """Whether everything required is there."""
    return all(finding.ok for finding in findings if finding.required)


def _machine() -> list[Finding]:
    system, machine = platform.system(), platform.machine()
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [
        Finding(
            "system",
            system == "Linux" and machine == "x86_64",
            f"{system} {machine}",
            "the native engines run on Linux x86_64",
        ),
        Finding(
            "processors",
            processors >= 2,
            f"{processors}",
            "give the machine at least 2 processors; with one, starting takes minutes",
            required=False,
        ),
    ]


def _programs() -> list[Finding]:
    findings = []
    for item in prerequisites():
        found = item.find()
        findings.append(
            Finding(
                item.title,
                found is not None,
                str(found) if found else f"missing; needed by {', '.join(item.needed_by)}",
                f"{install_command_for([item])}   (`lakehouse install` does it where it may)",
            )
        )
    if os.getuid() == 0:
        try:
            account = server_account()
            found_account = f"runs as {account.pw_name}" if account else ""
            findings.append(Finding("PostgreSQL's user", True, found_account))
        except RuntimeFailure as failure:
            findings.append(Finding("PostgreSQL's user", False, failure.problem, failure.fix))
        setpriv = shutil.which("setpriv")
        findings.append(
            Finding("setpriv", setpriv is not None, setpriv or "missing", "apt-get install --yes util-linux")
        )
    return findings


def _engines(settings: Settings) -> list[Finding]:
    findings = []
    for name in provision.ENGINE_NAMES:
        try:
            found = provision.installation(settings.home, name)
        except RuntimeFailure as error:
            findings.append(
                Finding(
                    f"engine {name}",
                    False,
                    error.problem,
                    "lakehouse install (or `lakehouse up`, which does it too)",
                    required=False,
                )
            )
            continue
        problem = ""
        if name == "jdk25" and java_major(found.root) != 25:
            problem = f"{found.root} holds Java {java_major(found.root)}, not 25"
        findings.append(
            Finding(
                f"engine {name}",
                not problem,
                problem or f"{found.version} in {found.root}",
                f"remove {found.root} and run `lakehouse install`",
            )
        )
    return findings


def _disk(settings: Settings) -> list[Finding]:
    complete = all(finding.ok for finding in _engines(settings))
    return host.disk_findings(
        [
            ("data", settings.data, host.MIN_FREE_DISK),
            ("installed engines", settings.home, 0 if complete else INSTALL_DISK),
            ("temporary files", settings.sockets.parent, 1_000_000),
        ]
    )


def _instance(settings: Settings) -> list[Finding]:
    findings = []
    if settings.secrets_file.exists():
        try:
            load_secrets(settings.secrets_file)
            findings.append(Finding("credentials", True, f"{settings.secrets_file}, private"))
        except RuntimeFailure as failure:
            findings.append(Finding("credentials", False, failure.problem, failure.fix))
    if settings.sockets.exists():
        try:
            private_folder(settings.sockets)
            findings.append(Finding("socket folder", True, f"{settings.sockets}, private"))
        except RuntimeFailure as failure:
            findings.append(Finding("socket folder", False, failure.problem, failure.fix))
    left = [process.pid for process in orphans(settings)]
    if left and Supervisor(settings).pid() is None:
        findings.append(
            Finding(
                "left-over processes",
                False,
                f"no supervisor, but {len(left)} processes of this instance run: {', '.join(map(str, left))}",
                "`lakehouse up` or `lakehouse down` ends them",
                required=False,
            )
        )
    return findings


def _ports(settings: Settings, supervisor: Supervisor) -> list[Finding]:
    infos = supervisor.infos() if supervisor.pid() else {}
    own = {process.pid for process in orphans(settings)}  # told apart, and ended by `up`: not in its way
    findings = []
    free = 0
    for name, service in services.SERVICES.items():
        if name in infos and infos[name].active:
            continue
        for port in service.ports:
            finding = host.port_finding(name, settings.port(port))
            if finding is None:
                free += 1
            elif finding.pid not in own:
                findings.append(finding)
    if not findings:
        findings.append(
            Finding(
                "ports",
                True,
                "those of all services that do not run are free" if free else "all in use by us",
            )
        )
    outgoing = host.outgoing_ports()
    shared = [port for port in map(settings.port, DEFAULT_PORTS) if port in outgoing]
    if shared:
        findings.append(
            Finding(
                "ports of outgoing connections",
                False,
                f"{min(shared)} to {max(shared)} of this instance may be taken by any program's connection",
                "choose a smaller LAKEHOUSE_PORT_OFFSET",
                required=False,
            )
        )
    return findings
