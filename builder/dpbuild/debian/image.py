"""The config and annotations of a composed base, as distroless sets them for its Python images."""

from collections.abc import Mapping
from typing import Final

from dpbuild.debian import version as versions
from dpbuild.debian.suites import Suite
from dpbuild.oci.config import History, ImageConfig
from dpbuild.oci.descriptor import Pairs
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform

_EPOCH: Final = "1970-01-01T00:00:00Z"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SOURCE: Final = "https://github.com/GoogleContainerTools/distroless"


def config(
    suite: Suite, variant: str, platform: Platform, packages: Mapping[str, str], diff_ids: tuple[Digest, ...]
) -> ImageConfig:
    """``packages`` maps every name of the set to its version; the history names each layer's."""
    nonroot = variant.endswith("nonroot")
    return ImageConfig(
        platform=platform,
        diff_ids=diff_ids,
        history=tuple(
            History(
                created=_EPOCH,
                created_by=f"{item.label} {packages[item.package]}" if item.package else item.label,
            )
            for item in suite.layers(variant)
        ),
        created=_EPOCH,
        user="65532" if nonroot else "0",
        env=(
            f"PATH={_PATH}{':/busybox' if variant.startswith('debug') else ''}",
            "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
            "LANG=C.UTF-8",
        ),
        entrypoint=(f"/usr/bin/python{suite.python}",),
        working_dir="/home/nonroot" if nonroot else "/",
    )


def annotations(suite: Suite, packages: Mapping[str, str]) -> Pairs:
    """What the manifest says of itself."""
    return (
        ("com.google.distroless.python.version", versions.upstream(packages[f"python{suite.python}-minimal"])),
        ("org.opencontainers.image.source", _SOURCE),
    )
