"""Files that hold secrets: by their names, and by what is in them."""

import re
from typing import Final

from dpbuild.model.files import ProjectFile

# Secrets as people leave them lying about.
SECRETS: Final = (
    ".env", ".env.*", "!.env.example", "!.env.sample", "!.env.template", "*.pem", "*.key", "*.p12", "*.pfx",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", ".pypirc", "pip.conf", ".npmrc", ".git-credentials",
    ".pgpass", ".aws/", ".ssh/", ".gnupg/", ".docker/", ".kube/", "credentials.json", "*.kdbx",
    "*.jks", "*.keystore", "*.ppk", ".htpasswd", ".dockercfg", ".envrc", ".vault-token", ".terraformrc", "*.tfstate",
    "*.tfstate.*", "kubeconfig", ".boto", ".s3cfg",
)  # fmt: skip
# A private key under any name, also in JSON (RFC 7468; OpenSSH's and OpenPGP's forms are alike).
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\r?\n|\\n)")
# Keys are smaller; and code that has one in it is code.
_LARGEST_KEY: Final = 1 << 16
_CODE: Final = (".py", ".pyi", ".pyx", ".c", ".h", ".so")


def holds_key(file: ProjectFile) -> bool:
    """Whether there is a private key in it."""
    if file.open is None or file.size > _LARGEST_KEY or file.path.endswith(_CODE):
        return False
    with file.open() as content:
        return _PRIVATE_KEY.search(content.read()) is not None
