"""The fixtures of ``bench.py``, for all functional tests."""

from bench import bare, bench

__all__ = ["bare", "bench"]
