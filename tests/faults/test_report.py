"""The table of docs/reliability.md is made from the figures that the rows have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import figures as report
from tests.faults.figures import Figures
from tests.faults.report import BEGIN, END, insert, main, render


def row(name: str, **fields: object) -> Figures:
    values: dict[str, object] = {
        "fault": f"fault {name}",
        "records": 12_345,
        "events": 12_000,
        "anomalies": 100,
        "faults": 5,
        "standstill_p50_seconds": 1.26,
        "standstill_max_seconds": 2.0,
        "recovery_p50_seconds": None,
        "recovery_max_seconds": None,
        "lost": 0,
        "doubled": 0,
        "verdicts_differing": 0,
        "measured_on": "2026-11-21",
        "machine": "2 cores and 24 GiB",
    }
    return Figures(row=name, **{**values, **fields})  # type: ignore[arg-type]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(report.VARIABLE, str(tmp_path / "figures"))
    return tmp_path / "figures"


def test_figures_are_read_as_they_were_written(directory: Path) -> None:
    found = [row("6", broken=("verdicts_equal",)), row("7")]
    for each in found:
        report.write(each)
    assert report.read(directory) == found


def test_the_last_run_of_a_row_counts(directory: Path) -> None:
    report.write(row("6", lost=3))
    report.write(row("6"))
    assert [each.lost for each in report.read(directory)] == [0]


def test_nothing_is_written_where_no_report_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(report.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    report.write(row("6"))
    assert list(tmp_path.iterdir()) == []


def test_a_row_shows_its_figures() -> None:
    assert "| 6 | fault 06 | 12,345 | 5 | 1.3 / 2.0 |  | 0 | 0 | 0 |  |" in render([row("06")]).splitlines()


def test_rows_are_in_the_order_of_the_matrix() -> None:
    text = render([row(name) for name in ("soak", "PG-log", "10", "38b", "9", "38a", "38")])
    places = [text.index(f"| fault {name} |") for name in ("9", "10", "38", "38a", "38b", "PG-log", "soak")]
    assert places == sorted(places)


def test_day_machine_and_sums_stand_above_the_table() -> None:
    text = render([row("1"), row("2", lost=2)])
    head = text[: text.index("|")]
    assert "Measured 2026-11-21 on 2 cores and 24 GiB" in head
    assert "2 rows, 24,690 records, 10 faults: lost 2, doubled 0" in head


def test_a_broken_invariant_is_named_in_its_row_and_above() -> None:
    text = render([row("1"), row("2", broken=("verdicts_equal",), remarks="seed 4")])
    assert "**verdicts_equal broken**; seed 4 |" in text
    assert "Invariants are broken in: 2." in text


def test_the_section_replaces_what_is_between_the_markers(directory: Path, tmp_path: Path) -> None:
    report.write(row("6"))
    document = tmp_path / "reliability.md"
    document.write_text(f"Before.\n{BEGIN}\nold\n{END}\nAfter.\n")
    main([str(directory), str(document)])
    main([str(directory), str(document)])
    text = document.read_text()
    assert text.startswith(f"Before.\n{BEGIN}\nMeasured")
    assert text.endswith(f"|\n{END}\nAfter.\n")
    assert "old" not in text
    assert text.count("| fault 6 |") == 1


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        insert("no markers", "section")
