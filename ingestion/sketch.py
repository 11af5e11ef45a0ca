"""Mergeable quantile sketches: any quantile of any union of groups, within 1 % of the true value.

A sketch counts values in buckets whose bounds grow by a constant factor. Source: Masson, Rim, Lee, DDSketch, VLDB 2019;
bucket numbers by its cubic interpolation of the logarithm, which uses only exactly rounded arithmetic, so that a value
falls into the same bucket on every machine. Nothing is collapsed: the bytes depend on the values alone, not on their
order or on how they were merged.

Bytes: a version byte, then per bucket in ascending order two unsigned LEB128 numbers: how far its number is from the
previous one (the first: zigzag from 0), and its count. No values: empty bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

RELATIVE_ERROR = 0.01
# Magnitudes below count as zero, above as this: at most 5,500 buckets, and no metric comes near either.
SMALLEST, LARGEST = 1e-9, 1e15

_VERSION = 1
_A, _B, _C = 6.0 / 35.0, -3.0 / 5.0, 10.0 / 7.0
# The cubic rises by at least _C per unit of the natural logarithm; so much of it is one bucket.
_BUCKET_WIDTH = _C * math.log((1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR))
# Bucket numbers of positive values are positive: sorted numbers are sorted values, negative ones mirrored.
_OFFSET = 2_000
_CODE_BITS, _CODE_SHIFT = 17, 1 << 16

Codes = NDArray[np.int64]


class SketchError(ValueError):
    """The bytes are no sketch of this version."""


def build(
    values: NDArray[np.float64], groups: NDArray[np.integer], group_count: int, *, onto: Sequence[bytes] = ()
) -> list[bytes]:
    """Return one sketch per group: `values` float64[n], `groups` int[n] in [0, group_count).

    `onto` holds what each group had before, empty bytes for nothing; the result is of all values. NaN is unknown and not
    counted. Raises ValueError for infinite values, SketchError for bytes that are no sketch.
    """
    known = ~np.isnan(values)
    keys = _keys(groups[known].astype(np.int64), _codes(np.asarray(values[known], dtype=np.float64)))
    counts = np.ones(len(keys), dtype=np.int64)
    if any(onto):
        owners, codes, before = _decode_many(onto)
        keys = np.concatenate((keys, _keys(owners, codes)))
        counts = np.concatenate((counts, before))
    distinct, inverse = np.unique(keys, return_inverse=True)
    totals = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(totals, inverse.reshape(-1), counts)
    bounds = np.searchsorted(distinct, np.arange(group_count + 1, dtype=np.int64) << _CODE_BITS)
    return _encode((distinct & ((1 << _CODE_BITS) - 1)) - _CODE_SHIFT, totals, bounds)


def _keys(groups: Codes, codes: Codes) -> Codes:
    """Return two sort keys in one number: there are fewer than 2**17 codes."""
    return (groups << _CODE_BITS) + (codes + _CODE_SHIFT)


def merge(first: bytes, second: bytes) -> bytes:
    """Return the sketch of all values of both."""
    return merge_all((first, second))


def merge_all(sketches: Iterable[bytes]) -> bytes:
    """Return the sketch of all values of all sketches. Raises SketchError."""
    decoded = [_decode(sketch) for sketch in sketches if sketch]
    if not decoded:
        return b""
    codes, inverse = np.unique(np.concatenate([codes for codes, _ in decoded]), return_inverse=True)
    counts = np.zeros(len(codes), dtype=np.int64)
    np.add.at(counts, inverse, np.concatenate([counts for _, counts in decoded]))
    return _encode(codes, counts, np.array([0, len(codes)]))[0]


def count(sketch: bytes) -> int:
    """Return how many values the sketch stands for."""
    return int(_decode(sketch)[1].sum())


def quantile(sketch: bytes, q: float) -> float:
    """Return the value at rank q * (n - 1), rounded down, of n values, within 1 %; NaN without values."""
    return quantiles(sketch, (q,))[0]


def quantiles(sketch: bytes, qs: Sequence[float]) -> list[float]:
    """Return `quantile` for each of `qs`. Raises ValueError where one is outside [0, 1]."""
    if not all(0.0 <= q <= 1.0 for q in qs):
        raise ValueError("a quantile is a number from 0 to 1")
    codes, counts = _decode(sketch)
    if not len(codes):
        return [math.nan] * len(qs)
    upto = np.cumsum(counts)
    ranks = [math.floor(q * (int(upto[-1]) - 1)) for q in qs]
    return [_value(int(codes[np.searchsorted(upto, rank, side="right")])) for rank in ranks]


def _codes(values: NDArray[np.float64]) -> Codes:
    """Return the signed bucket number of each value; 0 for zero."""
    if np.isinf(values).any():
        raise ValueError("a sketch takes finite numbers, or NaN where unknown")
    size = np.minimum(np.abs(values), LARGEST)
    mantissa, exponent = np.frexp(np.maximum(size, SMALLEST))
    s = 2.0 * mantissa - 1.0
    logarithm = ((_A * s + _B) * s + _C) * s + (exponent - 1)
    number = np.ceil(logarithm / _BUCKET_WIDTH).astype(np.int64) + _OFFSET
    return np.asarray(np.where(size < SMALLEST, 0, np.where(values < 0.0, -number, number)))


def _value(code: int) -> float:
    """Return the value that is at most 1 % off everything in a bucket: the harmonic mean of its bounds."""
    if code == 0:
        return 0.0
    number = abs(code) - _OFFSET
    low, high = _bound(number - 1), _bound(number)
    return math.copysign(2.0 * low * high / (low + high), code)


def _bound(number: int) -> float:
    """Invert the cubic: the largest value of a bucket."""
    logarithm = number * _BUCKET_WIDTH
    exponent = math.floor(logarithm)
    share, s = logarithm - exponent, logarithm - exponent
    for _ in range(6):  # Newton, from a start that is at most 0.02 off
        s -= (((_A * s + _B) * s + _C) * s - share) / ((3.0 * _A * s + 2.0 * _B) * s + _C)
    return math.ldexp(1.0 + s, exponent)


def _encode(codes: Codes, counts: Codes, bounds: NDArray[np.integer]) -> list[bytes]:
    """Return the bytes of each group: group i has the buckets from `bounds[i]` to `bounds[i + 1]`."""
    gaps = np.diff(codes, prepend=0)
    heads = bounds[:-1][np.diff(bounds) > 0]
    gaps[heads] = (codes[heads] << 1) ^ (codes[heads] >> 63)
    data, ends = _leb128(np.stack((gaps, counts), axis=1).reshape(-1))
    cuts = np.concatenate(([0], ends))[2 * bounds].tolist()
    version = bytes([_VERSION])
    return [version + data[start:stop] if stop > start else b"" for start, stop in itertools.pairwise(cuts)]


def _leb128(numbers: Codes) -> tuple[bytes, NDArray[np.int64]]:
    """Return the numbers as LEB128, one after the other, and where each ends."""
    shifts = 7 * np.arange(9)
    septets = numbers[:, None] >> shifts
    used = np.concatenate((np.ones((len(numbers), 1), dtype=bool), septets[:, 1:] > 0), axis=1)
    follows = np.concatenate((used[:, 1:], np.zeros((len(numbers), 1), dtype=bool)), axis=1)
    octets = (septets & 0x7F) | (follows.astype(np.int64) << 7)
    return octets[used].astype(np.uint8).tobytes(), np.cumsum(used.sum(axis=1))


def _decode(sketch: bytes) -> tuple[Codes, Codes]:
    """Return ascending bucket numbers and their counts."""
    _, codes, counts = _decode_many([sketch])
    return codes, counts


def _decode_many(sketches: Sequence[bytes]) -> tuple[Codes, Codes, Codes]:
    """Return for every bucket of every sketch: the sketch's position, the bucket's number, its count."""
    filled = [place for place, sketch in enumerate(sketches) if sketch]
    if not filled:
        nothing = np.empty(0, dtype=np.int64)
        return nothing, nothing, nothing
    if any(sketches[place][0] != _VERSION or sketches[place][-1] >= 0x80 for place in filled):
        raise SketchError("these bytes are no quantile sketch of version 1")
    octets = np.frombuffer(b"".join(bytes(sketches[place])[1:] for place in filled), dtype=np.uint8)
    stops = np.cumsum([len(sketches[place]) - 1 for place in filled])
    ends = np.flatnonzero(octets < 0x80)
    # How many numbers each sketch holds: two per bucket.
    sizes = np.diff(np.searchsorted(ends, stops), prepend=0)
    if (sizes % 2).any() or not sizes.all():
        raise SketchError("these bytes are no quantile sketch of version 1")
    starts = np.concatenate(([0], ends[:-1] + 1))
    place_in_number = np.arange(len(octets)) - np.repeat(starts, ends - starts + 1)
    numbers = np.add.reduceat((octets.astype(np.int64) & 0x7F) << (7 * place_in_number), starts)
    gaps, counts = numbers[0::2].copy(), numbers[1::2]
    heads = np.concatenate(([0], np.cumsum(sizes // 2)[:-1]))
    gaps[heads] = (gaps[heads] >> 1) ^ -(gaps[heads] & 1)
    running = np.cumsum(gaps)
    # Each sketch's numbers start anew: take off what the ones before it add up to.
    before = np.concatenate(([0], running))[heads]
    codes = running - np.repeat(before, sizes // 2)
    return np.repeat(np.array(filled, dtype=np.int64), sizes // 2), codes, counts
