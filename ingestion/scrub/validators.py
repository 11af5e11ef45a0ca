"""Checks that a regular expression cannot express; rules name them in `patterns.yaml`.

Each takes the confirming match, whose group "value" (or whole) is what would be masked, and says whether it is real.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping

Validator = Callable[[re.Match[bytes]], bool]
Normaliser = Callable[[bytes], bytes]

_NOT_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_MIN_RANDOM_RUN = 12
_RUN = re.compile(rb"[A-Za-z0-9]+")

# Issuer prefixes as ranges over the first six digits, with the lengths in use (ISO/IEC 7812, networks' own tables).
_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = (
    (400_000, 499_999, frozenset({13, 16, 19})),  # Visa
    (510_000, 559_999, frozenset({16})),  # Mastercard
    (222_100, 272_099, frozenset({16})),
    (340_000, 349_999, frozenset({15})),  # American Express
    (370_000, 379_999, frozenset({15})),
    (601_100, 601_199, frozenset({16, 19})),  # Discover
    (644_000, 659_999, frozenset({16, 19})),
    (300_000, 305_999, frozenset({14, 16})),  # Diners
    (360_000, 369_999, frozenset({14, 16, 19})),
    (380_000, 399_999, frozenset({14, 16})),
    (352_800, 358_999, frozenset({16, 19})),  # JCB
    (620_000, 629_999, frozenset({16, 17, 18, 19})),  # UnionPay
    (500_000, 509_999, frozenset({16, 19})),  # Maestro
    (560_000, 589_999, frozenset({16, 19})),
    (630_000, 639_999, frozenset({16, 19})),
    (670_000, 679_999, frozenset({16, 19})),
)

# What stands for a value in code, configuration and documentation.
_STAND_IN = re.compile(
    rb"""(?xi)
    [$<{%\[(] .*                                        # ${VAR} <your-key> {{ key }} %(key)s
    | (?: none | null | nil | undefined | true | false | yes | no | empty | unset | redacted | hidden | removed | masked
        | str | string | int | integer | number | bool | boolean | bytes | object | any | optional(?:\[.*)? | secretstr
        | required | value | secret | password | token | key | bearer | basic | digest | negotiate | changeme | example
        | todo | n/?a | tbd | your[-_\ ].* | my[-_\ ](?:key|token|secret|password) )
    | [*x.\-_]+                                         # *** xxx
    | (?: os | process | env | config | settings | self | this | args | request | secrets | vault | data | ctx ) [.\[] .*
    | [a-z_][a-z0-9_.]* \( .*                           # get_password()
    """
)
_STRICT_NAME = re.compile(rb"(?i)(?:pass(?:word|wd|phrase|code)|pwd|secret)s?\W*$")
_SYMBOL_OR_DIGIT = re.compile(rb"[0-9!@#$%^&*+=~?/]")
_MIN_VALUE_BYTES = 3


def group_span(match: re.Match[bytes], name: str) -> tuple[int, int]:
    """Return (start, end) of a named group, of the whole match where the pattern has no such group."""
    return match.span(name) if name in match.re.groupindex else match.span()


def _value(match: re.Match[bytes]) -> bytes:
    start, end = group_span(match, "value")
    return match.string[start:end]


def is_card(match: re.Match[bytes]) -> bool:
    """Return whether the number has an issuer's prefix, one of its lengths, and a valid Luhn digit."""
    digits = _value(match).translate(None, _NOT_DIGITS)
    prefix, length = int(digits[:6]), len(digits)
    if not any(low <= prefix <= high and length in lengths for low, high, lengths in _ISSUERS):
        return False
    return len(set(digits)) > 1 and luhn_holds(digits)


def luhn_holds(digits: bytes) -> bool:
    """Return whether the last of the ASCII digits is the Luhn check digit of the others (ISO/IEC 7812-1 annex B)."""
    odd = sum(digit - 48 for digit in digits[-1::-2])
    even = sum(_DOUBLED[digit - 48] for digit in digits[-2::-2])
    return (odd + even) % 10 == 0


def is_random(match: re.Match[bytes]) -> bool:
    """Return whether one run of letters and digits is long and mixed, unlike the words of "sk-learn-in-practice"."""
    return any(len(run) >= _MIN_RANDOM_RUN and _is_mixed(run) for run in _RUN.findall(_value(match)))


def _is_mixed(run: bytes) -> bool:
    has_letter = not run.isdigit()
    return has_letter and (any(48 <= byte <= 57 for byte in run) or not (run.islower() or run.isupper()))


def is_basic_credentials(match: re.Match[bytes]) -> bool:
    """Return whether the value is base64 of `name:password` (RFC 7617)."""
    value = _value(match)
    try:
        decoded = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        return False
    return b":" in decoded and all(32 <= byte != 127 for byte in decoded)


def is_assigned_secret(match: re.Match[bytes]) -> bool:
    """Return whether `name=value` holds a secret: the name has been checked, the value is no stand-in.

    Passwords may be anything. Tokens and keys, which prose and code name all the time, must look random. An unquoted
    value behind a colon may be prose ("Password: must be long") and needs a digit or a symbol.
    """
    value = _value(match)
    if len(value) < _MIN_VALUE_BYTES or _STAND_IN.fullmatch(value):
        return False
    name = match["name"]
    if value == name:  # login(password=password)
        return False
    if not _STRICT_NAME.search(name):
        return (
            len(value) >= 8 and (_is_mixed(value) or _SYMBOL_OR_DIGIT.search(value) is not None) and b" " not in value
        )
    return match["quote"] is not None or match["colon"] is None or _SYMBOL_OR_DIGIT.search(value) is not None


VALIDATORS: Mapping[str, Validator] = {
    "card": is_card,
    "random": is_random,
    "basic_credentials": is_basic_credentials,
    "assigned_secret": is_assigned_secret,
}

NEEDED_GROUPS: Mapping[str, tuple[str, ...]] = {"assigned_secret": ("name", "quote", "colon")}
"""Named groups, besides "value", that a validator reads."""

NORMALISERS: Mapping[str, Normaliser] = {
    "exact": bytes,
    "lower": lambda value: value.decode(errors="surrogatepass").strip().lower().encode(errors="surrogatepass"),
    "digits": lambda value: value.translate(None, _NOT_DIGITS),
}
"""The canonical form of a value, by name, so that its spellings get one tag."""
