"""Parsing Python from several threads.

CPython keeps the depth of what it converts to syntax trees once for all threads (until 3.12), so two threads that parse
at the same time can end each other with a SystemError.
"""

import ast
import threading
import warnings
from typing import Final

TROUBLES: Final = (SyntaxError, ValueError)
# What is too much for one Python may be little for another.
LIMITS: Final = (RecursionError, MemoryError)

_LOCK: Final = threading.Lock()


def parse(data: bytes, minor: int | None = None) -> ast.Module:
    """The syntax tree; with ``minor`` as Python 3.``minor`` reads it, as far as this Python knows what came later.

    Raises SyntaxError, ValueError, RecursionError, MemoryError; warnings are not shown.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(data, feature_version=None if minor is None else (3, minor))


def compile_only(data: bytes) -> None:
    """Whether it can be compiled, which asks for more than a tree does. Raises as ``parse`` does."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compile(data, "<source>", "exec", dont_inherit=True)


def compiles(data: bytes) -> bool:
    """Whether the Python that runs this can compile it."""
    try:
        compile_only(data)
    except (*TROUBLES, *LIMITS):
        return False
    return True
