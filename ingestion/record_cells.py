"""How values look on admin pages: numbers with four digits, mappings as tables, labels for what is wrong, links."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

NOTHING = "-"
_ONE_LINE = 40  # characters
_LINK = '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>'
_CODE = '<pre style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>'


def figure(value: float | None) -> str:
    """Return a number with thousands separators and four significant digits, whole from a thousand on."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1_000 or value == int(value):
        return f"{value:,.0f}"
    if abs(value) < 1e-9:
        return f"{value:.2g}"
    decimals = 3 - math.floor(math.log10(abs(value)))
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")


def as_code(value: Any) -> SafeString:
    """Show text or JSON as it is, wrapped and escaped."""
    if value is None:
        return SafeString(NOTHING)
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return format_html(_CODE, text)


def as_record(payload: str) -> SafeString:
    """Show a record: indented where it is JSON, as it came where it is not."""
    try:
        parsed = json.loads(payload)
    except (ValueError, RecursionError):
        parsed = payload
    return as_code(parsed if isinstance(parsed, dict | list) else payload)


def as_pairs(pairs: Mapping[str, Any] | None) -> SafeString:
    """Show a flat mapping as a table of two columns; nothing as a dash."""
    if not isinstance(pairs, Mapping):
        return as_code(pairs)
    return as_table((), [(name.replace("_", " "), _shown(value)) for name, value in pairs.items()])


def as_list(values: Sequence[Any] | None) -> SafeString:
    """Show a list of names in one line; nothing as a dash."""
    if not isinstance(values, list | tuple):
        return as_code(values)
    return format_html("{}", ", ".join(str(value) for value in values) or NOTHING)


def as_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> SafeString:
    """Show rows under column names; without any row a dash."""
    found = list(rows)
    if not found:
        return SafeString(NOTHING)
    names = format_html_join(
        "", '<th style="text-align: left; padding: 0 24px 2px 0">{}</th>', ((name,) for name in head)
    )
    body = format_html_join("", "<tr>{}</tr>", ((_cells(row),) for row in found))
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", names, body)


def link(text: Any, name: str, *arguments: Any, query: Mapping[str, Any] | None = None) -> SafeString:
    """Return a link to an admin page, such as `link("all", "detection_anomaly_changelist", query={"q": ...})`."""
    url = reverse(f"admin:{name}", args=arguments, query={key: str(value) for key, value in (query or {}).items()})
    return format_html(_LINK, url, text)


def links(*items: SafeString) -> SafeString:
    """Return links beside each other."""
    return format_html_join(" · ", "{}", ((item,) for item in items))


def _cells(row: Sequence[Any]) -> SafeString:
    return format_html_join(
        "",
        '<td style="vertical-align: top; padding: 2px 24px 2px 0; {}">{}</td>',
        ((_wrapping(cell), cell) for cell in row),
    )


def _wrapping(cell: Any) -> str:
    """A name or a number stays in one line: a narrow column would break it anywhere."""
    return "white-space: nowrap" if len(str(cell)) <= _ONE_LINE else "overflow-wrap: anywhere"


def _shown(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: NOTHING}[value]
    if isinstance(value, int | float):
        return figure(value)
    if isinstance(value, dict):
        return as_pairs(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return as_code(value) if isinstance(value, list) else value
