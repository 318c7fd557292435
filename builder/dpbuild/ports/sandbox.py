"""Running the base's own interpreter."""

from typing import Protocol, Self

from dpbuild.errors import SandboxError
from dpbuild.frozen import frozen


@frozen
class Mount:
    """A host folder or file at an absolute path in the sandbox."""

    source: str
    target: str
    writable: bool = False


@frozen
class Job:
    """What to run.

    ``rootfs`` is an extracted image on the host; ``argv[0]`` an absolute path in it. ``env`` is the whole
    environment. ``timeout`` is in seconds. With ``capture`` the output is returned and ``stdin`` is what the
    program reads; otherwise the output goes to dpbuild's own stdout and stderr, its stdin is passed on, and so
    are SIGINT, SIGTERM, SIGHUP and SIGQUIT. ``user`` is as in an image config ("" is uid 0, a sandbox that cannot
    change users ignores it). ``most`` is for programs that may print without end: how many bytes of each stream are
    returned, of its head and its tail; None for all.
    """

    rootfs: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = "/"
    mounts: tuple[Mount, ...] = ()
    network: bool = False
    timeout: float | None = None
    capture: bool = True
    user: str = ""
    stdin: bytes = b""
    most: int | None = None


class TimedOut(SandboxError):
    """The program was stopped because it ran longer than it may; what it had said until then."""

    stdout: bytes = b""
    stderr: bytes = b""

    @classmethod
    def after(cls, seconds: float, name: str, stdout: bytes = b"", stderr: bytes = b"") -> Self:
        """The error for a program that ``name`` stopped."""
        found = cls(f"{name} stopped the program because it ran longer than {seconds:g} s")
        found.stdout, found.stderr = stdout, stderr
        return found


@frozen
class Outcome:
    """Exit status (128 + signal where a signal ended it) and captured output."""

    status: int
    stdout: bytes = b""
    stderr: bytes = b""


class Sandbox(Protocol):
    """One way of running."""

    @property
    def name(self) -> str:
        """What the user reads: ``docker``, ``podman``, ``bubblewrap``, ``the base's own loader``."""

    @property
    def isolates(self) -> bool:
        """Whether foreign code may be run in it."""

    def run(self, job: Job) -> Outcome:
        """Run to the end. Raises SandboxError; interrupting leaves nothing running."""
