"""A publisher's writer through libdotter, the C library.

Always true: the library's publisher is closed, and its memory freed, only when nobody is inside one of its
functions: each call keeps the one object alive whose end closes it.
"""

from __future__ import annotations

import ctypes
import functools
import operator
import os
from pathlib import Path
from typing import Any, NoReturn

from ._kinds import Buffer, Packing, Shape, check_range, line_bytes, raw_bytes
from ._writer import Bytes, Counter, Counts, N, Options, Row, Series, Text, Writer, check_time, closed

# The library's DOTTER_ABI this file is written for.
_ABI = 2
_TEXT, _SIZE, _OWNED, _COLUMNS = -2, -3, -4, -8


class _Options(ctypes.Structure):
    """struct dotter_options"""

    _fields_ = [
        ("struct_bytes", ctypes.c_uint32),
        ("lanes_max", ctypes.c_uint32),
        ("lane_dots", ctypes.c_uint64),
        ("registry_bytes", ctypes.c_uint64),
        ("dead_bytes_max", ctypes.c_uint64),
        ("application", ctypes.c_char_p),
        ("path", ctypes.c_char_p),
        ("instance", ctypes.c_char_p),
    ]


class _Counts(ctypes.Structure):
    """struct dotter_counts"""

    _fields_ = [
        ("struct_bytes", ctypes.c_uint64),
        ("published", ctypes.c_uint64),
        ("refused_series", ctypes.c_uint64),
        ("refused_signal_handler", ctypes.c_uint64),
        ("refused_too_big", ctypes.c_uint64),
        ("refused_other", ctypes.c_uint64),
    ]


class Library:
    """The functions of libdotter."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        # Calls that end within nanoseconds keep the interpreter's lock: giving it up costs more than they do.
        quick = ctypes.PyDLL(path, handle=library._handle)
        try:
            abi = quick.dotter_abi
        except AttributeError:
            raise OSError(f"{path} is not libdotter: it has no dotter_abi") from None
        abi.restype = ctypes.c_uint32
        if abi() != _ABI:
            raise OSError(f"{path} has version {abi()} of the interface, expected {_ABI}")
        handle, text, code = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        size, count = ctypes.c_size_t, ctypes.c_uint64

        def function(name: str, result: Any, *arguments: Any, of: ctypes.CDLL = quick) -> Any:
            try:
                found = getattr(of, f"dotter_{name}")
            except AttributeError:
                raise OSError(f"{path} is older than this package: it has no dotter_{name}") from None
            found.argtypes, found.restype = arguments, result
            return found

        self.open_with = function("open_with", handle, ctypes.POINTER(_Options), of=library)
        self.close = function("close", code, handle, of=library)
        self.counts = function("counts", code, handle, ctypes.POINTER(_Counts))
        self.path = function("path", code, handle, text, size)
        self.last_code = function("last_code", code)
        self.last_error = function("last_error", text)
        self.series = function("series_of", handle, handle, text, text, ctypes.c_char)
        self.text = function("text", handle, handle, text)
        self.bytes = function("bytes", handle, handle, text)
        self.row = function("row", handle, handle, text, text, text, ctypes.POINTER(text))
        self.counter = function("counter", handle, handle, text, text)
        # What publishes: a function for now, and one for a time given.
        self.dots = {
            letter: (
                function(f"dot{suffix}", code, handle, number),
                function(f"dot_at{suffix}", code, handle, count, number),
            )
            for letter, suffix, number in (
                ("F", "", ctypes.c_double),
                ("f", "_f32", ctypes.c_float),
                ("I", "_i64", ctypes.c_int64),
                ("U", "_u64", ctypes.c_uint64),
            )
        }
        self.line = function("line", code, handle, text, size)
        self.line_at = function("line_at", code, handle, count, text, size)
        self.dot_bytes = function("dot_bytes", code, handle, text, size)
        self.dot_at_bytes = function("dot_at_bytes", code, handle, count, text, size)
        self.cells = function("cells", code, handle, text, size)
        self.cells_at = function("cells_at", code, handle, count, text, size)
        self.count = function("count", code, handle, count)
        self.total = function("total", count, handle)

    def fail(self) -> NoReturn:
        """Raises what went wrong last in this thread."""
        code, message = self.last_code(), self.last_error().decode(errors="replace")
        if code in (_TEXT, _SIZE, _COLUMNS):
            raise ValueError(message)
        raise FileExistsError(message) if code == _OWNED else OSError(message)


@functools.cache
def load(wanted: str | None) -> Library | None:
    """The library as `$DOTTER_LIBRARY` wants it; None where there is none.

    Raises OSError where the variable names a file that is not the library.
    """
    if wanted is not None:
        return Library(wanted) if wanted else None
    beside = Path(__file__).with_name("libdotter.so")
    for path in ([str(beside)] if beside.exists() else []) + ["libdotter.so"]:
        try:
            return Library(path)
        except OSError:
            pass
    return None


def find() -> Library | None:
    """The library, where there is one."""
    return load(os.environ.get("DOTTER_LIBRARY"))


class _Open:
    """A publisher of the library; its end closes it."""

    __slots__ = ("handle", "library")

    def __init__(self, library: Library, handle: int) -> None:
        self.library = library
        self.handle = handle

    def __del__(self) -> None:
        self.library.close(self.handle)


class LibraryWriter(Writer):
    """Writes through the library, in a lane for each thread."""

    kind = "library"

    def __init__(self, library: Library, options: Options) -> None:
        asked = _Options(struct_bytes=ctypes.sizeof(_Options), lane_dots=options.lane_dots)
        asked.application = options.application.encode()
        asked.path = None if options.path is None else os.fsencode(options.path)
        handle = library.open_with(ctypes.byref(asked))
        if not handle:
            library.fail()
        self.library = library
        # None once it is closed. Whoever calls the library with its handle keeps a name for it meanwhile.
        self.open: _Open | None = _Open(library, handle)

    def _opened(self) -> _Open:
        return self.open or closed()

    def path(self) -> str:
        opened = self._opened()
        length = self.library.path(opened.handle, None, 0)
        buffer = ctypes.create_string_buffer(length + 1)
        self.library.path(opened.handle, buffer, length + 1)
        return os.fsdecode(buffer.value)

    def _made(self, handle: int | None) -> int:
        return handle or self.library.fail()

    def _series(self, name: str, unit: str, shape: Shape) -> int:
        letter = shape.letters.encode()
        opened = self._opened()
        return self._made(self.library.series(opened.handle, name.encode(), unit.encode(), letter))

    def floats(self, name: str, unit: str, shape: Shape) -> Series[float]:
        series: LibrarySeries[float] = LibrarySeries(self, self._series(name, unit, shape), name, unit, shape)
        return series

    def integers(self, name: str, unit: str, shape: Shape) -> Series[int]:
        return LibraryIntegers(self, self._series(name, unit, shape), name, unit, shape)

    def text(self, name: str) -> Text:
        opened = self._opened()
        return LibraryText(self, self._made(self.library.text(opened.handle, name.encode())), name)

    def raw(self, name: str) -> Bytes:
        opened = self._opened()
        return LibraryBytes(self, self._made(self.library.bytes(opened.handle, name.encode())), name)

    def row(self, name: str, unit: str, shape: Shape) -> Row:
        opened = self._opened()
        columns = (ctypes.c_char_p * len(shape.columns))(*(column.encode() for column in shape.columns))
        letters = shape.letters.encode()
        handle = self.library.row(opened.handle, name.encode(), unit.encode(), letters, columns)
        return LibraryRow(self, self._made(handle), name, unit, shape)

    def counter(self, name: str, unit: str) -> Counter:
        opened = self._opened()
        handle = self.library.counter(opened.handle, name.encode(), unit.encode())
        return LibraryCounter(self, self._made(handle), name, unit)

    def counts(self) -> Counts:
        opened = self._opened()
        counts = _Counts(struct_bytes=ctypes.sizeof(_Counts))
        if self.library.counts(opened.handle, ctypes.byref(counts)):
            self.library.fail()
        return Counts(
            counts.published,
            counts.refused_series,
            counts.refused_signal_handler,
            counts.refused_too_big,
            counts.refused_other,
        )

    def close(self) -> None:
        self.open = None


class LibrarySeries(Series[N]):
    """A series of numbers of one `LibraryWriter`."""

    __slots__ = ("_dot", "_dot_at", "_handle", "_writer")

    def __init__(self, writer: LibraryWriter, handle: int, name: str, unit: str, shape: Shape) -> None:
        self._writer = writer
        self._dot, self._dot_at = writer.library.dots[shape.letters]
        self._handle = handle
        self._integer = shape.is_integer
        self.name = name
        self.unit = unit

    # In each of these, `opened` keeps the publisher open until the library has come back.

    def dot(self, value: N) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        try:
            self._dot(self._handle, value)
        except ctypes.ArgumentError:
            raise TypeError(f"a series of numbers takes no {type(value).__name__}") from None

    def dot_at(self, nanoseconds: int, value: N) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        check_time(nanoseconds)
        try:
            self._dot_at(self._handle, nanoseconds, value)
        except ctypes.ArgumentError:
            raise TypeError(
                "the time must be an integer and the value a number of the series' type"
            ) from None


class LibraryIntegers(LibrarySeries[int]):
    """One whose numbers have a range, which ctypes does not look at."""

    __slots__ = ("_letter",)

    def __init__(self, writer: LibraryWriter, handle: int, name: str, unit: str, shape: Shape) -> None:
        super().__init__(writer, handle, name, unit, shape)
        self._letter = shape.letters

    def dot(self, value: int) -> None:
        check_range(self._letter, value)
        super().dot(value)

    def dot_at(self, nanoseconds: int, value: int) -> None:
        check_range(self._letter, value)
        super().dot_at(nanoseconds, value)


class LibraryText(Text):
    """A text of one `LibraryWriter`."""

    __slots__ = ("_handle", "_writer")

    def __init__(self, writer: LibraryWriter, handle: int, name: str) -> None:
        self._writer = writer
        self._handle = handle
        self.name = name

    def line(self, line: str) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        content = line_bytes(line)
        self._writer.library.line(self._handle, content, len(content))

    def line_at(self, nanoseconds: int, line: str) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        check_time(nanoseconds)
        content = line_bytes(line)
        self._writer.library.line_at(self._handle, nanoseconds, content, len(content))


class LibraryBytes(Bytes):
    """Raw bytes of one `LibraryWriter`."""

    __slots__ = ("_handle", "_writer")

    def __init__(self, writer: LibraryWriter, handle: int, name: str) -> None:
        self._writer = writer
        self._handle = handle
        self.name = name

    def dot(self, content: Buffer) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        copied = raw_bytes(content)
        self._writer.library.dot_bytes(self._handle, copied, len(copied))

    def dot_at(self, nanoseconds: int, content: Buffer) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        check_time(nanoseconds)
        copied = raw_bytes(content)
        self._writer.library.dot_at_bytes(self._handle, nanoseconds, copied, len(copied))


class LibraryRow(Row):
    """A row of one `LibraryWriter`."""

    __slots__ = ("_handle", "_pack", "_writer")

    def __init__(self, writer: LibraryWriter, handle: int, name: str, unit: str, shape: Shape) -> None:
        self._writer = writer
        self._handle = handle
        self._pack = Packing(shape.letters)
        self.name = name
        self.unit = unit
        self.columns = shape.columns

    def dot(self, *values: float) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        self._writer.library.cells(self._handle, self._pack(values), len(values))

    def dot_at(self, nanoseconds: int, *values: float) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        check_time(nanoseconds)
        self._writer.library.cells_at(self._handle, nanoseconds, self._pack(values), len(values))


class LibraryCounter(Counter):
    """A counter of one `LibraryWriter`."""

    __slots__ = ("_handle", "_writer")

    def __init__(self, writer: LibraryWriter, handle: int, name: str, unit: str) -> None:
        self._writer = writer
        self._handle = handle
        self.name = name
        self.unit = unit

    def count(self, more: int = 1) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        more = operator.index(more)
        check_range("U", more)
        self._writer.library.count(self._handle, more)

    @property
    def total(self) -> int:
        opened = self._writer.open
        if opened is None:
            closed()
        total: int = self._writer.library.total(self._handle)
        return total
