"""The base's interpreter as a compiler of modules, started only when something has to be compiled."""

import threading
from collections.abc import Callable, Sequence

from dpbuild.model.facts import Facts
from dpbuild.ports.sandbox import Sandbox
from dpbuild.stages.bytecode import VERSION, Mode, compile_sources


class SandboxCompiler:
    """Implements ``stages.layers.site.Compiler``.

    ``start`` gives the sandbox and the folder that the base is extracted in; it is called at most once.
    ``optimize`` is 0, 1 or 2, as PYTHONOPTIMIZE says.
    """

    def __init__(self, facts: Facts, start: Callable[[], tuple[Sandbox, str]], optimize: int = 0) -> None:
        self._facts = facts
        self._start = start
        self._optimize = optimize
        self._started: tuple[Sandbox, str] | None = None
        self._lock = threading.Lock()

    @property
    def key(self) -> str:
        """The bytes depend on the very interpreter, not on its version alone."""
        return f"{VERSION}:{self._facts.interpreter_sha256}:{self._optimize}"

    def compile(self, files: Sequence[tuple[str, bytes]], *, checked: bool) -> tuple[tuple[str, bytes], ...]:
        """Path in the image and source in, path and bytecode out. Raises SandboxError."""
        with self._lock:
            if self._started is None:
                self._started = self._start()
        sandbox, rootfs = self._started
        mode: Mode = "checked" if checked else "unchecked"
        return compile_sources(sandbox, rootfs, self._facts.interpreter, files, mode, self._optimize)
