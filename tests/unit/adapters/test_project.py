"""Which of a project's files belong to its app."""

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest
from factories.image import docker_archive, make_image
from repositories import ENV

from dpbuild.adapters.project import DiskProject
from dpbuild.errors import ConfigError


@pytest.fixture
def project(tmp_path: Path) -> DiskProject:
    folder = tmp_path / "project"
    folder.mkdir()
    return DiskProject(folder, ENV)


def fill(project: DiskProject, *names: str) -> None:
    for name in names:
        write(project, name)


def write(project: DiskProject, name: str, text: str = "") -> Path:
    path = Path(project.directory) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def taken(project: DiskProject, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    return [file.path for file in project.app_files(include, exclude)]


def test_files_are_sorted_and_hashed(project: DiskProject) -> None:
    fill(project, "b.py", "a/z.py", "a.py", "a-b.py")
    write(project, "run.sh", "#!").chmod(0o700)
    files = project.app_files((), ())
    assert [file.path for file in files] == sorted(["a-b.py", "a.py", "a/z.py", "b.py", "run.sh"])
    script = next(file for file in files if file.path == "run.sh")
    assert (script.executable, script.size, script.target) == (True, 2, "")
    assert script.sha256 == hashlib.sha256(b"#!").hexdigest()
    assert script.open is not None
    with script.open() as file:
        assert file.read() == b"#!"
    assert not files[0].executable


def test_what_tools_leave_behind_is_left_out(project: DiskProject) -> None:
    fill(
        project,
        "app.py",
        ".git/config",
        ".dpbuild/image/index.json",
        "pylock.dpbuild.toml",
        "pylock.dpbuild-build.toml",
        "dpbuild.toml",
        "__pycache__/app.cpython-313.pyc",
        "sub/__pycache__/x.pyc",
        "sub/left.pyc",
        ".mypy_cache/x.json",
        ".venv/bin/python",
        "app.egg-info/PKG-INFO",
        "node_modules/x/index.js",
        "Dockerfile",
        ".gitignore",
        ".dockerignore",
    )
    assert taken(project) == ["app.py"]


@pytest.mark.parametrize("name", ["venv", "env", "my own", "sub/env"])
def test_environments_are_left_out_whatever_their_name(project: DiskProject, name: str) -> None:
    fill(project, "app.py", f"{name}/pyvenv.cfg", f"{name}/lib/site.py", "venvs.py", "environment/x.py")
    assert taken(project) == ["app.py", "environment/x.py", "venvs.py"]


# .gitignore


def test_gitignore_and_those_further_down(project: DiskProject) -> None:
    write(project, ".gitignore", "*.log\n/data\nbuild/\n!keep.log\n")
    write(project, "sub/.gitignore", "!wanted.log\n/local.txt\n")
    fill(
        project, "app.py", "x.log", "keep.log", "data/x", "build/x", "sub/data/x", "sub/x.log", "sub/wanted.log",
        "sub/local.txt", "sub/deep/local.txt", "sub/build/x", "other/wanted.log", "other/local.txt",
    )  # fmt: skip
    assert taken(project) == [
        "app.py", "keep.log", "other/local.txt", "sub/data/x", "sub/deep/local.txt", "sub/wanted.log",
    ]  # fmt: skip


def test_gitignore_is_read_as_git_reads_it(project: DiskProject) -> None:
    """git itself is asked about each file."""
    write(project, ".gitignore", "*.tmp\n/top\ndir/\na/**/z\n!important.tmp\n\\#odd\nsp*ce \n[ab].txt\nfoo/bar\n")
    write(project, "nest/.gitignore", "*\n!.gitignore\n!kept.py\n")
    write(project, "nest2/.gitignore", "/one\n!two.tmp\n")
    names = [
        "app.py", "x.tmp", "important.tmp", "deep/important.tmp", "top", "deep/top", "dir/x", "deep/dir/x", "dir2/dir",
        "a/z", "a/b/z", "a/b/c/z", "b/a/z", "#odd", "space", "a.txt", "c.txt", "deep/b.txt", "foo/bar/x", "x/foo/bar",
        "nest/kept.py", "nest/other.py", "nest/sub/kept.py", "nest2/one", "nest2/sub/one", "nest2/two.tmp",
    ]  # fmt: skip
    fill(project, *names)
    git = ["git", "-C", project.directory]
    if subprocess.run([*git, "init", "-q"], env=ENV, check=False).returncode:
        pytest.skip("git does not work here")
    listed = subprocess.run(
        [*git, "-c", "core.quotePath=false", "ls-files", "--others", "--exclude-standard"],
        env=ENV, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert taken(project) == sorted(name for name in listed if not name.endswith(".gitignore"))


# .dockerignore


def test_dockerignore(project: DiskProject) -> None:
    """Its patterns start at the top, and a later one brings back what an earlier one took, even below a folder."""
    write(
        project, ".dockerignore", "# a comment\n*.md\n!README.md\n./docs\n/tests/\nassets\n!assets/logo.svg\n**/*.bak\n"
    )
    fill(
        project, "app.py", "NOTES.md", "README.md", "sub/NOTES.md", "docs/x", "sub/docs/x", "tests/x.py", "assets/a.psd",
        "assets/logo.svg", "a.bak", "sub/deep/b.bak",
    )  # fmt: skip
    assert taken(project) == ["README.md", "app.py", "assets/logo.svg", "sub/NOTES.md", "sub/docs/x"]


def test_a_dockerignore_that_lists_what_is_wanted(project: DiskProject) -> None:
    write(project, ".dockerignore", "*\n!src\n!app.py\nsrc/old\n")
    fill(project, "app.py", "x.py", "src/a.py", "src/old/b.py", "other/c.py")
    assert taken(project) == ["app.py", "src/a.py"]


# include and exclude


def test_include_brings_back_and_exclude_has_the_last_word(project: DiskProject) -> None:
    write(project, ".gitignore", "/generated/\n*.dat\n")
    write(project, ".dockerignore", "models\n")
    fill(project, "app.py", "generated/a.py", "generated/b.txt", "x.dat", "y.dat", "models/m.bin", "docs/x.md")
    assert taken(project) == ["app.py", "docs/x.md"]
    include = ("generated/", "/x.dat", "models/")
    assert taken(project, include) == [
        "app.py",
        "docs/x.md",
        "generated/a.py",
        "generated/b.txt",
        "models/m.bin",
        "x.dat",
    ]
    assert taken(project, include, ("*.txt", "/models", "docs/")) == ["app.py", "generated/a.py", "x.dat"]


@pytest.mark.parametrize(
    ("include", "found"),
    [
        ("out/gen/a.py", ["out/gen/a.py"]),
        ("/out/gen/*.py", ["out/gen/a.py"]),
        ("out/*/a.py", ["out/gen/a.py"]),
        ("out/**/a.py", ["out/gen/a.py", "out/gen/sub/a.py"]),
        ("**/a.py", ["out/gen/a.py", "out/gen/sub/a.py"]),
        ("a.py", ["out/gen/a.py", "out/gen/sub/a.py"]),
        ("out/gen/sub", ["out/gen/sub/a.py"]),
        ("nothing/*", []),
    ],
)
def test_include_reaches_into_ignored_folders(project: DiskProject, include: str, found: list[str]) -> None:
    write(project, ".gitignore", "/out/\n")
    fill(project, "app.py", "out/x.py", "out/gen/a.py", "out/gen/b.txt", "out/gen/sub/a.py")
    assert taken(project, (include,)) == ["app.py", *found]


# secrets

SECRETS = [
    ".env", ".env.production", "sub/.env", "server.key", "certs/tls.pem", "x.p12", "x.pfx", "id_rsa", "deploy/id_ed25519",
    ".netrc", ".pypirc", ".npmrc", ".git-credentials", ".pgpass", ".aws/credentials", ".ssh/config", ".kube/config",
    ".docker/config.json", "credentials.json", "x.kdbx", "x.jks", "x.keystore", "x.ppk", ".htpasswd", ".envrc",
    ".vault-token", ".terraformrc", "terraform.tfstate", "terraform.tfstate.backup", "deploy/kubeconfig",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_stay_out_unless_they_are_named(project: DiskProject, name: str) -> None:
    fill(project, "app.py", name)
    assert taken(project) == ["app.py"]
    assert taken(project, (name,)) == sorted(["app.py", name])
    assert taken(project, (name,), (name,)) == ["app.py"]


@pytest.mark.parametrize("pattern", ["*", "**", "**/*", "/config/", "config", "config/**", "config/*"])
def test_a_pattern_that_names_everything_names_no_secrets(project: DiskProject, pattern: str) -> None:
    write(project, ".gitignore", "/config/\n")
    fill(project, "app.py", "config/app.toml", "config/.env", "config/tls.key", ".git/config", "x/__pycache__/y.pyc")
    assert taken(project, (pattern,)) == ["app.py", "config/app.toml"]


# what is said


@pytest.fixture
def said(tmp_path: Path) -> tuple[DiskProject, list[str]]:
    rows: list[str] = []
    (tmp_path / "told").mkdir()
    return DiskProject(tmp_path / "told", ENV, note=rows.append), rows


def test_secrets_that_no_rule_leaves_out_are_named_once(said: tuple[DiskProject, list[str]]) -> None:
    project, rows = said
    write(project, ".gitignore", "ignored.pem\n/private/\n")
    write(project, ".dockerignore", "docker.key\n.kube\n")
    fill(
        project, "app.py", ".env", "conf/tls.key", ".aws/credentials", "ignored.pem", "private/id_rsa", "docker.key",
        ".kube/config", "excluded.pem", ".git/server.key", ".venv/cert.pem", ".env.example",
    )  # fmt: skip
    for _ in range(2):
        project.app_files((), ("excluded.pem",))
    assert rows == ['left out, as they may hold secrets: .aws/, .env, conf/tls.key (include = [".aws/"] takes it in)']
    found = [file.path for file in project.app_files((".aws/", ".env"), ("excluded.pem",))]
    assert found == [".aws/credentials", ".env", ".env.example", "app.py"]
    assert rows[1:] == ['left out, as they may hold secrets: conf/tls.key (include = ["conf/tls.key"] takes it in)']


def test_a_build_backend_does_not_get_secrets_and_that_is_said(said: tuple[DiskProject, list[str]]) -> None:
    """But not of what is never committed, such as the developer's own ``.env``."""
    project, rows = said
    write(project, ".gitignore", ".env\nlocal/\n")
    fill(project, "pkg/__init__.py", "pkg/ca.pem", ".env", "local/x.key")
    project.build_files()
    assert rows == ["left out, as they may hold secrets: pkg/ca.pem"]
    assert [file.path for file in project.named(("pkg",))] == ["pkg/__init__.py", "pkg/ca.pem"]
    assert len(rows) == 1


def test_many_secrets_are_a_short_note(said: tuple[DiskProject, list[str]]) -> None:
    project, rows = said
    fill(project, "app.py", *(f"{number}.pem" for number in range(9)))
    project.app_files((), ())
    assert rows[0].startswith("left out, as they may hold secrets: 0.pem, 1.pem, 2.pem, 3.pem, 4.pem and 4 more (")


def test_an_environment_with_the_name_of_a_secret(said: tuple[DiskProject, list[str]]) -> None:
    project, rows = said
    fill(project, "app.py", ".env/pyvenv.cfg", ".env/lib/site.py")
    assert taken(project) == ["app.py"]
    assert rows == []


def test_images_that_are_copied_into_the_image_are_named(said: tuple[DiskProject, list[str]]) -> None:
    """What this run writes is passed over; what an earlier one wrote elsewhere in the project is a file like others."""
    project, rows = said
    folder = Path(project.directory)
    make_image(folder / "out" / "image", {"a": "x"})
    docker_archive(folder / "saved.tar", {"a": "x"})
    fill(project, "app.py", "data.tar", "deploy/saved.tar")
    project.app_files((), ())
    assert rows == [
        'an image goes into the image: out/image/, saved.tar (exclude = ["out/image/"] or .gitignore leaves it out)'
    ]
    project.app_files((), ("out/image/", "*.tar"))
    assert len(rows) == 1


def test_patterns_that_match_nothing_are_named(said: tuple[DiskProject, list[str]]) -> None:
    project, rows = said
    write(project, ".gitignore", "/data/\n")
    fill(project, "app.py", "data/x.bin", "tests/test_app.py", "docs/x.md")
    project.app_files(("data/x.bin", "*.dat", "# a comment", ""), ("tests/", "docs", "/x.md", "nothing/**"))
    assert rows == [
        'include: "*.dat" matches nothing in the project',
        'exclude: "/x.md" matches nothing in the project',
        'exclude: "nothing/**" matches nothing in the project',
    ]
    assert project.seen()["notes"] == rows


BEGIN = "-----BEGIN "
KEYS = {
    "deploykey": f"{BEGIN}OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n",
    "notes.txt": f"Bag Attributes\n    localKeyID: 01\n{BEGIN}PRIVATE KEY-----\r\nMIIE\r\n",
    "conf/tls": f"{BEGIN}CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n{BEGIN}RSA PRIVATE KEY-----\nMIIE\n",
    "service-account.json": '{"private_key": "' + BEGIN + 'PRIVATE KEY-----\\nMIIE\\n"}',
    "release.asc": f"{BEGIN}PGP PRIVATE KEY BLOCK-----\n\nlQ\n",
}


@pytest.mark.parametrize("name", KEYS)
def test_a_private_key_stays_out_under_any_name_and_that_is_said(tmp_path: Path, name: str) -> None:
    said: list[str] = []
    (tmp_path / "project").mkdir()
    project = DiskProject(tmp_path / "project", ENV, note=said.append)
    fill(project, "app.py")
    write(project, name, KEYS[name])
    assert taken(project) == taken(project) == ["app.py"]
    assert said == [f'{name} is left out, because it holds a private key; include = ["{name}"] takes it in']
    assert [file.path for file in project.build_files()] == ["app.py"]
    assert said[1:] == [f"{name} is left out, because it holds a private key"]
    for pattern in ("*", "**", "conf", "conf/*"):
        assert taken(project, (pattern,)) == ["app.py"]
    assert taken(project, (name,)) == sorted(["app.py", name])
    assert [file.path for file in project.named((name,))] == [name]


def test_what_only_speaks_of_keys_stays_in(project: DiskProject) -> None:
    write(project, "keys.py", KEYS["deploykey"])
    write(project, "README.md", f"A key begins with {BEGIN}PRIVATE KEY-----, and is secret.\n")
    write(project, "ca.txt", f"{BEGIN}CERTIFICATE-----\nMIIC\n{BEGIN}PUBLIC KEY-----\nMIIC\n")
    assert taken(project) == ["README.md", "ca.txt", "keys.py"]


def test_patterns_for_secrets_name_them(project: DiskProject) -> None:
    fill(project, "app.py", "config/.env", "config/tls.pem", ".env", "config/.ssh/id_rsa")
    assert taken(project, ("config/*.pem",)) == ["app.py", "config/tls.pem"]
    assert taken(project, ("**/.env",)) == [".env", "app.py", "config/.env"]
    assert taken(project, (".env*",)) == [".env", "app.py", "config/.env"]


def test_examples_of_secrets_are_no_secrets(project: DiskProject) -> None:
    fill(project, ".env.example", ".env.sample", ".env.template", "keys.py")
    assert taken(project) == [".env.example", ".env.sample", ".env.template", "keys.py"]


def test_a_build_backend_sees_no_secrets_but_what_git_ignores(project: DiskProject) -> None:
    """Backends read .gitignore themselves, and generated files may be part of the wheel."""
    write(project, ".gitignore", "/generated.py\n")
    fill(project, "app.py", "generated.py", ".env", ".venv/pyvenv.cfg", ".git/config", ".dpbuild/image/x", "Dockerfile")
    assert [file.path for file in project.build_files()] == [".gitignore", "app.py", "generated.py"]


# what is no plain file


def test_links_inside_are_links(project: DiskProject) -> None:
    fill(project, "app.py", "sub/x.txt")
    folder = Path(project.directory)
    (folder / "link.py").symlink_to("app.py")
    (folder / "sub/up").symlink_to("../app.py")
    (folder / "folder").symlink_to("sub")
    (folder / "dangling").symlink_to("not/there")
    assert {file.path: file.target for file in project.app_files((), ()) if file.target} == {
        "link.py": "app.py",
        "sub/up": "../app.py",
        "folder": "sub",
        "dangling": "not/there",
    }


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../outside", "sub/../../outside", "../project/app.py", "there/secret", "loop"]
)
def test_links_out_of_the_project_are_refused(project: DiskProject, target: str) -> None:
    fill(project, "app.py", "sub/x")
    folder = Path(project.directory)
    (folder.parent / "outside").write_text("secret")
    if target.startswith("there"):
        (folder / "there").symlink_to(folder.parent)
        exclude = ("there",)
    else:
        exclude = ()
    (folder / "link").symlink_to(target)
    if target == "loop":
        (folder / "loop").symlink_to("link")
        taken(project)
        return
    with pytest.raises(ConfigError, match="link leads out of the project") as caught:
        taken(project, (), exclude)
    assert 'exclude = ["link"]' in str(caught.value.hint)
    assert "app.py" in taken(project, (), ("link", "there"))


def test_links_out_of_the_project_that_are_ignored_do_not_matter(project: DiskProject) -> None:
    fill(project, "app.py")
    write(project, ".gitignore", "/result\n")
    (Path(project.directory) / "result").symlink_to("/usr")
    assert taken(project) == ["app.py"]


def test_pipes_and_sockets_are_not_files(project: DiskProject) -> None:
    fill(project, "app.py")
    os.mkfifo(Path(project.directory) / "pipe")
    assert taken(project) == ["app.py"]


def test_names_that_are_not_utf8(project: DiskProject) -> None:
    path = os.path.join(os.fsencode(project.directory), b"caf\xe9.py")
    with open(path, "w"):
        pass
    with pytest.raises(ConfigError, match="is not UTF-8"):
        taken(project)


# files named by the configuration


def test_named_files_come_whatever_is_ignored(project: DiskProject) -> None:
    write(project, ".gitignore", "*\n")
    fill(project, "conf/a.toml", "conf/sub/b.pem", "x.key")
    assert [file.path for file in project.named(("conf", "x.key"))] == ["conf/a.toml", "conf/sub/b.pem", "x.key"]
    assert [file.path for file in project.named(("conf/", "./conf/a.toml"))] == ["conf/a.toml", "conf/sub/b.pem"]


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "conf/../../x", "missing"])
def test_named_files_are_in_the_project(project: DiskProject, name: str) -> None:
    with pytest.raises(ConfigError):
        project.named((name,))


# reading and writing


def test_texts(project: DiskProject) -> None:
    assert project.read("a.toml") is None
    assert project.read("a.toml/b") is None
    assert project.write("a.toml", "one\n")
    assert project.read("a.toml") == "one\n"
    path = Path(project.directory) / "a.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    assert project.write("a.toml", "two\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(project.directory) == ["a.toml"]
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        project.read("a.toml")


def test_a_project_that_cannot_be_written() -> None:
    assert DiskProject(Path("/proc/self"), ENV).write("pylock.dpbuild.toml", "x") is False


def test_what_a_killed_run_left_of_a_lock_goes(tmp_path: Path) -> None:
    left = tmp_path / ".pylock.dpbuild.toml.abc12345.new"
    left.write_text("half")
    found = DiskProject(tmp_path, {})
    assert [row.path for row in found.app_files((), ())] == []
    assert found.write("pylock.dpbuild.toml", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["pylock.dpbuild.toml"]


# the folder of the default output


def test_the_default_output_is_kept_out_of_version_control(project: DiskProject) -> None:
    folder = Path(project.directory) / ".dpbuild"
    project.shelter()
    assert not folder.exists()
    fill(project, ".dpbuild/image/index.json")
    project.shelter()
    text = (folder / ".gitignore").read_text()
    assert text.splitlines()[-1] == "*"
    (folder / ".gitignore").write_text("# mine\n")
    project.shelter()
    assert (folder / ".gitignore").read_text() == "# mine\n"


def test_a_folder_with_something_else_in_it_is_left_alone(project: DiskProject) -> None:
    fill(project, ".dpbuild/image/index.json", ".dpbuild/notes.md")
    project.shelter()
    assert sorted(os.listdir(Path(project.directory) / ".dpbuild")) == ["image", "notes.md"]
