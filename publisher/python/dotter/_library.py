"""A publisher's writer through libdotter, the C library.

Always true: the library's publisher is closed, and its memory freed, only when nobody is inside one of its
functions: each call keeps the one object alive whose end closes it.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import NoReturn

from ._layout import TIME_END
from ._writer import Counts, Options, Series, Writer, closed, no_time

# The library's DOTTER_ABI this file is written for.
_ABI = 1
_TEXT, _SIZE, _OWNED = -2, -3, -4


class _Options(ctypes.Structure):
    """struct dotter_options"""

    _fields_ = [
        ("struct_bytes", ctypes.c_uint32),
        ("lanes_max", ctypes.c_uint32),
        ("lane_dots", ctypes.c_uint64),
        ("registry_bytes", ctypes.c_uint64),
        ("application", ctypes.c_char_p),
        ("path", ctypes.c_char_p),
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
        handle, text = ctypes.c_void_p, ctypes.c_char_p
        self.open_with = library.dotter_open_with
        self.open_with.argtypes, self.open_with.restype = [ctypes.POINTER(_Options)], handle
        self.close = library.dotter_close
        self.close.argtypes, self.close.restype = [handle], ctypes.c_int
        self.series = quick.dotter_series_with_unit
        self.series.argtypes, self.series.restype = [handle, text, text], handle
        self.dot = quick.dotter_dot
        self.dot.argtypes, self.dot.restype = [handle, ctypes.c_double], ctypes.c_int
        self.dot_at = quick.dotter_dot_at
        self.dot_at.argtypes = [handle, ctypes.c_uint64, ctypes.c_double]
        self.dot_at.restype = ctypes.c_int
        self.counts = quick.dotter_counts
        self.counts.argtypes, self.counts.restype = [handle, ctypes.POINTER(_Counts)], ctypes.c_int
        self.path = quick.dotter_path
        self.path.argtypes, self.path.restype = [handle, text, ctypes.c_size_t], ctypes.c_int
        self.last_code = quick.dotter_last_code
        self.last_code.argtypes, self.last_code.restype = [], ctypes.c_int
        self.last_error = quick.dotter_last_error
        self.last_error.argtypes, self.last_error.restype = [], text

    def fail(self) -> NoReturn:
        """Raises what went wrong last in this thread."""
        code, message = self.last_code(), self.last_error().decode(errors="replace")
        if code in (_TEXT, _SIZE):
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

    def series(self, name: str, unit: str) -> Series:
        opened = self._opened()
        handle = self.library.series(opened.handle, name.encode(), unit.encode())
        if not handle:
            self.library.fail()
        return LibrarySeries(self, handle, name, unit)

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


class LibrarySeries(Series):
    """A series of one `LibraryWriter`."""

    __slots__ = ("_dot", "_dot_at", "_handle", "_writer")

    def __init__(self, writer: LibraryWriter, handle: int, name: str, unit: str) -> None:
        self._writer = writer
        self._dot = writer.library.dot
        self._dot_at = writer.library.dot_at
        self._handle = handle
        self.name = name
        self.unit = unit

    def dot(self, value: float) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        try:
            self._dot(self._handle, value)
        except ctypes.ArgumentError:
            raise TypeError(f"must be real number, not {type(value).__name__}") from None

    def dot_at(self, nanoseconds: int, value: float) -> None:
        opened = self._writer.open
        if opened is None:
            closed()
        if not 0 <= nanoseconds < TIME_END:
            no_time(nanoseconds)
        try:
            self._dot_at(self._handle, nanoseconds, value)
        except ctypes.ArgumentError:
            raise TypeError("the time must be an integer and the value a real number") from None
