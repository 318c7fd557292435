"""Ctrl-C for threads: a signal wakes the main thread alone, while others wait for the network for as long as it takes.

Their connections are ended, so that they fail at once, and nothing begins anew. No locks are used here: the handler of
a signal runs in the middle of whatever the main thread does.
"""

import contextlib
import time
import weakref
from typing import Protocol, TypeVar

_SHUT_RDWR = 2
# Seconds between two looks at whether a pause is still wanted.
_LOOK = 0.1


class Connection(Protocol):
    """A socket."""

    def shutdown(self, how: int, /) -> None:
        """End the connection, also for a thread that waits for it."""


C = TypeVar("C", bound=Connection)

_connections: dict[int, "weakref.ref[Connection]"] = {}
_wanted = [False]


def begin() -> None:
    """Nothing was interrupted so far."""
    _wanted[0] = False


def interrupt() -> None:
    """End every connection that is watched. For handlers of signals."""
    _wanted[0] = True
    for reference in list(_connections.values()):
        connection = reference()
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(_SHUT_RDWR)


def interrupted() -> bool:
    """Whether the run is about to end."""
    return _wanted[0]


def watch(connection: C) -> C:
    """End this connection when the run is interrupted."""
    key = id(connection)
    _connections[key] = weakref.ref(connection, lambda _: _connections.pop(key, None))
    return connection


def sleep(seconds: float) -> None:
    """Pause, as long as the run goes on."""
    end = time.monotonic() + seconds
    while not _wanted[0] and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK))
