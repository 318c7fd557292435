"""Signing without a key, against a real Fulcio, Rekor and timestamp authority that run here."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from factories.image import make_image
from factories.python_image import debian
from machinery import Ran, free_port
from servers.sigstore_instance import Sigstore, running

pytestmark = [pytest.mark.sigstore]

ANN = "ann@example.com"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
EVIDENCE = {"https://cyclonedx.org/bom", "https://slsa.dev/provenance/v1"}
SIGNED = "https://sigstore.dev/cosign/sign/v1"


@pytest.fixture(scope="module")
def sigstore(need: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sigstore]:
    need("sigstore")
    with running(Path(os.environ["DPBUILD_TEST_SIGSTORE"]), tmp_path_factory.mktemp("sigstore")) as instance:
        yield instance


@dataclass(frozen=True)
class Project:
    folder: Path
    sigstore: Sigstore
    dpbuild: Callable[..., Ran]

    @property
    def layout(self) -> Path:
        return self.folder / "image"

    def build(
        self, *words: object, token: str | None = None, check: bool = True, env: dict[str, str] | None = None
    ) -> Ran:
        said = self.sigstore.token(ANN) if token is None else token
        trust = ("--sign-keyless", "--trust-config", self.sigstore.trust)
        return self.dpbuild(
            "build", self.folder / "project", *(words or ("-o", self.layout)), *trust,
            env={"SIGSTORE_ID_TOKEN": said, **(env or {})}, check=check,
        )  # fmt: skip

    def verify(self, reference: object, *, identity: str = ANN, issuer: str = "", check: bool = True) -> Ran:
        who = ("--certificate-identity", identity, "--certificate-oidc-issuer", issuer or self.sigstore.issuer)
        return self.dpbuild("verify", reference, *who, "--trust-config", self.sigstore.trust, "--json", check=check)


def made(folder: Path, sigstore: Sigstore, dpbuild: Callable[..., Ran]) -> Project:
    base = make_image(folder / "base", *debian())
    (folder / "project").mkdir()
    (folder / "project/main.py").write_text(f"print({str(folder)!r})\n")
    (folder / "project/pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\n[tool.dpbuild]\nbytecode = false\nplatforms = ["linux/amd64"]\n'
        f'base = "oci:{base.path}"\n'
    )
    return Project(folder, sigstore, dpbuild)


@pytest.fixture
def project(tmp_path: Path, sigstore: Sigstore, dpbuild: Callable[..., Ran]) -> Project:
    """One that nobody has built."""
    return made(tmp_path, sigstore, dpbuild)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, sigstore: Sigstore, dpbuild: Callable[..., Ran]) -> Project:
    found = made(tmp_path_factory.mktemp("built"), sigstore, dpbuild)
    found.build()
    return found


@pytest.fixture
def signed(built: Project, tmp_path: Path) -> Project:
    """A layout of its own that is signed already."""
    shutil.copytree(built.layout, tmp_path / "image")
    shutil.copytree(built.folder / "project", tmp_path / "project")
    return replace(built, folder=tmp_path)


def bundles(layout: Path) -> dict[str, dict[str, object]]:
    """The bundles of a layout: by the predicate type that their manifest names."""
    out = {}
    for row in json.loads((layout / "index.json").read_text())["manifests"]:
        if row.get("artifactType") == BUNDLE:
            manifest = json.loads((layout / "blobs/sha256" / row["digest"][7:]).read_text())
            blob = layout / "blobs/sha256" / manifest["layers"][0]["digest"][7:]
            out[manifest["annotations"]["dev.sigstore.bundle.predicateType"]] = {
                **json.loads(blob.read_text()),
                "path": str(blob),
            }
    return out


def test_signed_and_verified(project: Project) -> None:
    plain = project.dpbuild("build", project.folder / "project", "-o", project.folder / "plain").out
    line = project.build().out
    assert line.partition("@")[2] == plain.partition("@")[2], "a signature is no part of the image"
    found = bundles(project.layout)
    assert set(found) == {SIGNED, *EVIDENCE}
    for predicate, bundle in found.items():
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))  # type: ignore[index]
        assert statement["predicateType"] == predicate
        assert statement["subject"][0]["digest"]["sha256"] == line.strip().rpartition(":")[2]
        # It is in the log, and at a time that somebody else says.
        material: dict[str, object] = bundle["verificationMaterial"]  # type: ignore[assignment]
        assert material["tlogEntries"]
        assert material["timestampVerificationData"]
    vouched = json.loads(project.verify(f"oci:{project.layout}").out)
    assert [set(row["statements"]) for row in vouched] == [set(found)]


@pytest.mark.parametrize("who", ["identity", "issuer"])
def test_somebody_else(signed: Project, who: str) -> None:
    wrong = {"identity": "bob@example.com"} if who == "identity" else {"issuer": "https://issuer.example"}
    done = signed.verify(f"oci:{signed.layout}", check=False, **wrong)  # type: ignore[arg-type]
    assert done.status == 70, done.err
    assert "none of its 3 signatures is this identity's for this image" in done.err


def test_unsigned(project: Project) -> None:
    project.dpbuild("build", project.folder / "project", "-o", project.layout)
    done = project.verify(f"oci:{project.layout}", check=False)
    assert done.status == 70
    assert "error: the image is not signed" in done.err


@pytest.mark.parametrize("part", ["payload", "sig", "certificate", "log", "time"])
def test_a_bundle_that_was_changed(signed: Project, part: str) -> None:
    """Under its new digest, as somebody who may write to the registry would do it."""
    signature = bundles(signed.layout)[SIGNED]
    path = Path(str(signature.pop("path")))
    material, envelope = signature["verificationMaterial"], signature["dsseEnvelope"]
    other = bundles(signed.layout)["https://slsa.dev/provenance/v1"]
    match part:
        case "payload":
            envelope["payload"] = other["dsseEnvelope"]["payload"]  # type: ignore[index]
        case "sig":
            envelope["signatures"] = other["dsseEnvelope"]["signatures"]  # type: ignore[index]
        case "certificate":
            signed.build("-o", signed.folder / "other", token=signed.sigstore.token("eve@example.com"))
            material["certificate"] = bundles(signed.folder / "other")[SIGNED]["verificationMaterial"]["certificate"]  # type: ignore[index]
        case "log":
            material["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]  # type: ignore[index]
        case "time":
            material["timestampVerificationData"] = other["verificationMaterial"]["timestampVerificationData"]  # type: ignore[index]
    replaced(signed.layout, path, json.dumps(signature).encode())
    done = signed.verify(f"oci:{signed.layout}", check=False)
    assert done.status == 70, done.err
    assert "error: none of its 3 signatures is this identity's for this image" in done.err


def replaced(layout: Path, path: Path, data: bytes) -> None:
    """Give a document of a layout another content, and what refers to it the new digests."""
    index = layout / "index.json"
    old, new = path.name, hashlib.sha256(data).hexdigest()
    path.with_name(new).write_bytes(data)
    value = json.loads(index.read_text())
    for row in value["manifests"]:
        text = (layout / "blobs/sha256" / row["digest"][7:]).read_text()
        if f"sha256:{old}" in text:
            manifest = json.loads(text)
            manifest["layers"][0] |= {"digest": f"sha256:{new}", "size": len(data)}
            changed = json.dumps(manifest).encode()
            row |= {"digest": f"sha256:{hashlib.sha256(changed).hexdigest()}", "size": len(changed)}
            (layout / "blobs/sha256" / row["digest"][7:]).write_bytes(changed)
    index.write_text(json.dumps(value))


def test_a_signature_of_another_image(signed: Project) -> None:
    """Everything that is attached to one image, hung on another."""
    with (signed.folder / "project/main.py").open("a") as file:
        file.write("# another\n")
    other = signed.folder / "other"
    signed.build("-o", other)
    mine, theirs = bundles(signed.layout)[SIGNED], bundles(other)[SIGNED]
    replaced(signed.layout, Path(str(mine["path"])), Path(str(theirs["path"])).read_bytes())
    assert signed.verify(f"oci:{signed.layout}", check=False).status == 70
    assert signed.verify(f"oci:{other}").status == 0


def test_an_sbom_that_somebody_adds(signed: Project) -> None:
    """Beside the signed ones, a statement that nobody signed."""
    layout = signed.layout
    rows = json.loads((layout / "index.json").read_text())["manifests"]
    row = next(each for each in rows if each.get("artifactType") == "application/vnd.cyclonedx+json")
    manifest = json.loads((layout / "blobs/sha256" / row["digest"][7:]).read_text())
    path = layout / "blobs/sha256" / manifest["layers"][0]["digest"][7:]
    replaced(layout, path, path.read_bytes().replace(b'"version"', b'"veRsion"', 1))
    done = signed.verify(f"oci:{layout}", check=False)
    assert done.status == 70
    assert "error: an attached SBOM is not signed by this identity: sha256:" in done.err
    assert "it was built without --sign-keyless: build and push again" in done.err


# who signs


def test_the_identity_of_a_job(project: Project) -> None:
    """Where no token is given, that of GitHub Actions, which a job asks for."""
    job = {
        "GITHUB_ACTIONS": "true",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{project.sigstore.issuer}/ambient?x=1",
    }
    project.build(token="", env=job)
    assert project.verify(f"oci:{project.layout}", identity="job@ci.example").status == 0
    assert project.verify(f"oci:{project.layout}", check=False).status == 70


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "error: nobody says who signs: there is no identity token"),
        ("no.token.at-all", "error: the identity token cannot be used: "),
        ("old", "error: the identity token cannot be used: "),
    ],
)
def test_a_token_that_is_none(project: Project, token: str, said: str) -> None:
    """Told before anything is built."""
    given = project.sigstore.token(ANN, seconds=-60) if token == "old" else token
    done = project.build(token=given, check=False, env={"GITHUB_ACTIONS": ""})
    assert (done.status, done.out) == (2, ""), done.err
    assert said in done.err
    assert not given or given not in done.err
    assert not project.layout.exists()
    assert not (project.folder / "project/pylock.dpbuild.toml").exists()


def test_a_token_that_fulcio_does_not_take(project: Project) -> None:
    given = project.sigstore.token(ANN)
    forged = given[:-8] + "AAAAAAAA"
    done = project.build(token=forged, check=False)
    assert (done.status, done.out) == (90, ""), done.err
    assert "error: Sigstore did not sign: " in done.err
    assert forged not in done.err
    assert not project.layout.exists()


@pytest.mark.parametrize("service", ["caUrls", "rekorTlogUrls", "tsaUrls"])
def test_a_service_that_does_not_answer(project: Project, service: str) -> None:
    """Nothing is written with half of the proofs."""
    trust = json.loads(project.sigstore.trust.read_text())
    trust["signingConfig"][service][0]["url"] = f"http://127.0.0.1:{free_port()}"
    path = project.folder / "trust.json"
    path.write_text(json.dumps(trust))
    done = replace(project, sigstore=replace(project.sigstore, trust=path)).build(check=False)
    assert (done.status, done.out) == (90, ""), done.err
    reason = "bundle must contain an inclusion promise or signed timestamp" if service == "tsaUrls" else "it cannot be"
    assert f"error: Sigstore did not sign: {reason}" in done.err
    assert service == "tsaUrls" or "\n   at: http://127.0.0.1:" in done.err
    assert "Traceback" not in done.err
    assert not project.layout.exists()


def test_what_a_user_may_get_wrong(project: Project, tmp_path: Path) -> None:
    layout = f"oci:{project.layout}"
    for words in ((), ("--certificate-identity", ANN), ("--key", "k.pem", "--certificate-identity", ANN)):
        done = project.dpbuild("verify", layout, *words, check=False)
        assert done.status == 2
        assert "error: who has to have signed is either a key or an identity" in done.err
    (tmp_path / "trust.json").write_text('{"mediaType": "something"}')
    who = ("--certificate-identity", ANN, "--certificate-oidc-issuer", project.sigstore.issuer)
    done = project.dpbuild("verify", layout, *who, "--trust-config", tmp_path / "trust.json", check=False)
    assert done.status == 2
    assert "error: this is no trust configuration: " in done.err
    done = project.dpbuild("verify", layout, *who, "--trust-config", tmp_path / "none.json", check=False)
    assert done.status == 2
    assert "error: the trust configuration cannot be read: No such file or directory" in done.err


# others


@pytest.mark.slow
@pytest.mark.registry
@pytest.mark.network
def test_cosign_accepts_it(
    sigstore: Sigstore, registry: str, dpbuild: Callable[..., Ran], example: Callable[[str], Path], tmp_path: Path
) -> None:
    """An index and its images in a registry, by a cosign that knows nothing of us."""
    name = f"{registry}/keyless/hello"
    words = ("--platform", "linux/amd64,linux/arm64", "-t", f"{name}:1", "--push", "--sign-keyless")
    env = {"SIGSTORE_ID_TOKEN": sigstore.token(ANN), "DPBUILD_TRUST_CONFIG": str(sigstore.trust)}
    line = dpbuild("build", example("hello"), *words, env=env).out.strip()
    who = ["--certificate-identity", ANN, "--certificate-oidc-issuer", sigstore.issuer]
    told = json.loads(dpbuild("verify", line, *who, "--json", env=env).out)
    assert [set(row["statements"]) for row in told] == [{SIGNED, *EVIDENCE}] * 3
    root = tmp_path / "root.json"
    root.write_text(json.dumps(json.loads(sigstore.trust.read_text())["trustedRoot"]))
    common = ["--trusted-root", root, "--use-signed-timestamps", "--allow-http-registry"]

    def cosign(*words: object) -> "subprocess.CompletedProcess[str]":
        program = Path(os.environ["DPBUILD_TEST_SIGSTORE"], "cosign")
        return subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)

    for row in told:
        image = f"{name}@{row['digest']}"
        done = cosign("verify", *who, *common, image)
        assert done.returncode == 0, done.stderr
        for kind in ("cyclonedx", "slsaprovenance1"):
            done = cosign("verify-attestation", "--type", kind, *who, *common, image)
            assert done.returncode == 0, done.stderr
    assert cosign("verify", "--certificate-identity", "bob@example.com", *who[2:], *common, line).returncode != 0
