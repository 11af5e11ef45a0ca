"""Scrub accepted events: every string of theirs, whatever field it stands in, before anything is stored.

1. All strings of all events go into one list and one scan. A test holds this fast list against the types of `Event`.
2. Only events in which something was found are rebuilt, by a walk over all their fields.
3. Metadata with the name of a secret loses its whole value; a user id becomes a keyed pseudonym.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec

from ingestion.event import Event
from ingestion.scrub.field_sizes import text_sizes
from ingestion.scrub.pseudonym import UNSCANNABLE, is_placeholder, user_pseudonym
from ingestion.scrub.scrubber import Counts, Replacement, Scrubber
from ingestion.validate import Accepted

SECRET = "SECRET"  # noqa: S105 - the type of a placeholder
_USER_ID = "user_id"
_CONTAINERS = (msgspec.Struct, dict, tuple, list)

_fixed_texts = attrgetter(
    *(name for name in text_sizes(Event) if name != _USER_ID), "prompt.text", "response.text", "response.finish_reason"
)

Changes = Mapping[str, Replacement]
"""What the strings of one event become."""


@dataclass(slots=True)
class _Collected:
    """The strings of a batch, and what is to change whatever the scan finds, by position of the event."""

    texts: list[str] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    secrets: dict[int, dict[str, str]] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)


def scrub_events(accepted: Sequence[Accepted], scrubber: Scrubber) -> list[tuple[Accepted, Counts | None]]:
    """Return the events without what the rules find, each with its counts by type, None where nothing was found.

    Untouched events are returned as they are; the given ones are never changed. Scrubbing the result changes nothing.
    """
    collected = _collect(accepted, scrubber)
    changes: dict[int, dict[str, Replacement]] = {}
    counts: dict[int, Counter[str]] = {}
    for index, replacement in scrubber.replacements(collected.texts).items():
        position = bisect_right(collected.ends, index)
        changes.setdefault(position, {})[collected.texts[index]] = replacement
        counts.setdefault(position, Counter()).update(replacement.counts)
    for position, secrets in collected.secrets.items():
        counts.setdefault(position, Counter())[SECRET] += len(secrets)
    scrubbed: list[tuple[Accepted, Counts | None]] = [(item, None) for item in accepted]
    for position in counts.keys() | collected.users.keys():
        item = accepted[position]
        event = _rebuilt(item.event, changes.get(position, {}), collected.secrets.get(position, {}))
        if position in collected.users:
            event = msgspec.structs.replace(event, user_id=collected.users[position])
        scrubbed[position] = item.with_event(event), counts.get(position)
    return scrubbed


def _collect(accepted: Sequence[Accepted], scrubber: Scrubber) -> _Collected:
    collected = _Collected()
    texts, ends = collected.texts, collected.ends
    secret_names = scrubber.names.among
    for position, item in enumerate(accepted):
        event = item.event
        texts += filter(None, _fixed_texts(event))
        if metadata := event.metadata:
            texts += metadata
            texts += metadata.values()
            if (names := secret_names(tuple(metadata))) and (secrets := _masked(metadata, names, scrubber)):
                collected.secrets[position] = secrets
        texts += event.errors
        if event.features or event.tool_calls or event.retrieved_context:
            texts += _rare_texts(event)
        ends.append(len(texts))
        if event.user_id and (pseudonym := user_pseudonym(event.user_id, scrubber.user_key)) != event.user_id:
            collected.users[position] = pseudonym
    return collected


def _rare_texts(event: Event) -> list[str]:
    texts = list(event.features)
    for call in event.tool_calls:
        texts += filter(None, (call.id, call.name, call.arguments, call.result, call.error))
    for document in event.retrieved_context:
        texts += filter(None, (document.id, document.text))
    return texts


def _masked(metadata: Mapping[str, str], names: tuple[str, ...], scrubber: Scrubber) -> dict[str, str]:
    """Return placeholders, by name, for values that are not placeholders yet."""
    return {
        name: scrubber.mask(SECRET, metadata[name])
        for name in names
        if metadata[name] and not is_placeholder(metadata[name].encode(errors="surrogatepass"))
    }


def _rebuilt(event: Event, changes: Changes, secrets: Mapping[str, str]) -> Event:
    if not changes and not secrets:
        return event
    rebuilt: Event = _walk(event, changes)
    if secrets:
        # Names may have been scrubbed too, so that the walk has lost which value belonged to which.
        values = {name: secrets.get(name, value) for name, value in event.metadata.items()}
        rebuilt = msgspec.structs.replace(rebuilt, metadata=_walk(values, changes))
    return rebuilt


def _walk(value: Any, changes: Changes) -> Any:
    """Return a value with its strings changed."""
    if isinstance(value, str):
        return changes[value].text if value in changes else value
    if isinstance(value, msgspec.Struct):
        return _walk_struct(value, changes)
    if isinstance(value, dict):
        return _walk_dict(value, changes)
    if isinstance(value, tuple | list):
        return type(value)([_walk(item, changes) for item in value])
    return value


def _walk_struct(value: msgspec.Struct, changes: Changes) -> msgspec.Struct:
    sizes = text_sizes(type(value))
    replaced: dict[str, Any] = {}
    for name in value.__struct_fields__:
        old = getattr(value, name)
        if isinstance(old, str):
            if old in changes:
                replaced[name] = _fitting(changes[old], sizes.get(name))
        elif old and isinstance(old, _CONTAINERS):
            replaced[name] = _walk(old, changes)
    return msgspec.structs.replace(value, **replaced)


def _fitting(replacement: Replacement, size: int | None) -> str:
    """Return the new text, or one bare placeholder for all of it where its placeholders outgrow the field."""
    if size is None or len(replacement.text) <= size:
        return replacement.text
    return f"[{next(iter(replacement.counts), UNSCANNABLE)}]"


def _walk_dict(value: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """Keep entries apart whose names have become equal."""
    walked: dict[str, Any] = {}
    for name, item in value.items():
        new_name, number = _walk(name, changes), 1
        while new_name in walked:
            number += 1
            new_name = f"{_walk(name, changes)}#{number}"
        walked[new_name] = _walk(item, changes)
    return walked
