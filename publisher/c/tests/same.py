"""Publishes what it reads, a line for each dot: name, unit, nanoseconds or "now", value; tabs between."""

import sys

from dotter import Publisher

with Publisher("same", sys.argv[1]) as publisher:
    assert publisher.writer == sys.argv[2], publisher.writer
    for line in sys.stdin.buffer.read().decode().splitlines():
        name, unit, time, value = line.split("\t")
        series = publisher.series(name, unit)
        if time == "now":
            series.dot(float(value))
        else:
            series.dot_at(int(time), float(value))
