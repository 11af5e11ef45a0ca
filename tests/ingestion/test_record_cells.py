from __future__ import annotations

from typing import Any

import pytest

from ingestion.record_cells import as_list, as_pairs, as_record, as_table, figure, link


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (5, "5"),
        (0.02012616399952094, "0.02013"),
        (59.83, "59.83"),
        (999.96, "1,000"),
        (1234.5, "1,234"),
        (-6812.75, "-6,813"),
        (15_234_500, "15,234,500"),
        (0.0000642, "0.0000642"),
        (1e-12, "1e-12"),
        (float("inf"), "inf"),
    ],
)
def test_a_figure_has_four_digits_and_separators(value: float | None, shown: str) -> None:
    assert figure(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "yes"), (None, "-"), (1972.78, "1,973"), (["iqr", "mad"], "iqr, mad"), ("<b>", "&lt;b&gt;")],
)
def test_a_mapping_is_a_table(value: Any, shown: str) -> None:
    assert f">{shown}<" in as_pairs({"some_name": value})
    assert ">some name<" in as_pairs({"some_name": value})


def test_nothing_is_a_dash() -> None:
    assert [as_pairs(None), as_pairs({}), as_list(None), as_list([]), as_table(["a"], [])] == ["-"] * 5


def test_a_record_is_indented_where_it_is_json_and_always_escaped() -> None:
    assert "\n  &quot;a&quot;: 1\n" in as_record('{"a":1}')
    assert "{&quot;a&quot;:" in as_record('{"a":')
    assert "<script>" not in as_record('{"a":"<script>"}')


def test_a_link_names_its_page_and_query() -> None:
    shown = link("all", "ingestion_event_changelist", query={"service": "a&b"})
    assert 'href="/admin/ingestion/event/?service=a%26b"' in shown
