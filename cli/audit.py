"""`audit`: known vulnerabilities of the packages that are locked for production."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "production.lock"
TIME_LIMIT_S = 120.0
FOUND = 1


class _Fault(msgspec.Struct):
    id: str
    fix_versions: list[str] = []
    aliases: list[str] = []


class _Package(msgspec.Struct):
    name: str
    version: str = ""
    vulns: list[_Fault] = []
    skip_reason: str = ""


class _Report(msgspec.Struct):
    dependencies: list[_Package]


def audit(
    time_limit_s: Annotated[float, typer.Option(min=1, help="then it counts as out of reach")] = TIME_LIMIT_S,
    osv_url: Annotated[
        str | None, typer.Option(envvar="FRESHTRACK_OSV_URL", help="a mirror of the OSV service", show_default=False)
    ] = None,
) -> None:
    """Ask the vulnerability services about each locked package; exits 1 when one has a known fault.

    Where no service can be reached, as on a network that has package registries only, nothing is known: that is said,
    and is no failure.
    """
    services = [("OSV", ("osv", "--osv-url", osv_url))] if osv_url else [("PyPI", ("pypi",)), ("OSV", ("osv",))]
    # The second one is asked only when the first one does not answer.
    for name, service in services:
        report = _ask(service, time_limit_s / len(services))
        if report is not None:
            raise typer.Exit(_told(report, name))
    typer.secho("audit: no vulnerability service can be reached from here; nothing was checked", fg="yellow", err=True)


def _ask(service: tuple[str, ...], time_limit_s: float) -> _Report | None:
    """None when the service does not answer, or knows not one of the packages."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(LOCK)),
        *("--require-hashes", "--disable-pip", "--progress-spinner", "off"),
        *("--format", "json", "--timeout", "10", "--vulnerability-service"),
        *service,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=time_limit_s, check=False)
        report = msgspec.json.decode(done.stdout.encode(), type=_Report)
    except (subprocess.TimeoutExpired, msgspec.DecodeError):
        return None
    # A mirror that has files but no such service says of each that it does not exist.
    return report if any(not package.skip_reason for package in report.dependencies) else None


def _told(report: _Report, service: str) -> int:
    checked = [package for package in report.dependencies if not package.skip_reason]
    faults = [(package, fault) for package in checked for fault in package.vulns]
    for package, fault in faults:
        way_out = f"fixed in {', '.join(fault.fix_versions)}" if fault.fix_versions else "no fixed version yet"
        names = ", ".join([fault.id, *fault.aliases])
        typer.secho(f"audit: {package.name} {package.version}: {names}; {way_out}", fg="red", err=True)
    unknown = len(report.dependencies) - len(checked)
    typer.secho(
        f"audit: {len(checked)} packages checked with {service}, {len(faults)} known faults"
        f"{f', {unknown} packages unknown to it' if unknown else ''}",
        err=True,
    )
    return FOUND if faults else 0


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Development")(audit)
