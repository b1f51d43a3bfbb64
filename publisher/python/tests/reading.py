"""A reader of rings nobody writes to any more, for the tests: FORMAT.md from the other side."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from dotter._layout import BLOCK_BYTES, CLOCK_TSC, HEADER_STATE, Header, crc32c


class Dot(NamedTuple):
    name: str
    unit: str
    clock: bool
    nanos: int
    value: float


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
        length, checksum, number, kind, columns, name, unit, flags = struct.unpack_from(
            "<IIIBBHHH", registry, at
        )
        entry = registry[at : at + length]
        assert crc32c(entry[:4] + bytes(4) + entry[8:]) == checksum
        assert (kind, columns, flags, entry[20:22]) == (1, 1, 0, b"F\0")
        yield entry[22 : 22 + name].decode(), entry[22 + name : 22 + name + unit].decode()
        at += length


def _dots(header: Header, series: list[tuple[str, str]], lane: bytes):
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
            word, value_bits = struct.unpack_from("<QQ", block, at)
            (value,) = struct.unpack_from("<d", block, at + 8)
            kind, delta = word >> 20 & 15, (word >> 24 ^ 1 << 39) - (1 << 39)
            at += 16
            if kind == 15:
                break
            if kind == 1:
                hz = header.tick_hz if header.clock == CLOCK_TSC else 1_000_000_000
                nanos = realtime + (base_ticks + delta - ticks) * 1_000_000_000 // hz
            elif kind == 5:
                nanos = base_realtime + delta
            else:
                assert kind == 9
                nanos = value_bits
                value, value_kind = struct.unpack_from("<dQ", block, at)
                assert (value_kind, delta) == (1, 0)
                at += 16
            yield Dot(*series[word & 0xFFFFF], kind == 1, nanos, value)
            records += 1
