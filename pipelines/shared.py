"""What the processes that use one connection know together: a small file, and places that end with a process.

A place is a file under an OS lock (flock), never a number that is counted up and down: whatever becomes of the
process that holds it, the system gives it back. So does the lock under which the file is changed. Only
processes of one machine meet here; where there is no flock (Windows), each process is by itself.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from reconcile.errors import FixSettings, RetryLater

try:
    import fcntl
except ImportError:  # pragma: no cover (not on the systems that we test on)
    fcntl = None

VERSION: Final = "1"
LONGEST_HOLD_S: Final = 10.0  # a change takes less than a millisecond; its holder may have been stopped
S = TypeVar("S")
Release = Callable[[], None]


@dataclass
class Usage:
    """What is known of one connection's limits and health.

    Moments are seconds of the monotonic clock, which all processes of a machine share; those that must outlive
    a restart of it (…_at, blocked_until) are seconds since 1970.
    """

    sent: list[float] = field(default_factory=list)  # by when each call of the last minute had arrived
    not_before: float = 0.0
    told_left: int | None = None  # calls left in the vendor's minute, less those under way and sent since
    told_until: float = 0.0
    day_left: int | None = None
    day_total: int | None = None
    day_told_at: float = 0.0
    day_total_at: float = 0.0
    blocked_until: float = 0.0
    blocked_by: str = ""
    failures: int = 0  # in a row
    tenths: list[list[float]] = field(default_factory=list)  # [start, calls, failures] of ten seconds each
    open_until: float | None = None
    pause_s: float = 0.0
    failed_how: str = ""


@dataclass
class AppUsage:
    """What is known of the limit that all connections of one app have together."""

    seconds: list[list[float]] = field(default_factory=list)  # [second, calls]
    not_before: float = 0.0
    told_left: int | None = None
    told_until: float = 0.0


class Box(Protocol[S]):
    """Holds one value; nobody else sees or changes it while somebody does."""

    def change(self) -> AbstractContextManager[S]: ...


class Places(Protocol):
    """A number of places, each for one at a time."""

    def take(self, count: int) -> Release | None:
        """Take one of so many; gives what gives it back, or null where all are taken."""
        ...


@dataclass(frozen=True)
class Shared:
    """All that the users of one connection share. app: with the other connections of the same app."""

    usage: Box[Usage]
    calls: Places
    probe: Places
    login: Places
    app: Box[AppUsage] | None = None


def in_process(*, app: Box[AppUsage] | None = None) -> Shared:
    """Share among the threads of this process only."""
    return Shared(Memory(Usage()), Counted(), Counted(), Counted(), app)


def in_folder(folder: Path, app_folder: Path | None = None) -> Shared:
    """Share among the processes of this machine that name the same folder.

    Raises FixSettings where the folder can't be made or written.
    """
    if fcntl is None:
        return in_process()
    for each in (folder, app_folder):
        if each is not None:
            _make(each)
    app = None if app_folder is None else File(app_folder / "minute", AppUsage)
    call, probe, login = (Locked(folder, name) for name in ("call", "probe", "login"))
    return Shared(File(folder / "usage", Usage), call, probe, login, app)


class Memory(Generic[S]):
    """A box in this process."""

    def __init__(self, value: S) -> None:
        self._value, self._lock = value, threading.Lock()

    @contextmanager
    def change(self) -> Iterator[S]:
        with self._lock:
            yield self._value


class Counted:
    """Places in this process."""

    def __init__(self) -> None:
        self._taken, self._lock = 0, threading.Lock()

    def take(self, count: int) -> Release | None:
        with self._lock:
            if self._taken >= count:
                return None
            self._taken += 1
        return self._give_back

    def _give_back(self) -> None:
        with self._lock:
            self._taken -= 1


class File(Generic[S]):
    """A box in a file. What is damaged or of another version counts as empty: limits are then learnt anew."""

    def __init__(self, path: Path, kind: type[S]) -> None:
        self._path, self._kind = path, kind
        self._threads = threading.Lock()  # flock tells open files apart, not threads
        self._handle, self._pid = -1, 0

    @contextmanager
    def change(self) -> Iterator[S]:
        with self._threads:
            handle = self._opened()
            _wait_for(handle, self._path)
            try:
                value = self._read(handle)
                yield value
                self._write(handle, value)
            finally:
                _unlock(handle)

    def _opened(self) -> int:
        # A forked child shares its parent's open file, and with it the parent's lock: it opens its own.
        if self._pid != os.getpid():
            self._handle, self._pid = _open(self._path), os.getpid()
        return self._handle

    def _read(self, handle: int) -> S:
        try:
            head, _, rest = os.pread(handle, 1 << 20, 0).partition(b"\n")
            version, size, sum_ = head.decode("ascii").split()
            body = rest[: int(size)]
            if version == VERSION and int(sum_, 16) == zlib.crc32(body) and len(body) == int(size):
                return self._kind(**json.loads(body))
        except (ValueError, TypeError):
            pass
        return self._kind()

    def _write(self, handle: int, value: S) -> None:
        body = json.dumps(vars(value), separators=(",", ":")).encode("ascii")
        # One write, so that a kill leaves the old or the new; more than a page is covered by the sum.
        os.pwrite(handle, f"{VERSION} {len(body)} {zlib.crc32(body):x}\n".encode("ascii") + body, 0)

    def __del__(self) -> None:
        if self._handle >= 0 and self._pid == os.getpid():
            with suppress(OSError):
                os.close(self._handle)


class Locked:
    """Places in a folder, each a file under a lock."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def take(self, count: int) -> Release | None:
        first = random.randrange(count)
        for number in range(count):
            handle = _open(self._folder / f"{self._name}-{(first + number) % count + 1}")
            if _try(handle):
                return lambda handle=handle: _give_back(handle)
            os.close(handle)
        return None


def _give_back(handle: int) -> None:
    _unlock(handle)  # said, not left to the closing: a forked child may have the same file open
    os.close(handle)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unusable(folder, error) from None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:  # somebody tidied up
        _make(path.parent)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> FixSettings:
    return FixSettings(
        f"{path}: can't be used ({error.strerror}). The processes of a connection share its limits there; "
        "set limits.shared_dir to a folder that this user can write to."
    )


def _try(handle: int) -> bool:
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock(handle: int) -> None:
    assert fcntl is not None
    fcntl.flock(handle, fcntl.LOCK_UN)


def _wait_for(handle: int, path: Path) -> None:
    """Lock it; not without end, because its holder may be a process that somebody has stopped."""
    waited_until = time.monotonic() + LONGEST_HOLD_S
    while not _try(handle):
        if time.monotonic() > waited_until:
            raise RetryLater(
                f"{path}: another process has held it for {LONGEST_HOLD_S:.0f} s. "
                "Look for one that is stopped (state T), end it, and run this again."
            )
        time.sleep(0.0005)


def state_folder(environ: dict[str, str] | None = None) -> Path:
    """Give where this user's programs keep such state: XDG_STATE_HOME, else ~/.local/state."""
    told: Any = (os.environ if environ is None else environ).get("XDG_STATE_HOME")
    return (Path(told) if told else Path.home() / ".local" / "state") / "reconcile"
