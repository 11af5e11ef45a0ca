from __future__ import annotations

import hashlib

from api import keys
from api.models import ApiKey, Scope, create_key
from ingestion.models import Project


def test_a_key_can_be_read_back() -> None:
    token = keys.generate()
    assert keys.parse(str(token)) == token


def test_a_key_with_one_wrong_character_is_recognised_without_the_database() -> None:
    text = str(keys.generate())
    wrong = "A" if text[-10] != "A" else "B"
    assert keys.parse(text[:-10] + wrong + text[-9:]) is None


def test_the_representation_of_a_key_hides_its_secret() -> None:
    token = keys.generate()
    assert token.secret not in repr(token)


def test_only_the_digest_of_a_key_is_stored(project: Project) -> None:
    key, token = create_key(project, name="test", scopes=[Scope.READ])
    stored = ApiKey.objects.values().get(pk=key.pk)
    assert bytes(stored["digest"]) == hashlib.sha256(str(token).encode()).digest()
    assert all(token.secret not in str(value) for value in stored.values())
