"""Environment markers of a foreign target (PyPA specs, "Dependency specifiers", "Environment Markers").

``packaging`` fills what an environment lacks from the running interpreter; an environment made here is
total, so nothing of the host can come in.
"""

import re
from collections.abc import Iterable
from typing import cast

# Every variable of the spec; ``extra`` and the lock-file variables are no part of an environment.
VARIABLES = (
    "implementation_name",
    "implementation_version",
    "os_name",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_full_version",
    "python_version",
    "sys_platform",
)

Environment = tuple[tuple[str, str], ...]

_KERNEL = r"\bplatform[_.](release|version)\b"


def environment(python_version: str, machine: str) -> Environment:
    """The environment of a CPython on Linux, sorted by name.

    ``python_version`` is to the patch level. What only a running kernel knows is empty.
    """
    values = {
        "implementation_name": "cpython",
        "implementation_version": python_version,
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python_version,
        "python_version": ".".join(python_version.split(".")[:2]),
        "sys_platform": "linux",
    }
    return tuple(sorted(values.items()))


def kernel_variable(marker: str) -> str:
    """The name of a variable in the marker that only a running kernel knows, or ""."""
    found = re.search(_KERNEL, re.sub(r"\"[^\"]*\"|'[^']*'", "''", marker))
    return f"platform_{found[1]}" if found else ""


def evaluate(marker: str, environment: Environment, *, extras: Iterable[str] = (), groups: Iterable[str] = ()) -> bool:
    """Whether a lock file's marker holds ("" always does).

    Raises ValueError for text that is no marker, or for one that asks for what only a kernel knows.
    """
    if not marker:
        return True
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

    if name := kernel_variable(marker):
        raise ValueError(f"it depends on {name}, which is a property of the kernel and not of an image")
    values: dict[str, str | frozenset[str]] = {**dict(environment), "extra": ""}
    values |= {"extras": frozenset(extras), "dependency_groups": frozenset(groups)}
    if missing := set(VARIABLES) - set(values):
        raise ValueError(f"the environment lacks {', '.join(sorted(missing))}")
    try:
        return Marker(marker).evaluate(cast("dict[str, str]", values), context="lock_file")
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName) as error:
        raise ValueError(f"not a marker that can be evaluated: {marker!r} ({str(error).splitlines()[0]})") from None
