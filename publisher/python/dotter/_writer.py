"""What the two ways to write a ring have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NoReturn

from ._layout import TIME_END


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


class Series(ABC):
    """Where dots of one name go. Any thread may use it. Keep it: making one is the expensive part."""

    __slots__ = ("name", "unit")

    name: str
    """Its canonical name."""
    unit: str
    """What its values are measured in; empty where nobody said."""

    @abstractmethod
    def dot(self, value: float) -> None:
        """Publishes a value, now.

        Raises ValueError where the publisher is closed, TypeError where the value is no number.
        """

    @abstractmethod
    def dot_at(self, nanoseconds: int, value: float) -> None:
        """Publishes a value of another time, in nanoseconds since 1970, as `time.time_ns` gives them.

        Raises ValueError where the publisher is closed or the time is not one of 64 bits, TypeError where it
        or the value is no number.
        """

    def __repr__(self) -> str:
        return f"<Series {self.name!r}>"


class Writer(ABC):
    """One ring and what is known of it: the C library's, or the one of this package."""

    kind: str

    @abstractmethod
    def path(self) -> str: ...

    @abstractmethod
    def series(self, name: str, unit: str) -> Series: ...

    @abstractmethod
    def counts(self) -> Counts: ...

    @abstractmethod
    def close(self) -> None: ...


def closed() -> NoReturn:
    raise ValueError("the publisher is closed; nothing was done")


def no_time(nanoseconds: object) -> NoReturn:
    raise ValueError(
        f"the time {nanoseconds} is not between 0 and {TIME_END - 1} nanoseconds; nothing was done"
    )
