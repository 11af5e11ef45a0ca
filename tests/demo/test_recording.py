"""Every kind of file becomes the same rows, and a bad row says where and why."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from ingestion.reject import RejectReason
from sentinel.demo.recording import BadRow, Recording, RecordingError, Row

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
STREAM = """t_s,service,model,prompt_tokens,completion_tokens,latency_ms,cost_usd,error,label,anomaly_id
1.250,chat-api,llama2-70b,374,44,1534.20,0.00030140,0,none,-1
2.500,chat-api,llama2-70b,10,0,120.00,0.00000000,1,error_burst,3
"""
GENERIC = """created_at,app,Model,input_tokens,output_tokens,duration_ms,cost,prompt,response,team
2026-01-02T03:04:05+02:00,billing,openai/gpt-4o,10,20,150.5,0.001,Hello,Hi,blue
1767326645.5,billing,gpt-4o,10,20,150.5,,Hello,Hi,
"""


def rows_of(path: Path, **options: object) -> list[Row | BadRow]:
    recording = Recording(path, **options)  # type: ignore[arg-type]
    return list(recording.rows(recording.sha256()))


def good(path: Path, **options: object) -> list[Row]:
    rows = rows_of(path, **options)
    assert all(isinstance(row, Row) for row in rows), rows
    return [row for row in rows if isinstance(row, Row)]


def bad(path: Path) -> list[BadRow]:
    return [row for row in rows_of(path) if isinstance(row, BadRow)]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_an_azure_trace_gets_names_latency_and_cost_from_the_model(tmp_path: Path) -> None:
    first, second = good(write(tmp_path, "AzureLLMInferenceTrace_conv.csv", AZURE))
    assert first.timestamp_us == 1_700_158_546_680_590
    assert first.body["service_name"] == "chat-api"
    assert first.body["prompt"] == {"tokens": 374}
    assert first.body["cost_usd"] == pytest.approx(374 * 0.7e-6 + 44 * 0.9e-6)
    expected_ms = 120 + 0.25 * 396 + 30 * 109
    assert second.body["latency_ms"] == pytest.approx(expected_ms, rel=0.6)
    assert second.body["latency_ms"] != expected_ms


def test_an_azure_trace_is_of_code_if_its_name_says_so(tmp_path: Path) -> None:
    assert good(write(tmp_path, "AzureLLMInferenceTrace_code.csv", AZURE))[0].body["service_name"] == "code-assist"
    assert good(write(tmp_path, "x.csv", AZURE), call_model="code")[0].body["model"] == "codellama-34b"


def test_the_same_file_gives_the_same_ids_and_latencies(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", AZURE)
    assert good(path) == good(path)
    assert len({row.event_id for row in good(path)}) == 2
    other = good(write(tmp_path, "b.csv", AZURE + "2023-11-16 18:15:51,1,1\n"))
    assert {row.event_id for row in other}.isdisjoint(row.event_id for row in good(path))


def test_ids_are_uuid5(tmp_path: Path) -> None:
    assert good(write(tmp_path, "a.csv", AZURE))[0].event_id.version == 5


def test_an_evaluation_stream_counts_seconds_from_its_start_and_keeps_its_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "stream.csv", STREAM)
    first, second = good(path)
    assert Recording(path).is_relative()
    assert (first.timestamp_us, second.timestamp_us) == (1_250_000, 2_500_000)
    assert first.body["latency_ms"] == 1534.2
    assert first.body["errors"] == []
    assert second.body["errors"] == ["error"]
    assert second.body["metadata"] == {"label": "error_burst", "anomaly_id": "3"}


def test_the_usual_column_names_are_found_and_the_rest_is_metadata(tmp_path: Path) -> None:
    first, second = good(write(tmp_path, "calls.csv", GENERIC))
    assert first.body["service_name"] == "billing"
    assert first.body["prompt"] == {"text": "Hello", "tokens": 10}
    assert first.body["response"] == {"text": "Hi", "tokens": 20}
    assert first.body["metadata"] == {"team": "blue"}
    assert first.timestamp_us == 1_767_315_845_000_000
    assert second.timestamp_us == 1_767_326_645_500_000
    assert "cost_usd" not in second.body


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "calls.csv", "when,who,llm,ms\n2026-01-02,a,b,5\n")
    columns = {"timestamp": "when", "service_name": "who", "model": "llm", "latency_ms": "ms"}
    assert good(path, columns=columns)[0].body["latency_ms"] == 5


def test_a_named_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "calls.csv", GENERIC)
    with pytest.raises(RecordingError, match="no column 'nothing'"):
        rows_of(path, columns={"latency_ms": "nothing"})
    with pytest.raises(RecordingError, match="is no field"):
        rows_of(path, columns={"latency": "cost"})


def test_service_and_model_can_be_given_for_all_rows(tmp_path: Path) -> None:
    row = good(write(tmp_path, "a.csv", AZURE), service="mine", model="m")[0]
    assert row.key == b"mine\0m"


def event(**changes: object) -> str:
    body = {
        "timestamp": "2026-01-02T03:04:05Z",
        "service_name": "s",
        "model": "m",
        "prompt": {"text": "p", "tokens": 1},
        "response": {"text": "r", "tokens": 2},
        "latency_ms": 5.0,
    }
    return json.dumps({**body, **changes}) + "\n"


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson"])
def test_json_lines_are_events_of_the_wire(tmp_path: Path, name: str) -> None:
    own = uuid.uuid4()
    path = write(tmp_path, name, event(event_id=str(own)) + "\n" + event())
    first, second = good(path)
    assert first.event_id == own
    assert second.event_id.version == 5
    assert first.timestamp_us == 1_767_323_045_000_000


def test_bad_json_lines_say_line_field_and_reason(tmp_path: Path) -> None:
    lines = [event(), "{broken\n", event(timestamp=None), event(latency_ms="slow"), event(model=""), "[1]\n"]
    found = bad(write(tmp_path, "a.jsonl", "".join(lines)))
    assert [(row.line, row.field, row.reason) for row in found] == [
        (2, "$", RejectReason.NOT_JSON),
        (3, "timestamp", RejectReason.BAD_TIMESTAMP),
        (4, "latency_ms", RejectReason.WRONG_TYPE),
        (5, "model", RejectReason.EMPTY_FIELD),
        (6, "$", RejectReason.NOT_JSON),
    ]


def test_bad_csv_rows_say_line_field_and_reason_and_the_others_are_kept(tmp_path: Path) -> None:
    text = AZURE + "yesterday,1,2\n2023-11-16 18:16:00,many,2\n2023-11-16 18:16:00,-5,2\n2023-11-16 18:16:00\n"
    path = write(tmp_path, "a.csv", text)
    assert [(row.line, row.field, row.reason) for row in bad(path)] == [
        (4, "timestamp", RejectReason.BAD_TIMESTAMP),
        (5, "prompt.tokens", RejectReason.WRONG_TYPE),
        (6, "prompt.tokens", RejectReason.OUT_OF_RANGE),
        (7, "$", RejectReason.MISSING_FIELD),
    ]
    assert len(rows_of(path)) == 6


def test_a_message_shows_no_content(tmp_path: Path) -> None:
    found = bad(write(tmp_path, "a.jsonl", event(latency_ms="my secret")))
    assert "secret" not in found[0].message


def test_a_generic_file_without_latency_is_not_invented(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "timestamp,service,model\n2026-01-02,a,b\n")
    assert bad(path)[0].field == "latency_ms"


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "is empty"), ("a,b\n1,2\n", "no column holds the time"), ("\x00", "no column holds the time")],
)
def test_a_file_that_cannot_be_read_is_refused_as_a_whole(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(RecordingError, match=why):
        rows_of(write(tmp_path, "a.csv", text))
