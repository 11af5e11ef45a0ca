"""What goes into COPY comes out of the table."""

from typing import Any

import numpy as np
import pytest
from django.db import connection

from ingestion import copy_text


def round_trip(columns: dict[str, list[str]], types: dict[str, str]) -> list[tuple[Any, ...]]:
    with connection.cursor() as sql:
        definition = ", ".join(f"{name} {kind}" for name, kind in types.items())
        sql.execute(f"CREATE TEMP TABLE round_trip (position int, {definition}) ON COMMIT DROP")
        count = len(next(iter(columns.values())))
        names, file = copy_text.render({"position": [str(n) for n in range(count)], **columns})
        sql.cursor.copy_expert(f"COPY round_trip ({', '.join(names)}) FROM STDIN", file)
        sql.execute(f"SELECT {', '.join(types)} FROM round_trip ORDER BY position")
        return list(sql.fetchall())


@pytest.mark.django_db
def test_texts_with_every_special_character_survive() -> None:
    texts = ["plain", "", "\\N", "a\tb", "line\nbreak", "carriage\rreturn", "back\\slash", "\\.", "ünïcode 🌍", None]
    assert [row[0] for row in round_trip({"value": copy_text.texts(texts)}, {"value": "text"})] == texts


@pytest.mark.django_db
def test_numbers_survive_to_the_last_bit() -> None:
    values = [0.1, 1e-300, 1.7976931348623157e308, 123456789.123456789, None, 5e-324]
    assert [row[0] for row in round_trip({"value": copy_text.numbers(values)}, {"value": "float8"})] == values


@pytest.mark.django_db
def test_bytes_booleans_and_json_survive() -> None:
    rows = round_trip(
        {
            "raw": copy_text.binaries([b"\x00\xff\\", None]),
            "yes": copy_text.booleans([True, False]),
            "document": copy_text.json_documents([{"a": 'x"\n\\'}, {}], lambda value: b'{"a":"x\\"\\n\\\\"}'),
        },
        {"raw": "bytea", "yes": "boolean", "document": "jsonb"},
    )
    assert bytes(rows[0][0]) == b"\x00\xff\\"
    assert rows[1][0] is None
    assert [row[1] for row in rows] == [True, False]
    assert [row[2] for row in rows] == ['{"a": "x\\"\\n\\\\"}', None]


@pytest.mark.django_db
def test_timestamps_keep_their_microseconds() -> None:
    microseconds = np.array([0, 1_767_225_600_000_001, -1], np.int64)
    rows = round_trip({"at": copy_text.timestamps(microseconds)}, {"at": "timestamptz"})
    assert [round(row[0].timestamp() * 1_000_000) for row in rows] == microseconds.tolist()


def test_columns_without_any_value_are_left_out() -> None:
    names, file = copy_text.render({"a": ["1", "2"], "b": copy_text.texts([None, None])})
    assert (names, file.getvalue()) == (["a"], "1\n2\n")
