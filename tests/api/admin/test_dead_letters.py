from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from ingestion.letter_claims import claimed
from ingestion.models import DeadLetter, PartitionCursor
from tests.ingestion.sessions import another_session

Add = Callable[..., DeadLetter]


pytestmark = pytest.mark.usefixtures("inbox")


def replay(client: Client, *letters: DeadLetter) -> str:
    data = {"action": "replay_chosen", "_selected_action": [letter.pk for letter in letters]}
    url = reverse("admin:ingestion_deadletter_changelist")
    return client.post(url, data, follow=True).content.decode()


def test_the_action_replays_and_says_how_many(staff: Client, add_dead_letter: Add) -> None:
    letters = [add_dead_letter(), add_dead_letter(payload="")]
    page = replay(staff, *letters)
    assert "1 replayed, 1 skipped (1 no payload)." in page
    assert list(DeadLetter.objects.order_by("pk").values_list("status", flat=True)) == ["replayed", "open"]


def test_who_may_only_look_cannot_replay(anonymous: Client, add_dead_letter: Add) -> None:
    user = get_user_model().objects.create_user("eve", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    anonymous.force_login(user)
    letter = add_dead_letter()
    replay(anonymous, letter)
    letter.refresh_from_db()
    assert letter.status == "open"


def test_what_somebody_else_is_replaying_is_skipped(staff: Client, add_dead_letter: Add) -> None:
    letter = add_dead_letter()
    with another_session(lambda: claimed([letter.pk])):
        page = replay(staff, letter)
    assert "0 replayed, 1 skipped (1 being replayed)." in page
    assert f"Dead letter {letter.pk} was skipped: somebody else is replaying it at this moment." in page


def test_where_the_log_fails_half_way_the_page_says_what_was_replayed(
    staff: Client, add_dead_letter: Add, add_cursor: Callable[..., PartitionCursor]
) -> None:
    letters = [add_dead_letter(), add_dead_letter(cursor=add_cursor(topic="gone"))]
    page = replay(staff, *letters)
    assert "1 replayed, 1 not confirmed by the log." in page
    assert f"Dead letter {letters[1].pk} is not marked as replayed: the log did not confirm it; it stays open" in page
    assert list(DeadLetter.objects.order_by("pk").values_list("status", flat=True)) == ["replayed", "open"]
