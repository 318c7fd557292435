"""Every error that dpbuild raises on purpose, with its exit code.

The first digit group is the stage, as in the command line's documentation::

    DpbuildError
    ├── UsageError            2
    ├── ConfigError          10
    ├── BaseImageError       20
    ├── TargetError          30
    ├── LockError            40
    │   ├── UnsupportedRequirement 41   (also: no solution)
    │   └── LockStale        42
    ├── ArtifactError        50
    │   ├── HashMismatch     51
    │   ├── NoCompatibleWheel 52
    │   ├── UnsafeWheel      53
    │   └── SdistBuildFailed 54
    ├── LayerError           60
    │   └── PathConflict     61
    ├── FindingsError        70
    ├── OutputError          80
    │   └── DigestDrift      81
    ├── RegistryError        90
    │   ├── Unauthorized     91
    │   ├── NotFound         92
    │   └── RateLimited      93
    ├── SandboxError        100
    └── StoreError          110
"""

from typing import ClassVar


class DpbuildError(Exception):
    """What went wrong, where, and what to do about it.

    ``what`` is one sentence without a full stop; ``where`` names a file, line, URL or package;
    ``hint`` says what the reader can do. None of them ever holds a secret.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return self.what if self.where is None else f"{self.what} (at {self.where})"


class UsageError(DpbuildError):
    """The command line contradicts itself."""

    exit_code = 2


class ConfigError(DpbuildError):
    """The project's configuration is wrong."""

    exit_code = 10


class BaseImageError(DpbuildError):
    """The base cannot be used: no Python in it, platform missing, bad Debian signature, no mirror known."""

    exit_code = 20


class TargetError(DpbuildError):
    """The facts of the base do not describe a target that wheels exist for."""

    exit_code = 30


class LockError(DpbuildError):
    """Locking failed."""

    exit_code = 40


class UnsupportedRequirement(LockError):
    """The requirements have no solution, or one of them cannot be locked."""

    exit_code = 41


class LockStale(LockError):
    """The lock is missing or does not belong to its inputs any more."""

    exit_code = 42


class ArtifactError(DpbuildError):
    """A wheel or sdist could not be had."""

    exit_code = 50


class HashMismatch(ArtifactError):
    """What was downloaded is not what the lock names."""

    exit_code = 51


class NoCompatibleWheel(ArtifactError):
    """No wheel fits the target, and nothing here can build one."""

    exit_code = 52


class UnsafeWheel(ArtifactError):
    """The wheel is broken, or could be read differently by different readers."""

    exit_code = 53


class SdistBuildFailed(ArtifactError):
    """A build backend failed."""

    exit_code = 54


class LayerError(DpbuildError):
    """A layer cannot be made."""

    exit_code = 60


class PathConflict(LayerError):
    """Two owners claim the same path with different contents."""

    exit_code = 61


class FindingsError(DpbuildError):
    """The image was checked and has errors."""

    exit_code = 70


class OutputError(DpbuildError):
    """The image cannot be written where it was asked for."""

    exit_code = 80


class DigestDrift(OutputError):
    """The image is not the one that was expected."""

    exit_code = 81


class RegistryError(DpbuildError):
    """The registry could not be reached or gave an answer that makes no sense."""

    exit_code = 90


class Unauthorized(RegistryError):
    """The registry refuses these credentials, or wants some."""

    exit_code = 91


class NotFound(RegistryError):
    """The registry does not have it."""

    exit_code = 92


class RateLimited(RegistryError):
    """The registry asks to come back later."""

    exit_code = 93


class SandboxError(DpbuildError):
    """An engine or sandbox is missing or failed."""

    exit_code = 100


class StoreError(DpbuildError):
    """The store cannot be used: disk full, damaged while offline, not ours."""

    exit_code = 110
