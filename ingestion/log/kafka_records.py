"""Records as brokers take them, where kafka-python or the rest of Sentinel expects less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka.record import memory_records
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.util import decode_varint

from ingestion.log.base import Header


def with_values(headers: Sequence[tuple[str, bytes | None]]) -> Sequence[Header]:
    """Return headers none of which is null, as Kafka lets them be."""
    return [(name, value or b"") for name, value in headers] if headers else ()


class _RecordBatch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch whose records lose their headers where a header's name is no UTF-8.

    Clients in C write any bytes there, brokers do not look, and kafka-python refuses the whole batch: the partition
    would stand still for ever.
    """

    def _read_msg(self) -> Any:
        begin = self._pos
        try:
            return super()._read_msg()
        except UnicodeDecodeError:
            return self._read_without_headers(begin)

    def _read_without_headers(self, begin: int) -> Any:
        buffer = self._buffer
        length, start = decode_varint(buffer, begin)
        _, pos = decode_varint(buffer, start)
        timestamp_delta, pos = decode_varint(buffer, pos)
        offset_delta, pos = decode_varint(buffer, pos)
        key, pos = _nullable_bytes(buffer, pos)
        value, pos = _nullable_bytes(buffer, pos)
        appended = self.timestamp_type == self.LOG_APPEND_TIME
        timestamp = self.max_timestamp if appended else self.first_timestamp + timestamp_delta
        self._pos = start + length
        return DefaultRecord(length, self.base_offset + offset_delta, timestamp, self.timestamp_type, key, value, [])


def _nullable_bytes(buffer: Any, pos: int) -> tuple[bytes | None, int]:
    size, pos = decode_varint(buffer, pos)
    if size < 0:
        return None, pos
    return bytes(buffer[pos : pos + size]), pos + size


def accept_any_header_name() -> None:
    """Have kafka-python read with the batch above; may be called again."""
    memory_records.DefaultRecordBatch = _RecordBatch
