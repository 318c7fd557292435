"""The options of ``dpbuild build`` in their plainest form, read without click.

Whatever is not plain (help, a mistake, a twin in the environment, short options in one word) is left to click, which
says the same of what is plain: a test compares the two.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from dpbuild.cli.values import opened
from dpbuild.wiring.twins import twins

_FLAGS: Final = {
    "--push": ("push", True),
    "--load": ("load", True),
    "--locked": ("locked", True),
    "--frozen": ("frozen", True),
    "--sign-keyless": ("sign_keyless", True),
    "--offline": ("offline", True),
    "--plain-http": ("plain_http", True),
    "--evidence": ("evidence", True),
    "--no-evidence": ("evidence", False),
    "-q": ("quiet", True),
    "--quiet": ("quiet", True),
    "-v": ("verbose", True),
    "--verbose": ("verbose", True),
}
_REPEATED: Final = {"-t": "tags", "--tag": "tags", "-o": "outputs", "--output": "outputs", "--platform": "platform"}
_TEXTS: Final = {
    "--base": "base",
    "--expect-digest": "expect_digest",
    "--sign-key": "sign_key",
    "--trust-config": "trust_config",
}
_FILES: Final = {"--metadata-file": "metadata_file", "--sbom": "sbom"}
_DEFAULTS: Final[dict[str, Any]] = {
    "path": Path(),
    "tags": (),
    "outputs": (),
    "platform": (),
    "base": None,
    "builder": "auto",
    "epoch": None,
    "metadata_file": None,
    "expect_digest": None,
    "sbom": None,
    "sign_key": None,
    "trust_config": None,
    "sign_keyless": False,
    "cache_dir": None,
    "progress": "auto",
    "evidence": None,
    "push": False,
    "load": False,
    "locked": False,
    "frozen": False,
    "offline": False,
    "plain_http": False,
    "quiet": False,
    "verbose": False,
}
_CACHE_DIR: Final = "DPBUILD_CACHE_DIR"


def read(arguments: list[str]) -> dict[str, Any] | None:
    """The options by their names, as click gives them to the command; None where click is to read them."""
    env = twins()
    names = {f"DPBUILD_{name.upper()}" for name in (*_DEFAULTS, "tag", "output")} - {_CACHE_DIR}
    if any(env.get(name) for name in names):
        return None
    given = dict(_DEFAULTS)
    rest = arguments[::-1]
    folders = []
    while rest:
        word = rest.pop()
        if word in _FLAGS:
            name, value = _FLAGS[word]
            given[name] = value
            continue
        if not word.startswith("-"):
            folders.append(word)
            continue
        word, joint, text = word.partition("=") if word.startswith("--") else (word, "", "")
        text = text if joint else (rest.pop() if rest else "")
        if not text or text.startswith("-") or not _take(given, word, text):
            return None
    if given["cache_dir"] is None and env.get(_CACHE_DIR):
        given["cache_dir"] = Path(env[_CACHE_DIR])
    if len(folders) > 1 or folders == [""]:
        return None
    given["path"] = Path(*folders)
    return given if _fine(given) else None


def _take(given: dict[str, Any], word: str, text: str) -> bool:
    if word in _REPEATED:
        given[_REPEATED[word]] += (text,)
    elif word in _TEXTS:
        given[_TEXTS[word]] = text
    elif word in _FILES or word == "--cache-dir":
        given[_FILES.get(word, "cache_dir")] = Path(text)
    else:
        return False
    return True


def _fine(given: dict[str, Any]) -> bool:
    """Whether click, which looks at paths, would find nothing to say."""
    folders = [path for path in (given["path"], given["cache_dir"]) if path is not None and path.exists()]
    named = (given[name] for name in ("metadata_file", "sbom", "sign_key", "trust_config"))
    files = [Path(path) for path in named if path is not None]
    readable = all(os.access(path, os.R_OK) for path in (*folders, *(path for path in files if path.exists())))
    return readable and all(path.is_dir() for path in folders[1:]) and not any(path.is_dir() for path in files)


def run(given: dict[str, Any], said: dict[str, bool]) -> None:
    """The build; ``said`` is told what ``main`` wants to know. Raises DpbuildError."""
    from dpbuild.cli.building import perform

    said["verbose"] = given["verbose"]
    worlds = []

    def world() -> Any:
        worlds.append(opened(given))
        return worlds[0]

    options = {name: value for name, value in given.items() if name != "path"}
    try:
        perform(given["path"], options, world)
    finally:
        for each in worlds:
            each.close()
