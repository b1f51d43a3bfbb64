"""What is written here is what the Rust writer writes, to the byte, and reads as its reader reads it."""

import itertools
import tempfile
import unittest
from pathlib import Path

from dotter import _layout as layout
from dotter._ring import Clock, Pair, Ring

from .reading import read

GOLDEN = Path(__file__).resolve().parents[3] / "shared/ring/tests/golden"
START = 1_700_000_000_000_000_000
HZ = 2_500_000_000


class Manual:
    """A clock that shows what it is told."""

    def __init__(self):
        self.set(0)
        self.clock = Clock(layout.CLOCK_TSC, HZ, lambda: self.now.ticks, lambda: self.now)

    def set(self, millis):
        self.now = Pair(START + millis * 1_000_000, 7_000_000_000 + millis * (HZ // 1000))


def write_golden(directory):
    """What shared/ring/tests/golden.rs writes into the ring of numbers, step by step."""
    manual = Manual()
    identity = layout.Identity(bytes(range(16)), b"\xb0" * 16, START, 4711, 1000, 12_345, 4_026_531_836)
    geometry = layout.Geometry.new(4096, 1, layout.LANE_LOG2_MIN)
    ring = Ring.create(directory, None, "golden", geometry, identity, manual.clock)
    names = [("cpu.user", ""), ("latency;host=a;path=größe", "ms")]
    ring.add_series([layout.encode_entry(number, *name) for number, name in enumerate(names)])
    for number in range(layout.BLOCK_DOTS - 3):
        manual.set(number // 10)
        if number % 3 == 0:
            ring.dot_at(1, START - number, -float(number))
        else:
            ring.dot(0, manual.now.ticks, number / 4)
    for nanos in (0, layout.TIME_END - 1):
        ring.dot_at(1, nanos, nanos)
    manual.set(50)
    ring.dot(0, manual.now.ticks, float("inf"))
    manual.set(3_600_000)
    ring.dot(0, manual.now.ticks, 1e300)
    ring.dot_at(1, START, 2.2250738585072014e-308)
    ring.refuse(layout.CONTROL_REENTRANT)
    ring.refuse_series()
    ring.refuse_series()
    ring.close()
    return ring.path


class Golden(unittest.TestCase):
    def test_writing_gives_the_bytes_of_the_kept_ring(self):
        with tempfile.TemporaryDirectory() as directory:
            path = write_golden(Path(directory))
            self.assertEqual(path.name, "golden.000102030405060708090a0b0c0d0e0f.dots")
            written, kept = path.read_bytes(), (GOLDEN / "ring-0.dots").read_bytes()
        self.assertEqual(len(written), len(kept))
        differs = next((at for at, (a, b) in enumerate(zip(written, kept)) if a != b), None)
        self.assertIsNone(differs, "the first byte that differs")

    def test_reading_gives_the_dots_of_the_kept_ring(self):
        found = read(GOLDEN / "ring-0.dots")
        self.assertEqual((found.header.application, found.closed, found.refused_series), ("golden", True, 2))
        lines = (GOLDEN / "ring-0.txt").read_text().splitlines()[3:]
        self.assertEqual(len(found.dots), len(lines))
        for number, (dot, line) in enumerate(zip(found.dots, lines)):
            stamp = "clock" if dot.clock else "given"
            text, value = line.rsplit(" ", 1)
            self.assertEqual(f"{number} {dot.name} [{dot.unit}] {stamp} {dot.nanos}", text)
            self.assertEqual(dot.value, float(value))


class Layout(unittest.TestCase):
    def test_the_checksum_is_the_one_of_the_rfc(self):
        self.assertEqual(layout.crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(layout.crc32c(bytes(32)), 0x8A9136AA)

    def test_a_lane_is_the_smallest_that_holds_the_dots(self):
        for dots, log2 in [(0, 16), (1, 16), (4032, 16), (4033, 17), (258_048, 22), (258_049, 23)]:
            self.assertEqual(layout.lane_log2_for(dots), log2, dots)
        for dots in (-1, 1 << 40):
            with self.assertRaises(ValueError):
                layout.lane_log2_for(dots)

    def test_every_flipped_bit_of_a_header_is_found(self):
        header = (GOLDEN / "ring-0.dots").read_bytes()[: layout.HEADER_CHECKED_BYTES]
        self.assertEqual(layout.Header.decode(header, "x").encode(), header)
        for byte, bit in itertools.product(range(len(header)), range(8)):
            changed = bytearray(header)
            changed[byte] ^= 1 << bit
            with self.assertRaises(OSError):
                layout.Header.decode(bytes(changed), "x")
        for length in (0, 8, 511):
            with self.assertRaises(OSError):
                layout.Header.decode(header[:length], "x")


if __name__ == "__main__":
    unittest.main()
