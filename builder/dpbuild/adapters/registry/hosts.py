"""How a host is reached: which address, which scheme, through which proxy."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from dpbuild.frozen import field, frozen
from dpbuild.oci.reference import DOCKER_HUB, DOCKER_HUB_HOST


@frozen
class Proxies:
    """What HTTP_PROXY, HTTPS_PROXY and NO_PROXY say; "" for none. A proxy's URL may hold user and password."""

    http: str = field(default="", shown=False)
    https: str = field(default="", shown=False)
    bypass: str = ""

    @classmethod
    def configured(cls, env: Mapping[str, str]) -> Self:
        """As the environment has them; lower-case names win, as in curl."""

        def variable(name: str) -> str:
            return env.get(name.lower()) or env.get(name) or ""

        every = variable("ALL_PROXY")
        http, https = variable("HTTP_PROXY") or every, variable("HTTPS_PROXY") or every
        return cls(http=http, https=https, bypass=variable("NO_PROXY"))

    def select(self, scheme: str, host: str, port: int) -> str:
        """The proxy's URL for one request, or "". Loopback hosts never go through one, as in Go."""
        proxy = self.https if scheme == "https" else self.http
        if not proxy or is_loopback(host) or bypassed(self.bypass, host, port):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"


def bypassed(rules: str, host: str, port: int) -> bool:
    """Whether NO_PROXY's ``rules`` name the host.

    Rules are separated by commas: ``*``, an address, a CIDR block, or a domain that stands for itself and what
    is below it (with a leading dot only for what is below it); all but the blocks may end in ``:port``.
    """
    host = host.lower().strip("[]").rstrip(".")
    address = _address(host)
    for raw in rules.lower().replace(" ", ",").split(","):
        rule = raw.strip()
        if not rule:
            continue
        if rule == "*":
            return True
        if "/" in rule:
            if address is not None and _in_block(address, rule):
                return True
            continue
        rule, wanted = _split_port(rule)
        if wanted is not None and wanted != port:
            continue
        if address is not None:
            if _address(rule) == address:
                return True
            continue
        rule = rule.removeprefix("*")
        if host.endswith("." + rule.lstrip(".")) or host == rule:
            return True
    return False


def certificate_folder(host: str, env: Mapping[str, str], home: str) -> str:
    """Where Docker or podman keep certificates for a host[:port] (certs.d of their manuals), or ""."""
    config = env.get("XDG_CONFIG_HOME") or f"{home}/.config"
    places = ("/etc/docker", "/etc/containers", f"{config}/containers", f"{config}/docker")
    if not host or "/" in host or host.startswith("."):
        return ""
    return next((str(path) for place in places if (path := Path(place, "certs.d", host)).is_dir()), "")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by name: ``localhost``, 127.0.0.0/8 or ``::1``. No name is resolved."""
    host = host.strip("[]").lower()
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def registry_host(registry: str) -> str:
    """The host[:port] that serves a registry's API; Docker Hub is the one with two names."""
    return DOCKER_HUB_HOST if registry == DOCKER_HUB else registry


def split_host(netloc: str) -> str:
    """The host of host[:port], without the brackets of an IPv6 address."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0]
    return netloc.partition(":")[0]


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _in_block(address: Address, block: str) -> bool:
    try:
        return address in ipaddress.ip_network(block, strict=False)
    except ValueError:
        return False


def _split_port(rule: str) -> tuple[str, int | None]:
    if _address(rule) is not None:
        return rule, None
    head, colon, tail = rule.rpartition(":")
    if colon and tail.isdigit():
        return head.strip("[]"), int(tail)
    return rule, None
