"""Publishes what it reads, a line for each dot: letters, name, unit, nanoseconds or "now", value; tabs between.

The letters are F, f, I, U for numbers, s for text, b for raw bytes as hex digits, and in brackets for the cells of a
row, blanks between, in columns c0, c1, ...
"""

import sys

from dotter import Publisher

KINDS = {"F": "f64", "f": "f32", "I": "i64", "U": "u64", "i": "i32", "u": "u32"}


def number(letter, text):
    return float(text) if letter in "Ff" else int(text)


with Publisher("same", sys.argv[1]) as publisher:
    assert publisher.writer == sys.argv[2], publisher.writer
    for line in sys.stdin.buffer.read().decode().split("\n")[:-1]:
        letters, name, unit, time, value = line.split("\t")
        if letters == "s":
            text = publisher.lines(name)
            now, at, values = text.line, text.line_at, (value,)
        elif letters == "b":
            raw = publisher.bytes(name)
            now, at, values = raw.dot, raw.dot_at, (bytes.fromhex(value),)
        elif letters[0] == "(":
            columns = {f"c{index}": KINDS[letter] for index, letter in enumerate(letters[1:-1])}
            row = publisher.row(name, columns, unit)
            now, at, values = row.dot, row.dot_at, tuple(map(number, letters[1:-1], value.split(" ")))
        else:
            series = publisher.series(name, unit, kind=KINDS[letters])
            now, at, values = series.dot, series.dot_at, (number(letters, value),)
        if time == "now":
            now(*values)
        else:
            at(int(time), *values)
