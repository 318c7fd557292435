"""Debian: indices, versions, packages, status.d, the dynamic loader's cache."""
