"""Packs this folder for pip, which then needs nothing else: no network and no other package.

`pip install dotter/publisher/python` calls it as PEP 517 says. A `libdotter.so` that somebody has put into
`dotter/` goes along, and makes the wheel one for this kind of machine alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import sysconfig
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = "libdotter.so"
# No archive can hold an earlier time than this; one that never changes makes packing the same give the same.
TIME = (1980, 1, 1, 0, 0, 0)


def _project() -> dict[str, str]:
    """The fields of pyproject.toml that are one line of text: a reader of TOML came with Python 3.11."""
    text = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project]\n")[2].partition("\n[")[0]
    return dict(re.findall(r'^([\w-]+) = "(.*)"$', section, re.MULTILINE))


def _metadata() -> bytes:
    project = _project()
    lines = [
        "Metadata-Version: 2.1",
        *(f"{field}: {project[field.lower()]}" for field in ("Name", "Version")),
        f"Summary: {project['description']}",
        "License: MIT",
        f"Requires-Python: {project['requires-python']}",
        "Classifier: Operating System :: POSIX :: Linux",
        "Classifier: Typing :: Typed",
    ]
    return "\n".join([*lines, ""]).encode()


def _stem() -> str:
    project = _project()
    return f"{project['name']}-{project['version']}"


def _modules() -> list[Path]:
    package = HERE / "dotter"
    found = [path for path in package.iterdir() if path.suffix == ".py" or path.name in ("py.typed", LIBRARY)]
    return sorted(found)


def _tag() -> str:
    if not (HERE / "dotter" / LIBRARY).exists():
        return "py3-none-any"
    return "py3-none-" + re.sub("[-.]", "_", sysconfig.get_platform())


def _wheel(directory: str, contents: dict[str, bytes], tag: str) -> str:
    information = f"{_stem()}.dist-info"
    pure = "true" if tag.endswith("-any") else "false"
    wheel = f"Wheel-Version: 1.0\nGenerator: dotter\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    files = {**contents, f"{information}/METADATA": _metadata(), f"{information}/WHEEL": wheel.encode()}
    record = ""
    name = f"{_stem()}-{tag}.whl"
    with zipfile.ZipFile(Path(directory, name), "w", zipfile.ZIP_DEFLATED) as archive:

        def add(path: str, content: bytes) -> None:
            entry = zipfile.ZipInfo(path, TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)

        for path, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(content)}\n"
            add(path, content)
        add(f"{information}/RECORD", f"{record}{information}/RECORD,,\n".encode())
    return name


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    """Packs the modules; gives the name of the file in `wheel_directory`."""
    contents = {f"dotter/{path.name}": path.read_bytes() for path in _modules()}
    return _wheel(wheel_directory, contents, _tag())


def build_editable(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    """Packs where this folder is: for `pip install -e`."""
    return _wheel(wheel_directory, {"dotter.pth": f"{HERE}\n".encode()}, "py3-none-any")


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """Packs what `build_wheel` needs; gives the name of the file in `sdist_directory`."""
    name = f"{_stem()}.tar.gz"
    contents = {"PKG-INFO": _metadata()}
    for file in (HERE / "pyproject.toml", Path(__file__).resolve(), *_modules()):
        contents[str(file.relative_to(HERE))] = file.read_bytes()
    with tarfile.open(Path(sdist_directory, name), "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path, content in contents.items():
            entry = tarfile.TarInfo(f"{_stem()}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return name
