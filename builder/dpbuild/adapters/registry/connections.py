"""urllib3's connections, ended by an interrupt. Imported with urllib3."""

import socket

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dpbuild.adapters import interruption


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return interruption.watch(super()._new_conn())


class _Secure(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return interruption.watch(super()._new_conn())

    def connect(self) -> None:
        super().connect()
        # The socket within TLS is another object than the one that was connected.
        if isinstance(self.sock, socket.socket):
            interruption.watch(self.sock)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


def watched(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """The same manager, whose connections an interrupt ends."""
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return manager
