"""Integers, texts, rows, counters, timers and instances, through either writer; the package's examples."""

import asyncio
import doctest
import multiprocessing
import threading
import time
import unittest
from unittest import mock

from dotter import Publisher, Timer, _publisher, _writer

from .cases import LIBRARY, WithPublisher
from .reading import read

I64, U64 = (-(1 << 63), (1 << 63) - 1), (0, (1 << 64) - 1)
FAR = 5


class Cases(WithPublisher):
    """For each writer once."""

    def dots(self):
        return read(self.directory / "ring").dots

    def test_every_kind_arrives_as_it_was_published(self):
        with self.create() as publisher:
            signed = publisher.series("number", unit="bytes", kind="i64")
            unsigned = publisher.series("number", kind="u64")
            short = publisher.series("number", kind="f32")
            log = publisher.lines("log")
            columns = {"a": "f64", "b": "f32", "größe": "i64", "d": "u64", "e": "i32", "f": "u32"}
            row = publisher.row("row", columns, unit="pieces")
            wide = publisher.row("wide", {f"column.{number}": "u64" for number in range(64)})
            self.assertEqual((row.columns, row.unit, signed.unit), (tuple(columns), "pieces", "bytes"))
            values = (1.5, -0.5, I64[0], U64[1], -1, (1 << 32) - 1)
            signed.dot(I64[0])
            signed.dot_at(FAR, -1)
            unsigned.dot(U64[1])
            short.dot_at(FAR, 0.25)
            log.line("grüße")
            log.line_at(FAR, "")
            log.line("with a zero\0in it")
            row.dot(*values)
            row.dot_at(FAR, *values)
            wide.dot(*range(64))
            publisher.text("log", "once")
            raw = publisher.bytes("log")
            raw.dot(b"\xff\0\x80")
            raw.dot_at(FAR, bytearray(b""))
            raw.dot(memoryview(b"abc")[1:])
            self.assertEqual((raw.name, publisher.counts().published), ("log", 14))
        found = self.dots()
        self.assertEqual(
            [dot.value for dot in found],
            [
                *(I64[0], -1, U64[1], 0.25, "grüße", "", "with a zero\0in it", values, values),
                *(tuple(range(64)), "once", b"\xff\0\x80", b"", b"bc"),
            ],
        )
        self.assertEqual([number for number, dot in enumerate(found) if not dot.clock], [1, 3, 5, 8, 12])
        self.assertTrue(all(dot.nanos == FAR for dot in found if not dot.clock))
        self.assertEqual([dot.letters for dot in found[:5]], ["I", "I", "U", "f", "s"])
        self.assertEqual([dot.letters for dot in found[-4:]], ["s", "b", "b", "b"])
        self.assertEqual((found[0].unit, found[7].unit), ("bytes", "pieces"))
        self.assertEqual((found[7].letters, found[7].columns), ("FfIUiu", tuple(columns)))
        self.assertEqual(found[7].words[4], U64[1], "an i32 with its sign carried on")

    def test_what_is_too_large_for_an_f32_is_infinite(self):
        with self.create() as publisher:
            publisher.series("a", kind="f32").dot(1e300)
            publisher.row("b", {"a": "f32", "b": "f64"}).dot(-1e300, 1e300)
        infinite = float("inf")
        self.assertEqual([dot.value for dot in self.dots()], [infinite, (-infinite, 1e300)])

    def test_long_records_follow_each_other_wherever_the_times_lie(self):
        second = 1_000_000_000
        expected = []
        with self.create() as publisher:
            log, row = publisher.lines("a"), publisher.row("b", {"a": "f64", "b": "i32", "c": "u64"})
            for number in range(1500):
                nanos = 1_700_000_000 * second + number * 400 * second * (-1) ** number
                nanos = U64[1] - number if number % 50 == 0 else nanos
                if number % 3:
                    line = "x" * (number * 7 % 200)
                    log.line_at(nanos, line)
                    expected.append((nanos, line))
                else:
                    row.dot_at(nanos, number, -number, number)
                    expected.append((nanos, (number, -number, number)))
        self.assertEqual([(dot.nanos, dot.value) for dot in self.dots()], expected)

    def test_the_longest_line_arrives_and_a_longer_one_is_counted(self):
        with self.create() as publisher:
            log = publisher.lines("a")
            log.line("ß" * 2008)
            log.line("ß" * 2008 + "x")
            log.line_at(FAR, "x" * 100_000)
            raw = publisher.bytes("a")
            raw.dot(b"\xff" * 4016)
            raw.dot(b"\xff" * 4017)
            counts = publisher.counts()
        self.assertEqual((counts.published, counts.refused_too_big), (2, 3))
        self.assertEqual([dot.value for dot in self.dots()], ["ß" * 2008, b"\xff" * 4016])

    def test_values_that_cannot_be_are_refused_and_nothing_is_written(self):
        with self.create() as publisher:
            signed, unsigned = publisher.series("a", kind="i64"), publisher.series("a", kind="u64")
            log, row = publisher.lines("a"), publisher.row("a", {"a": "f64", "b": "i32", "c": "u64"})
            counter = publisher.counter("a")
            for series, wrong in ((signed, (I64[0] - 1, I64[1] + 1)), (unsigned, (-1, U64[1] + 1))):
                for value in wrong:
                    with self.assertRaisesRegex(ValueError, "is not between"):
                        series.dot(value)
                    with self.assertRaisesRegex(ValueError, "is not between"):
                        series.dot_at(1, value)
                for value in (1.5, "1", None):
                    with self.assertRaises(TypeError):
                        series.dot(value)
                with self.assertRaises(TypeError):
                    series.timer()
            for value in ((), (1, 2), (1, 2, 3, 4), (1, 1 << 31, 3), (1, 2, -1), (1, 2, 1 << 64)):
                with self.assertRaises(ValueError):
                    row.dot(*value)
                with self.assertRaises(ValueError):
                    row.dot_at(1, *value)
            for value in ((1, 2.5, 3), (1, 2, 3.0), ("1", 2, 3), (1, None, 3)):
                with self.assertRaises(TypeError):
                    row.dot(*value)
            for line in (b"bytes", 1, None):
                with self.assertRaises(TypeError):
                    log.line(line)
            raw = publisher.bytes("a")
            for content in ("text", 1, None, [1, 2]):
                with self.assertRaises(TypeError):
                    raw.dot(content)
            with self.assertRaises(ValueError):
                log.line("\ud800")
            for more, error in ((-1, ValueError), (1 << 64, ValueError), (1.5, TypeError), ("1", TypeError)):
                with self.assertRaises(error):
                    counter.count(more)
            with self.assertRaises(ValueError):
                raw.dot_at(-1, b"")
            for late in (log.line_at, row.dot_at, signed.dot_at):
                with self.assertRaises(ValueError):
                    late(-1, *(1, 2, 3)[: 3 if late == row.dot_at else 1])
            self.assertEqual((publisher.counts().published, counter.total), (0, 0))
            for kind in ("i32", "text", "F", ""):
                with self.assertRaisesRegex(ValueError, "no series of"):
                    publisher.series("a", kind=kind)
            for columns in (
                *({}, {f"{number}": "f64" for number in range(65)}),
                *({"": "f64"}, {"x" * 256: "f64"}, {"a\n": "f64"}, {"\ud800": "f64"}, {"a": "text"}),
            ):
                with self.assertRaisesRegex(ValueError, "cannot publish rows of 'a'"):
                    publisher.row("a", columns)

    def test_after_closing_nothing_can_be_published(self):
        publisher = self.create()
        log, row, counter = publisher.lines("a"), publisher.row("b", {"a": "f64"}), publisher.counter("c")
        raw = publisher.bytes("e")
        timer = publisher.series("d").timer()
        with timer:
            publisher.close()
        for late in (
            *(
                lambda: log.line("a"),
                lambda: log.line_at(1, "a"),
                lambda: raw.dot(b"a"),
                lambda: raw.dot_at(1, b"a"),
                lambda: row.dot(1),
                lambda: row.dot_at(1, 1),
            ),
            *(counter.count, lambda: publisher.lines("a"), lambda: publisher.counter("a")),
            lambda: publisher.row("a", {"a": "f64"}),
        ):
            with self.assertRaisesRegex(ValueError, "closed"):
                late()
        self.assertEqual(self.dots(), [])

    def test_a_known_name_is_the_same_series_and_another_shape_another(self):
        with self.create() as publisher:
            for kind in ("f64", "i64", "f64", "i64"):
                publisher.series("a", kind=kind).dot(1)
            publisher.series("a", unit="ms").dot(2)
            publisher.row("a", {"x": "f64"}).dot(4)
            publisher.row("a", {"y": "f64"}).dot(5)
        found = [(dot.letters, dot.unit, dot.columns, dot.value) for dot in self.dots()]
        self.assertEqual(found[:4], [("F", "", (), 1), ("I", "", (), 1), ("F", "", (), 1), ("I", "", (), 1)])
        self.assertEqual(found[4:], [("F", "ms", (), 2), ("F", "", ("x",), (4,)), ("F", "", ("y",), (5,))])

    def test_a_counter_publishes_its_running_total_and_never_a_smaller_one(self):
        with self.create() as publisher:
            # Handles of their own: they count together all the same.
            counters = [publisher.counter("requests", unit="requests") for _ in range(4)]

            def work(counter):
                for _ in range(1000):
                    counter.count()

            threads = [threading.Thread(target=work, args=(each,)) for each in counters]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            counters[0].count(0)
            self.assertEqual([counter.total for counter in counters], [4000] * 4)
        # Lane by lane: where each thread has one, what they publish is in order by its time alone.
        dots = self.dots()
        self.assertTrue(all(dot.unit == "requests" for dot in dots))
        self.assertEqual(max(dot.value for dot in dots), 4000)
        if self.kind == "python":
            self.assertEqual([dot.value for dot in dots], [*range(1, 4001), 4000])

    def test_a_count_in_a_signal_handler_is_neither_lost_nor_out_of_order(self):
        handled, value = 0, 0
        with self.create() as publisher:
            counter = publisher.counter("a")

            def handler(*_):
                nonlocal handled
                counter.count(1000)
                handled += 1
                if handled < 200:
                    self.alarm(handled)

            self.on_alarm(handler)
            self.alarm(0)
            while handled < 200:
                counter.count()
                value += 1
            total = counter.total
            self.assertEqual(total, value + 1000 * handled)
        dots = self.dots()
        values = [dot.value for dot in dots]
        self.assertEqual(values, sorted(values))
        self.assertEqual(values[-1], total)
        self.assertTrue(all(one.nanos <= next.nanos for one, next in zip(dots, dots[1:])))

    def test_texts_and_rows_from_a_signal_handler_wait_for_what_they_interrupt(self):
        handled, done = 0, 0
        with self.create() as publisher:
            log, row = publisher.lines("a"), publisher.row("b", {"a": "u64", "b": "f32"})

            def handler(*_):
                nonlocal handled
                log.line(f"handled {handled}")
                row.dot(handled, 0.5)
                handled += 1
                if handled < 200:
                    self.alarm(handled)

            self.on_alarm(handler)
            self.alarm(0)
            while handled < 200:
                log.line(f"line {done}")
                done += 1
        lines = [dot.value for dot in self.dots() if dot.name == "a"]
        self.assertEqual(
            [line for line in lines if line[0] == "l"], [f"line {number}" for number in range(done)]
        )
        lines = [line for line in lines if line[0] == "h"]
        # One handler may come before what another has left behind.
        self.assertEqual(sorted(lines), sorted(f"handled {number}" for number in range(handled)))
        rows = [dot.value for dot in self.dots() if dot.name == "b"]
        self.assertEqual(sorted(rows), [(number, 0.5) for number in range(handled)])

    def test_a_timer_measures_in_its_series_unit(self):
        units = {"": 1, "s": 1, "ms": 1e3, "us": 1e6, "µs": 1e6, "μs": 1e6, "ns": 1e9, "min": 1 / 60, "°C": 1}
        with self.create() as publisher:
            for unit in units:
                series = publisher.series("latency" + unit, unit=unit)
                with mock.patch("time.perf_counter_ns", side_effect=[7, 7 + 2_000_000_000]):
                    with series.timer() as timer:
                        self.assertIsInstance(timer, Timer)
                with series.timer() as timer:
                    timer.discard()
                with self.assertRaises(KeyError), series.timer():
                    raise KeyError
        dots = self.dots()
        self.assertEqual(len(dots), 2 * len(units), "every way out but the discarded publishes")
        self.assertEqual([dot.value for dot in dots[::2]], [2 * per_second for per_second in units.values()])

    def test_a_timer_measures_each_call_of_what_it_decorates(self):
        with self.create() as publisher:
            series = publisher.series("a", unit="ns")

            @series.timer()
            def factorial(number):
                """Of a number."""
                if number < 0:
                    raise ValueError(number)
                return number * factorial(number - 1) if number else 1

            @series.timer()
            async def later(value):
                await asyncio.sleep(0)
                return value

            self.assertEqual(
                (factorial(4), factorial.__name__, factorial.__doc__), (24, "factorial", "Of a number.")
            )
            with self.assertRaisesRegex(ValueError, "-1"):
                factorial(-1)

            async def both():
                return await asyncio.gather(later(1), later(2))

            self.assertEqual(asyncio.run(both()), [1, 2])
        values = [dot.value for dot in self.dots()]
        self.assertEqual(len(values), 5 + 1 + 2)
        self.assertEqual(values[:5], sorted(values[:5]), "the innermost call ends first and takes least")

    def test_an_instance_tags_what_it_publishes_unless_the_name_says_another(self):
        with self.create() as publisher:
            worker = publisher.instance("worker-3")
            names = [worker.series(name).name for name in ("a", "a;z=1;b=2", "a;instance=other")]
            expected = ["a;instance=worker-3", "a;b=2;instance=worker-3;z=1", "a;instance=other"]
            self.assertEqual(names, expected)
            self.assertEqual(publisher.series("a").name, "a")
            worker.counter("c").count(2)
            publisher.counter("c").count(5)
            self.assertEqual(worker.counter("c").total, 2, "a counter of its own")
            worker.text("t", "line")
            worker.row("r", {"a": "f64"}).dot(1)
            for wrong in ("", "two\nlines", "a;b=c", "x" * 5000, "\ud800"):
                with self.assertRaises(ValueError):
                    publisher.instance(wrong)
                with self.assertRaises(ValueError):
                    Publisher("a", instance=wrong)
        names = [dot.name for dot in self.dots()]
        tagged = ";instance=worker-3"
        self.assertEqual(names, [f"c{tagged}", "c", f"t{tagged}", f"r{tagged}"])
        with Publisher("a", self.directory / "other", instance="worker-4") as publisher:
            self.assertEqual(publisher.series("a").name, "a;instance=worker-4")

    def test_a_forked_child_goes_on_with_all_it_has_in_a_ring_of_its_own(self):
        publisher = self.create("rings/")
        counter, log, row = publisher.counter("a"), publisher.lines("b"), publisher.row("c", {"x": "i32"})
        counter.count(3)
        log.line("parent")

        def child():
            row.dot(-1)
            log.line("child")
            counter.count(1)
            assert counter.total == 4
            publisher.close()

        self.in_child(child)
        counter.count(2)
        self.assertEqual(counter.total, 5)
        publisher.close()
        rings = [read(path) for path in (self.directory / "rings").iterdir() if path.suffix == ".dots"]
        found = sorted(sorted((dot.name, dot.value) for dot in ring.dots) for ring in rings)
        parent = [("a", 3), ("a", 5), ("b", "parent")]
        self.assertEqual(found, [parent, [("a", 4), ("b", "child"), ("c", (-1,))]])

    def test_workers_of_a_pool_have_a_ring_each(self):
        publisher = self.create("rings/")
        series = publisher.series("a")
        series.dot(-1)
        context = multiprocessing.get_context("fork")

        def worker(number):
            for value in range(100):
                series.dot(number * 100 + value)
            publisher.close()

        workers = [context.Process(target=worker, args=(number,)) for number in range(4)]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
            self.assertEqual(each.exitcode, 0)
        publisher.close()
        rings = [read(path) for path in (self.directory / "rings").iterdir() if path.suffix == ".dots"]
        found = sorted([dot.value for dot in ring.dots] for ring in rings)
        expected = [[-1], *([number * 100 + value for value in range(100)] for number in range(4))]
        self.assertEqual(found, expected)
        self.assertTrue(all(ring.closed for ring in rings))

    def test_the_examples_do_what_they_say(self):
        publisher = self.create()
        for module in (_publisher, _writer):
            finder = doctest.DocTestFinder()
            names = {"publisher": publisher, "Publisher": Publisher, "path": self.directory / "example"}
            names["Dotter"], names["time"] = _publisher.Dotter, time
            examples = 0
            for test in finder.find(module, module.__name__, extraglobs=names):
                result = doctest.DocTestRunner().run(test)
                self.assertEqual(result.failed, 0, test.name)
                examples += result.attempted
            self.assertGreater(examples, 5)
        publisher.close()


class ThroughPython(Cases, unittest.TestCase):
    def test_elsewhere_than_on_x86_64_the_library_is_asked_for(self):
        with mock.patch("platform.machine", return_value="aarch64"):
            with self.assertRaisesRegex(OSError, "DOTTER_LIBRARY"):
                Publisher.open("a")

    def test_a_total_wraps_where_64_bits_do(self):
        with self.create() as publisher:
            counter = publisher.counter("a")
            counter.count(U64[1])
            counter.count(2)
            self.assertEqual(counter.total, 1)


@unittest.skipUnless(LIBRARY, "DOTTER_TEST_LIBRARY names no library")
class ThroughTheLibrary(Cases, unittest.TestCase):
    library = LIBRARY
    kind = "library"


if __name__ == "__main__":
    unittest.main()
