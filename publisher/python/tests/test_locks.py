"""Locks of an exact name: no application waits for one, and none keeps one longer than it means to."""

import os
import unittest
from unittest import mock

from dotter import Publisher
from dotter import _place as place

from .cases import LIBRARY, WithPublisher


class Locks(WithPublisher, unittest.TestCase):
    def test_a_fifo_in_the_place_of_a_lock_is_an_error(self):
        os.mkfifo(self.directory / ".ring.lock")

        def work():
            with self.assertRaises(OSError):
                self.create()

        # In a child, which is ended where it waits.
        self.in_child(work)
        self.assertEqual(os.listdir(self.directory), [".ring.lock"])

    def test_a_child_forked_while_its_parent_holds_a_lock_does_not_keep_it(self):
        done, end = os.pipe()
        with place.NameLock(self.directory, "ring"):
            child = os.fork()
            if child == 0:
                # As a child that was forked by another thread, which knows nothing of the lock.
                os.close(end)
                os.read(done, 1)
                os._exit(0)
        os.close(done)
        try:
            with self.create() as publisher:
                self.assertEqual(publisher.path, str(self.directory / "ring"))
        finally:
            os.close(end)
            os.waitpid(child, 0)

    @unittest.skipUnless(LIBRARY, "DOTTER_TEST_LIBRARY names no library")
    def test_one_writer_of_a_process_leaves_the_other_writers_ring_its_lock(self):
        def check(publisher):
            fd = os.open(publisher.path, os.O_RDONLY)
            self.assertTrue(place._is_locked(fd))

        (self.directory / "rings").mkdir()
        libraries = "", LIBRARY
        for first, second in (libraries, libraries[::-1]):
            with mock.patch.dict(os.environ, {"DOTTER_LIBRARY": first}):
                one = Publisher.create(self.directory / "rings", 1000)
            with mock.patch.dict(os.environ, {"DOTTER_LIBRARY": second}):
                other = Publisher.create(self.directory / "rings", 1000)
            self.assertNotEqual(one.writer, other.writer)
            # The locks are the parent's.
            self.in_child(lambda both=(one, other): [check(publisher) for publisher in both])
            one.close()
            other.close()


if __name__ == "__main__":
    unittest.main()
