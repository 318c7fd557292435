"""SUP: secrets in images, and what scanners need to know their packages."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from dpbuild.archive.entry import Kind
from dpbuild.model.finding import Severity
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

# Files that hold credentials by their purpose: what their paths end with.
_SECRETS: Final = (
    *(f"/.env{end}" for end in ("", ".local", ".prod", ".production", ".dev", ".development", ".staging")),
    *("/.netrc", "/_netrc", "/.pypirc", "/.git-credentials", "/.npmrc", "/.pgpass", "/.my.cnf", "/.vault-token"),
    *("/.docker/config.json", "/.dockercfg", "/.kube/config", "/.aws/credentials", "/.config/gh/hosts.yml"),
    *("/.azure/accessTokens.json", "/.azure/msal_token_cache.json"),
    *("/gcloud/credentials.db", "/gcloud/application_default_credentials.json"),
    *(f"/.ssh/id_{kind}" for kind in ("rsa", "dsa", "ecdsa", "ed25519")),
    "/.terraform.d/credentials.tfrc.json",
)
_SECRET_NAMES: Final = frozenset(row.rpartition("/")[2] for row in _SECRETS)
# Tokens that say by their form what they are, as their makers document it.
_FORMS: Final = (
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("a PyPI token", re.compile(r"\bpypi-AgEI[A-Za-z0-9_-]{50,}")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    ("a Google API key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b")),
    ("an API key", re.compile(r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("a password in a URL", re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@$]+@")),
)
_NAME: Final = re.compile(
    r"(?:.*_)?(?:TOKEN|SECRET|SECRET_KEY|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIALS?)", re.IGNORECASE
)
_URL_FILES: Final = ("/pip.conf", "/uv.toml", "/direct_url.json", "/.git/config")
_SITE: Final = re.compile(r".*/(?:site|dist)-packages/.*")


def secret_name(variable: str) -> bool:
    """Whether a variable is a secret's by its name."""
    return bool(_NAME.fullmatch(variable))


def _form(text: str) -> str:
    """What kind of secret is in a text; "" if none is seen."""
    return next((name for name, form in _FORMS if form.search(text)), "")


def _keys(subject: Subject) -> Iterator[Found]:
    stdlib = f"{subject.facts.stdlib}/" if subject.facts is not None else "//"
    installed = []
    for path, scan in subject.scanned.items():
        if not scan.private_key or path.startswith(stdlib):
            continue
        if _SITE.fullmatch(path):
            installed.append(path)
        else:
            yield Found(path=path, evidence="it holds a private key")
    if installed:
        yield Found(
            path=installed[0],
            evidence=f"{len(installed)} files of installed packages hold private keys, most likely for their tests",
            severity=Severity.NOTE,
        )


def _files(subject: Subject) -> Iterator[Found]:
    for entry in subject.entries:
        if entry.kind is not Kind.FILE or not entry.size or not _is_secret(entry.path):
            continue
        if not _SITE.fullmatch(f"/{entry.path}") and not subject.scan(entry.path).private_key:
            name = posixpath.basename(entry.path)
            yield Found(path=f"/{entry.path}", evidence=f"files named {name} hold credentials or settings of a host")


def _is_secret(path: str) -> bool:
    """Whether a file holds credentials by its name; of all files of an image hardly any has one of the last parts."""
    return path.rpartition("/")[2] in _SECRET_NAMES and f"/{path}".endswith(_SECRETS)


def _env(subject: Subject) -> Iterator[Found]:
    for name, value in subject.config.environment:
        if form := _form(value):
            yield Found(path="Env", evidence=f"{name} holds {form}")
        elif value and _NAME.fullmatch(name) and not value.startswith(("/", "$", "<")):
            yield Found(path="Env", evidence=f"{name} is set; its value is in the image's config for all to read")
    for number, made in enumerate(subject.config.history, 1):
        if form := _form(made.created_by):
            yield Found(path="history", evidence=f"row {number} of the history holds {form}")
    for name, value in subject.config.labels:
        if form := _form(value):
            yield Found(path="Labels", evidence=f"{name} holds {form}")


def _urls(subject: Subject) -> Iterator[Found]:
    for path, scan in subject.scanned.items():
        if scan.text and path.endswith(_URL_FILES) and (form := _form(scan.text)):
            yield Found(path=path, evidence=f"it holds {form}")


def _repositories(subject: Subject) -> Iterator[Found]:
    for entry in subject.entries:
        folder, _, name = entry.path.rpartition("/")
        if name == "HEAD" and posixpath.basename(folder) == ".git" and subject.tree.is_directory(f"{folder}/objects"):
            size = sum(row.size for row in subject.entries if row.path.startswith(f"{folder}/"))
            yield Found(path=f"/{folder}", evidence=f"a Git repository with its whole history, {size / 1e6:.1f} MB")


def _hidden_secrets(subject: Subject) -> Iterator[Found]:
    """What was removed from view, but is in a layer."""
    for layer, scan in enumerate(subject.scans):
        for ordinal, entry in enumerate(scan.entries):
            if entry.kind is not Kind.FILE or not entry.size:
                continue
            row = scan.files.get(ordinal)
            key = row is not None and row.private_key
            if not (key or _is_secret(entry.path)) or _SITE.fullmatch(f"/{entry.path}"):
                continue
            here = subject.tree.origin(entry.path) if subject.tree.is_file(entry.path) else None
            if here != (layer, ordinal):
                yield Found(
                    path=f"/{entry.path}",
                    evidence=f"{subject.layer_name(layer)} has it, and whoever pulls the image can read it there",
                )


def _database(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    if facts is not None and facts.distributor and not facts.package_databases:
        yield Found(path="/", evidence=f"the image is {facts.distributor}, and no package manager's records are in it")


def _records(subject: Subject) -> Iterator[Found]:
    rows = [
        row
        for row in subject.distributions
        if row.info.endswith(".dist-info") and row.site in subject.sys_path and f"{row.info}/RECORD" not in subject.tree
    ]
    # Debian removes RECORD from its own packages.
    rows = [row for row in rows if not row.site.endswith("/python3/dist-packages")]
    if rows:
        names = ", ".join(str(row) for row in rows[:4])
        yield Found(path=rows[0].info, evidence=f"{len(rows)} distributions without RECORD: {names}")


RULES: Final = (
    Rule(
        id="SUP001",
        severity=Severity.WARNING,
        title="a private key is in the image",
        symptom="nothing; whoever can pull the image has the key",
        why="Images are copied far, and layers are kept. Keys that installed packages hold for their tests are a note.",
        fix="mount the key when the container runs, leave it out of the image, and replace it if the image was pushed",
        look=_keys,
    ),
    Rule(
        id="SUP002",
        severity=Severity.WARNING,
        title="a file that usually holds credentials is in the image",
        symptom="nothing; whoever can pull the image can read it",
        why=".env, .netrc, .pypirc, ~/.docker/config.json, ~/.aws/credentials and their like belong to a person or a"
        " host. COPY . takes them along unless .dockerignore names them.",
        fix="exclude the file, and give its content when the container runs",
        look=_files,
    ),
    Rule(
        id="SUP003",
        severity=Severity.WARNING,
        title="a secret in the image's config",
        symptom="nothing; docker inspect shows it",
        why="Env, labels and the history, with the values of ARG in it, are plain text in every copy of the image.",
        fix="give secrets when the container runs; while building, RUN --mount=type=secret",
        look=_env,
    ),
    Rule(
        id="SUP004",
        severity=Severity.WARNING,
        title="credentials in a configuration file",
        symptom="nothing; whoever can pull the image can read them",
        why="pip.conf, uv.toml, .git/config and direct_url.json keep URLs as they were given, password included.",
        fix="use a keyring, netrc or environment variables while building, and leave the files out",
        look=_urls,
    ),
    Rule(
        id="SUP005",
        severity=Severity.WARNING,
        title="a Git repository is in the image",
        symptom="nothing; all that was ever committed is in the image",
        why="COPY . takes .git along unless .dockerignore names it.",
        fix="exclude .git",
        look=_repositories,
    ),
    Rule(
        id="SUP006",
        severity=Severity.NOTE,
        title="no records of the base's packages",
        symptom="scanners that report no packages, and so no vulnerabilities",
        why="Scanners read dpkg's, apk's or rpm's records. Removing them makes images look clean, not safe.",
        fix="keep /var/lib/dpkg/status.d, /lib/apk/db or their like, or attach an SBOM",
        look=_database,
    ),
    Rule(
        id="SUP007",
        severity=Severity.NOTE,
        title="distributions without RECORD",
        symptom="pip cannot uninstall them; scanners cannot tell which files are theirs",
        why="RECORD lists a distribution's files with their hashes. Some installers and clean-ups leave it out.",
        fix="install with an installer that writes RECORD, and keep it",
        look=_records,
    ),
    Rule(
        id="SUP008",
        severity=Severity.WARNING,
        title="a secret was removed, but is in a layer",
        symptom="nothing; whoever can pull the image can read it",
        why="A file that a later layer removes or replaces stays in the layer that brought it.",
        fix="build without the file, and replace the secret if the image was pushed",
        look=_hidden_secrets,
    ),
)
