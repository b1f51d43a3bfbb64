"""What an application sees: the publisher, its series, and the original's way to publish."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING

from . import _library, _names, _ring
from ._layout import LANE_DOTS, lane_log2_for
from ._python import PythonWriter
from ._writer import Counts, Options, Series, Writer

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Counts", "Dotter", "Publisher", "Series"]

_open: weakref.WeakSet[Writer] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for writer in list(_open):
        writer.close()


class Publisher:
    """One application's way to publish.

    Series keep it open: it is closed by `close`, with the last of its handles, or with the program.
    """

    def __init__(
        self,
        application: str | None = None,
        path: str | os.PathLike[str] | None = None,
        dots: int = LANE_DOTS,
    ) -> None:
        """Makes a ring.

        application: who publishes, 1 to 64 bytes without a slash; the program's name unless told otherwise.
        path: a directory of rings (one that exists, or a path that ends in a slash), or the exact name of
            this one; `$DOTTER_DIR`, else `/run/dotter`, else `/dev/shm/dotter-UID` unless told otherwise.
        dots: what a lane holds before it overwrites the oldest, rounded up.

        Raises ValueError where a name or a size cannot be, FileExistsError where a living process publishes
        under that exact name, OSError for whatever else the system refuses.
        """
        name = _names.program_name() if application is None else _names.application_name(application)
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

    def series(self, name: str, unit: str = "") -> Series:
        """The series of that name, 1 to 4096 bytes, tags as in `disk.used;host=a`; new or known.

        Keep it: this is the expensive part of a dot. Where the ring has no room for another name, dots on it
        are counted as refused.

        unit: what the values are measured in; for the page, changes nothing else.

        Raises ValueError where the text is no name or the publisher is closed.
        """
        if "\0" in unit:
            raise ValueError(f"cannot publish series {name[:80]!r}: its unit has a zero byte")
        return self._writer.series(_names.series_name(name), unit)

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
