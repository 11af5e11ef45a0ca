"""Every halt and every alarm has a page that says what to do, and every page can be found."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.views.metrics import declared_families
from ingestion.condition import Runbook, State, runbook_of_halt
from ingestion.models import HaltReason

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
INDEX = RUNBOOKS / "README.md"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path != INDEX)
PACKAGES = ("ingestion", "sentinel")
SECTIONS = ["What it means", "How to look", "What to do", "What is lost", "How to know that it is over"]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def error_calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield what is logged as an error, with the event."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(text(path))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "logger.error":
                    event = node.args[0]
                    assert isinstance(event, ast.Constant), f"{path}: an event needs a name that can be searched for"
                    yield str(event.value), node


def alarms() -> Iterator[str]:
    """Yield the events that are logged as errors."""
    for event, _ in error_calls():
        yield event


def runbook_of(call: ast.Call) -> str | None:
    """Return the code that gives a call the path of its page."""
    return next((ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "runbook"), None)


def test_the_search_for_alarms_finds_them() -> None:
    assert {"partition.halted", "partition.stalled", "partition.gap", "partition.closed"} <= set(alarms())


@pytest.mark.parametrize("event", sorted(set(alarms())))
def test_every_alarm_is_in_the_index_and_on_a_page(event: str) -> None:
    assert f"`{event}`" in text(INDEX)
    assert any(f"`{event}`" in text(page) for page in PAGES)


@pytest.mark.parametrize(("event", "call"), list(error_calls()))
def test_every_line_of_an_alarm_names_a_page_that_speaks_of_it(event: str, call: ast.Call) -> None:
    code = runbook_of(call)
    assert code is not None, f"{event}: it does not say where to read on"
    assert code.endswith(".path")
    for name in re.findall(r"\bRunbook\.([A-Z_]+)", code):
        page = ROOT / Runbook[name].path
        assert page.is_file()
        assert f"`{event}`" in text(page)


@pytest.mark.parametrize("reason", HaltReason)
def test_the_line_of_a_halt_names_the_page_of_its_reason(reason: HaltReason) -> None:
    assert f"because={reason.value}" in text(ROOT / runbook_of_halt(reason).path)


@pytest.mark.parametrize("reason", HaltReason)
def test_every_halt_has_a_page_of_its_own(reason: HaltReason) -> None:
    page = RUNBOOKS / f"{reason.value.replace('_', '-')}.md"
    assert f"because={reason.value}" in text(page)
    assert f"| `{reason.value}` |" in text(INDEX)


@pytest.mark.parametrize("runbook", [runbook for runbook in Runbook if runbook])
def test_every_page_that_a_partition_names_exists(runbook: Runbook) -> None:
    assert (ROOT / runbook.path).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_is_in_the_index_and_known_to_the_code(page: Path) -> None:
    assert f"({page.name})" in text(INDEX)
    assert page.stem in set(Runbook)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_answers_the_same_questions(page: Path) -> None:
    assert re.findall(r"^## (.+)$", text(page), re.MULTILINE) == SECTIONS


def test_the_index_explains_every_state() -> None:
    for state in State:
        assert f"`{state.value}`" in text(INDEX)


def test_every_metric_that_the_pages_name_exists() -> None:
    families = {family.name for family in declared_families()}
    known = families | {f"{name}_total" for name in families}
    for page in (INDEX, *PAGES):
        for name in re.findall(r"\bsentinel_[a-z_]+\b", text(page)):
            assert name in known, f"{page.name}: {name}"
