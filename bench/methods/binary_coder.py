"""Entropy coding of binary tensors: interleaved range asymmetric numeral systems, arXiv 1311.2540.

Every tensor is cut into lanes, each lane has its own coder state, and all lanes of all tensors advance together, a
symbol of each per step: numpy then works on a vector of states, and 23 million bits take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

LANE = 16384  # symbols a state codes at most; its 32 bits are then 0.002 bits per symbol
PRECISION = 14  # bits of the probabilities
MOST_SYMBOLS = 1 << 30  # that a decoder makes room for: a tensor of one value alone costs no byte to claim
LOWEST = 1 << 16  # states live in [2^16, 2^32) and move 16 bits at a time


class Count(NamedTuple):
    """What the decoder has to know of a tensor beforehand: symbols, and how many of them are ones."""

    symbols: int
    ones: int


class _Lanes(NamedTuple):
    """Lanes of all tensors, the longest first.

    Attributes:
        order: from the lanes as they lie in the tensors to longest-first, int64 [L].
        lengths: symbols of each, int64 [L].
        ones: probability of a one in units of 2^-PRECISION, uint64 [L].
    """

    order: np.ndarray
    lengths: np.ndarray
    ones: np.ndarray

    def steps(self) -> Iterator[tuple[int, int]]:
        """Each step's number, and how many lanes (a prefix) still have a symbol there."""
        active = np.searchsorted(-self.lengths, -np.arange(self.lengths.max(initial=0)), side="left")
        return enumerate(active.tolist())


def encode_bits(tensors: Sequence[np.ndarray]) -> bytes:
    """Codes binary tensors, each at its own share of ones; a tensor of one value alone costs nothing.

    Args:
        tensors: bool, any shapes.

    Returns:
        Bytes that `decode_bits` reads, given the tensors' `Count`s: never fewer than the sum of n H(p) / 8.
    """
    flat = [np.ascontiguousarray(tensor, dtype=bool).ravel() for tensor in tensors]
    lanes = _lanes([Count(bits.size, int(bits.sum())) for bits in flat])
    symbols = _as_lanes(flat, lanes)
    states, words = np.full(len(lanes.order), LOWEST, dtype=np.uint64), []
    for step, active in reversed(list(lanes.steps())):
        state, share, start = states[:active], *_interval(symbols[step, :active], lanes.ones[:active])
        full = state >= share << np.uint64(32 - PRECISION)
        words.append(state[full].astype("<u2"))
        state[full] >>= np.uint64(16)
        quotient, rest = np.divmod(state, share)
        state[:] = (quotient << np.uint64(PRECISION)) + rest + start
    return states.astype("<u4").tobytes() + b"".join(word.tobytes() for word in reversed(words))


def decode_bits(code: bytes, counts: Sequence[Count]) -> list[np.ndarray]:
    """The tensors behind `encode_bits`, flat: bool [symbols] each.

    Raises:
        ValueError: the bytes are not the code of tensors with these counts.
    """
    check_counts(counts)
    head = 4 * sum(-(-symbols // LANE) for symbols, ones in counts if 0 < ones < symbols)
    if len(code) < head or (len(code) - head) % 2:
        raise ValueError(f"{len(code)} bytes are no code of {len(counts)} tensors")
    lanes = _lanes(counts)
    states = np.frombuffer(code[:head], "<u4").astype(np.uint64)
    words, read = np.frombuffer(code[head:], "<u2").astype(np.uint64), 0
    symbols = np.zeros((int(lanes.lengths.max(initial=0)), len(lanes.order)), dtype=bool)
    for step, active in lanes.steps():
        state, ones = states[:active], lanes.ones[:active]
        place = state & np.uint64((1 << PRECISION) - 1)
        symbols[step, :active] = place < ones
        share, start = _interval(symbols[step, :active], ones)
        state[:] = share * (state >> np.uint64(PRECISION)) + place - start
        empty = np.flatnonzero(state < LOWEST)
        if read + len(empty) > len(words):
            raise ValueError("the code ends too early")
        state[empty] = (state[empty] << np.uint64(16)) | words[read : read + len(empty)]
        read += len(empty)
    if read != len(words) or (states != LOWEST).any():
        raise ValueError("the code does not end where its tensors do")
    tensors = _as_tensors(symbols, lanes, counts)
    check_ones(tensors, counts)
    return tensors


def check_counts(counts: Sequence[Count]) -> None:
    """Raises ValueError where the counts are of no tensors, or of more than MOST_SYMBOLS."""
    if any(not 0 <= ones <= symbols for symbols, ones in counts):
        raise ValueError("a tensor of more ones than symbols")
    if sum(symbols for symbols, _ in counts) > MOST_SYMBOLS:
        raise ValueError(f"{sum(symbols for symbols, _ in counts)} symbols, more than the limit of {MOST_SYMBOLS}")


def check_ones(tensors: Sequence[np.ndarray], counts: Sequence[Count]) -> None:
    """Raises ValueError where a decoded tensor has not the ones that it should."""
    if any(int(bits.sum()) != count.ones for bits, count in zip(tensors, counts, strict=True)):
        raise ValueError("a tensor has other ones than its count says")


def entropy_bits(counts: Sequence[Count]) -> float:
    """The least that a memoryless code of these tensors can take on average: the sum of n H(ones / n), in bits."""
    total = 0.0
    for symbols, ones in counts:
        shares = np.array([ones, symbols - ones])[np.array([0 < ones < symbols] * 2)] / max(1, symbols)
        total -= symbols * float((shares * np.log2(shares)).sum())
    return total


def _interval(symbols: np.ndarray, ones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Width and start of each symbol's part of [0, 2^PRECISION): ones lie first, zeros behind them."""
    zeros = np.uint64(1 << PRECISION) - ones
    return np.where(symbols, ones, zeros), np.where(symbols, np.uint64(0), ones)


def _lanes(counts: Sequence[Count]) -> _Lanes:
    lengths, shares = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint64)]
    for symbols, ones in counts:
        if not 0 < ones < symbols:
            continue
        lane = np.full(-(-symbols // LANE), LANE, dtype=np.int64)
        lane[-1] = symbols - LANE * (len(lane) - 1)
        share = min(max(1, round((ones << PRECISION) / symbols)), (1 << PRECISION) - 1)
        lengths.append(lane)
        shares.append(np.full(len(lane), share, dtype=np.uint64))
    length = np.concatenate(lengths)
    order = np.argsort(-length, kind="stable")
    return _Lanes(order, length[order], np.concatenate(shares)[order])


def _as_lanes(flat: Sequence[np.ndarray], lanes: _Lanes) -> np.ndarray:
    """The symbols by step and lane: bool [longest lane, L], False behind a lane's end."""
    symbols = np.zeros((len(lanes.order), int(lanes.lengths.max(initial=0))), dtype=bool)
    mixed = [bits for bits in flat if 0 < int(bits.sum()) < bits.size]
    pieces = [bits[start : start + LANE] for bits in mixed for start in range(0, bits.size, LANE)]
    for row, lane in enumerate(lanes.order.tolist()):
        symbols[row, : len(pieces[lane])] = pieces[lane]
    return np.ascontiguousarray(symbols.T)


def _as_tensors(symbols: np.ndarray, lanes: _Lanes, counts: Sequence[Count]) -> list[np.ndarray]:
    rows = np.ascontiguousarray(symbols.T)
    pieces = {lane: rows[row, : lanes.lengths[row]] for row, lane in enumerate(lanes.order.tolist())}
    tensors, lane = [], 0
    for count in counts:
        if not 0 < count.ones < count.symbols:
            tensors.append(np.full(count.symbols, count.ones > 0, dtype=bool))
            continue
        more = -(-count.symbols // LANE)
        tensors.append(np.concatenate([pieces[lane + place] for place in range(more)]))
        lane += more
    return tensors
