"""urllib3's connections, ended by an interrupt, and timed. Imported with urllib3."""

import http.client
import socket
from collections.abc import Callable
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dpbuild.adapters import interruption
from dpbuild.adapters.registry.pace import paced


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


def watched(manager: urllib3.PoolManager, clock: Callable[[], float]) -> urllib3.PoolManager:
    """The same manager, whose connections an interrupt ends, and so does an answer that ``clock`` finds too slow."""

    class Response(http.client.HTTPResponse):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            self.fp, _ = paced(self.fp, clock)

    class Plain(_Plain):
        response_class = Response

    class Secure(_Secure):
        response_class = Response

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager
