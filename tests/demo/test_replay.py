"""A replay shifts times, keeps the pace, and goes on where it was interrupted."""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
import pytest

from sentinel.demo import resume
from sentinel.demo.pace import Pace, speed
from sentinel.demo.recording import Recording
from sentinel.demo.replay import Survey, checksum, send, shift_us, survey
from sentinel.demo.sink import SinkError

NOW_US = 1_800_000_000_000_000
TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{second:02d}.0000000,100,10\n" for second in range(10)
)


class ListSink:
    """Keeps what it is given; fails at the event of number `fails_at`."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.values: list[bytes] = []
        self.keys: list[bytes] = []
        self.fails_at = fails_at

    def send(self, key: bytes, value: bytes) -> None:
        if len(self.values) == self.fails_at:
            raise SinkError("the broker is gone")
        self.keys.append(key)
        self.values.append(value)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    @property
    def timestamps(self) -> list[str]:
        return [msgspec.json.decode(value)["timestamp"] for value in self.values]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE + "rubbish,1,1\n")
    return Recording(path)


def test_a_survey_counts_good_and_bad_rows_and_finds_the_span(recording: Recording) -> None:
    found = survey(recording)
    assert (found.rows, len(found.bad_rows), found.seconds) == (10, 1, 9.0)


def test_at_full_speed_the_last_row_happens_now(recording: Recording) -> None:
    found, sink = survey(recording), ListSink()
    shift = shift_us(found, now_us=NOW_US, speed=None)
    send(recording, found, sink, shift_us=shift, speed=None, advance=lambda count: None)
    assert sink.timestamps[-1] == "2027-01-15T08:00:00.000000Z"
    assert sink.timestamps[0] == "2027-01-15T07:59:51.000000Z"


def test_at_a_limited_speed_the_last_row_happens_when_it_is_sent(recording: Recording) -> None:
    found = survey(recording)
    assert found.last_us + shift_us(found, now_us=NOW_US, speed=3.0) == NOW_US + 3_000_000


def test_bad_rows_are_left_out_and_the_others_sent_with_their_series_as_key(recording: Recording) -> None:
    found, sink = survey(recording), ListSink()
    sent = send(recording, found, sink, shift_us=0, speed=None, advance=lambda count: None)
    assert sent.count == 10
    assert set(sink.keys) == {b"chat-api\0llama2-70b"}


def test_the_pace_follows_the_recorded_times() -> None:
    clock = 100.0
    pace = Pace(speed=2.0, first_us=0, started_at=100.0, clock=lambda: clock)
    assert pace.seconds_until(10_000_000) == pytest.approx(5.0)
    clock = 104.0
    assert pace.seconds_until(10_000_000) == pytest.approx(1.0)
    assert Pace(None, 0, 100.0, lambda: clock).seconds_until(10_000_000) == 0


def test_sending_waits_as_long_as_the_recording_says(recording: Recording) -> None:
    found, slept = survey(recording), list[float]()
    send(recording, found, ListSink(), shift_us=0, speed=1000.0, advance=lambda count: None, sleep=slept.append)
    assert slept
    assert max(slept) <= 9 / 1000


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf"])
def test_a_speed_is_a_positive_number_or_max(text: str) -> None:
    with pytest.raises(Exception, match="neither a number above 0 nor max"):
        speed(text)
    assert speed("max") is None
    assert speed("2.5") == 2.5


def test_a_resumed_replay_sends_the_rest_and_counts_all(recording: Recording) -> None:
    found, sink = survey(recording), ListSink()
    sent = send(recording, found, sink, shift_us=0, speed=None, skip_rows=7, advance=lambda count: None)
    assert len(sink.values) == 3
    assert sent.count == 10


def test_what_is_durable_is_told_from_the_beginning_on(recording: Recording) -> None:
    found, told = survey(recording), list[int]()
    with pytest.raises(SinkError):
        send(recording, found, ListSink(4), shift_us=0, speed=None, advance=lambda count: None, on_durable=told.append)
    assert told == [0]
    send(recording, found, ListSink(), shift_us=0, speed=None, advance=lambda count: None, on_durable=told.append)
    assert told == [0, 0, 10]


def test_a_failing_broker_stops_the_replay(recording: Recording) -> None:
    found = survey(recording)
    with pytest.raises(SinkError, match="gone"):
        send(recording, found, ListSink(4), shift_us=0, speed=None, advance=lambda count: None)


def test_the_state_of_a_replay_is_kept_per_file_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = resume.state_path("abc", "topic", None)
    assert path != resume.state_path("abc", "other", None)
    assert resume.load(path) is None
    resume.save(path, resume.ReplayState(5, 7))
    assert resume.load(path) == resume.ReplayState(5, 7)
    resume.forget(path)
    resume.forget(path)
    assert resume.load(path) is None


def test_the_checksum_ignores_order_and_sees_repeats() -> None:
    ids = [uuid.uuid4() for _ in range(100)]
    assert checksum(ids) == checksum(ids[::-1])
    assert checksum(ids) != checksum([*ids, ids[0]])
    assert checksum(ids) != checksum(ids[1:])


def test_an_empty_survey_has_no_span() -> None:
    assert Survey("", 0, 0, 0, []).seconds == 0
