"""What the two ways to write a ring have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from ._kinds import Buffer, Shape
from ._layout import TIME_END
from ._timer import Timer

N = TypeVar("N", float, int)


@dataclass(frozen=True)
class Options:
    """How a ring is to be made. No path means the default directory."""

    application: str
    path: str | None
    lane_dots: int


@dataclass(frozen=True)
class Counts:
    """What became of the dots so far."""

    published: int
    """Dots written."""
    refused_series: int
    """The ring had no room for the name of their series."""
    refused_signal_handler: int
    """From a signal handler of C that interrupted a dot of its thread; one of Python's is never refused."""
    refused_too_big: int
    """Do not fit into a block."""
    refused_other: int
    """There was no ring to write to."""


class _Named:
    """Something that is published under a name."""

    __slots__ = ("name",)

    name: str
    """Its canonical name."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__.replace('Library', '').replace('Python', '')} {self.name!r}>"


class Series(_Named, ABC, Generic[N]):
    """Where numbers of one name go. Any thread may use it. Keep it: making one is the expensive part.

    >>> temperature = publisher.series("room.temperature", unit="°C")
    >>> temperature.dot(21.5)
    >>> temperature.dot_at(1_700_000_000_000_000_000, 20.0)
    """

    __slots__ = ("_integer", "unit")

    _integer: bool
    unit: str
    """What its values are measured in; empty where nobody said."""

    @abstractmethod
    def dot(self, value: N) -> None:
        """Publishes a value, now.

        Raises ValueError where the publisher is closed or an integer is none of its type, TypeError where the
        value is no number of it.
        """

    @abstractmethod
    def dot_at(self, nanoseconds: int, value: N) -> None:
        """Publishes a value of another time, in nanoseconds since 1970, as `time.time_ns` gives them.

        Raises ValueError where the publisher is closed, the time is not one of 64 bits, or an integer is none
        of its type; TypeError where the time or the value is no number of its type.
        """

    def timer(self: Series[float]) -> Timer:
        """Publishes how long a `with` block, or each call of a function, takes.

        In the series' unit: s, ms, us or µs, ns, min or h, and in seconds where it is none of these. Every
        way out publishes, exceptions too; `discard` publishes nothing.

        Raises TypeError where the series is of integers.

        >>> latency = publisher.series("shop.checkout.latency", unit="ms")
        >>> with latency.timer():
        ...     pass
        >>> @latency.timer()
        ... def checkout():
        ...     return "paid"
        >>> checkout()
        'paid'
        >>> with latency.timer() as timer:
        ...     timer.discard()
        """
        if self._integer:
            raise TypeError(f"the series {self.name!r} is of integers; a timer publishes floats")
        return Timer(self.dot, self.unit)


class Text(_Named, ABC):
    """Where lines of one name go. Any thread may use it.

    >>> log = publisher.lines("shop.log")
    >>> log.line("the shop is open")
    """

    __slots__ = ()

    @abstractmethod
    def line(self, line: str) -> None:
        """Publishes a line, now. One longer than 4016 bytes of UTF-8 is counted as refused: cutting it is for
        who knows what may go.

        Raises ValueError where the publisher is closed or the line is no Unicode, TypeError where it is no
        str.
        """

    @abstractmethod
    def line_at(self, nanoseconds: int, line: str) -> None:
        """Publishes a line of another time, in nanoseconds since 1970.

        Raises as `line` and `Series.dot_at`.
        """


class Bytes(_Named, ABC):
    """Where raw bytes of one name go: what is neither a number nor a text. Any thread may use it.

    >>> packets = publisher.bytes("net.packet")
    >>> packets.dot(b"\\x45\\x00\\xff")
    """

    __slots__ = ()

    @abstractmethod
    def dot(self, content: Buffer) -> None:
        """Publishes bytes, now. More than 4016 are counted as refused.

        Raises ValueError where the publisher is closed, TypeError where it is neither bytes nor a bytearray nor a
        memoryview.
        """

    @abstractmethod
    def dot_at(self, nanoseconds: int, content: Buffer) -> None:
        """Publishes bytes of another time, in nanoseconds since 1970.

        Raises as `dot` and `Series.dot_at`.
        """


class Row(_Named, ABC):
    """Where rows of one name go: several numbers at one time. Any thread may use it.

    >>> disk = publisher.row("disk.sda", {"busy": "f64", "read": "u64"})
    >>> disk.dot(0.25, 4096)
    >>> disk.columns
    ('busy', 'read')
    """

    __slots__ = ("columns", "unit")

    columns: tuple[str, ...]
    """The names of its columns."""
    unit: str
    """What they are measured in; empty where nobody said."""

    @abstractmethod
    def dot(self, *values: float) -> None:
        """Publishes a row, now: a value for each column.

        Raises ValueError where the publisher is closed, there are more or fewer values than columns, or an
        integer is none of its type; TypeError where a value is no number of its type.
        """

    @abstractmethod
    def dot_at(self, nanoseconds: int, *values: float) -> None:
        """Publishes a row of another time, in nanoseconds since 1970. Raises as `dot` and `Series.dot_at`."""


class Counter(_Named, ABC):
    """How many there were since the program began. All counters of one name count together.

    >>> orders = publisher.counter("shop.orders")
    >>> orders.count()
    >>> orders.count(2)
    >>> orders.total
    3
    """

    __slots__ = ("unit",)

    unit: str
    """What is counted; empty where nobody said."""

    @abstractmethod
    def count(self, more: int = 1) -> None:
        """Counts `more` and publishes the total; zero publishes it once more.

        Raises ValueError where the publisher is closed or `more` is below zero or beyond 64 bits, TypeError
        where it is no integer.
        """

    @property
    @abstractmethod
    def total(self) -> int:
        """What was counted so far, in this process and before it was forked."""


class Writer(ABC):
    """One ring and what is known of it: the C library's, or the one of this package."""

    kind: str

    @abstractmethod
    def path(self) -> str: ...

    @abstractmethod
    def floats(self, name: str, unit: str, shape: Shape) -> Series[float]: ...

    @abstractmethod
    def integers(self, name: str, unit: str, shape: Shape) -> Series[int]: ...

    @abstractmethod
    def text(self, name: str) -> Text: ...

    @abstractmethod
    def raw(self, name: str) -> Bytes: ...

    @abstractmethod
    def row(self, name: str, unit: str, shape: Shape) -> Row: ...

    @abstractmethod
    def counter(self, name: str, unit: str) -> Counter: ...

    @abstractmethod
    def counts(self) -> Counts: ...

    @abstractmethod
    def close(self) -> None: ...


def closed() -> NoReturn:
    raise ValueError("the publisher is closed; nothing was done")


def check_time(nanoseconds: int) -> None:
    """Raises ValueError where a time is not one of 64 bits."""
    if not 0 <= nanoseconds < TIME_END:
        raise ValueError(
            f"the time {nanoseconds} is not between 0 and {TIME_END - 1} nanoseconds; nothing was done"
        )
