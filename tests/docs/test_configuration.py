"""docs/configuration.md names every environment variable that the code reads, with its default, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("sentinel", "ingestion", "detection", "alerting", "api")
NAME = re.compile(r"[A-Z][A-Z0-9_]+")
ROW = re.compile(r"\| `(?P<name>[A-Z0-9_]+)` \| (?P<default>[^|]*) \|")
# Readers of `sentinel.environment`, and what reads the environment directly.
READERS = {"text", "flag", "integer", "listing", "database"}
DIRECT = {"get", "setdefault", "pop", "getenv"}
# Constants that hold a variable's name.
CONSTANTS = re.compile(r"VARIABLE$|^variable$")


def documented() -> Mapping[str, str]:
    """Return the default that the page states for each variable; "" for none."""
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = {match["name"]: match["default"].strip() for match in ROW.finditer(text)}
    return {name: "" if default == "none" else default.strip("`") for name, default in rows.items()}


def trees() -> Iterator[ast.AST]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(node: ast.expr | None) -> str | None:
    is_name = isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value)
    return node.value if is_name else None  # type: ignore[union-attr]  # narrowed by the line above


def is_environ(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def read_by(node: ast.AST) -> str | None:
    """Return the variable that a node reads."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        owner = node.func.value
        is_reader = isinstance(owner, ast.Name) and owner.id == "env" and node.func.attr in READERS
        if is_reader or (node.func.attr in DIRECT and is_environ(owner)) or node.func.attr == "getenv":
            return name_of(node.args[0])
    if isinstance(node, ast.Subscript) and is_environ(node.value):
        return name_of(node.slice)
    if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and CONSTANTS.search(t.id) for t in node.targets):
        return name_of(node.value)
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and CONSTANTS.search(node.target.id):
        return name_of(node.value)
    return None


def value_of(node: ast.expr) -> object:
    """Return the value of a literal or of a product of literals."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = value_of(node.left), value_of(node.right)
        assert isinstance(left, int)
        assert isinstance(right, int)
        return left * right
    return ast.literal_eval(node)


def defaults() -> Iterator[tuple[str, str]]:
    """Yield each variable that settings read, with its default as the page writes it."""
    for node in ast.walk(ast.parse((ROOT / "sentinel" / "settings.py").read_text(encoding="utf-8"))):
        name = read_by(node)
        if name is None or not isinstance(node, ast.Call):
            continue
        given = (
            node.args[1] if len(node.args) > 1 else next((k.value for k in node.keywords if k.arg == "default"), None)
        )
        value = "" if given is None else value_of(given)
        yield name, str(int(value)) if isinstance(value, bool) else str(value)


def test_every_variable_that_is_read_is_documented_and_no_other() -> None:
    read = {name for tree in trees() for node in ast.walk(tree) if (name := read_by(node))}
    assert {"DATABASE_URL", "SENTINEL_DATA_DIR", "NOTIFY_SOCKET"} <= read, "the search itself is broken"
    assert set(documented()) == read


def test_the_stated_defaults_are_those_of_the_settings() -> None:
    stated = documented()
    assert {name: stated.get(name) for name, _ in defaults()} == dict(defaults())
