"""A publisher's writer without the library: one lane that all threads share under a lock."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque

from . import _place as place
from ._layout import (
    CONTROL_OTHER,
    CONTROL_OVERSIZE,
    CONTROL_REENTRANT,
    REGISTRY_BYTES,
    REGISTRY_ENTRIES,
    SERIES_MAX,
    TIME_END,
    Geometry,
    encode_entry,
    lane_log2_for,
)
from ._ring import Moved, Ring
from ._writer import Counts, Options, Series, Writer, closed, no_time

# How long a ring that could not be made is not tried again, in seconds.
_RETRY = 1.0

# Of this process: a forked child finds them here and starts afresh.
_writers: weakref.WeakSet[PythonWriter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    place.forget_all()
    for writer in list(_writers):
        writer.start_afresh()


os.register_at_fork(after_in_child=_after_fork_in_child)


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
        self._interrupting: deque[tuple[int | None, int | None, float, int]] = deque()
        self._closing = False
        # Each series as the registry has it, by number; the last number of each name, and its unit.
        self._entries: list[bytes] = []
        self._registry_bytes = REGISTRY_ENTRIES
        self._numbers: dict[str, tuple[int, str]] = {}
        self._inherited = False
        self._homeless = 0
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
        self._homeless = 0

    def path(self) -> str:
        return self._path

    def series(self, name: str, unit: str) -> Series:
        with self._lock:
            if self._writing:
                raise RuntimeError("no series can be made inside a signal handler that interrupted a dot")
            try:
                self._writing = True
                number = self._number(name, unit)
            finally:
                self._writing = False
            self._settle()
        return PythonSeries(self, number, name, unit)

    def _number(self, name: str, unit: str) -> int | None:
        """The number of a series, new or known; None where there is no room for another."""
        ring = self._current()
        number, known = self._numbers.get(name, (None, ""))
        if number is not None and (not unit or known == unit):
            return number
        number = len(self._entries)
        entry = encode_entry(number, name, unit) if number < SERIES_MAX else None
        if entry is None or self._registry_bytes + len(entry) > self._geometry.registry_bytes:
            return None
        # Without a ring it is named in the next one.
        self._registry_bytes += len(entry)
        self._entries.append(entry)
        self._numbers[name] = number, unit
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
            ring.refuse(CONTROL_OTHER, self._homeless)
            self._ring, self._path, self._homeless = ring, str(ring.path), 0
            self._inherited, self._failed = False, None
        return self._ring

    def publish(self, number: int | None, nanos: int | None, value: float) -> None:
        """Publishes one dot, now where `nanos` is None."""
        with self._lock:
            if self._writing:
                # Looked at here, where the handler that brings it can still be told.
                memoryview(bytearray(8)).cast("d")[0] = value
                self._interrupting.append((number, nanos, value, time.time_ns()))
                return
            try:
                self._writing = True
                self._write(number, nanos, value, None)
            finally:
                self._writing = False
            if self._interrupting or self._closing:
                self._settle()

    def _write(self, number: int | None, nanos: int | None, value: float, ticks: int | None) -> None:
        ring = self._ring or self._current()
        if ring is None:
            self._homeless += 1
        elif number is None:
            ring.refuse_series()
        else:
            try:
                if nanos is None:
                    ring.dot(number, time.time_ns() if ticks is None else ticks, value)
                else:
                    ring.dot_at(number, nanos, value)
            except Moved:
                self._ring = None
                ring.close()
                self._write(number, nanos, value, ticks)

    def _settle(self) -> None:
        """Does what signal handlers could not: their dots, and closing."""
        while self._interrupting and not self._writing:
            try:
                self._writing = True
                while self._interrupting and self._ring is not None:
                    number, nanos, value, ticks = self._interrupting.popleft()
                    self._write(number, nanos, value, ticks)
                # Without a ring nobody can write them.
                self._homeless += len(self._interrupting)
                self._interrupting.clear()
            finally:
                self._writing = False
        if self._closing and not self._writing and self._ring is not None:
            try:
                self._writing = True
                ring, self._ring = self._ring, None
                ring.close()
            finally:
                self._writing = False

    def counts(self) -> Counts:
        with self._lock:
            ring = self._ring
            if ring is None:
                return Counts(0, 0, 0, 0, self._homeless)
            offsets = CONTROL_REENTRANT, CONTROL_OVERSIZE, CONTROL_OTHER
            handler, too_big, other = (ring.refused(offset) for offset in offsets)
            series = ring.refused_series()
            return Counts(ring.published(), series, handler, too_big, other + self._homeless)

    def close(self) -> None:
        with self._lock:
            self._closing = True
            if not self._writing:
                self._settle()

    def __del__(self) -> None:
        # Nothing to close where making it failed.
        if hasattr(self, "_path"):
            self.close()


class PythonSeries(Series):
    """A series of one `PythonWriter`."""

    __slots__ = ("_number", "_writer")

    def __init__(self, writer: PythonWriter, number: int | None, name: str, unit: str) -> None:
        self._writer = writer
        self._number = number
        self.name = name
        self.unit = unit

    def dot(self, value: float) -> None:
        self._writer.publish(self._number, None, value)

    def dot_at(self, nanoseconds: int, value: float) -> None:
        if not 0 <= nanoseconds < TIME_END:
            no_time(nanoseconds)
        self._writer.publish(self._number, nanoseconds, value)
