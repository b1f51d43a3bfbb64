"""What an application publishes, a reader of the file finds, through either writer."""

import fcntl
import gc
import os
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

from dotter import Dotter, Publisher
from dotter import _place as place

from .cases import LIBRARY, WithPublisher
from .reading import read


class Interruption(Exception):
    pass


class Cases(WithPublisher):
    """For each writer once."""

    def test_dots_arrive_with_their_series_times_and_values(self):
        times = [0, 1, 1_700_000_000_000_000_000, (1 << 64) - 1, 42]
        before = time.time_ns()
        with self.create() as publisher:
            plain, tagged = publisher.series("a"), publisher.series("b;y=1;x=2", unit="ms")
            self.assertEqual((tagged.name, tagged.unit), ("b;x=2;y=1", "ms"))
            for index, nanos in enumerate(times):
                plain.dot(index)
                tagged.dot_at(nanos, -index / 2)
            path = publisher.path
            self.assertEqual(publisher.counts().published, 10)
        after = time.time_ns()
        found = read(path)
        self.assertTrue(found.closed)
        for index, nanos in enumerate(times):
            clocked, given = found.dots[2 * index], found.dots[2 * index + 1]
            self.assertEqual(
                (clocked.name, clocked.unit, clocked.clock, clocked.value), ("a", "", True, index)
            )
            self.assertEqual(given[:5], ("b;x=2;y=1", "ms", False, nanos, -index / 2))
            # The two clocks are looked at within a microsecond of each other.
            self.assertTrue(before - 20_000 <= clocked.nanos <= after + 20_000)

    def test_blocks_follow_each_other_wherever_the_times_lie(self):
        second = 1_000_000_000
        times = [1_700_000_000 * second + step * 400 * second * (-1) ** step for step in range(2000)]
        with self.create() as publisher:
            series = publisher.series("a")
            for value, nanos in enumerate(times):
                series.dot_at(nanos, value)
            path = publisher.path
        self.assertEqual([(dot.nanos, dot.value) for dot in read(path).dots], list(zip(times, range(2000))))

    def test_the_original_way_to_publish(self):
        path = self.directory / "walk"
        dotter = Dotter.create(path, 1000)
        dotter.dot(1_700_000_000, 1)
        dotter.dot(1_700_000_000.5, 2.5)
        dotter.dot(0.25, -1)
        for timestamp in (-1, float("nan"), float("inf"), 1e300):
            with self.assertRaises(ValueError):
                dotter.dot(timestamp, 1)
        dotter.close()
        dots = [(dot.name, dot.nanos, dot.value) for dot in read(path).dots]
        whole = 1_700_000_000_000_000_000
        self.assertEqual(
            dots, [("data", whole, 1), ("data", whole + 500_000_000, 2.5), ("data", 250_000_000, -1)]
        )

    def test_no_publisher_waits_for_a_broker_whatever_its_ring_is_called(self):
        made = []
        for lock, name in ((".broker.lock", "broker"), (".x.broker.lock", "x.broker")):
            with open(self.directory / lock, "w") as broker:
                fcntl.flock(broker, fcntl.LOCK_EX)
                thread = threading.Thread(target=lambda: made.append(self.create(name, 1000)), daemon=True)
                thread.start()
                thread.join(60)
                self.assertFalse(thread.is_alive(), name)
        for publisher in made:
            publisher.close()

    def test_an_application_has_a_name_of_its_own_in_the_default_directory(self):
        with Publisher.open("shop") as publisher:
            path = Path(publisher.path)
            publisher.series("a").dot(1)
        self.assertEqual(path.parent, self.directory / "default")
        self.assertRegex(path.name, r"^shop\.[0-9a-f]{32}\.dots$")
        self.assertEqual(read(path).header.application, "shop")

    def test_what_cannot_be_is_refused(self):
        for application in ("", "a/b", "x" * 65):
            with self.assertRaises(ValueError):
                Publisher.open(application)
        with self.assertRaises(ValueError):
            self.create(dots=1 << 60)
        with self.assertRaises(ValueError):
            Publisher.create(f"{self.directory}/a\0b", 1)
        with self.assertRaises(OSError):
            Publisher.create("/dev/null", 1)
        with self.assertRaises(OSError):
            Publisher.create(self.directory / "no/such/ring", 1)
        (self.directory / "text").write_text("no ring")
        with self.assertRaisesRegex(OSError, "not a ring"):
            self.create("text")
        self.assertEqual((self.directory / "text").read_text(), "no ring")
        with self.create() as publisher:
            series = publisher.series("a")
            for name in ("", "two\nlines", "a;b"):
                with self.assertRaises(ValueError):
                    publisher.series(name)
            for unit in ("a\0b", "\ud800"):
                with self.assertRaises(ValueError):
                    publisher.series("a", unit)
            for value in ("1", None):
                with self.assertRaises(TypeError):
                    series.dot(value)
                with self.assertRaises(TypeError):
                    series.dot_at(1, value)
            with self.assertRaises(TypeError):
                series.dot_at(1.5, 1)
            for nanos in (-1, 1 << 64):
                with self.assertRaises(ValueError):
                    series.dot_at(nanos, 1)
            self.assertEqual(publisher.counts().published, 0)
        leftovers = [name for name in os.listdir(self.directory) if name.startswith(".tmp-")]
        self.assertEqual(leftovers, [])

    def test_after_closing_nothing_can_be_published(self):
        publisher = self.create()
        series = publisher.series("a")
        series.dot(1)
        publisher.close()
        publisher.close()
        for late in (lambda: series.dot(2), lambda: series.dot_at(1, 2), lambda: publisher.series("b")):
            with self.assertRaisesRegex(ValueError, "closed"):
                late()
        found = read(self.directory / "ring")
        self.assertEqual(([dot.value for dot in found.dots], found.closed), ([1], True))

    def test_the_last_handle_closes(self):
        publisher = self.create()
        series = publisher.series("a")
        del publisher
        series.dot(1)
        self.assertFalse(read(self.directory / "ring").closed)
        del series
        self.assertTrue(read(self.directory / "ring").closed)

    def test_the_end_of_the_program_closes(self):
        program = (
            "import sys; from dotter import Publisher;"
            "p = Publisher.create(sys.argv[1], 1); s = p.series('a'); s.dot(1)"
        )
        subprocess.run([sys.executable, "-c", program, self.directory / "ring"], check=True)
        found = read(self.directory / "ring")
        self.assertEqual(([dot.value for dot in found.dots], found.closed), ([1], True))

    def test_threads_publish_without_losing_a_dot(self):
        with self.create() as publisher:
            series = [publisher.series(f"thread.{number}") for number in range(8)]

            def work(series):
                for value in range(2000):
                    series.dot(value)

            threads = [threading.Thread(target=work, args=(each,)) for each in series]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(publisher.counts().published, 16_000)
        dots = read(self.directory / "ring").dots
        for number in range(8):
            values = [dot.value for dot in dots if dot.name == f"thread.{number}"]
            self.assertEqual(values, list(range(2000)))

    def test_closing_while_others_publish_ends_them_with_an_error(self):
        publisher = self.create()
        series, counted, closing = publisher.series("a"), [0, 0, 0, 0], threading.Event()

        def work(number):
            try:
                # Not more than a lane holds, however late the other thread comes to close.
                while counted[number] < 20_000 or closing.wait():
                    series.dot(1)
                    counted[number] += 1
            except ValueError:
                pass

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while sum(counted) < 2000:
            pass
        publisher.close()
        closing.set()
        for thread in threads:
            thread.join()
        found = read(self.directory / "ring")
        self.assertEqual((len(found.dots), found.closed), (sum(counted), True))

    def test_a_signal_handler_publishes(self):
        with self.create() as publisher:
            series, handled = publisher.series("a"), 0

            def handler(*_):
                nonlocal handled
                series.dot(-1)
                handled += 1
                if handled < 200:
                    self.alarm(handled)

            self.on_alarm(handler)
            self.alarm(0)
            done = 0
            while handled < 200:
                series.dot(done)
                done += 1
            self.assertEqual(publisher.counts().published, done + handled)
        values = [dot.value for dot in read(self.directory / "ring").dots]
        self.assertEqual([value for value in values if value >= 0], list(range(done)))
        self.assertEqual(values.count(-1), handled)

    def test_an_exception_from_a_signal_handler_leaves_the_ring_whole(self):
        with self.create() as publisher:
            series, returned, value = publisher.series("a"), [], 0

            def handler(*_):
                raise Interruption

            self.on_alarm(handler)
            for number in range(200):
                try:
                    self.alarm(number)
                    while True:
                        value += 1
                        series.dot(value)
                        returned.append(value)
                except Interruption:
                    pass
        values = [dot.value for dot in read(self.directory / "ring").dots]
        # Those that were interrupted are there or not, but each at most once and in its place.
        self.assertEqual(values, sorted(set(values)))
        self.assertLessEqual(set(returned), set(values))

    def test_a_forked_child_has_a_ring_of_its_own(self):
        for name in ("ring", "rings/"):
            publisher = self.create(name)
            first, second = publisher.series("a"), publisher.series("b", unit="ms")
            first.dot(0)
            parent = publisher.path

            def child():
                second.dot(1)
                publisher.series("c").dot(2)
                assert publisher.path != parent
                self.in_child(lambda: first.dot(3))
                first.dot(4)
                publisher.close()

            self.in_child(child)
            first.dot(5)
            publisher.close()
            directory = self.directory if name == "ring" else self.directory / name
            prefix = "ring" if name == "ring" else ""
            rings = [
                read(path) for path in directory.iterdir() if path.name.startswith(prefix) and path.is_file()
            ]
            found = sorted([(dot.name, dot.unit, dot.value) for dot in ring.dots] for ring in rings)
            self.assertEqual(
                found,
                [[("a", "", 0), ("a", "", 5)], [("a", "", 3)], [("b", "ms", 1), ("c", "", 2), ("a", "", 4)]],
            )
            # The grandchild ended by _exit; the others closed.
            self.assertEqual(sorted(ring.closed for ring in rings), [False, True, True])
            for path in directory.iterdir():
                if path.is_file():
                    path.unlink()

    def test_a_publisher_opens_beside_a_name_whose_lock_somebody_keeps(self):
        with open(self.directory / ".ring.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

            def work():
                with self.create() as publisher:
                    self.assertRegex(Path(publisher.path).name, r"^ring\.[0-9a-f]{32}\.dots$")
                    publisher.series("a").dot(1)
                    self.assertEqual([dot.value for dot in read(publisher.path).dots], [1])

            self.in_child(work)

    def test_a_directory_that_one_cannot_write_to_is_no_place_for_rings(self):
        self.directory.chmod(0o755)
        roots, open_to_all = self.directory / "roots", self.directory / "open"
        roots.mkdir(0o755)
        open_to_all.mkdir()
        open_to_all.chmod(0o1777)

        def work():
            if os.geteuid() == 0:
                os.setresuid(65534, 65534, 65534)
            else:
                roots.chmod(0o555)
            self.assertFalse(place.is_usable(roots))
            self.assertTrue(place.is_usable(open_to_all))
            self.assertFalse(place.is_usable(self.directory / "none"))

        self.in_child(work)

    def test_a_daemonised_child_publishes_and_its_log_stays_open(self):
        with self.create("rings/") as publisher:
            series = publisher.series("a")
            series.dot(1)

            def work():
                os.closerange(3, 256)
                with open(self.directory / "log", "w", buffering=1, encoding="utf-8") as log:
                    print("one", file=log)
                    series.dot(2)
                    print("two", file=log)
                self.assertEqual((self.directory / "log").read_text(encoding="utf-8"), "one\ntwo\n")
                self.assertEqual([dot.value for dot in read(publisher.path).dots], [2])

            self.in_child(work)

    def test_a_ring_whose_descriptors_the_application_closed_goes_on_and_closes_no_file_of_the_applications(
        self,
    ):
        def work():
            publisher = self.create("rings/")
            series = publisher.series("a")
            series.dot(1)
            os.closerange(3, 256)
            files = [os.open(self.directory / f"own-{number}", os.O_RDWR | os.O_CREAT) for number in range(8)]
            path = publisher.path
            os.unlink(path)
            while publisher.path == path:
                series.dot(2)
            publisher.close()
            for file in files:
                os.write(file, b"mine")
                self.assertEqual(os.fstat(file).st_size, 4)
            # The interpreter's own end closes none, either.
            del publisher, series
            gc.collect()
            for file in files:
                os.write(file, b"mine")

        self.in_child(work)

    def test_a_fork_in_a_signal_handler_leaves_the_parents_ring_alone(self):
        with self.create("rings/") as publisher:
            series, parent, children = publisher.series("a"), os.getpid(), []

            def handler(*_):
                child = os.fork()
                if child:
                    children.append(child)

            self.on_alarm(handler)
            value = 0
            while len(children) < 20:
                before = len(children)
                self.alarm(before * 5)
                while len(children) == before:
                    series.dot(value)
                    value += 1
                    if os.getpid() != parent:
                        series.dot(-1)
                        os._exit(0)
            for child in children:
                self.assertEqual(os.waitpid(child, 0)[1], 0)
            path = publisher.path
        self.assertEqual([dot.value for dot in read(path).dots], list(range(value)))

    def test_a_fork_while_another_thread_publishes_leaves_the_child_free(self):
        with self.create() as publisher:
            series, stop = publisher.series("a"), threading.Event()

            def work():
                while not stop.is_set():
                    series.dot(0)

            thread = threading.Thread(target=work)
            thread.start()
            try:
                for _ in range(20):
                    self.in_child(lambda: series.dot(1))
            finally:
                stop.set()
                thread.join()

    def test_an_exact_name_has_one_living_owner(self):
        publisher = self.create()
        publisher.series("a").dot(1)
        with self.assertRaisesRegex(FileExistsError, str(os.getpid())):
            self.create()
        # Having looked must not have cost the lock: another process sees it.
        program = "import sys; from dotter import Publisher; Publisher.create(sys.argv[1], 1)"
        other = subprocess.run(
            [sys.executable, "-c", program, self.directory / "ring"],
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertIn(f"process {os.getpid()} publishes there", other.stderr)
        publisher.close()
        with self.create() as second:
            second.series("b").dot(2)
        rings = [path for path in self.directory.iterdir() if path.name.startswith("ring")]
        self.assertEqual(len(rings), 2)
        self.assertEqual(sorted(dot.name for path in rings for dot in read(path).dots), ["a", "b"])

    def test_a_removed_file_is_replaced_by_a_new_ring_with_the_same_series(self):
        with self.create("rings/") as publisher:
            _, series = publisher.series("a"), publisher.series("b", unit="ms")
            series.dot(1)
            first = publisher.path
            os.unlink(first)
            # Looked at only when the clock pair is refreshed, which a dot cannot wait for.
            while publisher.path == first:
                series.dot(2)
            series.dot(3)
            path = publisher.path
        dots = read(path).dots
        self.assertEqual(dots[0][:2], ("b", "ms"))
        self.assertEqual(dots[-1].value, 3)

    def test_dots_on_a_series_that_found_no_room_are_counted(self):
        with self.create() as publisher:
            for number in range(300):
                publisher.series(f"{number:03}" + "x" * 4000).dot(number)
            counts = publisher.counts()
            self.assertGreater(counts.refused_series, 30)
            self.assertEqual(counts.published + counts.refused_series, 300)
        found = read(self.directory / "ring")
        self.assertEqual((len(found.dots), found.refused_series), (counts.published, counts.refused_series))


class ThroughPython(Cases, unittest.TestCase):
    def test_without_room_for_a_new_ring_dots_are_counted(self):
        with self.create("rings/") as publisher:
            series = publisher.series("a")

            def child():
                with mock.patch("os.posix_fallocate", side_effect=OSError(28, "no room")):
                    for _ in range(5):
                        series.dot(1)
                    late = publisher.series("b")
                    late.dot(1)
                    assert publisher.counts().refused_other == 6
                with mock.patch("time.monotonic", return_value=time.monotonic() + 2):
                    late.dot(2)
                counts = publisher.counts()
                assert (counts.published, counts.refused_other) == (1, 6)
                assert read(publisher.path).dots[0].name == "b"

            self.in_child(child)


@unittest.skipUnless(LIBRARY, "DOTTER_TEST_LIBRARY names no library")
class ThroughTheLibrary(Cases, unittest.TestCase):
    library = LIBRARY
    kind = "library"

    def test_a_library_that_is_none_is_an_error(self):
        for path in ("/no/such/library.so", "libc.so.6"):
            with mock.patch.dict(os.environ, {"DOTTER_LIBRARY": path}):
                with self.assertRaises(OSError):
                    Publisher.open("a")


if __name__ == "__main__":
    unittest.main()
