"""A publisher's writer without the library: one lane that all threads share under a lock."""

from __future__ import annotations

import operator
import os
import threading
import time
import weakref
from collections import deque
from typing import Any

from . import _place as place
from ._kinds import (
    BYTES,
    KIND_F64,
    KIND_TEXT,
    TEXT,
    TEXT_BYTES_MAX,
    Buffer,
    Packing,
    Shape,
    check_number,
    check_range,
    line_bytes,
    number_shape,
    raw_bytes,
)
from ._layout import (
    CONTROL_OTHER,
    CONTROL_OVERSIZE,
    CONTROL_REENTRANT,
    REGISTRY_BYTES,
    REGISTRY_ENTRIES,
    SERIES_MAX,
    Geometry,
    encode_entry,
    lane_log2_for,
)
from ._ring import Moved, Ring
from ._writer import Bytes, Counter, Counts, N, Options, Row, Series, Text, Writer, check_time, closed

# How long a ring that could not be made is not tried again, in seconds.
_RETRY = 1.0

_COUNTER = number_shape("f64")
# Beside the kinds of records: a count, which becomes a number when its turn has come.
_COUNT = 0
# Counters wrap where 64 bits do.
_TOTAL_MASK = (1 << 64) - 1

# Of this process: a forked child finds them here and starts afresh.
_writers: weakref.WeakSet[PythonWriter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    place.forget_all()
    for writer in list(_writers):
        writer.start_afresh()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Total:
    """What all counters of one name have come to."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


def _total_after(count: tuple[Total, int]) -> float:
    total, more = count
    total.count = total.count + more & _TOTAL_MASK
    return float(total.count)


# Dots that were refused: on a series without room, from a handler of C, too big, others.
_Refused = tuple[int, int, int, int]
_NOTHING: _Refused = (0, 0, 0, 0)


def _refused(ring: Ring) -> _Refused:
    """What a ring has counted."""
    handler, too_big, other = map(ring.refused, (CONTROL_REENTRANT, CONTROL_OVERSIZE, CONTROL_OTHER))
    return ring.refused_series(), handler, too_big, other


def _sum(a: _Refused, b: _Refused) -> _Refused:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


class PythonWriter(Writer):
    """Writes dots one after the other, whichever thread brings them.

    A signal handler may interrupt a dot and publish one itself: on the same thread, so the lock (which is
    reentrant) lets it in. Then its dot waits in `_interrupting`, and what it interrupted writes it.

    Always true: whoever changes anything holds the lock and has set `_writing`.
    """

    kind = "python"

    def __init__(self, options: Options) -> None:
        self._directory, self._name = (
            (place.default_directory(), None) if options.path is None else place.split(options.path)
        )
        self._application = options.application
        self._geometry = Geometry.new(REGISTRY_BYTES, 1, lane_log2_for(options.lane_dots))
        self._lock = threading.RLock()
        self._writing = False
        # Number, kind, time, value, ticks.
        self._interrupting: deque[tuple[int | None, int, int | None, Any, int]] = deque()
        self._closing = False
        # Each series as the registry has it, by number; all numbers of each name and shape, and their units.
        self._entries: list[bytes] = []
        self._registry_bytes = REGISTRY_ENTRIES
        self._numbers: dict[tuple[str, Shape], list[tuple[int, str]]] = {}
        self._totals: dict[str, Total] = {}
        self._inherited = False
        # Refused while there was no ring: on a series without room, and all others.
        self._homeless_series, self._homeless = 0, 0
        # What rings of this process before this one have counted: as `_refused` gives it.
        self._earlier = _NOTHING
        self._failed: float | None = None
        self._ring: Ring | None = self._make()
        self._path = str(self._ring.path)
        _writers.add(self)

    def _make(self) -> Ring:
        # Where the last ring was a parent's, that may still publish under an exact name.
        return Ring.create(
            self._directory,
            self._name,
            self._application,
            self._geometry,
            place.this_process(),
            beside=self._inherited,
        )

    def start_afresh(self) -> None:
        """In a forked child: the ring is its parent's, whose threads are not here to give back the lock."""
        if self._ring is not None:
            self._ring.leave_to_parent(interrupted=self._writing)
            self._ring = None
            self._inherited = True
        self._lock = threading.RLock()
        self._writing = False
        self._interrupting.clear()
        self._failed = None
        self._homeless_series, self._homeless = 0, 0
        self._earlier = _NOTHING

    def path(self) -> str:
        return self._path

    def floats(self, name: str, unit: str, shape: Shape) -> Series[float]:
        series: PythonSeries[float] = PythonSeries(self, self._named(name, unit, shape), name, unit, shape)
        return series

    def integers(self, name: str, unit: str, shape: Shape) -> Series[int]:
        return PythonIntegers(self, self._named(name, unit, shape), name, unit, shape)

    def text(self, name: str) -> Text:
        return PythonText(self, self._named(name, "", TEXT), name)

    def raw(self, name: str) -> Bytes:
        return PythonBytes(self, self._named(name, "", BYTES), name)

    def row(self, name: str, unit: str, shape: Shape) -> Row:
        return PythonRow(self, self._named(name, unit, shape), name, unit, shape)

    def counter(self, name: str, unit: str) -> Counter:
        number = self._named(name, unit, _COUNTER)
        return PythonCounter(self, number, name, unit, self._totals.setdefault(name, Total()))

    def _named(self, name: str, unit: str, shape: Shape) -> int | None:
        with self._lock:
            if self._writing:
                raise RuntimeError("no series can be made inside a signal handler that interrupted a dot")
            try:
                self._writing = True
                number = self._number(name, unit, shape)
            finally:
                self._writing = False
            self._settle()
        return number

    def _number(self, name: str, unit: str, shape: Shape) -> int | None:
        """The number of a series, new or known; None where there is no room for another."""
        ring = self._current()
        # A known one that gets a unit, or another, gets a new number; without one it is the newest.
        for number, its_unit in reversed(self._numbers.get((name, shape), [])):
            if not unit or its_unit == unit:
                return number
        number = len(self._entries)
        entry = encode_entry(number, name, unit, shape) if number < SERIES_MAX else None
        if entry is None or self._registry_bytes + len(entry) > self._geometry.registry_bytes:
            return None
        # Without a ring it is named in the next one.
        self._registry_bytes += len(entry)
        self._entries.append(entry)
        self._numbers.setdefault((name, shape), []).append((number, unit))
        if ring is not None:
            ring.add_series(self._entries)
        return number

    def _current(self) -> Ring | None:
        """The ring to write to: a new one after a fork or a removal of the file, if possible."""
        if self._closing:
            closed()
        if self._ring is None and (self._failed is None or time.monotonic() - self._failed >= _RETRY):
            try:
                ring = self._make()
            except OSError:
                # Nobody to tell: the application goes on, its dots are counted.
                self._failed = time.monotonic()
                return None
            ring.add_series(self._entries)
            ring.refuse_series(self._homeless_series)
            ring.refuse(CONTROL_OTHER, self._homeless)
            self._ring, self._path = ring, str(ring.path)
            self._homeless_series, self._homeless = 0, 0
            self._inherited, self._failed = False, None
        return self._ring

    def publish(self, number: int | None, kind: int, nanos: int | None, value: Any) -> None:
        """Publishes one dot, now where `nanos` is None.

        value: a number; of texts and rows their length and their bytes; of counts a total and how many more.
        """
        with self._lock:
            if self._writing:
                if _COUNT < kind < KIND_TEXT:
                    # Looked at here, where the handler that brings it can still be told.
                    check_number(kind, value)
                self._interrupting.append((number, kind, nanos, value, time.time_ns()))
                return
            try:
                self._writing = True
                self._write(number, kind, nanos, value, None)
            finally:
                self._writing = False
            if self._interrupting or self._closing:
                self._settle()

    def _write(self, number: int | None, kind: int, nanos: int | None, value: Any, ticks: int | None) -> None:
        ring = self._ring or self._current()
        if kind == _COUNT:
            # One after the other and at its own time, so that a later total is never the smaller one.
            kind, value, ticks = KIND_F64, _total_after(value), None
        if ring is None:
            self._refuse_homeless(number)
        else:
            try:
                if number is None:
                    ring.look()
                    ring.refuse_series()
                elif kind >= KIND_TEXT:
                    self._write_long(ring, number, kind, nanos, value, ticks)
                elif nanos is None:
                    ring.dot(number, kind, time.time_ns() if ticks is None else ticks, value)
                else:
                    ring.dot_at(number, kind, nanos, value)
            except Moved:
                self._ring = None
                self._retire(ring)
                self._write(number, kind, nanos, value, ticks)

    def _refuse_homeless(self, number: int | None) -> None:
        if number is None:
            self._homeless_series += 1
        else:
            self._homeless += 1

    def _retire(self, ring: Ring) -> None:
        """Ends a ring of this process; what it has counted stays known."""
        self._earlier = _sum(self._earlier, _refused(ring))
        ring.close()

    def _write_long(
        self,
        ring: Ring,
        number: int,
        kind: int,
        nanos: int | None,
        value: tuple[int, bytes],
        ticks: int | None,
    ) -> None:
        count, content = value
        if kind == KIND_TEXT and count > TEXT_BYTES_MAX:
            ring.look()
            ring.refuse(CONTROL_OVERSIZE)
        elif nanos is not None:
            ring.long(number, kind, nanos, True, count, content)
        else:
            ring.long(number, kind, time.time_ns() if ticks is None else ticks, False, count, content)

    def _settle(self) -> None:
        """Does what signal handlers could not: their dots, and closing."""
        while self._interrupting and not self._writing:
            try:
                self._writing = True
                while self._interrupting and self._ring is not None:
                    number, kind, nanos, value, ticks = self._interrupting.popleft()
                    self._write(number, kind, nanos, value, ticks)
                # Without a ring nobody can write them.
                while self._interrupting:
                    number, kind, _, value, _ = self._interrupting.popleft()
                    if kind == _COUNT:
                        _total_after(value)
                    self._refuse_homeless(number)
            finally:
                self._writing = False
        if self._closing and not self._writing and self._ring is not None:
            try:
                self._writing = True
                ring, self._ring = self._ring, None
                self._retire(ring)
            finally:
                self._writing = False

    def counts(self) -> Counts:
        with self._lock:
            ring = self._ring
            published, now = (0, _NOTHING) if ring is None else (ring.published(), _refused(ring))
            series, handler, too_big, other = _sum(self._earlier, now)
            return Counts(
                published, series + self._homeless_series, handler, too_big, other + self._homeless
            )

    def close(self) -> None:
        with self._lock:
            self._closing = True
            if not self._writing:
                self._settle()

    def __del__(self) -> None:
        # Nothing to close where making it failed.
        if hasattr(self, "_path"):
            self.close()


class PythonSeries(Series[N]):
    """A series of numbers of one `PythonWriter`."""

    __slots__ = ("_kind", "_number", "_writer")

    def __init__(self, writer: PythonWriter, number: int | None, name: str, unit: str, shape: Shape) -> None:
        self._writer = writer
        self._number = number
        self._kind = shape.kind
        self._integer = shape.is_integer
        self.name = name
        self.unit = unit

    def dot(self, value: N) -> None:
        self._writer.publish(self._number, self._kind, None, value)

    def dot_at(self, nanoseconds: int, value: N) -> None:
        check_time(nanoseconds)
        self._writer.publish(self._number, self._kind, nanoseconds, value)


class PythonIntegers(PythonSeries[int]):
    """One whose numbers have a range."""

    __slots__ = ("_letter",)

    def __init__(self, writer: PythonWriter, number: int | None, name: str, unit: str, shape: Shape) -> None:
        super().__init__(writer, number, name, unit, shape)
        self._letter = shape.letters

    def dot(self, value: int) -> None:
        check_range(self._letter, value)
        self._writer.publish(self._number, self._kind, None, value)

    def dot_at(self, nanoseconds: int, value: int) -> None:
        check_range(self._letter, value)
        super().dot_at(nanoseconds, value)


class PythonText(Text):
    """A text of one `PythonWriter`."""

    __slots__ = ("_number", "_writer")

    def __init__(self, writer: PythonWriter, number: int | None, name: str) -> None:
        self._writer = writer
        self._number = number
        self.name = name

    def line(self, line: str) -> None:
        content = line_bytes(line)
        self._writer.publish(self._number, KIND_TEXT, None, (len(content), content))

    def line_at(self, nanoseconds: int, line: str) -> None:
        check_time(nanoseconds)
        content = line_bytes(line)
        self._writer.publish(self._number, KIND_TEXT, nanoseconds, (len(content), content))


class PythonBytes(Bytes):
    """Raw bytes of one `PythonWriter`."""

    __slots__ = ("_number", "_writer")

    def __init__(self, writer: PythonWriter, number: int | None, name: str) -> None:
        self._writer = writer
        self._number = number
        self.name = name

    def dot(self, content: Buffer) -> None:
        copied = raw_bytes(content)
        self._writer.publish(self._number, KIND_TEXT, None, (len(copied), copied))

    def dot_at(self, nanoseconds: int, content: Buffer) -> None:
        check_time(nanoseconds)
        copied = raw_bytes(content)
        self._writer.publish(self._number, KIND_TEXT, nanoseconds, (len(copied), copied))


class PythonRow(Row):
    """A row of one `PythonWriter`."""

    __slots__ = ("_kind", "_number", "_pack", "_writer")

    def __init__(self, writer: PythonWriter, number: int | None, name: str, unit: str, shape: Shape) -> None:
        self._writer = writer
        self._number = number
        self._kind = shape.kind
        self._pack = Packing(shape.letters)
        self.name = name
        self.unit = unit
        self.columns = shape.columns

    def dot(self, *values: float) -> None:
        self._writer.publish(self._number, self._kind, None, (len(values), self._pack(values)))

    def dot_at(self, nanoseconds: int, *values: float) -> None:
        check_time(nanoseconds)
        self._writer.publish(self._number, self._kind, nanoseconds, (len(values), self._pack(values)))


class PythonCounter(Counter):
    """A counter of one `PythonWriter`."""

    __slots__ = ("_number", "_total", "_writer")

    def __init__(self, writer: PythonWriter, number: int | None, name: str, unit: str, total: Total) -> None:
        self._writer = writer
        self._number = number
        self._total = total
        self.name = name
        self.unit = unit

    def count(self, more: int = 1) -> None:
        more = operator.index(more)
        check_range("U", more)
        self._writer.publish(self._number, _COUNT, None, (self._total, more))

    @property
    def total(self) -> int:
        return self._total.count
