"""What speaks to registries and package indexes."""

import functools
import sys
from typing import TYPE_CHECKING

from dpbuild import __version__
from dpbuild.wiring.surroundings import Surroundings

if TYPE_CHECKING:
    from dpbuild.adapters.fetch import HttpFetcher
    from dpbuild.adapters.indexes import Indexes
    from dpbuild.adapters.logins import Logins
    from dpbuild.adapters.pip_settings import HostIndexes
    from dpbuild.adapters.registry.client import RegistryClient
    from dpbuild.adapters.registry.hosts import Proxies
    from dpbuild.adapters.registry.transport import Transport
    from dpbuild.adapters.uv import UvResolver

_TIMEOUT = 60.0
_CONNECTIONS = 8


class Network(Surroundings):
    """The registry client, the resolver and downloads, each made when it is first asked for."""

    @functools.cached_property
    def _proxies(self) -> "Proxies":
        from dpbuild.adapters.registry.hosts import Proxies

        return Proxies.configured(self._env)

    @functools.cached_property
    def _transport(self) -> "Transport":
        from dpbuild.adapters.registry.transport import Transport

        return Transport(
            proxies=self._proxies,
            ca_bundle=self._env.get("SSL_CERT_FILE") or None,
            timeout=_TIMEOUT,
            connections=_CONNECTIONS,
            user_agent=f"dpbuild/{__version__}",
        )

    @functools.cached_property
    def registry(self) -> "RegistryClient":
        """All registries."""
        from dpbuild.adapters.registry.client import RegistryClient
        from dpbuild.adapters.registry.credentials import CredentialFiles, credential_files
        from dpbuild.adapters.registry.hosts import certificate_folder

        return RegistryClient(
            credentials=CredentialFiles(credential_files(self._env, self._home), self._env),
            proxies=self._proxies,
            ca_bundle=self._env.get("SSL_CERT_FILE") or None,
            certificates=lambda host: certificate_folder(host, self._env, self._home),
            plain_http=self._settings.plain_http,
            timeout=_TIMEOUT,
            connections=_CONNECTIONS,
            user_agent=f"dpbuild/{__version__}",
        )

    @functools.cached_property
    def _indexes(self) -> "Indexes":
        """Package indexes, as uv and pip are configured."""
        from dpbuild.adapters.indexes import configured

        return configured(self._env, home=self._home, prefix=sys.prefix, directory=str(self._directory))

    @functools.cached_property
    def resolver(self) -> "UvResolver":
        """uv."""
        from dpbuild.adapters.uv import UvResolver, find_uv

        left_out = self._indexes.left_out
        return UvResolver(
            uv=find_uv(self._env.get("PATH", "")),
            python=sys.executable,
            cache=str(self.cache / "uv"),
            environment=self._indexes.environment,
            begin=lambda: self.reporter.note(left_out) if left_out else None,
            offline=self._settings.offline,
        )

    @functools.cached_property
    def fetcher(self) -> "HttpFetcher":
        """Downloads from package indexes."""
        from dpbuild.adapters.fetch import HttpFetcher

        return HttpFetcher(
            # A build that has all does not ask who is who.
            self.store,
            lambda: self._transport,
            lambda host: self._logins.find(host),  # noqa: PLW0108
            offline=self._settings.offline,
        )

    @functools.cached_property
    def _logins(self) -> "Logins":
        from dpbuild.adapters.logins import Logins

        found = self._indexes
        return Logins(found.logins, found.environment, keyring=found.keyring)

    def host_indexes(self) -> "HostIndexes":
        """Package indexes, in pip's words."""
        from dpbuild.adapters.pip_settings import host_indexes

        return host_indexes(self._indexes, self._logins.find)
