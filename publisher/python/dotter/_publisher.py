"""What an application sees: the publisher, its series, and the original's way to publish."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING, Literal, Mapping, overload

from . import _library, _names, _ring
from ._kinds import ColumnType, NumberType, number_shape, row_shape
from ._layout import LANE_DOTS, lane_log2_for
from ._python import PythonWriter
from ._timer import Timer
from ._writer import Bytes, Counter, Counts, Options, Row, Series, Text, Writer

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Bytes", "Counter", "Counts", "Dotter", "Publisher", "Row", "Series", "Text", "Timer"]

_open: weakref.WeakSet[Writer] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for writer in list(_open):
        writer.close()


class Publisher:
    """One application's way to publish.

    Series keep it open: it is closed by `close`, with the last of its handles, or with the program.

    >>> with Publisher.create(path, 1000) as publisher:
    ...     publisher.series("room.temperature", unit="°C").dot(21.5)
    ...     publisher.counter("door.opened").count()
    ...     publisher.counts().published
    2
    """

    def __init__(
        self,
        application: str | None = None,
        path: str | os.PathLike[str] | None = None,
        dots: int = LANE_DOTS,
        instance: str | None = None,
    ) -> None:
        """Makes a ring.

        application: who publishes, 1 to 64 bytes without a slash; the program's name unless told otherwise.
        path: a directory of rings (one that exists, or a path that ends in a slash), or the exact name of
            this one; `$DOTTER_DIR`, else `/run/dotter`, else `/dev/shm/dotter-UID` unless told otherwise.
        dots: what a lane holds before it overwrites the oldest, rounded up.
        instance: which of several processes of the application this is; see `instance`.

        Raises ValueError where a name or a size cannot be, FileExistsError where a living process publishes
        under that exact name, OSError for whatever else the system refuses.
        """
        name = _names.program_name() if application is None else _names.application_name(application)
        self._instance = None if instance is None else _names.instance_name(instance)
        lane_log2_for(dots)
        options = Options(name, None if path is None else os.fsdecode(path), dots)
        if options.path is not None and "\0" in options.path:
            raise ValueError(f"cannot make ring {options.path!r}: the path has a zero byte")
        library = _library.find()
        if library is not None:
            self._writer: Writer = _library.LibraryWriter(library, options)
        elif _ring.supported():
            self._writer = PythonWriter(options)
        else:
            raise OSError(
                "without libdotter a ring can be written on Linux on x86-64 only: set DOTTER_LIBRARY"
            )
        _open.add(self._writer)

    @classmethod
    def open(cls, application: str) -> Publisher:
        """Publishes as `application`, where a broker without arguments looks. Raises as `Publisher` does."""
        return cls(application)

    @classmethod
    def create(cls, path: str | os.PathLike[str], dots: int) -> Publisher:
        """Publishes at `path`, a directory or an exact name. Raises as `Publisher` does."""
        return cls(path=path, dots=dots)

    def instance(self, instance: str) -> Publisher:
        """The same publisher as one of several processes of its application: each series it gives has the tag
        `instance` with that value, unless its name says another.

        Raises ValueError where no tag can have that value.

        >>> worker = publisher.instance("worker-3")
        >>> worker.series("worker.busy;dc=x").name
        'worker.busy;dc=x;instance=worker-3'
        """
        same = object.__new__(type(self))
        same._writer = self._writer
        same._instance = _names.instance_name(instance)
        return same

    def _name(self, name: str) -> str:
        if self._instance is not None:
            name = _names.with_instance(name, self._instance)
        return _names.series_name(name)

    @overload
    def series(self, name: str, unit: str = "", *, kind: Literal["f64", "f32"] = "f64") -> Series[float]: ...

    @overload
    def series(self, name: str, unit: str = "", *, kind: Literal["i64", "u64"]) -> Series[int]: ...

    def series(self, name: str, unit: str = "", *, kind: NumberType = "f64") -> Series[float] | Series[int]:
        """The series of that name, 1 to 4096 bytes, tags as in `disk.used;host=a`; new or known.

        Keep it: this is the expensive part of a dot. Where the ring has no room for another name, dots on it
        are counted as refused.

        unit: what the values are measured in; for the page, and for `Series.timer`.
        kind: what they are: f64, f32, i64 or u64. One name may have series of several kinds.

        Raises ValueError where the text is no name or the publisher is closed.

        >>> offset = publisher.series("queue.offset", unit="bytes", kind="i64")
        >>> offset.dot(9_007_199_254_740_993)  # one more than an f64 can count to
        """
        unit, shape = self._unit(name, unit), number_shape(kind)
        if shape.is_integer:
            return self._writer.integers(self._name(name), unit, shape)
        return self._writer.floats(self._name(name), unit, shape)

    def lines(self, name: str) -> Text:
        """A series of lines of text; keep it where there are many.

        Raises ValueError as `series`.

        >>> log = publisher.lines("shop.log")
        >>> log.line("the shop is open")
        """
        return self._writer.text(self._name(name))

    def text(self, name: str, line: str) -> None:
        """Publishes one line of text, now. Finds the series anew each time; `lines` keeps it.

        Raises as `series` and `Text.line`.

        >>> publisher.text("shop.log", "the first order is through")
        """
        self.lines(name).line(line)

    def bytes(self, name: str) -> Bytes:
        """A series of raw bytes: what is neither a number nor a text.

        Raises ValueError as `series`.

        >>> packets = publisher.bytes("net.packet")
        >>> packets.dot(b"\\x45\\x00\\xff")
        """
        return self._writer.raw(self._name(name))

    def row(self, name: str, columns: Mapping[str, ColumnType], unit: str = "") -> Row:
        """A series of rows: several numbers at one time, each in a column with a name.

        columns: what each of 1 to 64 is: f64, f32, i64, u64, i32 or u32; in their order.
        unit: what they are measured in; for the page, changes nothing else.

        Raises ValueError as `series`, and where the columns cannot be.

        >>> disk = publisher.row("disk.sda", {"busy": "f64", "read": "u64", "errors": "u32"})
        >>> disk.dot(0.25, 4096, 0)
        """
        return self._writer.row(self._name(name), self._unit(name, unit), row_shape(name, columns))

    def counter(self, name: str, unit: str = "") -> Counter:
        """A counter: publishes how many there were since the program began, with each that are counted.

        All counters of one name count together.

        Raises ValueError as `series`.

        >>> requests = publisher.counter("shop.requests")
        >>> requests.count()
        >>> requests.count(2)  # and the dots 1 and 3 are published
        """
        return self._writer.counter(self._name(name), self._unit(name, unit))

    @staticmethod
    def _unit(name: str, unit: str) -> str:
        if "\0" in unit:
            raise ValueError(f"cannot publish series {name[:80]!r}: its unit has a zero byte")
        return unit

    @property
    def path(self) -> str:
        """The name of the ring's file; another one after a fork."""
        return self._writer.path()

    @property
    def writer(self) -> str:
        """Who writes: "library" or "python"."""
        return self._writer.kind

    def counts(self) -> Counts:
        """What became of the dots so far."""
        return self._writer.counts()

    def close(self) -> None:
        """Says that nothing follows. Again, it is nothing."""
        self._writer.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Publisher through {self.writer}>"


class Dotter:
    """The original's way to publish: one file, one series, a time and a value.

    Dotter.create("/dev/shm/walk", 1000).dot(time.time(), 21.5)
    """

    def __init__(self, publisher: Publisher, series: str = "data") -> None:
        self._publisher = publisher
        self._series = publisher.series(series)

    @classmethod
    def create(cls, path: str | os.PathLike[str], size: int, series: str = "data") -> Dotter:
        """Makes a ring at `path` that holds `size` dots, rounded up. Raises as `Publisher` does."""
        return cls(Publisher.create(path, size), series)

    def dot(self, timestamp: float, value: float) -> None:
        """Publishes a value of a time, in seconds since 1970, as `time.time` gives them.

        Raises ValueError where that is no time from 1970 to 2554 or it is closed, TypeError where one of the
        two is no number.
        """
        self._series.dot_at(_nanoseconds(timestamp), value)

    @property
    def publisher(self) -> Publisher:
        """Where it publishes."""
        return self._publisher

    def close(self) -> None:
        """Says that nothing follows."""
        self._publisher.close()

    def __enter__(self) -> Dotter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _nanoseconds(seconds: float) -> int:
    try:
        whole = int(seconds // 1)
    except (OverflowError, ValueError):
        raise ValueError(f"the time {seconds} is not a number of seconds; nothing was done") from None
    # Apart, so that the fraction keeps all the digits it has.
    return whole * 1_000_000_000 + round((seconds - whole) * 1_000_000_000)
