"""SIZ and SUP: what makes images large, and what should not be in them."""

import json
from dataclasses import replace

import pytest
from factories.image import File, Files
from factories.subject import BASE_ENV, SITE, STDLIB, base, found, ids, make_subject

from dpbuild.model.finding import Severity
from dpbuild.oci.config import History

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
KEY = b"x\n-----BEGIN RSA PRIVATE KEY-----\nabc\n"
GITHUB = "ghp_" + "a1B2" * 10


@pytest.mark.parametrize(("count", "severity"), [(119, None), (120, WARNING), (127, WARNING), (128, ERROR)])
def test_layers(count: int, severity: Severity | None) -> None:
    subject = make_subject(*({f"app/{number}": File(b"1")} for number in range(count - len(base()))))
    rows = found(subject)
    assert [(row.rule, row.severity) for row in rows] == ([("SIZ001", severity)] if severity else [])


@pytest.mark.parametrize(("size", "text"), [(7.9, ""), (8.1, "8 GB, which Azure ML"), (10.1, "10 GB, which GitHub")])
def test_large_layers(size: float, text: str) -> None:
    subject = make_subject()
    layers = (*subject.layers[:-1], replace(subject.layers[-1], size=int(size * 1e9)))
    rows = found(replace(subject, layers=layers), "SIZ")
    assert [row.rule for row in rows] == (["SIZ002"] if text else [])
    assert not rows or f"layer 5 has {size} GB, more than the {text}" in rows[0].evidence


def dist(name: str, version: str = "1", site: str = SITE) -> Files:
    info = f"{site}/{name}-{version}.dist-info"
    return {f"{info}/METADATA": File(b"Name: x\n"), f"{info}/RECORD": File(b"")}


def test_cuda_by_accident() -> None:
    files = dist("nvidia_cublas_cu12") | dist("torch", "2.9.0+cu128") | {f"{SITE}/nvidia/x.so": File(b"x" * 2_000_000)}
    (row,) = found(make_subject(files))
    assert (row.rule, row.severity) == ("SIZ003", WARNING)
    assert row.evidence.startswith("nvidia-cublas-cu12 1, torch 2.9.0+cu128: 2.0 MB, and nothing in Env says")
    assert ids(make_subject(files, env=(*BASE_ENV, "CUDA_VERSION=12.8"))) == []
    assert ids(make_subject(dist("torch", "2.9.0+cpu"))) == []


def test_files_that_nobody_can_see() -> None:
    big = File(b"x" * 6_000_000)
    (row,) = found(make_subject({"app/big": big}, {"app/.wh.big": File(b"")}))
    assert (row.rule, row.path, row.severity) == ("SIZ004", "/app/big", NOTE)
    assert row.evidence == (
        "1 files with 6.0 MB are in layers, but hidden by later ones; the largest is this one of layer 6, 6.0 MB"
    )
    assert ids(make_subject({"app/big": big}, {"app/.wh.other": File(b"")})) == []
    assert ids(make_subject({"app/big": File(b"x")}, {"app/big": File(b"y")})) == []


def test_caches() -> None:
    files: Files = {f"root/.cache/pip/http-v2/{number}": File(b"x" * 600_000) for number in range(2)}
    (row,) = found(make_subject(files))
    assert (row.rule, row.path, row.evidence) == ("SIZ005", "/root/.cache/pip", "1.2 MB")
    assert ids(make_subject({"root/.cache/pip/x": File(b"x" * 600_000)})) == []


def test_test_suites() -> None:
    files: Files = {
        f"{SITE}/pandas/tests/x.py": File(b"#" * 20_000_000),
        f"{SITE}/numpy/a/tests/y": File(b"#" * 6_000_000),
    }
    (row,) = found(make_subject(files), "SIZ")
    assert (row.rule, row.path) == ("SIZ006", f"/{SITE}/pandas")
    assert row.evidence == "test suites of installed packages: 26.0 MB (pandas 20.0 MB, numpy 6.0 MB)"


def test_private_keys() -> None:
    (row,) = found(make_subject({"etc/app/tls.key": File(KEY)}))
    assert (row.rule, row.path, row.severity) == ("SUP001", "/etc/app/tls.key", WARNING)
    files: Files = {f"{SITE}/trustme/key.pem": File(KEY), f"{SITE}/trustme/other.pem": File(KEY)}
    (row,) = found(make_subject(files))
    assert (row.severity, row.evidence.partition(" files")[0]) == (NOTE, "2")
    harmless: Files = {
        f"{STDLIB}/test/keycert.pem": File(KEY),
        "app/notes.md": File(b"a line with PRIVATE KEY----- in it\n"),
        "etc/ssl/certs/x.pem": File(b"-----BEGIN CERTIFICATE-----\n"),
    }
    assert ids(make_subject(harmless)) == []


@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("app/.env", ["SUP002"]),
        ("app/.env.production", ["SUP002"]),
        ("app/.env.example", []),
        ("root/.netrc", ["SUP002"]),
        ("home/nonroot/.docker/config.json", ["SUP002"]),
        ("app/docker/config.json", []),
        ("root/.aws/credentials", ["SUP002"]),
        ("root/.ssh/id_ed25519", ["SUP002"]),
        (f"{SITE}/dotenv/.env", []),
    ],
)
def test_files_with_credentials(path: str, rules: list[str]) -> None:
    assert ids(make_subject({path: File(b"A=1")})) == rules
    assert ids(make_subject({path: File(b"")})) == []


@pytest.mark.parametrize(
    ("row", "evidence"),
    [
        (f"X={GITHUB}", "X holds a GitHub token"),
        ("X=AKIAABCDEFGHIJKLMNOP", "X holds an AWS access key"),
        ("DATABASE_URL=postgresql://app:hunter2@db/app", "DATABASE_URL holds a password in a URL"),
        ("DB_PASSWORD=hunter2", "DB_PASSWORD is set"),
        ("SECRET_KEY=abc", "SECRET_KEY is set"),
        ("API_TOKEN=", ""),
        ("DB_PASSWORD_FILE=/run/secrets/db", ""),
        ("TOKEN=/run/secrets/token", ""),
        ("GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D", ""),
        ("URL=https://example.org/a:b@c", ""),
        ("TOKENIZERS_PARALLELISM=false", ""),
    ],
)
def test_secrets_in_env(row: str, evidence: str) -> None:
    rows = found(make_subject(env=(*BASE_ENV, row)))
    assert [row.rule for row in rows] == (["SUP003"] if evidence else [])
    assert not rows or rows[0].evidence.startswith(evidence)
    assert GITHUB not in str(rows)


def test_secrets_in_the_history_and_labels() -> None:
    history = (History(created_by=f"ARG TOKEN={GITHUB}"),)
    assert [(row.rule, row.path) for row in found(make_subject(history=history))] == [("SUP003", "history")]
    assert [row.path for row in found(make_subject(labels=(("a", GITHUB),)))] == ["Labels"]


def test_credentials_in_configuration() -> None:
    line = b"index-url = https://ann:s3cret@pypi.example.org/simple\n"
    assert ids(make_subject({"etc/pip.conf": File(line)})) == ["SUP004"]
    assert ids(make_subject({"etc/pip.conf": File(b"index-url = https://pypi.example.org/simple\n")})) == []
    url = json.dumps({"url": "https://ann:s3cret@git.example.org/x.git", "vcs_info": {"vcs": "git"}}).encode()
    (row,) = found(make_subject(dist("x") | {f"{SITE}/x-1.dist-info/direct_url.json": File(url)}))
    assert (row.rule, row.path) == ("SUP004", f"/{SITE}/x-1.dist-info/direct_url.json")
    assert "s3cret" not in row.evidence


def test_repositories() -> None:
    files: Files = {"app/.git/HEAD": File(b"ref: x"), "app/.git/objects/ab/cd": File(b"x" * 300_000)}
    (row,) = found(make_subject(files))
    assert (row.rule, row.path, row.evidence.rpartition(" ")[0][-3:]) == ("SUP005", "/app/.git", "0.3")
    assert ids(make_subject({"app/.git": File(b"gitdir: ../x")})) == []


def test_no_package_database() -> None:
    below = [{path: row for path, row in files.items() if "dpkg" not in path} for files in base()]
    assert [(row.rule, row.severity) for row in found(make_subject(below=tuple(below)))] == [("SUP006", NOTE)]


def test_no_record() -> None:
    files = {path: row for path, row in dist("x").items() if "RECORD" not in path}
    (row,) = found(make_subject(files))
    assert (row.rule, row.evidence) == ("SUP007", "1 distributions without RECORD: x 1")


def test_secrets_that_were_removed() -> None:
    (row,) = found(make_subject({"app/.env": File(b"A=1")}, {"app/.wh..env": File(b"")}))
    assert (row.rule, row.path) == ("SUP008", "/app/.env")
    assert row.evidence == "layer 6 has it, and whoever pulls the image can read it there"
    assert ids(make_subject({"app/tls.key": File(KEY)}, {"app/tls.key": File(b"")})) == ["SUP008"]
