"""What is written here is what the Rust writer writes, to the byte, and reads as its reader reads it."""

import itertools
import tempfile
import unittest
from pathlib import Path

from dotter import _layout as layout
from dotter._kinds import KIND_ROW, KIND_TEXT, TEXT, Packing, Shape, number_shape, row_shape
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


def create(directory, manual):
    """A ring with the same bytes every time."""
    identity = layout.Identity(bytes(range(16)), b"\xb0" * 16, START, 4711, 1000, 12_345, 4_026_531_836)
    geometry = layout.Geometry.new(4096, 1, layout.LANE_LOG2_MIN)
    return Ring.create(directory, None, "golden", geometry, identity, manual.clock)


def write_numbers(directory):
    """What shared/ring/tests/golden.rs writes into the ring of numbers, step by step."""
    manual = Manual()
    ring, f64 = create(directory, manual), number_shape("f64")
    names = [("cpu.user", ""), ("latency;host=a;path=größe", "ms")]
    ring.add_series([layout.encode_entry(number, *name, f64) for number, name in enumerate(names)])
    for number in range(layout.BLOCK_DOTS - 3):
        manual.set(number // 10)
        if number % 3 == 0:
            ring.dot_at(1, f64.kind, START - number, -float(number))
        else:
            ring.dot(0, f64.kind, manual.now.ticks, number / 4)
    for nanos in (0, layout.TIME_END - 1):
        ring.dot_at(1, f64.kind, nanos, nanos)
    manual.set(50)
    ring.dot(0, f64.kind, manual.now.ticks, float("inf"))
    manual.set(3_600_000)
    ring.dot(0, f64.kind, manual.now.ticks, 1e300)
    ring.dot_at(1, f64.kind, START, 2.2250738585072014e-308)
    ring.refuse(layout.CONTROL_REENTRANT)
    ring.refuse_series()
    ring.refuse_series()
    ring.close()
    return ring.path


def write_kinds(directory):
    """What it writes into the ring of every kind."""
    manual = Manual()
    ring = create(directory, manual)
    numbers = [number_shape(kind) for kind in ("f64", "i64", "u64", "f32")]
    # The last column has no name, which only a writer by hand can do.
    columns = {"a": "f64", "b": "f32", "c": "i64", "d": "u64", "größe": "i32", "f": "u32"}
    row = row_shape("row", columns)
    row = row._replace(columns=(*row.columns[:5], ""))
    shapes: list[Shape] = [*numbers, TEXT, row]
    names = ("f64", "i64", "u64", "f32", "text", "row")
    ring.add_series(
        [layout.encode_entry(number, names[number], "", shape) for number, shape in enumerate(shapes)]
    )
    cells = Packing(row.letters)((-2.5, 0.5, -(1 << 63), (1 << 64) - 1, -3, (1 << 32) - 1))
    wide = Packing("U" * 64)(tuple(range(64)))
    line = "Grüße an alle, die lesen".encode()

    def text(stamp, given, content):
        if len(content) > 4016:
            ring.refuse(layout.CONTROL_OVERSIZE)
        else:
            ring.long(4, KIND_TEXT, stamp, given, len(content), content)

    for millis in range(4):
        manual.set(millis)
        ticks = manual.now.ticks
        for number, value in enumerate((1.5, -(1 << 63) + millis, (1 << 64) - 1 - millis, -0.25)):
            ring.dot(number, numbers[number].kind, ticks, value)
        for length in range(16):
            text(ticks, False, line[: length + min(length, 6)])
        ring.long(5, KIND_ROW, ticks, False, 6, cells)
        ring.long(5, KIND_ROW, ticks, False, 64, wide)
        for nanos in (START + millis, millis, layout.TIME_END - 1 - millis):
            for number, value in enumerate((1.5, -7, 7, 0.125)):
                ring.dot_at(number, numbers[number].kind, nanos, value)
            text(nanos, True, b"a line")
            ring.long(5, KIND_ROW, nanos, True, 6, cells)
            ring.long(5, KIND_ROW, nanos, True, 5, cells[:40])
    for length in (4016, 4017):
        text(manual.now.ticks, False, b"x" * length)
    ring.close()
    return ring.path


def in_words(dot):
    """A value as shared/ring/tests/golden.rs writes it, beside the letters of its series."""
    if dot.letters == "F" and not isinstance(dot.value, tuple):
        return f"[{dot.unit}]", repr(dot.value).replace("e+", "e")
    if dot.letters == "s":
        return "", f'"{dot.value}"'
    if isinstance(dot.value, tuple):
        return dot.letters, f"Row([{', '.join(map(str, dot.words))}])"
    kind = {"f": "F32", "I": "I64", "U": "U64"}[dot.letters]
    return dot.letters, f"{kind}({dot.value})"


class Golden(unittest.TestCase):
    def test_writing_gives_the_bytes_of_the_kept_rings(self):
        for name, write in (("ring-0", write_numbers), ("ring-0-kinds", write_kinds)):
            with tempfile.TemporaryDirectory() as directory:
                path = write(Path(directory))
                self.assertEqual(path.name, "golden.000102030405060708090a0b0c0d0e0f.dots")
                written, kept = path.read_bytes(), (GOLDEN / f"{name}.dots").read_bytes()
            self.assertEqual(len(written), len(kept))
            differs = next((at for at, (a, b) in enumerate(zip(written, kept)) if a != b), None)
            self.assertIsNone(differs, f"the first byte of {name} that differs")

    def test_reading_gives_the_dots_of_the_kept_ring_of_numbers(self):
        found = read(GOLDEN / "ring-0.dots")
        self.assertEqual((found.header.application, found.closed, found.refused_series), ("golden", True, 2))
        lines = (GOLDEN / "ring-0.txt").read_text().splitlines()[3:]
        self.assertEqual(len(found.dots), len(lines))
        for number, (dot, line) in enumerate(zip(found.dots, lines)):
            stamp = "clock" if dot.clock else "given"
            text, value = line.rsplit(" ", 1)
            self.assertEqual(f"{number} {dot.name} [{dot.unit}] {stamp} {dot.nanos}", text)
            self.assertEqual(dot.value, float(value))

    def test_reading_gives_the_dots_of_the_kept_ring_of_every_kind(self):
        found = read(GOLDEN / "ring-0-kinds.dots")
        lines = (GOLDEN / "ring-0-kinds.txt").read_text().splitlines()[3:]
        self.assertEqual(len(found.dots), len(lines))
        for number, (dot, line) in enumerate(zip(found.dots, lines)):
            letters, value = in_words(dot)
            stamp = "clock" if dot.clock else "given"
            words = (str(number), dot.name, letters, stamp, str(dot.nanos), value)
            self.assertEqual(" ".join(filter(None, words)), line)


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
