"""What tests of a publisher have in common.

`DOTTER_TEST_LIBRARY` names the library to test with; without it only the writer of this package is tested.
"""

import os
import signal
import tempfile
from pathlib import Path
from unittest import mock

from dotter import Publisher

LIBRARY = os.environ.get("DOTTER_TEST_LIBRARY", "")


class WithPublisher:
    """A directory of its own, and the writer that `library` names."""

    library = ""
    kind = "python"

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        environment = {"DOTTER_LIBRARY": self.library, "DOTTER_DIR": str(self.directory / "default")}
        patch = mock.patch.dict(os.environ, environment)
        patch.start()
        self.addCleanup(patch.stop)

    def create(self, name="ring", dots=100_000):
        # Not as a Path, which drops a slash at the end.
        publisher = Publisher.create(os.path.join(self.directory, name), dots)
        self.assertEqual(publisher.writer, self.kind)
        return publisher

    def in_child(self, work):
        child = os.fork()
        if child == 0:
            try:
                # However busy the machine is: by then the child hangs.
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(60)
                work()
                os._exit(0)
            finally:
                os._exit(1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def on_alarm(self, handler):
        old = signal.signal(signal.SIGALRM, handler)
        self.addCleanup(signal.signal, signal.SIGALRM, old)

    def alarm(self, number):
        """One signal, after 20 to 116 microseconds: at another place of a dot each time."""
        signal.setitimer(signal.ITIMER_REAL, 20e-6 + number * 7 % 97 * 1e-6)
