"""Counts the letters of a text, in C."""

from native._count import count

__all__ = ["count"]
