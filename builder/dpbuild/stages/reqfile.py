"""Requirements files, in pip's format (pip's documentation, "Requirements File Format").

Only the parts that say what is needed are acted on. Options that name an index are kept for the resolver;
what neither dpbuild nor the resolver could honour is an error that names it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath

from dpbuild.errors import ConfigError, UnsupportedRequirement

ReadText = Callable[[str], str | None]

_INDEX_OPTIONS = {"-i", "--index-url", "--extra-index-url", "--no-index", "-f", "--find-links", "--pre"}
_HARMLESS = {"--prefer-binary", "--use-feature", "--use-pep517", "--no-use-pep517"}
_ALONE = {"--no-index", "--pre", "--require-hashes", "--prefer-binary", "--use-pep517", "--no-use-pep517"}
_HASH = r"\s--hash[=\s]\s*(\S+)"
# Those that pip takes (its documentation, "Secure installs"), with as many digits as they have.
_DIGEST = r"(?:sha256:[0-9a-fA-F]{64}|sha384:[0-9a-fA-F]{96}|sha512:[0-9a-fA-F]{128})"
_OTHER_PER_REQUIREMENT = r"\s(--(?:config-settings?|global-option|install-option))\b"
_COMMENT = r"(^|\s)#.*$"
_PATH = r"(?:\.{1,2}(?:/|$)|/|~|file:|[^\s@;]*\.(?:whl|zip|tar\.gz|tgz)(?:\s|$|#|\[|;)|(?:git|hg|svn|bzr)\+)"


@dataclass(slots=True)
class Parsed:
    """What a file and those that it names say; ``rows`` and ``constraints`` are (where, text, hashes).

    ``require_hashes`` is whether one of them says ``--require-hashes``.
    """

    rows: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    constraints: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    require_hashes: bool = False

    @property
    def hashed(self) -> bool:
        """Whether every requirement must have a hash: as in pip, because it is said, or because any row has one."""
        return self.require_hashes or any(hashes for _, _, hashes in (*self.rows, *self.constraints))


def parse(path: str, read: ReadText) -> Parsed:
    """Read ``path`` and everything that it names by ``-r`` and ``-c``.

    Raises UnsupportedRequirement for editable, path and version-control requirements, and ConfigError for a
    file that is missing, an option that is not supported, or what is no hash.
    """
    out = Parsed()
    _file(path, read, out, constraint=False, seen=())
    return out


def _logical(text: str) -> list[tuple[int, str]]:
    rows: list[tuple[int, str]] = []
    start, parts = 0, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        # As in pip: a comment ends the line before continuation is looked at, except within one.
        start = start or number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            parts.append(line[:-1])
            continue
        parts.append(line)
        whole = re.sub(_COMMENT, "", "".join(parts)).strip()
        if whole:
            rows.append((start, whole))
        start, parts = 0, []
    return rows


def _file(path: str, read: ReadText, out: Parsed, *, constraint: bool, seen: tuple[str, ...]) -> None:
    if path in seen:
        return
    text = read(path)
    if text is None:
        raise ConfigError(
            "the requirements file is not there",
            where=path,
            hint=f"it is named by {seen[-1]}" if seen else None,
        )
    for number, line in _logical(text.removeprefix("\ufeff")):
        where = f"{path}:{number}"
        if not line.startswith("-"):
            _requirement(line, where, out, constraint=constraint)
            continue
        option, value = _option(line, where)
        if option in ("-r", "--requirement", "-c", "--constraint"):
            if "://" in value:
                raise UnsupportedRequirement(f"{option} with a URL is not supported", where=where)
            inner = normpath(join(dirname(path), value))
            _file(
                inner,
                read,
                out,
                constraint=constraint or option in ("-c", "--constraint"),
                seen=(*seen, path),
            )
        elif option in ("-e", "--editable"):
            raise UnsupportedRequirement(
                f"{value} is an editable requirement, which has no wheel to lock",
                where=where,
                hint="build it as a wheel and name its folder in find-links",
            )
        elif option in _INDEX_OPTIONS:
            if re.search(r"//[^/\s]*@", value):
                raise UnsupportedRequirement(
                    f"{option} holds a user or password, which must not reach a lock",
                    where=where,
                    hint="set UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD, or use netrc",
                )
            if option in ("-f", "--find-links") and not re.match(r"[a-z][a-z0-9+.-]*://|/", value):
                # As pip does: from where the file is.
                value = normpath(join(dirname(path), value))
            out.options.append(f"{option} {value}".strip())
        elif option == "--require-hashes":
            out.require_hashes = True
        elif option not in _HARMLESS:
            raise ConfigError(f"the option {option} is not supported in a requirements file", where=where)


def _option(line: str, where: str) -> tuple[str, str]:
    import shlex

    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ConfigError(f"cannot read the option: {error}", where=where) from None
    option, equals, value = words[0].partition("=")
    if not option.startswith("--") and len(option) > 2:
        option, value = option[:2], words[0][2:]
    elif not equals:
        value = words[1] if len(words) > 1 else ""
    if not value and option not in _ALONE:
        raise ConfigError(f"the option {option} needs a value", where=where)
    return option, value


def _requirement(line: str, where: str, out: Parsed, *, constraint: bool) -> None:
    hashes = tuple(re.findall(_HASH, line))
    text = re.sub(_HASH, "", line).strip()
    for value in hashes:
        if not re.fullmatch(_DIGEST, value):
            raise ConfigError(f"not a hash: {value!r}", where=where, hint="a hash is sha256: and 64 hexadecimal digits")
    if found := re.search(_OTHER_PER_REQUIREMENT, text):
        raise ConfigError(f"the option {found[1]} is not supported in a requirements file", where=where)
    if re.match(_PATH, text):
        raise UnsupportedRequirement(
            f"{text} is a path or a version-control address, which has no wheel to lock",
            where=where,
            hint="build it as a wheel, name its folder in find-links, and require it by name",
        )
    if constraint:
        out.constraints.append((where, text, hashes))
    else:
        out.rows.append((where, text, hashes))
