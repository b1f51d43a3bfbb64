"""Locks of an exact name: no application waits for one, and none keeps one longer than it means to."""

import os
import unittest

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


if __name__ == "__main__":
    unittest.main()
