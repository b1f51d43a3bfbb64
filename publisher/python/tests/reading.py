"""A reader of rings nobody writes to any more, for the tests: FORMAT.md from the other side."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple, Union

from dotter._layout import BLOCK_BYTES, CLOCK_TSC, HEADER_STATE, Header, crc32c


Value = Union[float, str, bytes, "tuple[float, ...]"]

# What a word is, by the letter of its column; for `struct`.
_WORDS = {"F": "<d", "f": "<f4x", "I": "<q", "U": "<Q", "i": "<q", "u": "<Q"}
# The letter of a number, by its kind.
_LETTERS = {1: "F", 2: "I", 3: "U", 4: "f"}


class Series(NamedTuple):
    name: str
    unit: str
    kind: int
    letters: str
    columns: tuple[str, ...]


class Dot(NamedTuple):
    name: str
    unit: str
    clock: bool
    nanos: int
    value: Value
    letters: str = "F"
    columns: tuple[str, ...] = ()
    words: tuple[int, ...] = ()


class Contents(NamedTuple):
    header: Header
    closed: bool
    refused_series: int
    dots: list[Dot]


def read(path: str | Path) -> Contents:
    """Everything in a ring whose lanes were not lapped."""
    data = Path(path).read_bytes()
    header = Header.decode(data, str(path))
    lies = header.geometry
    assert len(data) == lies.file_bytes
    series = list(_series(data[lies.registry_offset : lies.control_offset]))
    state, lanes_used, refused_series = struct.unpack_from("<IIQ", data, HEADER_STATE)
    dots: list[Dot] = []
    for lane in range(lanes_used):
        (head,) = struct.unpack_from("<Q", data, lies.control(lane))
        assert head <= lies.lane_bytes, "a lapped lane"
        dots += _dots(header, series, data[lies.lane(lane) : lies.lane(lane) + head])
    return Contents(header, state == 2, refused_series, dots)


def _series(registry: bytes):
    (committed,) = struct.unpack_from("<Q", registry)
    at = 64
    while at < committed:
        length, checksum, number, kind, count, name, unit, flags = struct.unpack_from(
            "<IIIBBHHH", registry, at
        )
        entry = registry[at : at + length]
        assert crc32c(entry[:4] + bytes(4) + entry[8:]) == checksum
        assert flags == 0 and 1 <= count <= 64
        letters, rest = entry[20 : 20 + count].decode(), entry[20 + count :]
        columns = []
        for _ in letters:
            columns.append(rest[1 : 1 + rest[0]].decode())
            rest = rest[1 + rest[0] :]
        assert not any(rest[name + unit :]), "zeros to the end"
        if kind != 11:
            assert letters in _LETTERS.get(kind, "sb") and columns == [""]
            columns = []
        yield Series(rest[:name].decode(), rest[name : name + unit].decode(), kind, letters, tuple(columns))
        at += length


def _number(letter: str, word: int) -> float:
    (number,) = struct.unpack(_WORDS[letter], word.to_bytes(8, "little"))
    return number


def _dots(header: Header, series: list[Series], lane: bytes):
    records = 0
    for start in range(0, len(lane), BLOCK_BYTES):
        block = lane[start : start + BLOCK_BYTES]
        number, first, realtime, ticks, base_ticks, base_realtime, incarnation, _ = struct.unpack_from(
            "<8Q", block
        )
        assert (number, first) == (start // BLOCK_BYTES, records)
        assert incarnation == int.from_bytes(header.identity.incarnation[:8], "little")
        at = 64
        while at < len(block):
            word, second = struct.unpack_from("<QQ", block, at)
            kind, delta = word >> 20 & 15, (word >> 24 ^ 1 << 39) - (1 << 39)
            at += 16
            if kind == 15:
                break
            of = series[word & 0xFFFFF]
            hz = header.tick_hz if header.clock == CLOCK_TSC else 1_000_000_000
            clock = realtime + (base_ticks + delta - ticks) * 1_000_000_000 // hz
            # Times wrap where 64 bits do.
            given = (base_realtime + delta) % (1 << 64)
            words: tuple[int, ...] = ()
            if kind in (10, 11):
                length, flags = second & 0xFFFFFFFF, second >> 32
                assert of.kind == kind and flags in (0, 1, 2) and (flags < 2 or delta == 0)
                if flags == 2:
                    (given,) = struct.unpack_from("<Q", block, at)
                content, size = at + 8 * (flags == 2), length if kind == 10 else length * 8
                at += -(-(content - at + size) // 16) * 16
                assert not any(block[content + size : at]), "zeros to the end"
                is_clock = flags == 0
                value: Value
                if kind == 10:
                    value = block[content : content + size]
                    value = value if of.letters == "b" else value.decode()
                else:
                    words = struct.unpack_from(f"<{length}Q", block, content)
                    value = tuple(map(_number, of.letters, words))
            else:
                is_clock = kind < 5
                if kind == 9:
                    assert delta == 0
                    given = second
                    second, kind = struct.unpack_from("<QQ", block, at)
                    at += 16
                kind -= 4 * (kind > 4)
                assert of.kind == kind
                words, value = (second,), _number(_LETTERS[kind], second)
            nanos = clock if is_clock else given
            yield Dot(of.name, of.unit, is_clock, nanos, value, of.letters, of.columns, words)
            records += 1
