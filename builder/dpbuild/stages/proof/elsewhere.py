"""Modules that no folder of ``sys.path`` shows: what may find them is known, what it finds is not."""

import functools
import re
from typing import Final

from dpbuild.stages.proof.paths import code_of_pth, lines_of_pth
from dpbuild.stages.proof.subject import Subject

# .pth files with code that adds no module but what is looked for by itself: setuptools' distutils, virtualenv's patch.
_KNOWN: Final = frozenset({"distutils-precedence.pth", "_virtualenv.pth"})
# The module site imports these, if they are there.
_CUSTOM: Final = ("sitecustomize", "usercustomize")
# No name of a module is longer than that: a file of open brackets must not take the square of its length.
_EXTENDS: Final = re.compile(
    rb"sys\.path|addsitedir|meta_path|path_hooks|sys\.modules(?:\[[^\]]{0,300}\]\s*=(?!=)|\.setdefault|\.update)"
)
# pkgutil's and pkg_resources' ways to make a package out of several folders.
_SPANS: Final = re.compile(rb"\bextend_path\b|\bdeclare_namespace\b")


def extends(source: bytes) -> bool:
    """Whether a source may change where modules are found, or put modules in place itself."""
    return _EXTENDS.search(source) is not None


@functools.lru_cache(maxsize=4)
def elsewhere(subject: Subject) -> str:
    """The path of something on ``sys.path``, or started with it, that may bring any module; "" if nothing is.

    An archive, a folder below a volume, a .pth file with code or with an archive in it, a sitecustomize that
    changes ``sys.path``.
    """
    for row in (subject.start.first, *subject.sys_path):
        if row and _is_closed(subject, row):
            return row
    for site in subject.sys_path:
        for path, target in lines_of_pth(subject.tree, site, subject.scan):
            if subject.tree.is_file(target):
                return path
        for path in code_of_pth(subject.tree, site, subject.scan):
            if path.rpartition("/")[2] not in _KNOWN:
                return path
        for name in () if "S" in subject.start.task.flags else _CUSTOM:
            path = f"{site}/{name}.py"
            if subject.tree.is_file(path) and extends(subject.contents.get(path) or b""):
                return path
    return ""


def _is_closed(subject: Subject, folder: str) -> bool:
    """Whether a folder of sys.path may hold what the image does not show: an archive, or a place to mount over."""
    volumes = subject.config.volumes
    return subject.tree.is_file(folder) or (
        not subject.tree.is_directory(folder) and any(f"{folder}/".startswith(f"{row}/") for row in volumes)
    )


def spans(subject: Subject, folder: str) -> bool:
    """Whether the package in this folder goes on in others by itself, as pkgutil's namespaces do."""
    path = f"{folder}/__init__.py"
    return subject.tree.is_file(path) and _SPANS.search(subject.contents.get(path) or b"") is not None
