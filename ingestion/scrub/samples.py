"""The tests that rules carry with them: texts with the expected spans between « and ».

`{alnum:36}` stands for 36 characters of a kind, so that neither readers nor the scanners of code hosts take a sample
for a leaked secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import cycle, islice

_ALPHABETS = {
    "alnum": "a1B2c3D4e5F6g7H8i9J0kLmNoPqRsTuVwXyZ",
    "lower": "a1b2c3d4e5f6g7h8i9j0klmnopqrstuvwxyz",
    "upper": "A1B2C3D4E5F6G7H7I6J5KLMNOPQRSTUVWXYZ",
    "base32": "A2B3C4D5E6F7G2H3I4J5KLMNOPQRSTUVWXYZ",
    "base64": "Ab1/Cd2+Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv",
    "letters": "aBcDeFgHiJkLmNoPqRsTuVwXyZ",
    "hex": "0a1b2c3d4e5f6789",
    "digits": "1234567890",
}
_FILLER = re.compile(r"\{(\w+):(\d+)\}")
_MARKS = re.compile("[«»]")


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, and the (start, end) of each span, in characters, that its rule must find there."""

    text: str
    spans: tuple[tuple[int, int], ...]


def parse_sample(source: str) -> Sample:
    """Raise `ValueError` for marks that do not pair up and for an unknown filler."""
    expanded = _FILLER.sub(lambda match: _fill(match[1], int(match[2])), source)
    marks = list(_MARKS.finditer(expanded))
    if [mark[0] for mark in marks] != ["«", "»"] * (len(marks) // 2):
        raise ValueError("« and » must pair up")
    # Each mark shifts what follows by one.
    places = [mark.start() - index for index, mark in enumerate(marks)]
    return Sample(_MARKS.sub("", expanded), tuple(zip(places[::2], places[1::2], strict=True)))


def _fill(kind: str, length: int) -> str:
    if kind not in _ALPHABETS:
        raise ValueError(f"{{{kind}:{length}}} names no alphabet; there are {', '.join(_ALPHABETS)}")
    return "".join(islice(cycle(_ALPHABETS[kind]), length))
