"""Runs dpbuild and ends it at the N-th moment at which something outside of it changes.

``python killing.py N SIGNAL ARGUMENTS…``; with N = 0 it runs to its end and writes how many moments there were to
the file that KILLING_COUNT names. Moments are events of sys.audit: files opened for writing, renamed, removed, folders
made, programs started, connections made.
"""

import os
import signal
import sys
import threading

EVENTS = frozenset(
    {
        *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate"),
        *("os.utime", "subprocess.Popen", "socket.connect", "tempfile.mkstemp", "tempfile.mkdtemp", "shutil.rmtree"),
    }
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def main() -> None:
    limit, number = int(sys.argv[1]), getattr(signal, sys.argv[2])
    seen = 0
    lock = threading.Lock()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
        if not writes and event not in EVENTS:
            return
        with lock:
            seen += 1
            now = seen
        if now == limit:
            os.kill(os.getpid(), number)

    sys.dont_write_bytecode = True
    from dpbuild.cli.main import main as command

    sys.addaudithook(hook)
    try:
        command(sys.argv[3:])
    finally:
        if limit == 0:
            with open(os.environ["KILLING_COUNT"], "w") as file:
                file.write(str(seen))


if __name__ == "__main__":
    main()
