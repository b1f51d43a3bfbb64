"""Publishes dots: numbers where everybody can see them, at the price of one memory write.

    from dotter import Publisher

    publisher = Publisher.open("shop")
    latency = publisher.series("shop.checkout.latency", unit="ms")
    latency.dot(12.5)
    with latency.timer():                           # publishes how long this block takes, in ms
        publisher.counter("shop.orders").count()    # publishes how many there were so far
        publisher.text("shop.log", "the first order is through")
        publisher.row("shop.stock", {"pieces": "u64", "value": "f64"}).dot(41, 820.0)

A dot is written into a mapped file, a ring, from which a broker takes it. Without a broker the ring
overwrites its oldest dots, and the application notices nothing of either.

Where the C library libdotter is found the dots go through it; otherwise they are written from here, which
works on Linux on x86-64 and takes about twice as long. `Publisher.writer` says which it is. The library is
looked for as `$DOTTER_LIBRARY`, beside this package, and where the system looks; an empty
`DOTTER_LIBRARY` means that it is not looked for.

What always holds, either way:

- Everything may be called from any thread. With the library each thread has a lane of its own; without
  it, all threads of a publisher share one, under a lock.
- A dot neither fails nor waits for a reader. One that cannot be written is counted as refused.
- A signal handler may publish, in the sense of Python's `signal` module.
- A forked child has a ring of its own from its first dot on, with the same series.
- The ring is closed by `Publisher.close`, by the end of a `with` block, when the publisher and all its
  series are gone, or with the program, whichever comes first. A dot after that is a ValueError.
"""

from ._publisher import Bytes, Counter, Counts, Dotter, Publisher, Row, Series, Text, Timer

__all__ = ["Bytes", "Counter", "Counts", "Dotter", "Publisher", "Row", "Series", "Text", "Timer"]
__version__ = "0.1.0"
