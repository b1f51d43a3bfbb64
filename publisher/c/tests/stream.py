"""Publishes 0, 1, 2, ... into the ring of an exact name until it is killed, every value at its own time."""

import sys

from dotter import Publisher

publisher = Publisher.create(sys.argv[1], 1)
series = publisher.series("stream")
print("ready", flush=True)
number = 0
while True:
    # Now and then a time that no delta reaches, so that there are records of both lengths.
    series.dot_at(number if number % 50 else number + (1 << 60), number)
    number += 1
