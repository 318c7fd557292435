"""Debian's archive, packages and image files, without I/O: indices, versions, .deb, status.d, ld.so.cache.

Nothing of a package is ever run; its maintainer scripts are read over.
"""
