"""Plain columns for a terminal: nothing is cut, whatever its width, so that pipes and narrow windows keep all figures."""

from __future__ import annotations

from collections.abc import Sequence


def render(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return aligned lines; None is a dash, whole numbers are grouped and stand right."""
    table = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = [all(_is_figure(row[place]) for row in rows) for place in range(len(header))]
    lines = []
    for line in table:
        cells = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if _is_figure(value) else str(value)


def _is_figure(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))
