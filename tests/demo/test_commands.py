"""The commands against a whole installation, as a user runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import Installation, running_installation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with running_installation(tmp_path_factory.mktemp("installation")) as found:
        yield found


def test_a_sent_event_is_stored_where_send_says(installation: Installation) -> None:
    answer = installation.json("send", "--wait", "--service", "shop", "--prompt", "Hello", "--cost-usd", "0.01")
    assert answer["stored"]["cursor"].startswith("llm.telemetry[")
    assert answer["stored"]["offset"] >= 0


def test_send_reads_an_event_from_standard_input(installation: Installation) -> None:
    event = {"service_name": "s", "model": "m", "latency_ms": 1, "prompt": {"text": ""}, "response": {"text": ""}}
    event_id = "00000000-0000-4000-8000-000000000001"
    output = installation.run("send", "--file", "-", "--event-id", event_id, stdin=json.dumps(event))
    assert output.strip() == event_id


def test_send_refuses_what_the_server_would_reject(installation: Installation) -> None:
    installation.run("send", "--latency-ms", "-1", code=1)


def test_a_replayed_trace_is_stored_once_row_by_row(installation: Installation, tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:{n // 60:02d}:{n % 60:02d}.0000000,{100 + n},{10 + n}\n" for n in range(600))
    path = tmp_path / "trace_conv.csv"
    path.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}broken,1,1\n")
    answer = installation.json("replay", str(path), "--verify")
    assert (answer["sent"], answer["rejected"], answer["stored"]) == (600, 1, 600)
    assert answer["stored_checksum"] == answer["checksum"]
    assert answer["verified"] is True


def test_an_interrupted_replay_goes_on_with_the_same_times(installation: Installation, tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:{n // 60:02d}:{n % 60:02d}.0000000,{100 + n},{10 + n}\n" for n in range(600))
    path = tmp_path / "interrupted_conv.csv"
    path.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")
    before = stored(installation)
    with installation.start("replay", str(path), "--speed", "20", stderr=subprocess.PIPE) as replay:
        wait_for_event(installation)
        replay.send_signal(signal.SIGINT)
        _, errors = replay.communicate(timeout=30)
    assert replay.returncode == 130
    assert "--resume" in errors
    assert installation.json("replay", str(path), "--resume", "--verify")["stored"] == 600
    assert stored(installation) - before == 600
    installation.run("replay", str(path), "--resume", code=1)


def wait_for_event(installation: Installation) -> None:
    """Wait until something of service chat-api was stored; an audit would not hold still meanwhile."""
    with installation.start("tail", "--events", "--service", "chat-api", stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        assert tail.stdout.readline()
        tail.send_signal(signal.SIGINT)


def stored(installation: Installation) -> int:
    partitions = installation.json("audit")["partitions"]
    return sum(item["stored"] for item in partitions)


def test_a_file_replayed_twice_with_its_own_times_is_stored_once(installation: Installation, tmp_path: Path) -> None:
    now = time.time()
    rows = "".join(f"{now - n},shop,gpt-4o,{n + 1},20,150.5\n" for n in range(200))
    path = tmp_path / "calls.csv"
    path.write_text(f"timestamp,service,model,prompt_tokens,completion_tokens,latency_ms\n{rows}")
    before = duplicates(installation)
    for _ in range(2):
        assert installation.json("replay", str(path), "--keep-time", "--verify")["stored"] == 200
    assert duplicates(installation) - before == 200


def duplicates(installation: Installation) -> int:
    """Return how many records the audit counts as duplicates, once everything is ingested and it holds."""
    deadline = time.monotonic() + 30
    while True:
        partitions = installation.json("audit")["partitions"]
        if not any(item["lag"] for item in partitions) or time.monotonic() > deadline:
            return sum(item["duplicates"] for item in partitions)
        time.sleep(0.2)


def test_a_dry_run_sends_nothing(installation: Installation, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    event = {"timestamp": "2026-01-02T03:04:05Z", "service_name": "dry", "model": "m", "latency_ms": 1}
    path.write_text(json.dumps({**event, "content_mode": "none"}) + "\n")
    assert "would send 1 rows" in installation.run("replay", str(path), "--dry-run")


def test_tail_shows_new_events_and_ends_cleanly_on_an_interrupt(installation: Installation) -> None:
    with installation.start(
        "tail", "--events", "--service", "watched", "--json", "--since", "60", stdout=subprocess.PIPE
    ) as tail:
        event_id = installation.json("send", "--service", "watched", "--wait")["event_id"]
        assert tail.stdout is not None
        line = json.loads(tail.stdout.readline())
        tail.send_signal(signal.SIGINT)
        assert tail.wait(timeout=10) == 0
    assert line["event"]["event_id"] == event_id
    assert line["event"]["service"] == "watched"


def test_tail_of_a_project_that_is_not_there_says_so(installation: Installation) -> None:
    installation.run("tail", "--project", "nobody", code=1)


def test_the_demo_finds_injected_faults_and_delivers_one_alert_a_window(tmp_path: Path) -> None:
    found = Installation(tmp_path / "demo").json("demo", "--once", "--timeout", "240")
    matched = [anomaly for anomaly in found["anomalies"] if anomaly["injected_fault"]]
    assert found["seconds_to_first_anomaly"] > 0
    assert found["events"]["stored"] == found["events"]["sent"] > 10_000
    assert {item["kind"] for item in found["faults"] if item["anomalies"]} >= {
        "latency_spike",
        "latency_shift",
        "error_burst",
        "token_blowup",
        "cost_anomaly",
        "drift",
    }
    for name in ("anomaly_type", "severity", "confidence", "detection_method", "details", "explanation"):
        assert all(anomaly[name] for anomaly in matched)
    assert found["events"]["scrubbed"]["EMAIL"] > 0
    assert found["alerts"]["received"] == found["alerts"]["windows"] > 0
    assert found["alerts"]["doubled_windows"] == []
    assert found["alerts"]["refused"] == {}
