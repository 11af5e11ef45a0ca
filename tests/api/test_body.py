from __future__ import annotations

import gzip
import io
import zlib

import pytest
import zstandard

from api.body import read_body
from api.errors import ApiError

TEXT = b'{"a": 1}'


def read(raw: bytes, encoding: str = "", *, declared: int | None = None, limit: int = 1_000) -> bytes:
    return read_body(io.BytesIO(raw), encoding=encoding, declared_length=declared, max_bytes=limit)


def refused(raw: bytes, encoding: str = "", *, declared: int | None = None, limit: int = 1_000) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(raw, encoding, declared=declared, limit=limit)
    return caught.value


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), " GZip "),
        (gzip.compress(TEXT[:3]) + gzip.compress(TEXT[3:]), "gzip"),
        (zstandard.compress(TEXT), "zstd"),
        (zstandard.compress(TEXT[:3]) + zstandard.compress(TEXT[3:]), "zstd"),
    ],
)
def test_a_body_is_decompressed(raw: bytes, encoding: str) -> None:
    assert read(raw, encoding) == TEXT


@pytest.mark.parametrize("encoding", ["", "gzip", "zstd"])
def test_a_body_of_exactly_the_limit_is_read(encoding: str) -> None:
    body = b"x" * 1_000
    packed = {"": body, "gzip": gzip.compress(body), "zstd": zstandard.compress(body)}[encoding]
    assert read(packed, encoding) == body


@pytest.mark.parametrize("encoding", ["", "gzip", "zstd"])
def test_a_larger_one_is_refused_with_the_limit(encoding: str) -> None:
    body = b"x" * 1_001
    packed = {"": body, "gzip": gzip.compress(body), "zstd": zstandard.compress(body)}[encoding]
    error = refused(packed, encoding)
    assert error.status == 413
    assert error.message == "The body has more than 1000 bytes, counted after decompression; send smaller batches."


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_refused_without_unpacking_it(encoding: str) -> None:
    zeros = b"\0" * 50_000_000
    packed = gzip.compress(zeros) if encoding == "gzip" else zstandard.compress(zeros)
    assert refused(packed, encoding, limit=100_000).status == 413


def test_a_declared_length_beyond_the_limit_is_refused_before_reading() -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("was read")

    with pytest.raises(ApiError) as caught:
        read_body(Unread(), encoding="", declared_length=1_001, max_bytes=1_000)
    assert caught.value.status == 413


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd"])
def test_another_encoding_is_refused_with_those_accepted(encoding: str) -> None:
    error = refused(TEXT, encoding)
    assert (error.status, error.headers) == (415, {"Accept-Encoding": "gzip, zstd"})
    assert error.message == "Content-Encoding must be gzip or zstd, or absent."


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (TEXT, "gzip"),
        (TEXT, "zstd"),
        (gzip.compress(TEXT)[:-9], "gzip"),
        (gzip.compress(TEXT) + b"rest", "gzip"),
        (zlib.compress(TEXT), "gzip"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(raw: bytes, encoding: str) -> None:
    error = refused(raw, encoding)
    assert (error.status, error.message) == (400, f"The body is not valid {encoding}.")


def test_a_frame_that_asks_for_a_huge_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    stream = compressor.compressobj()
    packed = stream.compress(TEXT) + stream.flush()
    assert refused(packed, "zstd").status == 400
