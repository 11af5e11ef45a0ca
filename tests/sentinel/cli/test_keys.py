from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from api.authentication import caller_of_key
from api.errors import ApiError
from api.models import ApiKey
from sentinel.cli import keys

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    keys.add_arguments(parser)
    return keys.run(parser.parse_args(arguments))


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(*arguments, "--json") == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_new_key_works_with_ingest_and_read(capsys: pytest.CaptureFixture[str]) -> None:
    made = run_json(capsys, "create", "checkout")
    caller = caller_of_key(made["key"])
    assert (caller.project.slug, sorted(caller.scopes)) == ("default", ["ingest", "read"])


def test_only_the_key_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("create", "checkout", "--scope", "read") == 0
    said = capsys.readouterr()
    assert caller_of_key(said.out.strip()).scopes == {"read"}
    assert said.err == "This is the only time that it is shown; keep it like a password.\n"


def test_an_unknown_project_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("create", "checkout", "--project", "nope") == 1
    assert capsys.readouterr().err == "sentinel keys: there is no project nope; there are: default\n"


def test_a_list_shows_prefixes_and_never_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    made = run_json(capsys, "create", "checkout", "--expires-days", "7")
    (row,) = run_json(capsys, "list")["keys"]
    assert row["prefix"] == made["prefix"]
    assert row["expires_at"] is not None
    assert "key" not in row


def test_a_list_without_keys_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert capsys.readouterr().out == "No API keys; make one with `sentinel keys create NAME`.\n"


@pytest.mark.parametrize("by", ["prefix", "key"])
def test_a_revoked_key_is_refused(capsys: pytest.CaptureFixture[str], by: str) -> None:
    made = run_json(capsys, "create", "checkout")
    run_json(capsys, "revoke", made[by])
    with pytest.raises(ApiError, match="revoked"):
        caller_of_key(made["key"])


def test_revoking_twice_keeps_the_first_time(capsys: pytest.CaptureFixture[str]) -> None:
    made = run_json(capsys, "create", "checkout")
    run_json(capsys, "revoke", made["prefix"])
    first = ApiKey.objects.get().revoked_at
    run_json(capsys, "revoke", made["prefix"])
    assert ApiKey.objects.get().revoked_at == first


def test_an_unknown_key_cannot_be_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("revoke", "nope") == 1
    assert capsys.readouterr().err == "sentinel keys: there is no such key; see `sentinel keys list`\n"
