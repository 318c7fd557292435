"""Who uses a store: every run holds a shared lock, upkeep an exclusive one.

The lock is flock(2) on a file in the store. It ends with the process that holds it, however that ends.
"""

import contextlib
import errno
import fcntl
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from dpbuild.adapters import interruption
from dpbuild.errors import StoreError

NAME: Final = "lock"
# Seconds between two looks at whether another run has ended what it does.
_LOOK: Final = 0.03
# File systems without flock, such as some network mounts.
_UNSUPPORTED: Final = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class StoreLock:
    """Held from its making until ``release``, or until nobody has the object any more."""

    def __init__(self, descriptor: int) -> None:
        self._close = weakref.finalize(self, os.close, descriptor)

    def release(self) -> None:
        """Let others have the store; doing so twice is fine."""
        self._close()


def use(folder: Path, note: Callable[[str], None], sweep: Callable[[], None] | None = None) -> StoreLock:
    """Say that a run uses the store; waits while another process removes things from it. Raises OSError.

    ``sweep`` is called first if nobody else uses the store at this moment, and before anybody else can.
    Where the file system has no locks there is none: upkeep refuses to work there, and nothing is swept.
    """
    descriptor = _open(folder)
    try:
        if sweep is not None and _alone(descriptor):
            sweep()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            note("waiting for a dpbuild that removes things from the store")
            fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError as problem:
        if problem.errno not in _UNSUPPORTED:
            os.close(descriptor)
            raise
    except BaseException:
        os.close(descriptor)
        raise
    return StoreLock(descriptor)


def _alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def alone(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a name for the block, whose file goes with it; ``waiting`` is called while another has it.

    Where nothing can be locked (no locks, a store that can only be read) nobody waits. Raises StoreError.
    """
    descriptor = _taken(path, waiting)
    try:
        yield
    finally:
        if descriptor is not None:
            # In this order: who waits for it sees that the name is gone, and takes a new one.
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _taken(path: Path, waiting: Callable[[], None]) -> int | None:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass  # its holder has just ended
        except BlockingIOError:
            waiting()
            if interruption.interrupted():
                os.close(descriptor)
                raise StoreError("the run was interrupted while it waited for another one") from None
            interruption.sleep(_LOOK)
        except OSError:
            os.close(descriptor)
            return None
        os.close(descriptor)


def own(folder: Path, note: Callable[[str], None], *, wait: bool) -> StoreLock:
    """Have the store to oneself: runs that use it end first, or without ``wait`` this is refused.

    Raises StoreError, OSError.
    """
    descriptor = _open(folder)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise StoreError(
                    "the store is in use by another dpbuild", where=str(folder), hint="try again when it has ended"
                ) from None
            note("waiting for other runs of dpbuild that use the store")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as problem:
        os.close(descriptor)
        if problem.errno not in _UNSUPPORTED:
            raise
        raise StoreError(
            "the store is on a file system without locks, so nobody can tell whether it is in use",
            where=str(folder),
            hint="remove the folder yourself when no dpbuild runs",
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return StoreLock(descriptor)


def _open(folder: Path) -> int:
    return os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
