from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client

from ingestion.letter_claims import claimed
from ingestion.log.base import Record
from ingestion.log.postgres import PostgresLog
from ingestion.models import DeadLetter, InboxPartition
from ingestion.replay import replay
from tests.ingestion.sessions import another_session, holding

URL = "/api/v1/dead-letters"
Add = Callable[..., DeadLetter]
VALID = '{"service_name": "chat-api", "model": "gpt-4", "latency_ms": 1, "content_mode": "none"}'


def replayed_record(letter: DeadLetter) -> Record:
    """Replay one letter and return the newest record of the log."""
    replay([letter.pk])
    log = PostgresLog()
    ends = log.end_offsets([(item.topic, item.partition) for item in log.partitions(["llm.telemetry"])])
    chunks = [log.read(topic, partition, 0, end, max_bytes=10**6) for (topic, partition), end in ends.items()]
    records = [record for chunk in chunks for record in chunk.records]
    return max(records, key=lambda record: (record.timestamp_ms, record.offset))


def test_a_dead_letter_says_what_is_wrong_and_where_it_lies(reader: Client, add_dead_letter: Add) -> None:
    letter = add_dead_letter()
    body = reader.get(URL).json()
    assert body["count"] == 1
    assert body["dead_letters"] == [
        {
            "id": letter.pk,
            "created_at": letter.created_at.isoformat().replace("+00:00", "Z"),
            "topic": "llm.telemetry",
            "partition": 0,
            "offset": 0,
            "records": 1,
            "log_time": letter.log_time.isoformat().replace("+00:00", "Z"),
            "stage": "decode",
            "reason": "missing_field",
            "field": "latency_ms",
            "message": "latency_ms is required",
            "size_bytes": 28,
            "sha256": "00" * 32,
            "payload": '{"service_name": "chat-api"}',
            "payload_cut": False,
            "payload_withheld": None,
            "status": "open",
            "replayed_at": None,
        }
    ]


def test_status_and_reason_choose(reader: Client, add_dead_letter: Add) -> None:
    add_dead_letter(status="replayed")
    add_dead_letter(reason="not_json")
    assert reader.get(URL, {"status": "replayed"}).json()["count"] == 1
    assert reader.get(URL, {"reason": "not_json"}).json()["count"] == 1
    assert reader.get(URL, {"status": "replayed", "reason": "not_json"}).json()["count"] == 0


def test_an_unknown_status_is_refused(reader: Client) -> None:
    error = reader.get(URL, {"status": "done"}).json()["error"]
    assert error["fields"] == [{"field": "status", "reason": '"done" is not a valid choice.'}]


def test_pages_hold_every_letter_once(reader: Client, add_dead_letter: Add) -> None:
    ids = [add_dead_letter().pk for _ in range(5)]
    DeadLetter.objects.filter(pk__in=ids[:2]).update(
        created_at=DeadLetter.objects.get(pk=ids[0]).created_at - timedelta(hours=1)
    )
    found: list[int] = []
    url = f"{URL}?limit=2"
    while url:
        response = reader.get(url)
        found += [item["id"] for item in response.json()["dead_letters"]]
        url = response.headers.get("Link", "").removeprefix("<").partition(">")[0]
    assert found == [*reversed(ids[2:]), *reversed(ids[:2])]


def test_a_letter_without_a_payload_says_why(reader: Client, add_dead_letter: Add) -> None:
    add_dead_letter(reason="killed_worker", payload="")
    (letter,) = reader.get(URL).json()["dead_letters"]
    assert (letter["payload"], letter["payload_withheld"]) == ("", "it killed its worker: only size and hash are kept")


def test_another_projects_letters_are_not_shown(stranger: Client, add_dead_letter: Add) -> None:
    add_dead_letter()
    assert stranger.get(URL).json() == {"dead_letters": [], "count": 0}


@pytest.mark.usefixtures("inbox")
class TestReplay:
    def test_appends_the_payload_to_its_topic_and_marks_the_letter(
        self, administrator: Client, add_dead_letter: Add
    ) -> None:
        letter = add_dead_letter()
        response = administrator.post(f"{URL}/{letter.pk}/replay")
        assert (response.status_code, response.json()) == (200, {"replayed": 1, "skipped": 0})
        letter.refresh_from_db()
        assert letter.status == "replayed"
        assert sum(InboxPartition.objects.values_list("end_offset", flat=True)) == 1

    def test_an_event_goes_to_the_partition_of_its_series(self, add_dead_letter: Add) -> None:
        letter = add_dead_letter(payload=VALID)
        assert replayed_record(letter).key == b"chat-api\0gpt-4"

    def test_what_is_still_no_event_keeps_its_payload_and_is_keyed_by_its_place(self, add_dead_letter: Add) -> None:
        letter = add_dead_letter()
        record = replayed_record(letter)
        assert record.key == f"{letter.cursor_id}:{letter.log_offset}".encode()
        assert record.value == letter.payload.encode()

    def test_an_event_without_an_id_or_time_has_the_same_ones_however_often(self, add_dead_letter: Add) -> None:
        letter = add_dead_letter(payload=VALID)
        first = json.loads(replayed_record(letter).value or b"")
        DeadLetter.objects.update(status="open")
        second = json.loads(replayed_record(letter).value or b"")
        assert first == second
        assert first["event_id"]
        assert datetime.fromisoformat(first["timestamp"]) == letter.log_time

    def test_an_event_keeps_its_own_id(self, add_dead_letter: Add) -> None:
        event_id = "0192f0c1-2d3e-7abc-8def-0123456789ab"
        letter = add_dead_letter(payload=VALID[:-1] + f', "event_id": "{event_id}"' + "}")
        assert json.loads(replayed_record(letter).value or b"")["event_id"] == event_id

    def test_a_second_time_is_refused(self, administrator: Client, add_dead_letter: Add) -> None:
        letter = add_dead_letter()
        administrator.post(f"{URL}/{letter.pk}/replay")
        response = administrator.post(f"{URL}/{letter.pk}/replay")
        assert response.status_code == 409
        error = response.json()["error"]
        assert error["code"] == "not_replayable"
        assert error["message"].startswith(f"Dead letter {letter.pk} cannot be replayed: it was replayed at 20")

    def test_without_a_payload_there_is_nothing_to_replay(self, administrator: Client, add_dead_letter: Add) -> None:
        letter = add_dead_letter(payload="")
        response = administrator.post(f"{URL}/{letter.pk}/replay")
        assert response.status_code == 409
        assert response.json()["error"]["message"] == (
            f"Dead letter {letter.pk} cannot be replayed: it could not be scrubbed: only size and hash are kept."
        )

    def test_a_cut_payload_is_not_sent_as_broken_json(self, administrator: Client, add_dead_letter: Add) -> None:
        letter = add_dead_letter(payload_cut=True)
        response = administrator.post(f"{URL}/{letter.pk}/replay")
        assert response.status_code == 409
        assert "its payload was cut when it was set aside" in response.json()["error"]["message"]

    def test_counted_records_are_not_there_to_be_replayed(self, administrator: Client, add_dead_letter: Add) -> None:
        letter = add_dead_letter(reason="over_quota", records=400, payload="")
        response = administrator.post(f"{URL}/{letter.pk}/replay")
        assert response.status_code == 409
        assert "400 records counted, none kept" in response.json()["error"]["message"]

    def test_while_somebody_else_replays_it_the_answer_says_so(
        self, administrator: Client, add_dead_letter: Add
    ) -> None:
        letter = add_dead_letter()
        with another_session(lambda: claimed([letter.pk])):
            response = administrator.post(f"{URL}/{letter.pk}/replay")
        assert (response.status_code, response.headers["Retry-After"]) == (409, "5")
        error = response.json()["error"]
        assert error["code"] == "being_replayed"
        assert error["message"] == (
            f"Dead letter {letter.pk} is not marked as replayed: somebody else is replaying it at this moment."
        )

    def test_without_the_mark_the_answer_says_that_it_is_in_the_log(
        self, administrator: Client, add_dead_letter: Add
    ) -> None:
        letter = add_dead_letter()
        with connection.cursor() as sql:
            sql.execute("SET lock_timeout = 100")
        with holding("SELECT FROM ingestion_deadletter WHERE id = %s FOR UPDATE", [letter.pk]):
            response = administrator.post(f"{URL}/{letter.pk}/replay")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert response.json()["error"]["code"] == "database_unavailable"
        assert "it is in the log, but PostgreSQL did not take the mark" in response.json()["error"]["message"]

    def test_needs_the_admin_scope(self, reader: Client, add_dead_letter: Add) -> None:
        assert reader.post(f"{URL}/{add_dead_letter().pk}/replay").status_code == 403

    def test_without_a_log_the_letter_stays_open(self, administrator: Client, add_dead_letter: Add) -> None:
        letter = add_dead_letter()
        InboxPartition.objects.all().delete()
        response = administrator.post(f"{URL}/{letter.pk}/replay")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert response.json()["error"]["code"] == "log_unavailable"
        assert "the log did not confirm it; it stays open" in response.json()["error"]["message"]
        letter.refresh_from_db()
        assert letter.status == "open"
