"""Whether a base carries the signature that the configuration demands."""

from typing import Final

from dpbuild.errors import BaseImageError
from dpbuild.ports.signer import Verifier
from dpbuild.ports.source import ImageSource
from dpbuild.ports.store import Store
from dpbuild.stages.evidence.found import attached
from dpbuild.stages.evidence.verify import signed

_KIND: Final = "facts"


def require_signature(source: ImageSource, verifier: Verifier, store: Store, where: str) -> None:
    """The manifest or index that the source names must carry a signature of the key. Raises BaseImageError (20).

    That it does is kept in the store, by its digest and the key: no signature ends.
    """
    digest = source.resolve()[0].digest
    key = f"signed-{digest.hex}-{verifier.key_id}"
    if store.get(_KIND, key) is not None:
        return
    found = attached(source, digest, where)
    if not signed(found, digest, verifier):
        raise BaseImageError(
            f"the base carries no signature of verify.base-key: {digest}",
            where=where,
            hint="sign it (cosign sign --key …), or choose another base or key",
        )
    store.put(_KIND, key, b"yes")
