"""Publishes 0, 1, 2, ... into the ring of an exact name until it is killed, every value at its own time.

Every third as a line of some length, and of the others every fifth as a row.
"""

import sys

from dotter import Publisher

publisher = Publisher.create(sys.argv[1], 1)
series, text = publisher.series("stream"), publisher.lines("stream")
row = publisher.row("stream", {f"c{number}": "u64" for number in range(7)})
print("ready", flush=True)
number = 0
while True:
    # Now and then a time that no delta reaches, so that there are records of both lengths.
    time = number if number % 50 else number + (1 << 60)
    if number % 3 == 0:
        text.line_at(time, f"{number} " * (number % 20))
    elif number % 5 == 0:
        row.dot_at(time, *[number] * 7)
    else:
        series.dot_at(time, number)
    number += 1
