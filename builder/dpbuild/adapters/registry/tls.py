"""Whom to trust, and who we are. Imported with ``ssl``, when the first https request is made."""

import ssl
from pathlib import Path

from dpbuild.adapters.registry.troubles import NoCertificates


def context(ca_bundle: str | None, folder: str) -> ssl.SSLContext:
    """``ca_bundle`` replaces the system's certificates; ``folder`` has a host's own, or is "".

    Raises NoCertificates.
    """
    try:
        made = ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError):
        raise NoCertificates(
            "cannot read the CA certificates",
            where=ca_bundle,
            hint="SSL_CERT_FILE must name a file of PEM certificates",
        ) from None
    # Python 3.13 began to ask for extensions that many a company's own CA lacks; whether a registry can be
    # used is not to depend on the Python that dpbuild runs on. Trust itself is checked all the same.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if folder:
        _add(made, Path(folder))
    return made


def _add(made: ssl.SSLContext, folder: Path) -> None:
    """``*.crt`` are authorities, ``NAME.cert`` and ``NAME.key`` who we are (Docker's manual, "certs.d").

    Raises NoCertificates.
    """
    path = folder
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix == ".crt":
                made.load_verify_locations(path)
            elif path.suffix == ".cert":
                made.load_cert_chain(path, path.with_suffix(".key"))
    except OSError as problem:
        raise NoCertificates(
            f"cannot read the certificates for a registry: {problem.strerror or problem}",
            where=str(path),
            hint="a .cert needs a .key of the same name beside it" if path.suffix == ".cert" else None,
        ) from None
