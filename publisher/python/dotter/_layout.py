"""Where everything lies in a ring file, and the bytes of its header and its registry.

The offsets are those of shared/ring/FORMAT.md. Nothing here touches a file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._names import application_name

if TYPE_CHECKING:
    from ._kinds import Shape

MAGIC = b"DOTRING1"
# Of what is left of a ring that made room.
GONE_MAGIC = b"DOTGONE1"
MAJOR, MINOR = 0, 0

HEADER_BYTES = 4096
HEADER_CHECKED_BYTES = 512
HEADER_STATE = 512
HEADER_REFUSED_SERIES = 520
STATE_LIVE, STATE_CLOSED = 1, 2

REGISTRY_BYTES = 1 << 20
REGISTRY_ENTRIES = 64
SERIES_MAX = 1 << 20

CONTROL_BYTES = 256
CONTROL_HEAD, CONTROL_CLAIM = 0, 8
CONTROL_REENTRANT, CONTROL_OVERSIZE, CONTROL_OTHER = 16, 24, 32
CONTROL_THREAD, CONTROL_STATE = 40, 48

BLOCK_BYTES = 4096
BLOCK_HEAD_BYTES = 64
GRANULE_BYTES = 16
BLOCK_DOTS = (BLOCK_BYTES - BLOCK_HEAD_BYTES) // GRANULE_BYTES
LANE_DOTS = 258_048
LANE_LOG2_MIN, LANE_LOG2_MAX = 16, 36
FILE_BYTES_MAX = 1 << 42
LANES_LIMIT = 4096

# A number whose delta is in nanoseconds: its kind is this much more than where it is in ticks.
NANOS = 4
# Other kinds of records, where they stand in the first word.
ABSOLUTE, END_MARK = 9 << 20, 15 << 20
# In the second word of texts and rows: the delta is in nanoseconds; the whole time follows.
FLAG_NANOS, FLAG_ABSOLUTE = 1 << 32, 1 << 33
# Deltas are signed and have 40 bits.
DELTA_HALF = 1 << 39
DELTA_MASK = (1 << 40) - 1

CLOCK_REALTIME, CLOCK_TSC = 0, 1
# Those that a reader knows.
_CLOCKS = CLOCK_REALTIME, CLOCK_TSC, 2
TIME_END = 1 << 64

_HEADER = struct.Struct("<8sIHHII Q16s16sQ IIQIIQ II QQQQ Q40x64s256x")
assert _HEADER.size == HEADER_CHECKED_BYTES, "the checked part of the header has 512 bytes"
_ENTRY = struct.Struct("<IIIBBHHH")
assert _ENTRY.size == 20, "the fixed part of an entry has 20 bytes"


def _crc_table() -> list[int]:
    table = []
    for rest in range(256):
        for _ in range(8):
            rest = rest >> 1 ^ 0x82F63B78 if rest & 1 else rest >> 1
        table.append(rest)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The checksum of headers and entries: RFC 3720, appendix B.4."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True)
class Identity:
    """Who made a ring, and when: what tells a living owner from a dead one."""

    incarnation: bytes
    boot_id: bytes
    created: int
    pid: int
    uid: int
    start_ticks: int
    pid_namespace: int


@dataclass(frozen=True)
class Geometry:
    """Where the parts of one ring file lie, in bytes."""

    file_bytes: int
    registry_offset: int
    registry_bytes: int
    control_offset: int
    lanes_offset: int
    lanes_max: int
    lane_log2: int

    @classmethod
    def new(cls, registry_bytes: int, lanes_max: int, lane_log2: int) -> Geometry:
        """Header, registry, lane control, lanes, each from a page on."""
        control_offset = HEADER_BYTES + registry_bytes
        control_bytes = -(-lanes_max * CONTROL_BYTES // 4096) * 4096
        lanes_offset = control_offset + control_bytes
        file_bytes = lanes_offset + (lanes_max << lane_log2)
        return cls(
            file_bytes, HEADER_BYTES, registry_bytes, control_offset, lanes_offset, lanes_max, lane_log2
        )

    @property
    def lane_bytes(self) -> int:
        return 1 << self.lane_log2

    def control(self, lane: int) -> int:
        """Where a lane's control words begin."""
        return self.control_offset + lane * CONTROL_BYTES

    def lane(self, lane: int) -> int:
        """Where a lane's blocks begin."""
        return self.lanes_offset + (lane << self.lane_log2)

    def is_sound(self) -> bool:
        """Whether every part lies in the file, in order, on a page, without touching another."""
        if not (
            1 <= self.lanes_max <= LANES_LIMIT
            and LANE_LOG2_MIN <= self.lane_log2 <= LANE_LOG2_MAX
            and self.file_bytes <= FILE_BYTES_MAX
        ):
            return False
        parts = (self.registry_offset, self.registry_bytes, self.control_offset, self.lanes_offset)
        return (
            all(part % 4096 == 0 for part in parts)
            and self.registry_offset >= HEADER_BYTES
            and self.registry_bytes >= 4096
            and self.control_offset >= self.registry_offset + self.registry_bytes
            and self.lanes_offset >= self.control_offset + self.lanes_max * CONTROL_BYTES
            and self.file_bytes >= self.lanes_offset + (self.lanes_max << self.lane_log2)
        )


def lane_log2_for(dots: int) -> int:
    """The size of the smallest lane that holds so many dots, as a power of two.

    Raises ValueError where no lane does.
    """
    blocks = -(-dots // BLOCK_DOTS)
    log2 = max((max(blocks, 1) * BLOCK_BYTES - 1).bit_length(), LANE_LOG2_MIN)
    if dots < 0 or log2 > LANE_LOG2_MAX:
        raise ValueError(f"cannot make a ring with {dots} dots in a lane, expected at most 2^32")
    return log2


@dataclass(frozen=True)
class Header:
    """The checked part of the header."""

    identity: Identity
    application: str
    clock: int
    tick_hz: int
    geometry: Geometry

    def encode(self) -> bytes:
        """The bytes of it."""
        who, lies = self.identity, self.geometry

        def pack(checksum: int) -> bytes:
            return _HEADER.pack(
                *(MAGIC, 0x01020304, MAJOR, MINOR, HEADER_BYTES, checksum, lies.file_bytes),
                *(who.incarnation, who.boot_id, who.created, self.clock, BLOCK_BYTES, self.tick_hz),
                *(who.pid, who.uid, who.start_ticks, lies.lanes_max, lies.lane_log2, lies.control_offset),
                *(lies.lanes_offset, lies.registry_offset, lies.registry_bytes, who.pid_namespace),
                self.application.encode(),
            )

        return pack(crc32c(pack(0)))

    @classmethod
    def decode(cls, data: bytes, path: str) -> Header:
        """Reads and checks what a file says of itself.

        Raises OSError where that is no header of a ring.
        """
        if data[:8] != MAGIC:
            raise OSError(f"{path} is not a ring: it does not begin with DOTRING1; left alone")
        if len(data) < HEADER_CHECKED_BYTES:
            raise OSError(f"{path} is not a ring: it ends in the header; left alone")
        data = data[:HEADER_CHECKED_BYTES]
        fields = _HEADER.unpack(data)
        order, major, header_bytes, checksum, file_bytes = *fields[1:3], *fields[4:7]
        incarnation, boot_id, created, clock, block_bytes, tick_hz = fields[7:13]
        pid, uid, start_ticks, lanes_max, lane_log2, control, lanes, registry, registry_bytes = fields[13:22]
        if order != 0x01020304 or major != MAJOR:
            raise OSError(f"cannot read ring {path}: format version {major}, this one reads up to {MAJOR}")
        if crc32c(data[:20] + bytes(4) + data[24:]) != checksum:
            raise OSError(f"cannot read ring {path}: header at byte 20 has a wrong checksum")
        geometry = Geometry(file_bytes, registry, registry_bytes, control, lanes, lanes_max, lane_log2)
        if header_bytes != HEADER_BYTES or block_bytes != BLOCK_BYTES or not geometry.is_sound():
            raise OSError(f"cannot read ring {path}: its parts do not lie in order, inside the file")
        # As the library: what it cannot read is nothing to move aside, or to leave a stub of.
        if clock not in _CLOCKS or clock != CLOCK_REALTIME and not 10**6 <= tick_hz <= 10**11:
            raise OSError(f"cannot read ring {path}: clock of kind {clock} with {tick_hz} ticks a second")
        try:
            application = application_name(fields[23].split(b"\0")[0].decode())
        except ValueError as error:
            raise OSError(f"cannot read ring {path}: {error}") from None
        who = Identity(incarnation, boot_id, created, pid, uid, start_ticks, fields[22])
        return cls(who, application, clock, tick_hz, geometry)


def encode_entry(number: int, name: str, unit: str, shape: Shape) -> bytes | None:
    """The bytes of one entry of the registry; None where a part is too long for its field."""
    name_bytes, unit_bytes = name.encode(), unit.encode()
    columns = [column.encode() for column in shape.columns]
    if len(name_bytes) > 0xFFFF or len(unit_bytes) > 0xFFFF or any(len(column) > 255 for column in columns):
        return None
    rest = shape.letters.encode()
    rest += b"".join(bytes([len(column)]) + column for column in columns)
    rest += name_bytes + unit_bytes
    length = -(-(_ENTRY.size + len(rest)) // 8) * 8
    rest = rest.ljust(length - _ENTRY.size, b"\0")

    def pack(checksum: int) -> bytes:
        sizes = len(columns), len(name_bytes), len(unit_bytes)
        return _ENTRY.pack(length, checksum, number, shape.kind, *sizes, 0) + rest

    return pack(crc32c(pack(0)))
