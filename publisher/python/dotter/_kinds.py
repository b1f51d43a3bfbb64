"""What a series holds: numbers of four types, lines of text, raw bytes, rows; and values as they stand in a ring.

A value is a word of 64 bits, or several: floats by their bits, integers with their sign carried on.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any, Iterable, Literal, Mapping, NamedTuple, NoReturn, Union

from ._names import is_control

NumberType = Literal["f64", "f32", "i64", "u64"]
"""What a series of numbers can be of."""
ColumnType = Literal["f64", "f32", "i64", "u64", "i32", "u32"]
"""What a column of a row can be of."""

Buffer = Union[bytes, bytearray, memoryview]
"""What raw bytes are taken from."""

# In the registry, and in a record that is stamped by the clock.
KIND_F64, KIND_I64, KIND_U64, KIND_F32, KIND_TEXT, KIND_ROW = 1, 2, 3, 4, 10, 11

TEXT_BYTES_MAX = 4016
COLUMNS_MAX = 64
COLUMN_NAME_BYTES_MAX = 255

LETTERS = {"f64": "F", "f32": "f", "i64": "I", "u64": "U", "i32": "i", "u32": "u"}

_KINDS = {"f64": KIND_F64, "f32": KIND_F32, "i64": KIND_I64, "u64": KIND_U64}
_RANGES = {
    "I": range(-(1 << 63), 1 << 63),
    "U": range(1 << 64),
    "i": range(-(1 << 31), 1 << 31),
    "u": range(1 << 32),
}
_PACKED = {"F": "d", "f": "f4x", "I": "q", "U": "Q", "i": "q", "u": "Q"}


class Shape(NamedTuple):
    """What the records of a series look like."""

    kind: int
    letters: str
    """One for each column; one where it is no row."""
    columns: tuple[str, ...]
    """Their names; one empty name where it is no row."""

    @property
    def is_integer(self) -> bool:
        """Whether it is a series of integers."""
        return self.kind in (KIND_I64, KIND_U64)


TEXT = Shape(KIND_TEXT, "s", ("",))
BYTES = Shape(KIND_TEXT, "b", ("",))
"""Its records are those of a text."""


def number_shape(kind: str) -> Shape:
    """One number.

    Raises ValueError where there is no such series of numbers.
    """
    if kind not in _KINDS:
        raise ValueError(f"there is no series of {kind!r}, expected one of {', '.join(_KINDS)}")
    return Shape(_KINDS[kind], LETTERS[kind], ("",))


def row_shape(name: str, columns: Mapping[str, str]) -> Shape:
    """A number in each column.

    Raises ValueError where the columns cannot be.
    """

    def wrong(what: str) -> ValueError:
        return ValueError(f"cannot publish rows of {name[:80]!r}: {what}")

    if not 1 <= len(columns) <= COLUMNS_MAX:
        raise wrong(f"there are {len(columns)} columns, expected 1 to {COLUMNS_MAX}")
    for column, kind in columns.items():
        try:
            length = len(column.encode())
        except UnicodeEncodeError:
            length = 0
        if not 1 <= length <= COLUMN_NAME_BYTES_MAX or any(map(is_control, column)):
            raise wrong(
                f"the column {column[:80]!r} has no name of 1 to 255 bytes without control characters"
            )
        if kind not in LETTERS:
            raise wrong(f"the column {column!r} is of {kind!r}, expected one of {', '.join(LETTERS)}")
    return Shape(KIND_ROW, "".join(LETTERS[kind] for kind in columns.values()), tuple(columns))


def check_range(letter: str, value: int) -> None:
    """Raises ValueError where an integer is none of its type."""
    # Not `in`: that is quick only for what is an int itself.
    span = _RANGES[letter]
    if not span.start <= value < span.stop:
        _out_of_range(letter, value)


def _out_of_range(letter: str, value: object) -> NoReturn:
    span = _RANGES[letter]
    raise ValueError(f"{value} is not between {span.start} and {span.stop - 1}; nothing was done")


def check_number(kind: int, value: float) -> None:
    """Raises TypeError, or OverflowError, where a value is no number of that kind."""
    form: Any = {KIND_F64: "d", KIND_I64: "q", KIND_U64: "Q", KIND_F32: "f"}[kind]
    memoryview(bytearray(8)).cast(form)[0] = value


def line_bytes(line: str) -> bytes:
    """A line as it stands in a ring.

    Raises TypeError where it is no text, ValueError where it is no Unicode.
    """
    if not isinstance(line, str):
        raise TypeError(f"a line must be a str, not {type(line).__name__}")
    return line.encode()


def raw_bytes(content: Buffer) -> bytes:
    """Raw bytes as they stand in a ring.

    Raises TypeError where it is nothing of bytes.
    """
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"a value must be bytes, not {type(content).__name__}")
    return bytes(content)


class Packing:
    """Values of a row to words."""

    __slots__ = ("_letters", "_narrow", "_short", "_struct")

    def __init__(self, letters: str) -> None:
        self._letters = letters
        self._struct = struct.Struct("<" + "".join(_PACKED[letter] for letter in letters))
        # The others are checked where they are packed.
        self._narrow = [(index, letter) for index, letter in enumerate(letters) if letter in "iu"]
        self._short = [index for index, letter in enumerate(letters) if letter == "f"]

    def __call__(self, values: tuple[float, ...]) -> bytes:
        """The words of a row, eight bytes each.

        Raises ValueError where there are more or fewer values than columns, or one is not in the range of its
        type; TypeError where one is no number of it.
        """
        if len(values) != len(self._letters):
            raise ValueError(f"{len(values)} values for {len(self._letters)} columns; nothing was done")
        try:
            for index, letter in self._narrow:
                check_range(letter, values[index])  # type: ignore[arg-type]
            return self._struct.pack(*values)
        except OverflowError:
            # Too large for an f32: infinite, as everywhere else.
            rounded = list(values)
            for index in self._short:
                rounded[index] = ctypes.c_float(values[index]).value
            return self._struct.pack(*rounded)
        except struct.error:
            self._explain(values)

    def _explain(self, values: Iterable[object]) -> NoReturn:
        for letter, value in zip(self._letters, values):
            if letter not in _RANGES:
                check_number(KIND_F64, value)  # type: ignore[arg-type]
            elif not hasattr(value, "__index__"):
                raise TypeError(f"a column of integers takes no {type(value).__name__}") from None
            elif value not in _RANGES[letter]:
                _out_of_range(letter, value)
        raise TypeError("the values of a row must be numbers") from None
