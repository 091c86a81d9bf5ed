"""The house rules that a machine can check: sizes, names of files, and that CONTRIBUTING names places that exist."""

from __future__ import annotations

import ast
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    *("schemas", "domain", "broker", "database", "outbox", "producers", "streams", "api", "cli", "local"),
    "benchmarks",
)
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "generated" not in path.parts)
CODE = [path for path in MODULES if "versions" not in path.parts]
NAMELESS = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager", "service", "misc"}


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_module_is_longer_than_250_lines_and_no_flow_than_150() -> None:
    flows = {path for path in CODE if path.parent.parent.name == "streams" and "_to_" in path.stem}
    assert len(flows) > 10
    assert [name(path) for path in CODE if lines_of(path) > (150 if path in flows else 250)] == []
    assert statistics.median(lines_of(path) for path in CODE if lines_of(path) > 5) <= 110


def test_no_function_is_longer_than_50_lines() -> None:
    long = []
    for path in (path for path in CODE if path.relative_to(ROOT).parts[0] != "benchmarks"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 50 and not _is_command(node):
                    long.append(f"{name(path)}:{node.lineno} {node.name} {length}")
    assert long == []


def _is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A command's options are its declaration: only the body counts."""
    body = (node.end_lineno or 0) - node.body[0].lineno + 1
    return any("typer" in ast.dump(arg) for arg in (*node.args.args, *node.args.kwonlyargs)) and body <= 50


def test_every_file_says_by_its_name_what_it_holds() -> None:
    assert [name(path) for path in MODULES if path.stem in NAMELESS] == []


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "README.md", "docs/glossary.md"])
def test_what_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+(?:\.[a-z]+)?|[a-z_]+/)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_contributing_stays_short() -> None:
    assert lines_of(ROOT / "CONTRIBUTING.md") <= 60
