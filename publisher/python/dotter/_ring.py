"""A ring written from Python alone, for Linux on x86-64.

Always true, whichever process looks: what lies below `head` is wholly written, unless `claim` has passed it
by a lane's length. The protocol is the one of shared/ring/FORMAT.md, which asks for two things:

- Each word is stored at once. `memoryview.cast` gives items of eight aligned bytes, and CPython stores one of
  them with a copy of constant size, which is one instruction. (`struct.pack_into` writes byte by byte.) What
  texts and rows hold is copied as one piece, in whatever order: behind `claim`, and before `head` covers it.
- A record's words are seen before `head`, and `claim` before the first word of the new lap. On x86-64 stores
  are seen in the order in which they are executed (total store order), and the interpreter executes
  them in the order of these lines: each is a call of its own into the memoryview, which no compiler sees
  through. Other processors need release stores, which Python does not have: there, the library is needed.

Always true, whatever interrupts these lines (a signal handler, KeyboardInterrupt): where the writer stands is
one tuple, exchanged at once, after a record's words are written and before `head` says so. Interrupted before
that, the record never was; after it, the next one's `head` covers both.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple

from . import _place as place
from . import _room as room
from ._kinds import KIND_F32, KIND_F64, KIND_I64
from ._layout import (
    ABSOLUTE,
    BLOCK_BYTES,
    BLOCK_HEAD_BYTES,
    CLOCK_REALTIME,
    CONTROL_CLAIM,
    CONTROL_HEAD,
    DELTA_HALF,
    DELTA_MASK,
    END_MARK,
    FLAG_ABSOLUTE,
    FLAG_NANOS,
    GRANULE_BYTES,
    HEADER_BYTES,
    HEADER_REFUSED_SERIES,
    HEADER_STATE,
    NANOS,
    REGISTRY_ENTRIES,
    STATE_CLOSED,
    STATE_LIVE,
    Geometry,
    Header,
    Identity,
)


# How long a ring that had its name is taken to have it, where refused dots are counted in it, in seconds.
_LOOK = 0.02


def supported() -> bool:
    """Whether the order of stores that the ring needs is the order this machine has."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 1 << 32


class Moved(Exception):
    """The file has lost its name: a new ring is due. The dot was not written."""


class Pair(NamedTuple):
    """One instant on both clocks."""

    nanos: int
    ticks: int


class Clock(NamedTuple):
    """Where times come from."""

    kind: int
    hz: int
    ticks: Callable[[], int]
    pair: Callable[[], Pair]


def _realtime_pair() -> Pair:
    now = time.time_ns()
    return Pair(now, now)


REALTIME = Clock(CLOCK_REALTIME, 1_000_000_000, time.time_ns, _realtime_pair)


def _wrapped(delta: int) -> int:
    """A difference of two words of 64 bits as one more, signed: whoever adds it up lets it wrap."""
    return (delta + (1 << 63)) % (1 << 64) - (1 << 63)


# Where the writer stands: bytes committed, the end of the block, dots so far, the block's bases in ticks and
# in nanoseconds. A plain tuple: one is made for every dot.
Position = tuple[int, int, int, int, int]


class Ring:
    """One life of one ring, with one lane, and its one writer: whoever calls holds its publisher's lock."""

    def __init__(self, fd: int, path: Path, header: Header, clock: Clock) -> None:
        geometry = header.geometry
        self.path = path
        self._header = header
        self._clock = clock
        self._held = place.Held(fd, path)
        # It has a descriptor of its own, so it, too, stays until the ring is closed.
        self._map = mmap.mmap(fd, geometry.file_bytes)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")
        self._signed = self._bytes.cast("q")
        self._doubles = self._bytes.cast("d")
        self._floats = self._bytes.cast("f")
        self._control = geometry.control(0) // 8
        self._head = self._control + CONTROL_HEAD // 8
        self._data = geometry.lane(0) // 8
        self._mask = geometry.lane_bytes - 1
        self._incarnation = int.from_bytes(header.identity.incarnation[:8], "little")
        self._pair: Pair | None = None
        self._looked = time.monotonic()
        self._at: Position = (0, 0, 0, 0, 0)
        # Bytes used and series named; exchanged at once, too.
        self._registry = REGISTRY_ENTRIES, 0

    @classmethod
    def create(
        cls,
        directory: Path,
        name: str | None,
        application: str,
        geometry: Geometry,
        identity: Identity,
        clock: Clock = REALTIME,
        beside: bool = False,
    ) -> Ring:
        """Makes a ring in a directory, or under an exact name.

        `beside` puts a ring meant for an exact name beside it, where a dead one would have been moved: for a
        process whose own parent publishes under the name.

        Raises FileExistsError where a living process publishes under that exact name, OSError for whatever
        else the system refuses; nothing is left behind then.
        """
        place.ensure(directory)
        header = Header(identity, application, clock.kind, clock.hz, geometry)
        room.make_room(directory, name, room.DEAD_BYTES_MAX)
        if name is not None and not beside:
            # Turned away before anything is made.
            place.dead_under(directory, name)
        unfinished = directory / f".tmp-{os.urandom(8).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(unfinished, flags, 0o640)
        try:
            # Before anything else: who finds the file without a lock may take it for litter.
            place.lock_owner(fd)
            try:
                os.posix_fallocate(fd, 0, geometry.lanes_offset + geometry.lane_bytes)
            except OSError as error:
                # All the dead go before the living are turned away.
                if error.errno != errno.ENOSPC or not room.make_room(directory, name, 0):
                    raise
                os.posix_fallocate(fd, 0, geometry.lanes_offset + geometry.lane_bytes)
            os.ftruncate(fd, geometry.file_bytes)
            os.pwrite(fd, header.encode() + STATE_LIVE.to_bytes(8, "little"), 0)
            path = directory / place.ring_name(name or application, identity.incarnation)
            if name is not None and not beside:
                try:
                    with place.NameLock(directory, name):
                        place.move_aside(directory, name)
                        place.rename_no_replace(unfinished, directory / name)
                    path = directory / name
                except BlockingIOError:
                    # The application waits for nobody. Whoever reads the exact name reads its siblings, too.
                    place.dead_under(directory, name)
                    place.rename_no_replace(unfinished, path)
            else:
                place.rename_no_replace(unfinished, path)
        except BaseException:
            os.close(fd)
            try:
                os.unlink(unfinished)
            except FileNotFoundError:
                pass
            raise
        return cls(fd, path, header, clock)

    def add_series(self, entries: list[bytes]) -> None:
        """Names the series that are not named yet; `entries` are those of all, and there is room for them."""
        registry = self._header.geometry.registry_offset
        for entry in entries[self._registry[1] :]:
            used, count = self._registry
            first = (registry + used) // 8
            for index in range(len(entry) // 8):
                self._words[first + index] = int.from_bytes(entry[index * 8 : index * 8 + 8], "little")
            used += len(entry)
            self._registry = used, count + 1
            # Seen after the entry: stores keep their order.
            self._words[registry // 8] = used

    def dot(self, series: int, kind: int, ticks: int, value: float) -> None:
        """Publishes a number of the series' kind at ticks of the clock."""
        head, block_end, records, base_ticks, base_nanos = self._at
        delta = ticks - base_ticks
        if head == block_end or not -DELTA_HALF <= delta < DELTA_HALF:
            delta = _wrapped(delta)
            if head == block_end or not -DELTA_HALF <= delta < DELTA_HALF:
                self._open_block(ticks, None)
                head, block_end, records, base_ticks, base_nanos = self._at
                delta = 0
        index = self._data + ((head & self._mask) >> 3)
        # The value first: where it is no number this is as far as it gets.
        if kind == KIND_F64:
            self._doubles[index + 1] = value
        else:
            self._put(index + 1, kind, value)
        self._words[index] = series | kind << 20 | (delta & DELTA_MASK) << 24
        head += GRANULE_BYTES
        self._at = (head, block_end, records + 1, base_ticks, base_nanos)
        # Seen after the record: stores keep their order.
        self._words[self._head] = head

    def dot_at(self, series: int, kind: int, nanos: int, value: float) -> None:
        """Publishes a number of the series' kind at a time the application gives, of 64 bits."""
        head, block_end, records, base_ticks, base_nanos = self._at
        delta = nanos - base_nanos
        if head == block_end or not -DELTA_HALF <= delta < DELTA_HALF:
            delta = _wrapped(delta)
            if head == block_end or not -DELTA_HALF <= delta < DELTA_HALF:
                # A time far from the block's base takes its whole self along and never a new block: times
                # that go back and forth would burn one for each dot.
                if block_end - head >= 2 * GRANULE_BYTES:
                    self._absolute(series, kind, nanos, value)
                    return
                self._open_block(None, nanos)
                head, block_end, records, base_ticks, base_nanos = self._at
                delta = 0
        index = self._data + ((head & self._mask) >> 3)
        if kind == KIND_F64:
            self._doubles[index + 1] = value
        else:
            self._put(index + 1, kind, value)
        self._words[index] = series | (kind + NANOS) << 20 | (delta & DELTA_MASK) << 24
        head += GRANULE_BYTES
        self._at = (head, block_end, records + 1, base_ticks, base_nanos)
        self._words[self._head] = head

    def _absolute(self, series: int, kind: int, nanos: int, value: float) -> None:
        head, block_end, records, base_ticks, base_nanos = self._at
        index = self._data + ((head & self._mask) >> 3)
        self._put(index + 2, kind, value)
        self._words[index] = series | ABSOLUTE
        self._words[index + 1] = nanos
        self._words[index + 3] = kind
        head += 2 * GRANULE_BYTES
        self._at = (head, block_end, records + 1, base_ticks, base_nanos)
        self._words[self._head] = head

    def _put(self, index: int, kind: int, value: Any) -> None:
        """Stores a number's word. Raises TypeError or ValueError where it is none of its kind."""
        if kind == KIND_F64:
            self._doubles[index] = value
        elif kind == KIND_F32:
            # The lower half, after the upper one is zero.
            self._words[index] = 0
            self._floats[2 * index] = value
        elif kind == KIND_I64:
            self._signed[index] = value
        else:
            self._words[index] = value

    def long(self, series: int, kind: int, stamp: int, given: bool, count: int, content: bytes) -> None:
        """Publishes a text of `count` bytes, or a row of so many columns.

        stamp: ticks of the clock, or where it is `given` nanoseconds.
        """
        head, block_end, records, base_ticks, base_nanos = self._at
        delta = _wrapped(stamp - (base_nanos if given else base_ticks))
        front = 16
        length = -(-(front + len(content)) // GRANULE_BYTES) * GRANULE_BYTES
        second = count | FLAG_NANOS if given else count
        fits = -DELTA_HALF <= delta < DELTA_HALF
        if not fits or block_end - head < length:
            # A granule more than it needs at the worst, as the time takes a word.
            if given and not fits and block_end - head >= length + GRANULE_BYTES:
                front = 24
                length = -(-(front + len(content)) // GRANULE_BYTES) * GRANULE_BYTES
                second = count | FLAG_ABSOLUTE
            else:
                self._open_block(None if given else stamp, stamp if given else None)
                head, block_end, records, base_ticks, base_nanos = self._at
            delta = 0
        index = self._data + ((head & self._mask) >> 3)
        self._bytes[index * 8 + front : index * 8 + length] = content.ljust(length - front, b"\0")
        if front == 24:
            self._words[index + 2] = stamp
        self._words[index + 1] = second
        self._words[index] = series | kind << 20 | (delta & DELTA_MASK) << 24
        head += length
        self._at = (head, block_end, records + 1, base_ticks, base_nanos)
        self._words[self._head] = head

    def _open_block(self, ticks: int | None, nanos: int | None) -> None:
        """Opens the next block; the bases are those of its first dot where that has them."""
        ticks = self._clock.ticks() if ticks is None else ticks
        pair = self._pair
        if pair is None or abs(ticks - pair.ticks) > self._clock.hz // 50:
            if self._held.is_unlinked():
                raise Moved
            self._pair = pair = self._clock.pair()
        nanos = pair.nanos if nanos is None else nanos
        head, start, records, _, _ = self._at
        if head == 0:
            # Every lane with a dot in it has a lower number than this.
            self._words[HEADER_STATE // 8] = STATE_LIVE | 1 << 32
        if head < start:
            self._words[self._data + ((head & self._mask) >> 3)] = END_MARK
        self._words[self._control + CONTROL_CLAIM // 8] = start + BLOCK_BYTES
        # Seen after the claim: stores keep their order.
        index = self._data + ((start & self._mask) >> 3)
        block = (start // BLOCK_BYTES, records, pair.nanos, pair.ticks, ticks, nanos, self._incarnation, 0)
        for offset, word in enumerate(block):
            self._words[index + offset] = word
        self._at = (start + BLOCK_HEAD_BYTES, start + BLOCK_BYTES, records, ticks, nanos)

    def look(self) -> None:
        """Raises Moved where the file has lost its name: what is counted in it is not read. Looks once in 20 ms."""
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            self._looked = now
            if self._held.is_unlinked():
                raise Moved

    def refuse_series(self, count: int = 1) -> None:
        """Counts dots on a series that the registry had no room for."""
        self._words[HEADER_REFUSED_SERIES // 8] += count

    def refuse(self, offset: int, count: int = 1) -> None:
        """Counts dots in the lane control's counter at `offset`."""
        self._words[self._control + offset // 8] += count

    def refused(self, offset: int) -> int:
        return self._words[self._control + offset // 8]

    def refused_series(self) -> int:
        return self._words[HEADER_REFUSED_SERIES // 8]

    def published(self) -> int:
        return self._at[2]

    def close(self) -> None:
        """Says that nobody will write any more, and unmaps the file."""
        self._words[self._head] = self._at[0]
        self._words[HEADER_STATE // 8] = self._words[HEADER_STATE // 8] >> 32 << 32 | STATE_CLOSED
        place.release(self._held.id)
        self._unmap()

    def leave_to_parent(self, interrupted: bool) -> None:
        """In a forked child: unmaps the file, whose owner is the parent.

        `interrupted` says that a dot is under way on this very thread, in whose middle a signal handler
        forked. The parent's copy of it goes on, and this one ends in memory that nobody looks at.
        """
        if interrupted:
            self._bytes = memoryview(mmap.mmap(-1, self._header.geometry.file_bytes))
            self._words, self._signed = self._bytes.cast("Q"), self._bytes.cast("q")
            self._doubles, self._floats = self._bytes.cast("d"), self._bytes.cast("f")
        else:
            self._unmap()

    def _unmap(self) -> None:
        for view in (self._words, self._signed, self._doubles, self._floats, self._bytes):
            view.release()
        if self._held.is_lost():
            # Whoever closed it closed the mapping's own descriptor, too, whose number may be another file's by
            # now, and the mapping closes that number when it goes. So it stays, until the process ends.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._map))
        else:
            self._map.close()
            self._held.close()


assert HEADER_STATE < HEADER_BYTES, "the state lies in the header"
