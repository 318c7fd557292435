"""Parsing Python from several threads.

CPython keeps the depth of what it converts to syntax trees once for all threads (until 3.12), so two threads that parse
at the same time can end each other with a SystemError.
"""

import ast
import threading
import warnings
from typing import Final

_LOCK: Final = threading.Lock()


def parse(data: bytes) -> ast.Module:
    """The syntax tree. Raises SyntaxError, ValueError, RecursionError, MemoryError; warnings are not shown."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(data)
