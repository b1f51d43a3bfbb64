"""Whisper, at the other end of two pipes: a file for each series, made at the first dots of it.

In:  'w' count, then per series: number, count, times (u32), values (f64)      out: 'k'
     'r' number, from, until                                                   out: count, times (u32), values (f64)
"""

import os
import struct
import sys

import whisper

directory, points, now = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
STEP = 10
pipe, back = sys.stdin.buffer, sys.stdout.buffer


def path(number):
    return os.path.join(directory, "%02x" % (number % 256), "%d.wsp" % number)


def take(layout):
    return struct.unpack(layout, pipe.read(struct.calcsize(layout)))


while command := pipe.read(1):
    if command == b"w":
        for _ in range(take("<I")[0]):
            number, count = take("<II")
            times = take("<%dI" % count)
            values = take("<%dd" % count)
            file = path(number)
            if not os.path.exists(file):
                os.makedirs(os.path.dirname(file), exist_ok=True)
                whisper.create(file, [(STEP, points)])
            whisper.update_many(file, zip(times, values), now)
        back.write(b"k")
    else:
        number, start, until = take("<III")
        # It gives those later than what it is asked for.
        span, values = whisper.fetch(path(number), start - 1, until - 1, now)
        dots = [(time, value) for time, value in zip(range(*span), values) if value is not None]
        back.write(struct.pack("<I", len(dots)))
        back.write(struct.pack("<%dI" % len(dots), *(time for time, _ in dots)))
        back.write(struct.pack("<%dd" % len(dots), *(value for _, value in dots)))
    back.flush()
