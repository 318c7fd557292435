"""STA: what Env, User and WorkingDir promise and the image does not hold."""

import posixpath
from collections.abc import Iterator
from typing import Final

from dpbuild.frozen import replace
from dpbuild.model.finding import Severity
from dpbuild.stages.proof import variables
from dpbuild.stages.proof.accounts import blocked
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

# tempfile.gettempdir: these variables, then these folders.
_TMP_VARIABLES: Final = ("TMPDIR", "TEMP", "TMP")
_TMP: Final = ("/tmp", "/var/tmp", "/usr/tmp")  # noqa: S108 - names in an image
_NAMES: Final = ("LOGNAME", "USER", "LNAME", "USERNAME")


def _env(subject: Subject, name: str, text: str) -> Found:
    return Found(path="Env", evidence=f"{name}={subject.config.variable(name)}: {text}")


def _home_of_python(subject: Subject) -> Iterator[Found]:
    value = subject.config.variable("PYTHONHOME")
    if not value or not subject.start.executable:
        return
    prefix = value.partition(":")[0]
    name = subject.facts.stdlib.rpartition("/")[2] if subject.facts is not None else ""
    if subject.start.task.flags & {"E", "I"}:
        return
    folders = [f"{prefix}/{library}/{name}" for library in ("lib", "lib64")] if name else []
    if not any(subject.tree.is_file(f"{row}/encodings/__init__.py{end}") for row in folders for end in ("", "c")):
        there = [row for row in subject.tree.children(f"{prefix}/lib") if row.startswith("python3")]
        found = f"it has lib/{', lib/'.join(there)}, not lib/{name}" if there else f"it has no lib/{name}"
        yield _env(subject, "PYTHONHOME", found)


def _refused(subject: Subject) -> Iterator[Found]:
    facts, task = subject.facts, subject.start.task
    if facts is None or facts.implementation != "cpython" or not subject.start.executable:
        return
    said = f"Python {facts.minor[0]}.{facts.minor[1]} wants"
    # Of several of one name the first counts.
    for option in {row.partition("=")[0]: row for row in reversed(task.values)}.values():
        if wanted := variables.refused_option(option, facts.minor[1], gil_disabled=facts.gil_disabled):
            word = next((row for row in subject.argv if row.endswith(option)), "")
            path = subject.said_in(word) if word else subject.start.chain[0]
            yield Found(path=path, evidence=f"-X {option}: {said} {wanted}")
    if task.flags & {"E", "I"}:
        return

    def has_codec(name: str) -> bool:
        return any(f"{facts.stdlib}/encodings/{name}{end}" in subject.tree for end in (".py", ".pyc"))

    # Options come before these two: -R, and -X utf8.
    passed = {name for name, letter in (("PYTHONHASHSEED", "R"), ("PYTHONUTF8", "X")) if letter in task.flags}
    for name in variables.NAMES:
        value = subject.config.variable(name) or ""
        wanted = variables.refused(name, value, facts.minor[1], has_codec, gil_disabled=facts.gil_disabled)
        if wanted and name not in passed:
            yield _env(subject, name, f"{said} {wanted}")


def _nowhere(subject: Subject) -> Iterator[Found]:
    startup = subject.config.variable("PYTHONSTARTUP")
    if startup and startup not in subject.tree:
        yield _env(subject, "PYTHONSTARTUP", "the file is not in the image")
    for row in (subject.config.variable("PYTHONPATH") or "").split(":"):
        path = posixpath.join(subject.working_dir, row)
        if row and path not in subject.tree and not row.endswith(".zip"):
            yield _env(subject, "PYTHONPATH", f"{row} is not in the image")


def _loader_variables(subject: Subject) -> Iterator[Found]:
    for row in (subject.config.variable("LD_PRELOAD") or "").replace(" ", ":").split(":"):
        # Names without a slash are looked for as libraries are.
        if "/" in row and not subject.tree.is_file(row):
            yield _env(subject, "LD_PRELOAD", f"{row} is not in the image")
    rows = [row for row in (subject.config.variable("LD_LIBRARY_PATH") or "").split(":") if row]
    for row in rows:
        if not subject.tree.is_directory(row):
            found = _env(subject, "LD_LIBRARY_PATH", f"{row} is not in the image")
            yield replace(found, severity=Severity.NOTE)


def _path(subject: Subject) -> Iterator[Found]:
    if not subject.config.variable("PATH"):
        yield Found(path="Env", evidence=f"PATH is not set; engines take {':'.join(subject.search_path)}")


def _certificates(subject: Subject) -> Iterator[Found]:
    if subject.facts is None:
        return
    told = subject.facts.surroundings.certificates
    for name, exists in (("SSL_CERT_FILE", subject.tree.is_file), ("SSL_CERT_DIR", subject.tree.is_directory)):
        value = subject.config.variable(name)
        if value and not any(exists(row) for row in value.split(":")):
            yield _env(subject, name, "it is not in the image")
            return
    if subject.config.variable("SSL_CERT_FILE") or subject.config.variable("SSL_CERT_DIR") or told.found:
        return
    if told.bundles:
        yield Found(
            path="Env",
            evidence=f"SSL_CERT_FILE is not set, and OpenSSL looks for {told.file or 'its own file'}, which is not in"
            f" the image; {told.bundles[0]} is",
            fix=f"set SSL_CERT_FILE={told.bundles[0]}",
        )
    elif not any(row.name == "certifi" for row in subject.distributions):
        yield Found(
            path="/",
            evidence="there are no certificates of authorities in the image",
            severity=Severity.NOTE,
            fix="add a bundle and set SSL_CERT_FILE, or install certifi",
        )


def _language(subject: Subject) -> Iterator[Found]:
    names = ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONUTF8")
    distroless = subject.tree.is_directory("/var/lib/dpkg/status.d")
    if distroless and not any(subject.config.variable(name) for name in names):
        yield Found(path="Env", evidence=f"none of {', '.join(names)} is set; the base sets LANG=C.UTF-8")


def _nameless(subject: Subject) -> Iterator[Found]:
    user = subject.user
    if user.unknown or user.name or user.uid == 0:
        return
    named = any(subject.config.variable(name) for name in _NAMES)
    if not (named and subject.config.variable("HOME")):
        wanted = " and ".join([*([] if named else ["USER"]), *([] if subject.config.variable("HOME") else ["HOME"])])
        yield Found(path="User", evidence=f"the uid {user.uid} is not in /etc/passwd, and Env does not set {wanted}")


def _unknown_user(subject: Subject) -> Iterator[Found]:
    if subject.user.unknown:
        yield Found(
            path="User", evidence=f"User is {subject.user.unknown}, which /etc/passwd or /etc/group does not have"
        )


def _home(subject: Subject) -> Iterator[Found]:
    user = subject.user
    if user.unknown or (not user.name and not subject.config.variable("HOME")):
        return
    if not subject.tree.is_directory(user.home):
        yield Found(path=user.home, evidence=f"HOME of the user {user.name or user.uid}: it is not in the image")
    elif blocked(subject.tree, user, user.home, 2):
        entry = subject.tree.follow(user.home)
        mode = f"mode {entry.mode:04o}, owner {entry.uid}:{entry.gid}" if entry is not None else ""
        yield Found(path=user.home, evidence=f"HOME of the user {user.name or user.uid} ({user.uid}): {mode}")


def _working_dir(subject: Subject) -> Iterator[Found]:
    path = subject.working_dir
    if path not in subject.tree:
        yield Found(path=path, evidence="WorkingDir is not in the image; engines make an empty folder of root's")
    elif not subject.tree.is_directory(path):
        yield Found(path=path, evidence="WorkingDir is no folder", severity=Severity.ERROR)
    elif not subject.user.unknown and (place := blocked(subject.tree, subject.user, path, 1)):
        yield Found(
            path=path,
            evidence=f"WorkingDir: {place} is closed to the user {subject.user.name or subject.user.uid}",
        )


def _temporary(subject: Subject) -> Iterator[Found]:
    user = subject.user
    asked = [value for name in _TMP_VARIABLES if (value := subject.config.variable(name))]
    folders = [*asked, *_TMP, subject.working_dir]
    volumes = set(subject.config.volumes)
    # That there is none at all is another rule's.
    if not any(subject.tree.is_directory(row) for row in _TMP):
        return
    if user.unknown or any(
        row in volumes or (subject.tree.is_directory(row) and not blocked(subject.tree, user, row, 2))
        for row in folders
    ):
        return
    yield Found(path="/tmp", evidence=f"the user {user.name or user.uid} can write to none of {', '.join(folders)}")  # noqa: S108


RULES: Final = (
    Rule(
        id="STA004",
        severity=Severity.ERROR,
        title="PYTHONHOME does not lead to the standard library",
        symptom="Fatal Python error: init_fs_encoding: failed to get the Python codec of the filesystem encoding;"
        " ModuleNotFoundError: No module named 'encodings'",
        why="PYTHONHOME replaces the search for the standard library. Taken over from another image or another"
        " version, it leads to none that this interpreter can use, and Python ends before it runs a line.",
        fix="leave PYTHONHOME out of the image's Env",
        look=_home_of_python,
    ),
    Rule(
        id="STA005",
        severity=Severity.NOTE,
        title="a variable of Python's leads nowhere",
        symptom="ModuleNotFoundError for what was to be found there; Could not open PYTHONSTARTUP",
        why="PYTHONPATH or PYTHONSTARTUP names something that is not in the image. Python does not complain about"
        " folders that are missing.",
        fix="copy what is missing, or leave the variable out",
        look=_nowhere,
    ),
    Rule(
        id="STA006",
        severity=Severity.NOTE,
        title="PATH is not set",
        symptom="programs of the base that are not found",
        why="A config that replaces the base's Env loses PATH; engines then use a default of their own.",
        fix="extend the base's Env instead of replacing it",
        look=_path,
    ),
    Rule(
        id="STA007",
        severity=Severity.WARNING,
        title="TLS connections find no certificates",
        symptom="ssl.SSLCertVerificationError: certificate verify failed: unable to get local issuer certificate",
        why="On distroless, OpenSSL's own default (/usr/lib/ssl/cert.pem) does not exist; certificates are found"
        " through SSL_CERT_FILE in the base's Env alone. A config that drops the variable, or names a file that is"
        " not there, leaves Python without any. A missing file is not even reported.",
        fix="keep the base's Env, or set SSL_CERT_FILE to the bundle in the image",
        look=_certificates,
    ),
    Rule(
        id="STA008",
        severity=Severity.NOTE,
        title="the base's LANG was dropped",
        symptom="file names and output that are not UTF-8, in programs other than Python",
        why="Python 3.7 and later helps itself (PEP 538, PEP 540); other programs and libraries do not.",
        fix="keep the base's Env, or set LANG=C.UTF-8",
        look=_language,
    ),
    Rule(
        id="STA009",
        severity=Severity.WARNING,
        title="the loader is sent to what is not there",
        symptom="ERROR: ld.so: object '/usr/lib/libjemalloc.so.2' from LD_PRELOAD cannot be preloaded: ignored",
        why="LD_PRELOAD names a library, or LD_LIBRARY_PATH (a note) a folder, that the image does not have.",
        fix="add the library, or leave the variable out",
        look=_loader_variables,
    ),
    Rule(
        id="STA010",
        severity=Severity.WARNING,
        title="the user has no name and no home",
        symptom="OSError: No username set in the environment (KeyError: 'getpwuid(): uid not found: 1234' up to 3.12);"
        " Permission denied: '/~' or '/.cache'",
        why="A uid that /etc/passwd does not have has no name, and its HOME is /, where it may not write.",
        fix="use a user of the base (nonroot, 65532), or set HOME and USER in Env",
        look=_nameless,
    ),
    Rule(
        id="STA011",
        severity=Severity.ERROR,
        title="the user or group is not in the image",
        symptom="unable to find user app: no matching entries in passwd file",
        why="Names are looked up in the image's own /etc/passwd and /etc/group; a useradd in a build stage does not"
        " come along with COPY.",
        fix="use a user of the base (nonroot), or a number",
        look=_unknown_user,
    ),
    Rule(
        id="STA012",
        severity=Severity.NOTE,
        title="the working directory is not what it should be",
        symptom="PermissionError or FileNotFoundError for files with relative names; chdir to cwd set in config.json"
        " failed: not a directory",
        why="WorkingDir is missing (engines make it, for root), is closed to the user of the image, or is no folder,"
        " which is an error.",
        fix="copy the folder into the image, readable for its user",
        look=_working_dir,
    ),
    Rule(
        id="STA015",
        severity=Severity.WARNING,
        title="the user may write temporary files nowhere",
        symptom="FileNotFoundError: No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/']",
        why="The user may write to none of the folders that tempfile tries.",
        fix="add /tmp with mode 1777, or set TMPDIR to a volume",
        look=_temporary,
    ),
    Rule(
        id="STA016",
        severity=Severity.NOTE,
        title="the user cannot write to its home",
        symptom="PermissionError below HOME: caches of matplotlib, torch or huggingface, ~/.config",
        why="The home that /etc/passwd or HOME names is not in the image, or belongs to somebody else.",
        fix="make the folder with the user as its owner, or set HOME to a folder where it may write",
        look=_home,
    ),
    Rule(
        id="STA022",
        severity=Severity.ERROR,
        title="Python does not start with a value of a variable, or of -X",
        symptom="Fatal Python error: preconfig_init_utf8_mode: invalid PYTHONUTF8 environment variable value",
        why="PYTHONUTF8, PYTHONHASHSEED, PYTHONIOENCODING, PYTHONMALLOC, PYTHONINTMAXSTRDIGITS, PYTHONTRACEMALLOC,"
        " PYTHON_CPU_COUNT and PYTHON_GIL take certain values only: PYTHONUTF8=true is none; so do -X utf8,"
        " frozen_modules and their like. At any other Python ends before it runs a line.",
        fix="give it a value that Python takes, or leave it out of the image's Env or Entrypoint",
        look=_refused,
    ),
)
