"""The fixtures of ``bench.py`` and ``forge.py``, for all functional tests."""

from bench import bare, bench
from forge import forge, sdist

__all__ = ["bare", "bench", "forge", "sdist"]
