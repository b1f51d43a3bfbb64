"""Names: the same ones as in shared/dot, canonical from the moment they enter."""

import unittest

from dotter._names import application_name, program_name, series_name


class Names(unittest.TestCase):
    def test_tags_are_sorted_and_the_last_of_a_repeated_one_wins(self):
        for text, name in [
            ("a", "a"),
            ("größe", "größe"),
            ("disk.used;host=b;dc=x;host=a", "disk.used;dc=x;host=a"),
            ("a;b==", "a;b=="),
            ("x" * 4096, "x" * 4096),
        ]:
            self.assertEqual(series_name(text), name)

    def test_what_is_no_name_says_why(self):
        for text, why in [
            ("", "empty"),
            (";a=b", "empty"),
            ("x" * 4097, "4097 bytes"),
            ("ß" * 2049, "4098 bytes"),
            ("two\nlines", "control"),
            ("a\x85", "control"),
            ("a;b", "tag=value"),
            ("a;=b", "tag=value"),
            ("a;b=", "tag=value"),
            ("a;", "tag=value"),
            ("\ud800", "no Unicode"),
        ]:
            with self.assertRaisesRegex(ValueError, why):
                series_name(text)

    def test_applications_can_stand_in_front_of_a_file_name(self):
        for text in ("a", "größe", "x" * 64, program_name()):
            self.assertEqual(application_name(text), text)
        for text in ("", ".a", "a/b", "a\n", "x" * 65, "ß" * 33):
            with self.assertRaises(ValueError):
                application_name(text)


if __name__ == "__main__":
    unittest.main()
