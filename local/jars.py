"""Kafka's jars: fetched once through jgo, checked against pinned SHA-256 sums, kept in one flat folder.

`kafka_jars.txt` pins every jar by coordinate and sum, so a start needs no dependency resolution, and a jar that was
changed, cut off or swapped on its way is never run. After an upgrade, `python -m local.jars` rewrites that file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

KAFKA_VERSION = "4.3.1"
# Kafka's own dependencies bring no logger: slf4j-simple writes its warnings and errors to the output.
ROOTS = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
PINS = Path(__file__).with_name("kafka_jars.txt")


class JarsUnavailableError(RuntimeError):
    """Kafka's jars could not be fetched, or are not the pinned ones; the message says what to do."""


class Jar(NamedTuple):
    """One pinned jar."""

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def cache_folder() -> Path:
    """Where jars and prepared files are kept: `FRESHTRACK_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("FRESHTRACK_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "freshtrack"


def pinned(pins: Path = PINS) -> tuple[Jar, ...]:
    """The jars that `pins` names, in class path order."""
    lines = (line.split() for line in pins.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Jar(sha256, *coordinate.split(":")) for sha256, coordinate in lines)


def jars_folder(cache: Path | None = None, pins: Path = PINS) -> Path:
    """Where the jars of these pins are, or will be once they are fetched and checked."""
    stamp = hashlib.sha256(pins.read_bytes()).hexdigest()
    return (cache or cache_folder()) / f"kafka-{KAFKA_VERSION}-{stamp[:12]}"


def kafka_jars(
    cache: Path | None = None,
    *,
    pins: Path = PINS,
    repository: str | None = None,
    maven_cache: Path | None = None,
) -> tuple[Path, ...]:
    """Kafka's class path, in a fixed order.

    The first call fetches what Maven's local cache (`maven_cache`, by default `M2_REPO` or `~/.m2/repository`) does
    not hold from `repository` (by default `FRESHTRACK_MAVEN_REPOSITORY`, else Maven Central) and checks every sum;
    later calls cost one file read. Raises JarsUnavailableError.
    """
    jars = pinned(pins)
    folder = jars_folder(cache, pins)
    verified = folder / ".verified"
    if not verified.exists():
        # Filled beside its place and renamed: two first starts at once, or a kill in between, leave no half folder.
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".jars-") as scratch:
            staged = Path(scratch) / "jars"
            staged.mkdir()
            _fetch(jars, staged, repository, maven_cache)
            (staged / verified.name).touch()
            try:
                staged.rename(folder)
            except OSError:
                if not verified.exists():
                    raise
    return tuple(folder / jar.name for jar in jars)


def _fetch(jars: tuple[Jar, ...], folder: Path, repository: str | None, maven_cache: Path | None) -> None:
    from jgo.maven import MavenContext
    from requests import RequestException

    url = repository or os.environ.get("FRESHTRACK_MAVEN_REPOSITORY")
    context = MavenContext(
        repo_cache=maven_cache,
        remote_repos={"chosen": url.rstrip("/")} if url else None,
        timeout=30,
    )
    place = url or next(iter(context.remote_repos.values()))

    def fetch(jar: Jar) -> None:
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        try:
            found = artifact.resolve()
        except (RequestException, RuntimeError, OSError) as error:
            message = (
                f"Kafka's jar {jar.group}:{jar.artifact}:{jar.version} could not be fetched from {place}: {error}. "
                f"Check the network or proxy (HTTPS_PROXY), name a mirror with FRESHTRACK_MAVEN_REPOSITORY, put the "
                f"jars into {context.repo_cache}, or use a broker that runs already with KAFKA_BOOTSTRAP_SERVERS."
            )
            raise JarsUnavailableError(message) from error
        copy = folder / jar.name
        shutil.copyfile(found, copy)
        if (actual := _sha256(copy)) != jar.sha256:
            message = (
                f"Kafka's jar {jar.name} is not the pinned one: its SHA-256 is {actual}, expected {jar.sha256}. It "
                f"will not be run. Delete {found} and start again, so that it is fetched again; if that does not help, "
                f"{place} serves another file than this version was built with."
            )
            raise JarsUnavailableError(message)

    # jgo fails when another process puts a jar into the same cache at the same moment.
    with _alone(Path(context.repo_cache)), ThreadPoolExecutor(8) as pool:
        for _ in pool.map(fetch, jars):
            pass


@contextmanager
def _alone(maven_cache: Path) -> Iterator[None]:
    """Hold off other processes that fetch into the same cache; the lock ends with its process."""
    maven_cache.mkdir(parents=True, exist_ok=True)
    with (maven_cache / ".freshtrack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pin() -> None:
    """Resolve Kafka's dependencies and write `kafka_jars.txt`."""
    import jgo

    artifacts = jgo.resolve(ROOTS)
    rows = [
        f"{_sha256(artifact.resolve())}  {artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        for artifact in artifacts
    ]
    rows.sort(key=lambda row: row.split()[1])
    head = f"# SHA-256 and coordinates of the jars of Apache Kafka {KAFKA_VERSION}; written by `python -m local.jars`\n"
    PINS.write_text(head + "\n".join(rows) + "\n")
    print(f"{len(rows)} jars pinned in {PINS}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    pin()
