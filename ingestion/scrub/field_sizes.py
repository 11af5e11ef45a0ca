"""Read from the event's own types which fields hold text and how much of it fits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import msgspec
from msgspec import inspect


@cache
def text_sizes(struct: type[msgspec.Struct]) -> Mapping[str, int | None]:
    """Return the fields declared as text, with the most characters that each may have, None without a limit.

    Fields bound to a pattern, such as digests, are no free text and left out.
    """
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    texts = {field.name: _text_type(field.type) for field in info.fields}
    return {name: text.max_length for name, text in texts.items() if text is not None and text.pattern is None}


def _text_type(type_: inspect.Type) -> inspect.StrType | None:
    if isinstance(type_, inspect.Metadata):
        return _text_type(type_.type)
    if isinstance(type_, inspect.UnionType):
        return next(filter(None, map(_text_type, type_.types)), None)
    return type_ if isinstance(type_, inspect.StrType) else None
