"""Locks of an exact name: no application waits for one, and none keeps one longer than it means to."""

import os
import unittest

from dotter import _place as place

from .cases import WithPublisher


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


if __name__ == "__main__":
    unittest.main()
