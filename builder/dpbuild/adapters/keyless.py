"""Identities in the place of keys, by the ``sigstore`` package, an extra: ``pip install 'dpbuild[sigstore]'``.

An issuer vouches for who signs (OpenID Connect), Fulcio certifies a key for some minutes, Rekor keeps that it was used.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dpbuild.errors import RegistryError, UsageError
from dpbuild.oci import mediatype

_LARGEST: Final = 1 << 20
_TRUST: Final = "--trust-config names the configuration of a Sigstore, as sigstore's own --trust-config takes it"


class Identity:
    """The IdentityVerifier port."""

    def __init__(self, trust: Any, identity: str, issuer: str) -> None:
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity as Policy

        self._verifier = Verifier(trusted_root=trust.trusted_root)
        self._policy = Policy(identity=identity, issuer=issuer)

    def opened(self, bundle: bytes) -> bytes | None:
        """The statement; None for what is no bundle, is not this identity's, or cannot be proved to be."""
        from sigstore.models import Bundle

        try:
            kind, payload = self._verifier.verify_dsse(Bundle.from_json(bundle), self._policy)
        except Exception:  # noqa: BLE001 - anybody may attach anything, and whatever it breaks, it proves nothing
            return None
        return payload if kind == mediatype.IN_TOTO else None


class _Anybody:
    """A policy for what was just signed: by whoever it was."""

    def verify(self, cert: Any) -> None:
        """Nothing is asked of the certificate's names."""


class Keyless:
    """The KeylessSigner port. ``token`` is an identity token, "" for that of the surroundings (a job of CI)."""

    def __init__(self, trust: Any, token: str) -> None:
        self._trust = trust
        self._given = token
        # Whether there is one shows before anything is built; it may be too old when the build is done.
        self._token()

    def bundles(self, statements: Sequence[bytes]) -> tuple[bytes, ...]:
        """All by one certificate, and checked as anybody will: the package is content with fewer proofs than that."""
        from sigstore.dsse import Statement
        from sigstore.sign import SigningContext
        from sigstore.verify import Verifier

        token = self._token()
        try:
            with SigningContext.from_trust_config(self._trust).signer(token) as signer:
                made = [signer.sign_dsse(Statement(row)) for row in statements]
            verifier = Verifier(trusted_root=self._trust.trusted_root)
            for bundle in made:
                verifier.verify_dsse(bundle, _Anybody())
            return tuple(row.to_json().encode() for row in made)
        except Exception as problem:  # noqa: BLE001 - its clients have errors without a common root
            address = getattr(getattr(problem, "request", None), "url", None)
            raise RegistryError(f"Sigstore did not sign: {_said(problem)}", where=address, hint=_TRUST) from None

    def _token(self) -> Any:
        from sigstore.errors import Error
        from sigstore.oidc import IdentityToken, detect_credential

        try:
            found = self._given or detect_credential()
            if not found:
                raise UsageError(
                    "nobody says who signs: there is no identity token",
                    hint="give one in SIGSTORE_ID_TOKEN, or sign in a job of CI that may have one"
                    " (GitHub Actions: permissions: id-token: write)",
                )
            return IdentityToken(found)
        except Error as problem:
            raise UsageError(f"the identity token cannot be used: {_said(problem)}") from None


def trust(path: str, *, offline: bool) -> Any:
    """The ``ClientTrustConfig`` in a file; "" for that of the public Sigstore. Raises UsageError, RegistryError."""
    try:
        from sigstore.models import ClientTrustConfig
    except ImportError:
        raise UsageError(
            "identities need the package sigstore", where=path or None, hint="pip install 'dpbuild[sigstore]'"
        ) from None
    if not path:
        try:
            return ClientTrustConfig.production(offline=offline)
        except Exception as problem:  # noqa: BLE001 - tuf and sigstore have errors without a common root
            raise RegistryError(
                f"the public Sigstore does not say whom to trust: {_said(problem)}", hint=_TRUST
            ) from None
    try:
        with Path(path).open("rb") as file:
            found = ClientTrustConfig.from_json(file.read(_LARGEST).decode())
        _ = found.trusted_root, found.signing_config
    except OSError as problem:
        raise UsageError(f"the trust configuration cannot be read: {problem.strerror}", where=path) from None
    except Exception as problem:  # noqa: BLE001 - whatever is wrong with the content of a file
        raise UsageError(f"this is no trust configuration: {_said(problem)}", where=path, hint=_TRUST) from None
    return found


def _said(problem: BaseException) -> str:
    """The first line of an error, or of what led to one that says nothing."""
    import requests

    if isinstance(problem, requests.ConnectionError):
        return "it cannot be reached"
    while not str(problem).strip() and (problem.__cause__ or problem.__context__):
        problem = problem.__cause__ or problem.__context__ or problem
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
