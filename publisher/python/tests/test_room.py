"""Dead rings make room for a new one of the package's own writer, as they do for the library's."""

import dataclasses
import errno
import os
import struct
import unittest
from unittest import mock

from dotter import _room as room
from dotter._layout import GONE_MAGIC, HEADER_BYTES, HEADER_CHECKED_BYTES, Header, crc32c

from .cases import WithPublisher


class Room(WithPublisher, unittest.TestCase):
    def leave(self, place, dots):
        """A dead ring with so many dots; gives its stub's name."""
        with self.create(place, 1000) as publisher:
            series = publisher.series("a")
            for value in range(dots):
                series.dot(value)
            path = publisher.path
        name = os.path.basename(path)
        if "." not in name:
            # An exact name: the next ring moves it aside.
            with self.create(place, 1000):
                (name,) = (found for found in os.listdir(self.directory) if found.endswith(".dots"))
        return os.path.join(os.path.dirname(path), name.replace(".dots", ".gone"))

    def check_stub(self, stub, dots):
        with open(stub, "rb") as file:
            content = file.read()
        self.assertEqual(content[:8], GONE_MAGIC)
        self.assertEqual(struct.unpack_from("<Q", content, HEADER_BYTES), (dots,))
        self.assertEqual(struct.unpack("<II", content[-8:]), (crc32c(content[:-8]), 0))
        self.assertFalse(os.path.exists(stub.replace(".gone", ".dots")))

    def test_dead_rings_over_their_quota_leave_stubs(self):
        for place, dots in (("rings/", 300), ("exact", 300)):
            stub = self.leave(place, dots)
            self.assertFalse(os.path.exists(stub))
            with mock.patch.object(room, "DEAD_BYTES_MAX", 0), self.create(place, 1000) as publisher:
                self.check_stub(stub, dots)
                # The living stay, whatever the quota.
                with self.create("rings/", 1000):
                    self.assertTrue(os.path.exists(publisher.path))

    def test_all_dead_rings_go_before_a_new_one_is_turned_away_by_a_full_disk(self):
        stubs = {self.leave("rings/", dots): dots for dots in (0, 1, 300)}
        allocate, refused = os.posix_fallocate, []

        def full_until_there_is_room(fd, offset, length):
            if not all(map(os.path.exists, stubs)):
                refused.append(length)
                raise OSError(errno.ENOSPC, "no space left on device")
            allocate(fd, offset, length)

        with mock.patch.object(os, "posix_fallocate", full_until_there_is_room):
            with self.create("rings/", 1000) as publisher:
                publisher.series("a").dot(1)
                self.assertEqual(publisher.counts().published, 1)
        self.assertEqual(len(refused), 1)
        for stub, dots in stubs.items():
            self.check_stub(stub, dots)

    def test_where_a_dead_ring_is_removed_by_others_no_other_one_makes_room_in_its_stead(self):
        stubs = [self.leave("rings/", 1) for _ in range(3)]
        oldest, *others = (stub.replace(".gone", ".dots") for stub in stubs)
        size = sum(os.stat(path).st_blocks * 512 for path in (oldest, *others))
        replace = room._replace

        def removed_by_others_first(path):
            if str(path) == oldest:
                os.unlink(path)
            replace(path)

        with mock.patch.object(room, "_replace", removed_by_others_first):
            self.assertFalse(room.make_room(self.directory / "rings", None, size - 1))
        self.assertEqual(sorted(os.listdir(self.directory / "rings")), sorted(map(os.path.basename, others)))

    def test_a_full_disk_without_dead_rings_is_an_error_and_leaves_nothing(self):
        full = OSError(errno.ENOSPC, "no space left on device")
        with mock.patch.object(os, "posix_fallocate", side_effect=full):
            with self.assertRaises(OSError):
                self.create("rings/", 1000)
        self.assertEqual(os.listdir(self.directory / "rings"), [])

    def test_what_is_no_dead_ring_is_left_alone(self):
        stub = self.leave("rings/", 1)
        rings = self.directory / "rings"
        (name,) = os.listdir(rings)
        content = (rings / name).read_bytes()
        others = {
            "a." + "0" * 32 + ".dots": b"",
            "b." + "0" * 32 + ".dots": content[:-1],
            "c." + "0" * 32 + ".dots": b"x" + content[1:],
            "d.dots": content,
        }
        # Headers that no reader of today takes, whose stubs none would take, either.
        header = Header.decode(content, name)
        for index, change in enumerate(({"clock": 3}, {"clock": 1, "tick_hz": 1}, {"application": "a/b"})):
            changed = dataclasses.replace(header, **change).encode() + content[HEADER_CHECKED_BYTES:]
            others[f"f{index}." + "0" * 32 + ".dots"] = changed
        for other, held in others.items():
            (rings / other).write_bytes(held)
        os.mkfifo(rings / ("e." + "0" * 32 + ".dots"))
        self.assertTrue(room.make_room(rings, None, 0))
        self.check_stub(stub, 1)
        self.assertEqual(len(os.listdir(rings)), len(others) + 2)
        for other, held in others.items():
            self.assertEqual((rings / other).read_bytes(), held, other)
