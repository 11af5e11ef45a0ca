from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from ingestion.models import Gap, PartitionCursor

LIST = reverse("admin:ingestion_partitioncursor_changelist")

Add = Callable[..., PartitionCursor]


@pytest.fixture
def halted(add_cursor: Add, now: datetime) -> Callable[..., PartitionCursor]:
    def add(because: str, **values: Any) -> PartitionCursor:
        row = {"halted_because": because, "halted_reason": f"for {because}", "halted_at": now, "log_end_at": now}
        return add_cursor(next_offset=40, **(row | values))

    return add


def resume_url(*cursors: PartitionCursor) -> str:
    ids = ",".join(str(cursor.pk) for cursor in cursors)
    return f"{reverse('admin:ingestion_partitioncursor_resume')}?ids={ids}"


def form(cursor: PartitionCursor, way: str) -> dict[str, str]:
    return {f"way_{cursor.pk}": way, f"seen_{cursor.pk}": f"{cursor.attempt}:{cursor.halted_because}"}


def test_the_list_shows_state_lag_since_why_and_the_runbook(staff: Client, add_cursor: Add, now: datetime) -> None:
    ago = now - timedelta(minutes=3)
    cursor = add_cursor(
        log_end=1_234, log_end_at=now, attempt=3, dispatches=4, dispatched_at=now, range_since=ago,
    )  # fmt: skip
    PartitionCursor.objects.filter(pk=cursor.pk).update(progressed_at=ago)
    page = staff.get(LIST).content.decode()
    for shown in ("stuck", "1,234", f"{ago:%Y-%m-%d %H:%M:%S} UTC", "no worker takes its task, which was sent 4 times"):
        assert shown in page
    assert reverse("admin:runbook", args=["waiting-for-workers"]) in page


def test_a_partition_says_the_same_in_the_list_and_on_its_page(
    staff: Client, halted: Callable[..., PartitionCursor], now: datetime
) -> None:
    cursor = halted("other_cluster", halted_reason="the brokers belong to cluster x")
    for url in (LIST, reverse("admin:ingestion_partitioncursor_change", args=[cursor.pk])):
        page = staff.get(url).content.decode()
        assert "the brokers belong to cluster x" in page
        assert f"{now:%Y-%m-%d %H:%M:%S} UTC" in page
        assert escape(resume_url(cursor)) in page


def test_a_partition_behind_an_open_transaction_links_to_its_runbook(
    staff: Client, add_cursor: Add, now: datetime
) -> None:
    since = now - timedelta(minutes=3)
    cursor = add_cursor(
        next_offset=5, log_end=5, log_end_at=now, held_up_since=since, held_up_offset=5, held_up_end=1_239
    )
    for url in (LIST, reverse("admin:ingestion_partitioncursor_change", args=[cursor.pk])):
        page = staff.get(url).content.decode()
        for shown in (
            "stuck",
            "1,234",
            f"{since:%Y-%m-%d %H:%M:%S} UTC",
            reverse("admin:runbook", args=["transaction-open"]),
        ):
            assert shown in page


def test_a_gap_says_how_much_is_lost_and_where_to_read_on(staff: Client, add_cursor: Add) -> None:
    Gap.objects.create(cursor=add_cursor(), start_offset=100, end_offset=5_100, reason="retention")
    page = staff.get(reverse("admin:ingestion_gap_changelist")).content.decode()
    assert "5,000" in page
    assert "The log removed them before they were ingested" in page
    assert reverse("admin:runbook", args=["gap"]) in page


class TestResume:
    def test_the_action_leads_to_a_page_that_says_what_will_happen(
        self, staff: Client, halted: Callable[..., PartitionCursor]
    ) -> None:
        cursor = halted("poisoned_build")
        response = staff.post(LIST, {"action": "resume_halted", "_selected_action": [cursor.pk]}, follow=True)
        page = response.content.decode()
        assert "The records from offset 40 on are tried again" in page
        assert "Record 40 is set aside unread" in page
        assert PartitionCursor.objects.get(pk=cursor.pk).halted_reason

    def test_the_chosen_way_is_taken_and_stands_in_the_history(
        self, staff: Client, halted: Callable[..., PartitionCursor]
    ) -> None:
        cursor = halted("poisoned_build")
        page = staff.post(resume_url(cursor), form(cursor, "set_aside"), follow=True).content.decode()
        assert f"{cursor} goes on. Record 40 is set aside unread" in page
        cursor.refresh_from_db()
        assert (cursor.halted_reason, cursor.condemned_offset) == ("", 40)
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.user.get_username()) == (str(cursor.pk), "ada")
        assert entry.change_message == "Resumed. Set the record aside. Halted before: for poisoned_build"

    def test_a_replaced_log_goes_on_only_if_it_is_accepted(
        self, staff: Client, halted: Callable[..., PartitionCursor]
    ) -> None:
        cursor = halted("log_replaced")
        for way in ("plain", ""):
            staff.post(resume_url(cursor), form(cursor, way))
            assert PartitionCursor.objects.get(pk=cursor.pk).halted_reason
        staff.post(resume_url(cursor), form(cursor, "accept_log"))
        assert not PartitionCursor.objects.get(pk=cursor.pk).halted_reason

    def test_several_go_on_at_once_and_one_that_is_not_halted_stays(
        self, staff: Client, halted: Callable[..., PartitionCursor], add_cursor: Add, now: datetime
    ) -> None:
        first, second, fine = halted("beyond_end"), halted("bad_deploy"), add_cursor(log_end_at=now)
        assert f"{fine} is not halted" in staff.get(resume_url(first, second, fine)).content.decode()
        staff.post(resume_url(first, second, fine), form(first, "plain") | form(second, "plain"))
        assert not PartitionCursor.objects.exclude(halted_reason="").exists()

    def test_a_halt_that_came_after_the_page_is_not_resumed(
        self, staff: Client, halted: Callable[..., PartitionCursor]
    ) -> None:
        cursor = halted("beyond_end")
        seen = form(cursor, "plain")
        PartitionCursor.objects.update(halted_because="bad_deploy")
        page = staff.post(resume_url(cursor), seen, follow=True).content.decode()
        assert "has changed meanwhile; look again" in page
        assert PartitionCursor.objects.get(pk=cursor.pk).halted_reason

    def test_who_may_only_look_is_refused(self, anonymous: Client, halted: Callable[..., PartitionCursor]) -> None:
        user = get_user_model().objects.create_user("eve", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_partitioncursor"))
        anonymous.force_login(user)
        cursor = halted("beyond_end")
        assert anonymous.get(LIST).status_code == 200
        assert anonymous.get(resume_url(cursor)).status_code == 403
        assert anonymous.post(resume_url(cursor), form(cursor, "plain")).status_code == 403
        assert PartitionCursor.objects.get(pk=cursor.pk).halted_reason

    def test_staff_with_the_change_permission_may(
        self, anonymous: Client, halted: Callable[..., PartitionCursor]
    ) -> None:
        user = get_user_model().objects.create_user("bob", is_staff=True)
        user.user_permissions.set(
            Permission.objects.filter(codename__in=["view_partitioncursor", "change_partitioncursor"])
        )
        anonymous.force_login(user)
        cursor = halted("beyond_end")
        anonymous.post(resume_url(cursor), form(cursor, "plain"))
        assert not PartitionCursor.objects.get(pk=cursor.pk).halted_reason


class TestRunbook:
    def test_a_page_is_shown_and_its_links_lead_to_other_pages(self, staff: Client) -> None:
        page = staff.get(reverse("admin:runbook", args=["README"])).content.decode()
        assert f'href="{reverse("admin:runbook", args=["log-replaced"])}"' in page
        assert "<table>" in page

    def test_there_is_no_page_of_another_name(self, staff: Client) -> None:
        assert staff.get(reverse("admin:runbook", args=["nothing"])).status_code == 404

    def test_nobody_reads_it_without_an_account(self, anonymous: Client) -> None:
        assert anonymous.get(reverse("admin:runbook", args=["README"])).status_code == 302
