"""``dpbuild verify``."""

import json
from pathlib import Path
from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import UsageError
from dpbuild.oci.platform import Platform


@click.command("verify")
@click.argument("reference", metavar="REF")
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DPBUILD_KEY",
    metavar="FILE",
    help="The public key, in PEM.",
)
@click.option(
    "--certificate-identity",
    envvar="DPBUILD_CERTIFICATE_IDENTITY",
    metavar="NAME",
    help="Who has signed without a key: a mail address, or the URL of a workflow.",
)
@click.option(
    "--certificate-oidc-issuer",
    envvar="DPBUILD_CERTIFICATE_OIDC_ISSUER",
    metavar="URL",
    help="Who vouches for that identity.",
)
@options.trust_config
@click.option("--json", "json_", is_flag=True, envvar="DPBUILD_JSON", help="Print what is vouched for, as JSON.")
@options.platforms
@options.common
def command(reference: str, *, key: Path | None, json_: bool, **given: Any) -> None:
    """Check that the image REF is signed by a key or an identity, and everything that is attached to it as well.

    Of an index, the index and every image in it. stdout is the image by digest; the exit code is 70 if it is not
    signed, if a signature is another's or another image's, or if something is attached that is not signed.
    Beside a signed provenance another is told and does no harm.
    """
    from dpbuild.frozen import replace
    from dpbuild.oci.reference import ArchiveReference, LayoutReference, RegistryReference
    from dpbuild.verifying import verify_image

    world = options.world(**given)
    try:
        parsed = options.image(reference)
        platforms = tuple(Platform.parse(word) for word in options.split(given["platform"]))
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    root, vouched = verify_image(parsed, platforms, _verifier(world, key, given), world)
    who = "key" if key is not None else "identity"
    for digest in dict.fromkeys(digest for row in vouched for digest in row.others):
        world.reporter.note(f"another provenance is attached, which this {who} did not sign: {digest}")
    if json_:
        rows = [
            {"digest": str(row.subject), "statements": list(row.statements), "unsigned": [*map(str, row.others)]}
            for row in vouched
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for row in vouched:
        told = ", ".join(row.statements) or "no statements"
        world.reporter.result(f"{row.subject}: signed, {told}")
    if isinstance(parsed, RegistryReference):
        click.echo(str(parsed.at(root.digest)))
    elif isinstance(parsed, LayoutReference | ArchiveReference):
        click.echo(str(replace(parsed, digest=root.digest)))


def _verifier(world: Any, key: Path | None, given: dict[str, Any]) -> Any:
    """The key or the identity. Raises UsageError for neither, both, or half an identity."""
    identity, issuer = given["certificate_identity"], given["certificate_oidc_issuer"]
    if key is not None and not identity and not issuer:
        from dpbuild.adapters.signing import key_file

        return world.verifier(key_file(str(key)), str(key))
    if key is not None or not identity or not issuer:
        raise UsageError(
            "who has to have signed is either a key or an identity",
            hint="--key FILE, or both --certificate-identity NAME and --certificate-oidc-issuer URL",
        )
    return world.identity(identity, issuer, given["trust_config"] or "")
