"""Dots that no ring could take: each is counted once, by the process that tried to publish it, with either writer."""

import os
import shutil
import time
import unittest

from .cases import LIBRARY, WithPublisher
from .reading import read


class Cases(WithPublisher):
    """For each writer once."""

    def refused(self, publisher):
        counts = publisher.counts()
        return counts.refused_series + counts.refused_too_big + counts.refused_other

    def dot(self, publisher, series):
        before = self.refused(publisher)
        series.dot(1)
        self.attempts += 1
        self.assertIn(self.refused(publisher) - before, (0, 1))

    def until(self, condition, work):
        start = time.monotonic()
        while not condition():
            work()
            self.assertLess(time.monotonic() - start, 60, "seconds; it would have happened by now")

    def dot_until(self, publisher, series, condition):
        self.until(condition, lambda: self.dot(publisher, series))

    def take_away(self, rings):
        """For a while no ring can be made: a file stands in the place of the directory."""
        shutil.rmtree(rings)
        rings.write_bytes(b"no directory")

    def give_back(self, rings):
        rings.unlink()
        rings.mkdir()

    def check_attempts(self, publisher, before=0):
        self.assertEqual(before + publisher.counts().published + self.refused(publisher), self.attempts)

    def test_dots_refused_while_no_ring_can_be_made_are_counted_in_the_next_ring(self):
        rings = self.directory / "rings"
        self.attempts = 0
        with self.create("rings/") as publisher:
            series = publisher.series("a")
            self.dot(publisher, series)
            path = publisher.path
            self.take_away(rings)
            published = 0

            def dot():
                nonlocal published
                published = publisher.counts().published
                self.dot(publisher, series)

            self.until(lambda: self.refused(publisher) > 0, dot)
            for _ in range(100):
                self.dot(publisher, series)
            self.assertEqual(published + self.refused(publisher), self.attempts)
            self.give_back(rings)
            self.dot_until(publisher, series, lambda: publisher.path != path)
            self.check_attempts(publisher, published)
            counted = self.refused(publisher)
            self.assertEqual(self.in_file(publisher.path), counted)
            # Once more: what earlier rings have counted stays part of the sum.
            path = publisher.path
            os.unlink(path)
            self.dot_until(publisher, series, lambda: publisher.path != path)
            self.assertEqual(self.refused(publisher), counted)
            self.assertEqual(self.in_file(publisher.path), 0)

    def in_file(self, path):
        """What a ring says of dots for which there was none."""
        with open(path, "rb") as file:
            content = file.read()
        header = read(path).header
        lies = header.geometry
        at = (lies.control(lane) + 32 for lane in range(lies.lanes_max))
        return sum(int.from_bytes(content[offset : offset + 8], "little") for offset in at)

    def test_a_child_counts_what_it_refused_and_its_own_children_do_not_count_it_again(self):
        rings = self.directory / "rings"
        self.attempts = 0
        with self.create("rings/") as publisher:
            series = publisher.series("a")
            self.dot(publisher, series)
            parents = publisher.path
            self.take_away(rings)
            self.dot_until(publisher, series, lambda: self.refused(publisher) > 0)

            def renew():
                self.dot_until(publisher, series, lambda: publisher.path != parents)
                self.check_attempts(publisher)
                self.assertEqual(self.in_file(publisher.path), self.refused(publisher))

            def grandchild():
                self.assertEqual(self.refused(publisher), 0)
                self.attempts = 0
                renew()

            def child():
                self.assertEqual(self.refused(publisher), 0)
                self.attempts = 0
                for _ in range(100):
                    self.dot(publisher, series)
                self.assertEqual(self.refused(publisher), 100)
                self.give_back(rings)
                self.in_child(grandchild)
                self.in_child(grandchild)
                renew()
                self.assertEqual(len(os.listdir(rings)), 3)

            self.in_child(child)

    def test_refused_dots_after_the_file_is_removed_are_counted_in_a_new_ring(self):
        long = "x" * 5000
        with self.create("rings/") as publisher:
            series = [publisher.series(f"{number:03}" + "x" * 4000) for number in range(300)]
            text = publisher.lines("t")
            for refuse in (lambda: series[299].dot(1), lambda: text.line(long)):
                path = publisher.path
                refuse()
                os.unlink(path)
                # Bound now, as each round has another.
                self.until(lambda path=path: publisher.path != path, refuse)
                before = read(publisher.path).refused_series, self.too_big(publisher.path)
                refuse()
                after = read(publisher.path).refused_series, self.too_big(publisher.path)
                self.assertEqual(sum(after), sum(before) + 1)

    def too_big(self, path):
        with open(path, "rb") as file:
            content = file.read()
        lies = read(path).header.geometry
        at = (lies.control(lane) + 24 for lane in range(lies.lanes_max))
        return sum(int.from_bytes(content[offset : offset + 8], "little") for offset in at)


class ThroughPython(Cases, unittest.TestCase):
    pass


@unittest.skipUnless(LIBRARY, "DOTTER_TEST_LIBRARY names no library")
class ThroughTheLibrary(Cases, unittest.TestCase):
    library = LIBRARY
    kind = "library"
