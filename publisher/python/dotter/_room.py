"""Room for a new ring: dead rings leave a stub that says how many records they had, and go.

As shared/ring/FORMAT.md says under "Stub". Always true: a stub is whole before it has its name, and it has its name
before the ring loses its own; so whatever happens between, one of the two says how many records there were.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from pathlib import Path
from typing import NamedTuple

from . import _place as place
from ._kinds import TEXT_BYTES_MAX
from ._layout import (
    BLOCK_BYTES,
    BLOCK_DOTS,
    BLOCK_HEAD_BYTES,
    CONTROL_BYTES,
    FLAG_ABSOLUTE,
    FLAG_NANOS,
    GONE_MAGIC,
    GRANULE_BYTES,
    HEADER_BYTES,
    HEADER_CHECKED_BYTES,
    HEADER_STATE,
    STATE_CLOSED,
    Header,
    crc32c,
)

# What dead rings at one place may take on the disk, in bytes.
DEAD_BYTES_MAX = 1 << 30
# Damaged blocks that are read of one ring, beside two in each lane: see unmapped.rs of the library.
_DAMAGED_BLOCKS_MAX = 1 << 16

_COLUMNS_MAX = 64
_COUNT_END = 1 << 62
_RING_NAME = re.compile(r"(.+)\.[0-9a-f]{32}\.dots", re.DOTALL)
_BLOCK_HEAD = struct.Struct("<8Q")
_BLOCK = struct.Struct(f"<{BLOCK_BYTES // 8}Q")
# head, claim, rejected_reentrant, rejected_oversize, rejected_other
_CONTROL = struct.Struct("<5Q")


def make_room(directory: Path, name: str | None, bytes_max: int) -> bool:
    """Where dead rings take more than `bytes_max` on the disk, the oldest leave a stub and go.

    Says whether any went. What resists is left: a dead ring that cannot go is no reason not to publish.
    """
    try:
        found = list(_rings(directory, name))
        # Opened only where there may be too many of them.
        if sum(size for _, _, size in found) <= bytes_max:
            return False
        mapped = _mapped()
        others = [(path, size) for path, inode, size in found if inode not in mapped]
        dead = sorted((created, str(path), size) for path, size in others for created in _created(path))
    except OSError:
        return False
    room, went = sum(size for _, _, size in dead), False
    for _, path, size in dead:
        if room <= bytes_max:
            break
        try:
            _replace(Path(path))
            went = True
        except OSError:
            # Where a broker has removed it, or another process that makes room, nothing goes in its stead.
            if os.path.lexists(path):
                continue
        room -= size
    return went


def _mapped() -> set[int]:
    """Inodes of the files that this process has mapped: among them the rings of the library in it, whose locks
    would fall if a descriptor of them were closed here."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
        return {int(fields[4]) for fields in map(str.split, lines) if len(fields) > 4}


def _rings(directory: Path, name: str | None) -> list[tuple[Path, int, int]]:
    """Files that may be rings of others at a place: name, inode, and what each takes on the disk."""
    found = []
    for entry in os.scandir(directory):
        match = _RING_NAME.fullmatch(entry.name)
        if match is None or entry.name.startswith(".") and name is None or name not in (None, match[1]):
            continue
        try:
            meta = os.lstat(entry.path)
        except OSError:
            continue
        # Closing a descriptor of a ring of our own would drop its lock.
        if stat.S_ISREG(meta.st_mode) and not place.is_ours(place.file_id(meta)):
            found.append((directory / entry.name, meta.st_ino, meta.st_blocks * 512))
    return found


class _Ring(NamedTuple):
    """A ring of somebody else's, opened."""

    fd: int
    identity: place.FileId
    header: Header


def _open(path: Path) -> _Ring:
    """Raises OSError where it is no ring that this process may read."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        meta = os.fstat(fd)
        if not stat.S_ISREG(meta.st_mode) or meta.st_uid not in (os.geteuid(), 0):
            raise OSError(f"cannot read ring {path}: it is no regular file of this user or root")
        header = Header.decode(os.pread(fd, HEADER_CHECKED_BYTES, 0), str(path))
        if meta.st_size != header.geometry.file_bytes:
            raise OSError(f"cannot read ring {path}: it has not the length that its header says")
        return _Ring(fd, place.file_id(meta), header)
    except BaseException:
        os.close(fd)
        raise


def _created(path: Path) -> list[int]:
    """When a ring was made that is surely over; nothing where it is not, or is none."""
    try:
        ring = _open(path)
    except OSError:
        return []
    try:
        state = int.from_bytes(_read(ring, HEADER_STATE, 4), "little")
        over = state == STATE_CLOSED or place.is_surely_dead(ring.fd, ring.header.identity)
        return [ring.header.identity.created] if over else []
    except OSError:
        return []
    finally:
        os.close(ring.fd)


def _read(ring: _Ring, offset: int, count: int) -> bytes:
    """Raises OSError where the file was cut short."""
    found = os.pread(ring.fd, count, offset)
    if len(found) != count:
        raise OSError(f"cannot read {count} bytes of a ring at byte {offset}: it ends after {len(found)}")
    return found


def _replace(path: Path) -> None:
    """Puts a stub in the place of a dead ring."""
    ring = _open(path)
    try:
        stub = _stub(ring)
    finally:
        os.close(ring.fd)
    temporary = path.parent / f".tmp-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o640)
    try:
        try:
            if os.write(fd, stub) != len(stub):
                raise OSError(f"cannot write all of the stub {temporary}")
        finally:
            os.close(fd)
        os.rename(temporary, path.with_suffix(".gone"))
    except BaseException:
        os.unlink(temporary)
        raise
    if place.file_id(os.lstat(path)) == ring.identity:
        os.unlink(path)


def _stub(ring: _Ring) -> bytes:
    """The bytes of a stub. Raises OSError where the ring cannot be read."""
    lies = ring.header.geometry
    head = _read(ring, 0, HEADER_BYTES)
    stub = bytearray(GONE_MAGIC + head[len(GONE_MAGIC) :])
    left = [2 * lies.lanes_max + _DAMAGED_BLOCKS_MAX]
    for lane in range(lies.lanes_max):
        found = _Lane(ring, lane, left)
        stub += _BLOCK_HEAD.pack(found.next_record(), *found.rejected, found.last_realtime(), 0, 0, 0)
    return bytes(stub) + struct.pack("<II", crc32c(bytes(stub)), 0)


class _Lane:
    """One lane of a ring to which nobody writes any more."""

    def __init__(self, ring: _Ring, lane: int, left: list[int]) -> None:
        self._ring = ring
        self._lane = lane
        # How many blocks of the ring may still be read.
        self._left = left
        control = _read(ring, ring.header.geometry.control(lane), CONTROL_BYTES)
        self._head, self._claim, *self.rejected = _CONTROL.unpack_from(control)
        if self._head % GRANULE_BYTES or self._head >= _COUNT_END:
            # No writer came to that.
            self._head = 0

    def _block(self, start: int) -> tuple[int, ...] | None:
        """The words of the block that begins at a count of bytes; None where they may be torn."""
        if self._left[0] == 0:
            raise OSError("cannot count the records of a ring: too many of its blocks are damaged")
        self._left[0] -= 1
        lies = self._ring.header.geometry
        block = _read(self._ring, lies.lane(self._lane) + start % lies.lane_bytes, BLOCK_BYTES)
        if self._claim < self._head or self._claim - start > lies.lane_bytes:
            return None
        return _BLOCK.unpack(block)

    def _is_sound(self, words: tuple[int, ...], start: int) -> bool:
        number, first = words[:2]
        incarnation = int.from_bytes(self._ring.header.identity.incarnation[:8], "little")
        return number == start // BLOCK_BYTES and words[6] == incarnation and first <= number * BLOCK_DOTS

    def next_record(self) -> int:
        """How many records the lane ever had; the most there can have been where blocks are damaged."""
        if self._head == 0:
            return 0
        # The newest block with a sound head counts for itself; those behind it count as full.
        start = (self._head - 1) // BLOCK_BYTES * BLOCK_BYTES
        oldest = max(start - self._ring.header.geometry.lane_bytes + BLOCK_BYTES, 0)
        behind = 0
        while True:
            until = min(self._head, start + BLOCK_BYTES)
            words = self._block(start)
            if words is None:
                return 0
            if self._is_sound(words, start):
                return words[1] + _count_records(words, (until - start) // 8) + behind
            behind += max(until - start - BLOCK_HEAD_BYTES, 0) // GRANULE_BYTES
            if start <= oldest:
                return start // BLOCK_BYTES * BLOCK_DOTS + behind
            start -= BLOCK_BYTES

    def last_realtime(self) -> int:
        """Wall clock at the newest block, nanoseconds; zero where there is none."""
        if self._head == 0:
            return 0
        start = (self._head - 1) // BLOCK_BYTES * BLOCK_BYTES
        words = self._block(start)
        return words[2] if words is not None and self._is_sound(words, start) else 0


def _count_records(words: tuple[int, ...], end: int) -> int:
    """The records of a block up to word `end`; the most there can be where one is damaged."""
    index, count = BLOCK_HEAD_BYTES // 8, 0
    while index < end:
        kind = words[index] >> 20 & 15
        if kind == 15:
            break
        length = _record_words(words, index, end, kind)
        if length == 0:
            return count + (end - index) // 2
        index += length
        count += 1
    return count


def _record_words(words: tuple[int, ...], index: int, end: int, kind: int) -> int:
    """How many words a record has; zero where it is damaged, or does not lie in the committed ones."""
    if 1 <= kind <= 8:
        return 2
    length = 0
    if kind == 9 and index + 4 <= end:
        length = 4 if 1 <= words[index + 3] <= 4 else 0
    elif kind in (10, 11):
        count, flags = words[index + 1] & 0xFFFFFFFF, words[index + 1] >> 32 << 32
        if flags in (0, FLAG_NANOS) or flags == FLAG_ABSOLUTE and index + 3 <= end:
            front = 24 if flags == FLAG_ABSOLUTE else 16
            if kind == 10 and count <= TEXT_BYTES_MAX:
                length = -(-(front + count) // GRANULE_BYTES) * 2
            elif kind == 11 and 1 <= count <= _COLUMNS_MAX:
                length = -(-(front + 8 * count) // GRANULE_BYTES) * 2
    return length if index + length <= end else 0

