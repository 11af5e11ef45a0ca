"""No string of an event escapes, in whichever field it stands, and nothing else changes."""

from __future__ import annotations

import datetime as dt
import types
import typing
import uuid
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from ingestion.event import Event, PromptInfo, ResponseInfo, RetrievedDocument, ToolCall, encode_event
from ingestion.scrub import Scrubber, scrub_events
from ingestion.scrub.events import _collect
from ingestion.validate import Accepted

KEY = bytes(range(32))
EVENT_ID = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
CANARY = "anna@example.com"


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    return Scrubber()


@pytest.fixture(scope="module")
def keyed() -> Scrubber:
    return Scrubber(key=KEY)


def event(**fields: Any) -> Event:
    return Event(**(dict[str, Any](service_name="chat", model="gpt-4o", latency_ms=1.0) | fields))


def accepted(event: Event) -> Accepted:
    return Accepted(event, EVENT_ID, 0, None, None, None, None, None, None, (), 0)


def scrub_one(scrubber: Scrubber, one: Event) -> tuple[Event, Any]:
    [(item, counts)] = scrub_events([accepted(one)], scrubber)
    return item.event, counts


def filled(struct: type[msgspec.Struct], value: str) -> Any:
    """Return a struct with `value` in every place of text that its types declare."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    fields = {field.name: filled_field(field.type, value) for field in info.fields}
    return struct(**{name: made for name, made in fields.items() if made is not None})


def filled_field(type_: inspect.Type, value: str) -> Any:
    match type_:
        case inspect.Metadata():
            return filled_field(type_.type, value)
        case inspect.UnionType():
            return next((made for one in type_.types if (made := filled_field(one, value)) is not None), None)
        case inspect.StrType():
            return None if type_.pattern else value
        case inspect.AnyType():
            return value
        case inspect.DictType():
            return {value: filled_field(type_.value_type, value)}
        case inspect.VarTupleType():
            return (filled_field(type_.item_type, value),)
        case inspect.StructType():
            return filled(type_.cls, value)
        case inspect.FloatType():
            return 1.0
    return None


def strings(value: Any) -> list[str]:
    """Return every string in a struct, by a walk that knows no field names."""
    if isinstance(value, str):
        return [value] if value != "full" else []  # the default of content_mode, which is no free text
    if isinstance(value, msgspec.Struct):
        return [text for name in value.__struct_fields__ for text in strings(getattr(value, name))]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in strings(one)]
    if isinstance(value, tuple | list):
        return [text for one in value for text in strings(one)]
    return []


def test_every_string_field_of_the_event_is_scrubbed(scrubber: Scrubber) -> None:
    whole = filled(Event, CANARY)
    assert len(strings(whole)) > 25
    scrubbed, counts = scrub_one(scrubber, whole)
    assert CANARY.encode() not in encode_event(scrubbed)
    assert set(strings(scrubbed)) == {"[EMAIL]", "[USER_ID]"}
    assert counts["EMAIL"] == len(strings(whole)) - 1


def test_the_fast_list_of_strings_misses_none(scrubber: Scrubber) -> None:
    whole = filled(Event, CANARY)
    # The user id is replaced whatever it holds.
    assert len(_collect([accepted(whole)], scrubber).texts) == len(strings(whole)) - 1


def test_no_field_of_the_event_has_a_type_that_the_walk_does_not_know() -> None:
    known = (str, dict, tuple, list, msgspec.Struct, float, int, dt.datetime, uuid.UUID, types.NoneType)
    for struct in (Event, PromptInfo, ResponseInfo, ToolCall, RetrievedDocument):
        for hint in typing.get_type_hints(struct).values():
            for part in leaves(hint):
                assert part is Any or (isinstance(part, type) and issubclass(part, known)), part


def leaves(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is typing.Literal:
        return []
    arguments = [one for one in typing.get_args(hint) if one is not Ellipsis]
    return [leaf for one in arguments for leaf in leaves(one)] if arguments else [hint]


def test_an_event_without_findings_is_returned_as_it_is(scrubber: Scrubber) -> None:
    given = accepted(event(prompt=PromptInfo(text="hello"), metadata={"region": "eu"}))
    [(item, counts)] = scrub_events([given], scrubber)
    assert item is given
    assert counts is None


def test_only_the_touched_event_of_a_batch_changes(scrubber: Scrubber) -> None:
    given = [accepted(event(prompt=PromptInfo(text=text))) for text in ("one", f"to {CANARY}", "three")]
    scrubbed = scrub_events(given, scrubber)
    assert [item is old for (item, _), old in zip(scrubbed, given, strict=True)] == [True, False, True]
    assert scrubbed[1][0].event.prompt.text == "to [EMAIL]"
    assert scrubbed[1][1] == {"EMAIL": 1}


def test_the_given_event_is_not_changed(scrubber: Scrubber) -> None:
    given = event(prompt=PromptInfo(text=CANARY), user_id="bob", metadata={"password": "x"})
    before = encode_event(given)
    scrub_one(scrubber, given)
    assert encode_event(given) == before


def test_metadata_named_like_a_secret_loses_its_whole_value(scrubber: Scrubber) -> None:
    given = event(metadata={"password": "correct horse", "db.apiKey": "x", "prompt_tokens": "12", "tier": "gold"})
    scrubbed, counts = scrub_one(scrubber, given)
    assert scrubbed.metadata == {"password": "[SECRET]", "db.apiKey": "[SECRET]", "prompt_tokens": "12", "tier": "gold"}
    assert counts == {"SECRET": 2}


def test_equal_secrets_get_equal_tags_under_one_key(keyed: Scrubber) -> None:
    scrubbed, _ = scrub_one(keyed, event(metadata={"password": "x1", "secret": "x1", "token": "x2"}))
    tags = list(scrubbed.metadata.values())
    assert tags[0] == tags[1] != tags[2]


def test_metadata_names_that_become_equal_keep_their_entries(scrubber: Scrubber) -> None:
    scrubbed, _ = scrub_one(scrubber, event(metadata={"a@example.com": "1", "b@example.com": "2"}))
    assert scrubbed.metadata == {"[EMAIL]": "1", "[EMAIL]#2": "2"}


def test_a_secret_under_a_name_that_is_scrubbed_itself_is_masked(scrubber: Scrubber) -> None:
    scrubbed, _ = scrub_one(scrubber, event(metadata={"a@example.com password": "hunter"}))
    assert scrubbed.metadata == {"[EMAIL] password": "[SECRET]"}


def test_a_user_id_becomes_a_keyed_pseudonym(keyed: Scrubber) -> None:
    first, counts = scrub_one(keyed, event(user_id=CANARY))
    again, _ = scrub_one(keyed, event(user_id=CANARY))
    other, _ = scrub_one(Scrubber(key=bytes(32)), event(user_id=CANARY))
    assert first.user_id is not None
    assert first.user_id.startswith("user_")
    assert len(first.user_id) == 21
    assert first.user_id == again.user_id != other.user_id
    assert counts is None


def test_without_a_key_a_user_id_is_masked(scrubber: Scrubber) -> None:
    assert scrub_one(scrubber, event(user_id="bob"))[0].user_id == "[USER_ID]"


def test_scrubbing_an_event_again_under_another_key_changes_nothing(scrubber: Scrubber, keyed: Scrubber) -> None:
    whole = msgspec.structs.replace(
        filled(Event, f"{CANARY} password=hunter2"), metadata={"token": "abc", CANARY: "4111 1111 1111 1111"}
    )
    once, _ = scrub_one(keyed, whole)
    for second in (scrubber, keyed, Scrubber(key=bytes(32))):
        twice, counts = scrub_one(second, once)
        assert twice == once
        assert counts is None


def test_a_placeholder_never_outgrows_its_field(keyed: Scrubber) -> None:
    crowded = " ".join(["a@b.io"] * 9)  # 62 characters; with tags about 200
    scrubbed, _ = scrub_one(keyed, event(environment=crowded, trace_id=crowded, prompt=PromptInfo(text=crowded)))
    assert scrubbed.environment == "[EMAIL]"
    assert scrubbed.prompt.text is not None
    assert len(scrubbed.prompt.text) > len(crowded)


def test_a_secret_in_the_json_of_a_tool_is_found(scrubber: Scrubber) -> None:
    call = ToolCall(arguments='{"password":"correct horse","to":"x"}', result='{"note":"line\\nanna@example.com"}')
    scrubbed, _ = scrub_one(scrubber, event(tool_calls=(call,)))
    assert scrubbed.tool_calls[0].arguments == '{"password":"[SECRET]","to":"x"}'
    assert scrubbed.tool_calls[0].result == '{"note":"line\\n[EMAIL]"}'


def test_ids_that_look_like_nothing_else_stay(keyed: Scrubber) -> None:
    given = event(
        event_id=EVENT_ID,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
        session_id="1732184130123",
        response_id="chatcmpl-9xYzAbCdEfGhIjKlMnOpQrStUvWxY",
        metadata={"started": "1732184130", "uuid": "550e8400-e29b-41d4-a716-446655440000", "version": "18.2.0"},
    )
    assert scrub_one(keyed, given) == (given, None)


def test_an_empty_batch_is_scrubbed(scrubber: Scrubber) -> None:
    assert scrub_events([], scrubber) == []
