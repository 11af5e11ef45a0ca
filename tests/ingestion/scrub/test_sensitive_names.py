"""Names of secrets are told from names that only sound like them."""

from __future__ import annotations

import pytest

from ingestion.scrub.rules import default_rules

NAMES = default_rules().names


@pytest.mark.parametrize("name", NAMES.hits)
def test_a_name_of_a_secret_is_sensitive(name: str) -> None:
    assert name in NAMES


@pytest.mark.parametrize("name", NAMES.misses)
def test_other_names_are_not(name: str) -> None:
    assert name not in NAMES


@pytest.mark.parametrize("name", ["пароль", "\ud800", ".", "..password", "a" * 10_000 + "_password", "١٢٣"])
def test_any_name_is_decided(name: str) -> None:
    assert (name in NAMES) == name.endswith("password")
