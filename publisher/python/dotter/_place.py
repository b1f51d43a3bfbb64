"""Names, places and owners of ring files, as shared/ring/FORMAT.md says under "Life".

Always true: a descriptor of a ring that this process owns is never closed before the ring is, because
that would drop the owner's lock.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from pathlib import Path

from ._layout import HEADER_CHECKED_BYTES, HEADER_STATE, STATE_CLOSED, Header, Identity

# A file, whatever its name: device and inode.
FileId = tuple[int, int]

# struct flock of x86-64: type, whence, start, length, process.
_FLOCK = struct.Struct("@hhqqi4x")

# How long a lock is waited for whose holder is making or removing a file, in seconds.
LOCK_PATIENCE = 0.1

# Rings this process owns.
_ours: set[FileId] = set()


def file_id(meta: os.stat_result) -> FileId:
    return meta.st_dev, meta.st_ino


def hold(fd: int) -> FileId:
    """Remembers that this process owns the file."""
    identity = file_id(os.fstat(fd))
    _ours.add(identity)
    return identity


def is_ours(identity: FileId) -> bool:
    """Whether this process owns the file."""
    return identity in _ours


def release(identity: FileId) -> None:
    """Forgets a file whose ring is closed."""
    _ours.discard(identity)


def forget_all() -> None:
    """In a forked child: none of its parent's rings is its own."""
    _ours.clear()


class Held:
    """A ring's descriptor, used only while its number still stands for the ring's file.

    An application may close descriptors that it did not open itself, as daemons do, and give the numbers to
    files of its own.
    """

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path
        self.id = hold(fd)
        self._directory = _id_of(path.parent)
        self._root = _id_of(Path("/"))

    def _status(self) -> os.stat_result | None:
        try:
            meta = os.fstat(self._fd)
        except OSError:
            return None
        return meta if file_id(meta) == self.id else None

    def is_lost(self) -> bool:
        """Whether the application has closed it."""
        return self._status() is None

    def is_unlinked(self) -> bool:
        """Whether the file has lost its last name."""
        meta = self._status()
        if meta is not None:
            return meta.st_nlink == 0
        # The name is what is left to ask. What a change of root or of the current directory could explain as
        # well proves nothing.
        directory = _id_of(self._path.parent)
        if directory is None:
            return self._path.is_absolute() and self._root is not None and _id_of(Path("/")) == self._root
        try:
            return directory == self._directory and file_id(os.lstat(self._path)) != self.id
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        if not self.is_lost():
            os.close(self._fd)


def _id_of(path: Path) -> FileId | None:
    """Which file has that name; None where none has it."""
    try:
        return file_id(os.stat(path))
    except FileNotFoundError:
        return None
    except OSError:
        return -1, -1


def default_directory() -> Path:
    """`$DOTTER_DIR`, else `/run/dotter` where that can be used, else `/dev/shm/dotter-UID`."""
    named = os.environ.get("DOTTER_DIR")
    if named:
        return Path(named)
    system = Path("/run/dotter")
    return system if is_usable(system) else Path(f"/dev/shm/dotter-{os.geteuid()}")


def is_usable(directory: Path) -> bool:
    """Whether rings can be made in a directory that is there."""
    try:
        _check(directory)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


def split(path: str) -> tuple[Path, str | None]:
    """The directory and the exact name in it; no name where `path` is a directory of rings itself."""
    if path.endswith("/") or os.path.isdir(path) or os.path.basename(path) in ("", ".", ".."):
        return Path(path or "."), None
    return Path(os.path.dirname(path) or "."), os.path.basename(path)


def ensure(directory: Path) -> None:
    """Makes the directory where it is missing, and makes sure that nobody else's can pass for it."""
    try:
        os.mkdir(directory, 0o750)
    except FileExistsError:
        pass
    _check(directory)


def _check(directory: Path) -> None:
    link, meta = os.lstat(directory), os.stat(directory)
    us = os.geteuid()
    found = None
    for uid in (link.st_uid, meta.st_uid):
        if uid not in (us, 0):
            found = f"belongs to user {uid}"
    if not stat.S_ISDIR(meta.st_mode):
        found = "is no directory"
    elif meta.st_mode & 0o002 and not meta.st_mode & stat.S_ISVTX:
        found = f"has mode {stat.S_IMODE(meta.st_mode):o}"
    if found:
        raise PermissionError(
            f"cannot use {directory}: it {found}, expected a directory of this user or root that others "
            "cannot write to"
        )


def this_process() -> Identity:
    """This process, now, under a new incarnation."""
    pid = os.getpid()
    return Identity(
        os.urandom(16),
        _boot_id(),
        time.time_ns(),
        pid,
        os.geteuid(),
        _start_ticks(pid) or 0,
        _pid_namespace(),
    )


def _boot_id() -> bytes:
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
        return bytes.fromhex(text.strip().replace("-", ""))[:16].ljust(16, b"\0")
    except (OSError, ValueError):
        return bytes(16)


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _start_ticks(pid: int) -> int | None:
    """When a process started, in ticks since the boot; None where there is none, or only its remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The command, second field, may hold anything, so fields are counted from its closing parenthesis.
    fields = text[text.rfind(b")") + 1 :].split()
    if len(fields) < 20 or fields[0] in (b"Z", b"X", b"x"):
        return None
    return int(fields[19])


def lock_owner(fd: int) -> None:
    """Takes the owner's lock: a POSIX record lock over the whole file, which falls with the process."""
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_locked(fd: int) -> bool:
    """Whether another process holds the owner's lock; never sees the asker's own."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    found: int = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))[0]
    return found != fcntl.F_UNLCK


def rename_no_replace(old: Path, new: Path) -> None:
    """Renames where nothing has the new name yet: a second name never replaces."""
    os.link(old, new)
    os.unlink(old)


class NameLock:
    """The lock under which rings come and go under an exact name."""

    def __init__(self, directory: Path, name: str) -> None:
        # `.broker.lock` and `.NAME.broker.lock` are held by a broker for as long as it runs.
        suffix = "name-lock" if name == "broker" or name.endswith(".broker") else "lock"
        path = directory / f".{name}.{suffix}"
        # Not blocking keeps a FIFO from holding us up.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o640)

    def __enter__(self) -> None:
        """Takes it, or raises BlockingIOError: a holder that was stopped keeps nobody waiting."""
        until = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(self._fd)
                    raise
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        # Closing alone would leave it to a child that another thread has forked meanwhile.
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)


def dead_under(directory: Path, name: str) -> bytes | None:
    """The incarnation of the dead ring that stands under an exact name; None where nothing does.

    Raises FileExistsError where its owner lives, OSError where something else stands there.
    """
    path = directory / name
    try:
        meta = os.lstat(path)
    except FileNotFoundError:
        return None
    # Looked at before it is opened: closing a descriptor of our own ring would drop its lock.
    if file_id(meta) in _ours:
        raise _owned(path, os.getpid())
    if not stat.S_ISREG(meta.st_mode):
        raise OSError(f"cannot use {path}: it is no regular file; left alone")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        header = Header.decode(os.pread(fd, HEADER_CHECKED_BYTES, 0), str(path))
        state = int.from_bytes(os.pread(fd, 4, HEADER_STATE), "little")
        if state != STATE_CLOSED and _is_alive(fd, header.identity):
            raise _owned(path, header.identity.pid)
    finally:
        os.close(fd)
    return header.identity.incarnation


def move_aside(directory: Path, name: str) -> None:
    """Gives a dead ring its sibling's name, so that the exact one is free. The name's lock is held.

    Raises as `dead_under`.
    """
    incarnation = dead_under(directory, name)
    if incarnation is not None:
        rename_no_replace(directory / name, directory / ring_name(name, incarnation))


def _owned(path: Path, pid: int) -> FileExistsError:
    return FileExistsError(f"cannot make ring {path}: process {pid} publishes there")


def _is_alive(fd: int, owner: Identity) -> bool:
    if _is_locked(fd):
        return True
    if owner.boot_id != _boot_id() or owner.pid_namespace != _pid_namespace():
        return False
    # This process before it executed another program: its number lives on, its lock does not.
    return owner.pid != os.getpid() and _start_ticks(owner.pid) == owner.start_ticks


def is_surely_dead(fd: int, owner: Identity) -> bool:
    """Whether no process can write to a ring any more, as this machine's process numbers say.

    A ring of this very process is none of them: the other writer of this package may own it.
    """
    if owner.boot_id != _boot_id():
        return not _is_locked(fd)
    same_numbers = owner.pid_namespace == _pid_namespace()
    return same_numbers and not _is_locked(fd) and _start_ticks(owner.pid) != owner.start_ticks


def ring_name(prefix: str, incarnation: bytes) -> str:
    return f"{prefix}.{incarnation.hex()}.dots"
