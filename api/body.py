"""Read the body of a request: bounded, decompressed, and never larger in memory than the limit allows."""

from __future__ import annotations

import io
import zlib
from typing import Protocol

import zstandard

from api.errors import ApiError, ErrorCode, FieldError

GZIP_WINDOW = 16 + zlib.MAX_WBITS
# A frame may ask its reader for a window of gigabytes; ours refuses beyond this.
ZSTD_MAX_WINDOW_BYTES = 16 * 1024 * 1024
ENCODINGS = ("gzip", "zstd")


class Readable(Protocol):
    """What a request's stream can do."""

    def read(self, size: int, /) -> bytes: ...


def read_body(stream: Readable, *, encoding: str, declared_length: int | None, max_bytes: int) -> bytes:
    """Return the decompressed body.

    Raises the 413 where it is larger than `max_bytes` before or after decompression, the 415 for another encoding than
    gzip or zstd, and the 400 for a body that is not what its encoding says.
    """
    if declared_length is not None and declared_length > max_bytes:
        raise too_large(max_bytes)
    raw = stream.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise too_large(max_bytes)
    body = _decoded(raw, encoding.strip().lower(), max_bytes)
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    return body


def too_large(max_bytes: int) -> ApiError:
    """Return the 413 that states the limit."""
    message = f"The body has more than {max_bytes} bytes, counted after decompression; send smaller batches."
    return ApiError(413, ErrorCode.PAYLOAD_TOO_LARGE, message)


def _decoded(raw: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding in ("", "identity"):
        return raw
    if encoding not in ENCODINGS:
        accepted = ", ".join(ENCODINGS)
        raise ApiError(
            415,
            ErrorCode.UNSUPPORTED_ENCODING,
            f"Content-Encoding must be {' or '.join(ENCODINGS)}, or absent.",
            fields=[FieldError("Content-Encoding", f"Use one of: {accepted}.")],
            headers={"Accept-Encoding": accepted},
        )
    try:
        return _gunzip(raw, max_bytes) if encoding == "gzip" else _unzstd(raw, max_bytes)
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        reason = f"The body is not valid {encoding}."
        field = FieldError("Content-Encoding", reason)
        raise ApiError(400, ErrorCode.INVALID_BODY, reason, fields=[field]) from error


def _gunzip(raw: bytes, max_bytes: int) -> bytes:
    """Unpack every member of a gzip file, one byte beyond the limit at most."""
    parts: list[bytes] = []
    room = max_bytes + 1
    while raw and room > 0:
        member = zlib.decompressobj(GZIP_WINDOW)
        part = member.decompress(raw, room)
        parts.append(part)
        room -= len(part)
        if room > 0 and not member.eof:
            raise EOFError("the last member is cut off")
        raw = member.unused_data
    return b"".join(parts)


def _unzstd(raw: bytes, max_bytes: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW_BYTES)
    with decompressor.stream_reader(io.BytesIO(raw), read_across_frames=True) as reader:
        return reader.read(max_bytes + 1)
