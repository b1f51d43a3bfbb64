"""How long something takes, published when it ends."""

from __future__ import annotations

import functools
import inspect
import time
from typing import TYPE_CHECKING, Any, Callable, TypeVar, cast

if TYPE_CHECKING:
    from types import TracebackType

_Function = TypeVar("_Function", bound=Callable[..., Any])

_PER_SECOND = {
    "ms": 1e3,
    # The micro sign, and the Greek letter that looks like it.
    "us": 1e6,
    "\u00b5s": 1e6,
    "\u03bcs": 1e6,
    "ns": 1e9,
    "min": 1 / 60,
    "h": 1 / 3600,
}


def per_second(unit: str) -> float:
    """How many of a unit of time a second is; 1 where it is no unit of time."""
    return _PER_SECOND.get(unit, 1.0)


class Timer:
    """Measures a `with` block, or each call of the function it decorates; see `Series.timer`."""

    __slots__ = ("_per_second", "_publish", "_start")

    def __init__(self, publish: Callable[[float], None], unit: str) -> None:
        self._publish: Callable[[float], None] | None = publish
        self._per_second = per_second(unit)
        self._start = 0

    def discard(self) -> None:
        """Publishes nothing at the end: for what is not to count, such as a request that came to nothing."""
        self._publish = None

    def __enter__(self) -> Timer:
        self._start = time.perf_counter_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        took = (time.perf_counter_ns() - self._start) / 1e9 * self._per_second
        if self._publish is not None:
            try:
                self._publish(took)
            except ValueError:
                # The publisher was closed meanwhile: no reason for what was measured to fail.
                pass

    def __call__(self, function: _Function) -> _Function:
        """The same function, each of whose calls is measured; of a coroutine, until it returns."""
        publish = self._publish
        if publish is None:
            return function
        again = functools.partial(_again, publish, self._per_second)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*positional: Any, **named: Any) -> Any:
                with again():
                    return await function(*positional, **named)

            return cast(_Function, awaited)

        @functools.wraps(function)
        def called(*positional: Any, **named: Any) -> Any:
            with again():
                return function(*positional, **named)

        return cast(_Function, called)


def _again(publish: Callable[[float], None], rate: float) -> Timer:
    # One for each call: calls overlap.
    timer = Timer(publish, "")
    timer._per_second = rate
    return timer
