"""Jars and archives from Maven repositories, through the ordinary client with strict checksums.

A small project is generated per set of coordinates and asked for its resolved files; these are then
hard-linked from the local repository (below `LAKEHOUSE_HOME/cache/maven`), so that a jar lies on the disk
once.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

from lakehouse_dagster.runtime.bundles import Archive, Jars, OwnJar
from lakehouse_dagster.runtime.installers.context import Context, link_or_copy
from lakehouse_dagster.runtime.prerequisites import java17_home
from lakehouse_dagster.runtime.versions import load_versions

_TIMEOUT = 1800
_FILE = re.compile(r"^\s*([^\s:]+:[^\s]+):(/.*?)(?: -- module .*)?$")


def install_jars(part: Jars, context: Context) -> None:
    """Resolve the coordinates and link the jars into `part.into`."""
    context.say(f"jars of {part.coordinates[0].split(':')[1]}")
    files = resolve(part.coordinates, context, transitive=part.transitive, exclude=part.exclude)
    if part.rename and len(files) != 1:
        raise context.fail(f"{part.coordinates} gave {len(files)} files instead of one", "correct bundles.py")
    for file in files:
        link_or_copy(file, context.target / part.into / (part.rename or file.name))


def install_archive(part: Archive, context: Context) -> None:
    """Fetch a zip or tar.gz, unpack it, and drop the download: it is large and not needed again."""
    name = part.coordinate.split(":")[1]
    context.say(f"downloading {name}")
    (archive,) = resolve((part.coordinate,), context, transitive=False)
    context.say(f"unpacking {name}")
    target = context.target / part.into
    if archive.name.endswith(".zip"):
        _unzip(archive, target, part.keep)
    else:
        _untar(archive, target, part.keep)
    shutil.rmtree(archive.parent)


def build_own_jar(part: OwnJar, context: Context) -> None:
    """Build a Maven module of this repository from a copy: nothing is written to the checkout."""
    source = context.project / part.folder
    if not (source / "pom.xml").is_file():
        raise context.fail(f"{source / 'pom.xml'} is missing", "restore it from git")
    context.say("compiling")
    build = context.target / "build"
    shutil.copytree(source, build, ignore=shutil.ignore_patterns("target", "test"))
    properties = [f"-D{key}={value}" for key, value in part.properties.items()]
    maven(context, build, "package", "-DskipTests", "-Dmaven.test.skip=true", *properties)
    jar = build / "target" / part.jar
    if not jar.is_file():
        raise context.fail(
            f"the build of {part.folder} made no target/{part.jar}", "set its finalName in pom.xml"
        )
    jar.rename(context.target / part.jar)
    shutil.rmtree(build)


def resolve(
    coordinates: Sequence[str], context: Context, *, transitive: bool = True, exclude: Iterable[str] = ()
) -> list[Path]:
    """Return the files that the coordinates resolve to, in the local repository, sorted by name.

    Raises `CommandFailed` when one cannot be had.
    """
    excluded = ("*:*",) if not transitive else tuple(exclude)
    folder = context.target / ".maven"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(project_model(coordinates, excluded), encoding="utf-8")
    listing = folder / "files.txt"
    listing.unlink(missing_ok=True)
    plugin = load_versions()["MAVEN_DEPENDENCY_PLUGIN_VERSION"]
    for _ in range(2):
        maven(
            context,
            folder,
            f"org.apache.maven.plugins:maven-dependency-plugin:{plugin}:list",
            "-DincludeScope=runtime",
            "-DoutputAbsoluteArtifactFilename=true",
            f"-DoutputFile={listing}",
        )
        files = parse_listing(listing.read_text(encoding="utf-8"))
        damaged = [file for file in files if not matches_checksum(file)]
        if not damaged:
            break
        for file in damaged:
            context.say(f"{file.name} is damaged in the cache, fetching it again")
            file.unlink()
    else:
        raise context.fail(f"{damaged[0]} does not match its checksum", "run `lakehouse install` again")
    shutil.rmtree(folder)
    missing = [c for c in coordinates if not any(_is_file_of(c, file) for file in files)]
    if missing or not files:
        raise context.fail(
            f"Maven resolved no file for {', '.join(missing)}", "correct the version in compose/versions.env"
        )
    return sorted(files, key=lambda file: file.name)


def matches_checksum(file: Path) -> bool:
    """Compare a file of the local repository with the SHA-1 that came with it.

    Maven checks what it downloads and trusts it ever after; but installed jars are hard links to these files,
    so damage there is damage here.
    """
    try:
        stated = file.with_name(f"{file.name}.sha1").read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return False
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha1").hexdigest() == stated.lower()


def maven(context: Context, folder: Path, *arguments: str) -> None:
    """Run Maven in `folder` with this home's local repository and strict checksums."""
    context.run(
        "mvn",
        "--batch-mode",
        "--no-transfer-progress",
        "--strict-checksums",
        "--errors",
        f"-Dmaven.repo.local={context.cache / 'maven'}",
        *arguments,
        cwd=folder,
        env={
            "JAVA_HOME": str(java17_home()),
            "MAVEN_OPTS": "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        },
        timeout=_TIMEOUT,
        network=True,
    )


def project_model(coordinates: Sequence[str], exclude: Sequence[str]) -> str:
    """Return the text of a pom.xml that depends on the coordinates, each with the exclusions."""
    exclusions = "".join(
        f"<exclusion><groupId>{escape(group)}</groupId><artifactId>{escape(artifact)}</artifactId></exclusion>"
        for group, artifact in (item.split(":") for item in exclude)
    )
    dependencies = []
    for coordinate in coordinates:
        group, artifact, version, *rest = (escape(word) for word in coordinate.split(":"))
        kind = f"<type>{rest[0]}</type>" if rest else ""
        classifier = f"<classifier>{rest[1]}</classifier>" if len(rest) > 1 else ""
        dependencies.append(
            f"    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version>{kind}{classifier}<exclusions>{exclusions}</exclusions></dependency>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<project xmlns="http://maven.apache.org/POM/4.0.0">\n'
        "  <modelVersion>4.0.0</modelVersion>\n"
        "  <groupId>lakehouse</groupId>\n  <artifactId>bundle</artifactId>\n  <version>1</version>\n"
        "  <packaging>pom</packaging>\n  <dependencies>\n"
        + "\n".join(dependencies)
        + "\n  </dependencies>\n</project>\n"
    )


def parse_listing(text: str) -> list[Path]:
    """Return the file paths of a `dependency:list` output with absolute file names."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [Path(match[2].strip()) for line in plain.splitlines() if (match := _FILE.match(line))]


def _is_file_of(coordinate: str, file: Path) -> bool:
    _, artifact, version, *_ = coordinate.split(":")
    return file.name.startswith(f"{artifact}-{version}")


def _kept(name: str, keep: Sequence[str]) -> PurePosixPath | None:
    """The path without the archive's top folder, or None when it is not wanted."""
    path = PurePosixPath(name)
    inner = PurePosixPath(*path.parts[1:])
    if path.is_absolute() or ".." in path.parts or not inner.parts:
        return None
    return inner if not keep or inner.parts[0] in keep else None


def _unzip(archive: Path, target: Path, keep: Sequence[str]) -> None:
    with zipfile.ZipFile(archive) as source:
        for member in source.infolist():
            inner = _kept(member.filename, keep)
            if inner is None or member.is_dir():
                continue
            path = target / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.open(member) as stream, path.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)


def _untar(archive: Path, target: Path, keep: Sequence[str]) -> None:
    with tarfile.open(archive, "r:*") as source:
        for member in source:
            inner = _kept(member.name, keep)
            if inner is None:
                continue
            moved = member.replace(name=str(inner), deep=False)
            if moved.islnk():
                linked = _kept(moved.linkname, ())
                moved = moved.replace(linkname=str(linked), deep=False)
            source.extract(moved, target, filter="data")
