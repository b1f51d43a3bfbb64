"""Installing the package from its folder, without a network, with what comes with Python."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path

import build_backend
import dotter

FOLDER = Path(__file__).resolve().parents[1]


class Package(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def test_a_wheel_holds_the_modules_and_says_the_version_of_the_package(self):
        name = build_backend.build_wheel(str(self.directory))
        with zipfile.ZipFile(self.directory / name) as wheel:
            names = wheel.namelist()
            stem = f"dotter-{dotter.__version__}"
            metadata = wheel.read(f"{stem}.dist-info/METADATA").decode()
            record = wheel.read(f"{stem}.dist-info/RECORD").decode()
        self.assertTrue(name.startswith(stem))
        self.assertIn(f"\nVersion: {dotter.__version__}\n", metadata)
        modules = {f"dotter/{path.name}" for path in (FOLDER / "dotter").glob("*.py")}
        self.assertEqual(modules | {"dotter/py.typed"}, {path for path in names if "info/" not in path})
        self.assertEqual([line.split(",")[0] for line in record.splitlines()], names)
        again = Path(tempfile.mkdtemp(dir=self.directory))
        build_backend.build_wheel(str(again))
        self.assertEqual((again / name).read_bytes(), (self.directory / name).read_bytes())

    def test_a_library_beside_the_modules_goes_along(self):
        # Installing is done from a copy, and so is this.
        copy = self.directory / "copy"
        shutil.copytree(FOLDER / "dotter", copy / "dotter", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "build_backend.py"):
            shutil.copy(FOLDER / name, copy)
        (copy / "dotter" / "libdotter.so").write_bytes(b"the library")
        spec = importlib.util.spec_from_file_location("backend_of_the_copy", copy / "build_backend.py")
        backend = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(backend)
        name = backend.build_wheel(str(self.directory))
        self.assertRegex(name, r"-py3-none-linux_\w+\.whl$")
        with zipfile.ZipFile(self.directory / name) as wheel:
            self.assertEqual(wheel.read("dotter/libdotter.so"), b"the library")

    @unittest.skipIf(importlib.util.find_spec("pip") is None, "there is no pip to install with")
    def test_pip_installs_it_from_the_folder_and_from_its_archive_without_a_network(self):
        source = build_backend.build_sdist(str(self.directory))
        with tarfile.open(self.directory / source) as archive:
            self.assertIn(f"dotter-{dotter.__version__}/pyproject.toml", archive.getnames())
        for number, what in enumerate((FOLDER, self.directory / source)):
            target = self.directory / f"installed.{number}"
            environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1"}
            # None of the package that is being tested: what is installed must do by itself.
            environment.pop("PYTHONPATH", None)
            pip = [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
            ]
            subprocess.run([*pip, "--target", target, what], env=environment, check=True, capture_output=True)
            program = (
                "import dotter, sys; p = dotter.Publisher.create(sys.argv[1], 1);"
                "p.counter('a').count(); print(p.counts().published, dotter.__file__)"
            )
            environment.update(PYTHONPATH=str(target), DOTTER_LIBRARY="")
            run = [sys.executable, "-c", program, self.directory / f"ring.{number}"]
            # Away from here, where Python would look first.
            where = {"cwd": self.directory, "env": environment}
            out = subprocess.run(run, **where, check=True, capture_output=True, text=True).stdout
            self.assertEqual(out.split(), ["1", str(target / "dotter" / "__init__.py")])


if __name__ == "__main__":
    unittest.main()
