"""Write the figures of `make faults` into docs/reliability.md, between its two markers.

    python -m tests.faults.report .cache/faults [docs/reliability.md]

Without a document the table goes to standard output.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.figures import Figures, read

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
HEADER = (
    "Row", "Fault", "Records", "Faults", "Standstill, s (p50 / max)", "Recovery, s (p50 / max)", "Lost", "Doubled",
    "Verdicts differing", "Remarks",
)  # fmt: skip
# Columns of numbers, which stand to the right.
NUMBERS = range(2, 9)


def render(rows: Sequence[Figures]) -> str:
    """Return the section: when and on what it was measured, the table, the sums."""
    ordered = sorted(rows, key=lambda row: _natural(row.row))
    body = [_line(HEADER), _line(["--:" if place in NUMBERS else "---" for place in range(len(HEADER))])]
    body += [_line(_cells(row)) for row in ordered]
    return "\n\n".join(["\n".join(_measured(ordered)), "\n".join(body)])


def _measured(rows: Sequence[Figures]) -> Iterator[str]:
    days = sorted({row.measured_on for row in rows})
    period = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    broken = [row.row for row in rows if row.broken]
    yield f"Measured {period} on {'; '.join(sorted({row.machine for row in rows}))}, which also ran the load."
    yield (
        f"{len(rows)} rows, {sum(row.records for row in rows):,} records, {sum(row.faults for row in rows):,} faults: "
        f"lost {sum(row.lost for row in rows)}, doubled {sum(row.doubled for row in rows)}, "
        f"verdicts differing {sum(row.verdicts_differing for row in rows)}."
    )
    if broken:
        yield f"Invariants are broken in: {', '.join(broken)}."


def _natural(name: str) -> tuple[int, str]:
    """Return what sorts "9" before "10" and "38a" after "38"; names without a number come last."""
    match = re.match(r"0*(\d+)(.*)", name)
    return (int(match[1]), match[2]) if match else (sys.maxsize, name)


def _cells(row: Figures) -> list[str]:
    remarks = [*(f"**{name} broken**" for name in row.broken), row.remarks]
    return [
        row.row.lstrip("0"),
        row.fault,
        f"{row.records:,}",
        f"{row.faults:,}",
        _pair(row.standstill_p50_seconds, row.standstill_max_seconds),
        _pair(row.recovery_p50_seconds, row.recovery_max_seconds),
        str(row.lost),
        str(row.doubled),
        str(row.verdicts_differing),
        "; ".join(filter(None, remarks)),
    ]


def _pair(median: float | None, highest: float | None) -> str:
    return "" if median is None or highest is None else f"{median:.1f} / {highest:.1f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def insert(document: str, section: str) -> str:
    """Return the document with the section between its markers; raise ValueError where it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def main(arguments: Sequence[str]) -> None:
    section = render(read(Path(arguments[0])))
    if len(arguments) == 1:
        print(section)
        return
    path = Path(arguments[1])
    path.write_text(insert(path.read_text(encoding="utf-8"), section), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
