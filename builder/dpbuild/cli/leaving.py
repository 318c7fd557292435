"""How the command's process ends: with everything done that is to be done at its end, and nothing taken apart.

Python ends by taking apart each module and value that it has in memory. The system frees them anyway, and for a build
that takes a tenth of its time.
"""

import atexit
import contextlib
import os
import sys
from typing import NoReturn


class Leaving:
    """Ends the process of a command. To be made first, as it is what comes last."""

    def __init__(self) -> None:
        self._code: int | None = None
        # Who watches the run has something left to do when it ends, in places that are not known here; and who has
        # registered before (a sitecustomize, say) would be called after this, which is never.
        if not _watched() and not atexit._ncallbacks():
            # What is registered first is called last: threads have been waited for, and all else was called.
            atexit.register(self._end)

    def leave(self, code: int) -> NoReturn:
        """End with an exit code."""
        self._code = code
        sys.exit(code)

    def _end(self) -> None:
        if self._code is None:
            return
        # Where something cannot be written any more, Python is left to say so, and to choose the exit code.
        with contextlib.suppress(OSError, ValueError):
            for stream in (sys.stdout, sys.stderr):
                if stream is not None and not stream.closed:
                    stream.flush()
            os._exit(self._code)


def _watched() -> bool:
    """Whether a debugger, a profiler or a measure of coverage looks on (or Python stays, by ``-i``)."""
    # From Python 3.12 on.
    monitoring = getattr(sys, "monitoring", None)
    tools = monitoring is not None and any(monitoring.get_tool(number) for number in range(6))
    return tools or sys.gettrace() is not None or sys.getprofile() is not None or bool(sys.flags.inspect)
