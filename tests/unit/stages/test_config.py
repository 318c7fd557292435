import pytest

from dpbuild.errors import ConfigError, UsageError
from dpbuild.model.config import BuilderConfig, FileCopy
from dpbuild.oci.config import Healthcheck
from dpbuild.oci.platform import Platform
from dpbuild.stages.config import load
from dpbuild.stages.problems import find_line
from dpbuild.stages.settings import KEYS


def loaded(pyproject=None, flags=None, **files):
    texts = {name.replace("__", ".").replace("_", "-"): text for name, text in files.items()}
    if pyproject is not None:
        texts["pyproject.toml"] = pyproject
    return load("/project", texts.get, flags)


def own(text, **more):
    return loaded(dpbuild__toml=text, **more)


def test_nothing_at_all():
    config = loaded()
    assert str(config.base) == "gcr.io/distroless/python3-debian13:nonroot"
    assert config.requirements.kind == "none"
    assert config.platforms == ()


EVERYTHING = """
base = "compose:debian12:nonroot"
platforms = ["linux/amd64", "linux/arm64/v8", "linux/amd64"]
tags = ["registry.example/acme/api:1"]
entrypoint = ["-m", "api"]
cmd = ["--port", "8000"]
user = "1000:1000"
workdir = "/srv"
expose = [8000, "53/udp"]
volumes = ["/data"]
stop-signal = "SIGINT"
healthcheck = ["/usr/bin/python3", "-c", "pass"]
app = "copy"
include = ["a"]
exclude = ["b"]
files = [{from = "conf/", to = "/etc/acme/"}]
ca-certificates = ["ca.pem"]
bytecode = false
evidence = false
compression = "gzip"
find-links = ["wheels"]
no-binary = ["Foo_Bar"]
only-binary = [":all:"]
runtime-packages = ["libpq5", "libmagic1", "libpq5"]
[env]
B = "2"
A = "1"
[labels]
x = "y"
[annotations]
"org.opencontainers.image.source" = "z"
[check]
select = ["ALL"]
ignore = ["int002"]
[recipes]
own.run.packages = ["libown1"]
[builder]
image = "registry.example/python-dev:3.13"
packages = ["libown-dev"]
resolve = true
network = true
repair = true
env = {CC = "gcc-13"}
timeout = "1h5m"
memory = "2g"
[verify]
base-key = "keys/base.pub"
[debian]
mirror = "http://127.0.0.1/debian"
security-mirror = "http://127.0.0.1/security"
"""


KEY = {"keys/base__pub": "the key"}


def test_a_key_that_is_not_there():
    with pytest.raises(ConfigError, match=r"verify.base-key: there is no file keys/base.pub"):
        own(EVERYTHING)


@pytest.mark.parametrize("place", ["dpbuild.toml", "pyproject.toml"])
def test_every_key(place):
    if place == "dpbuild.toml":
        config = own(EVERYTHING, **KEY)
    else:
        config = loaded("[tool.dpbuild]" + EVERYTHING.replace("\n[", "\n[tool.dpbuild."), **KEY)
    assert str(config.base) == "compose:debian12:nonroot"
    assert config.platforms == (Platform("linux", "amd64"), Platform("linux", "arm64"))
    assert [str(tag) for tag in config.tags] == ["registry.example/acme/api:1"]
    assert config.env == (("A", "1"), ("B", "2"))
    assert config.expose == ("8000/tcp", "53/udp")
    assert (config.check_select, config.check_ignore) == (("ALL",), ("INT002",))
    assert config.healthcheck == Healthcheck(test=("CMD", "/usr/bin/python3", "-c", "pass"))
    assert config.files == (FileCopy(source="conf/", target="/etc/acme/"),)
    assert (config.app, config.bytecode, config.evidence) == ("copy", False, False)
    assert (config.stop_signal, config.base_key) == ("SIGINT", "the key")
    assert (config.no_binary, config.only_binary) == (("foo-bar",), (":all:",))
    assert [row.name for row in config.recipes] == ["own"]
    assert config.runtime_packages == ("libpq5", "libmagic1")
    assert [row.name for row in config.recipes] == ["own"]
    assert config.builder == BuilderConfig(
        image="registry.example/python-dev:3.13",
        packages=("libown-dev",),
        resolve=True,
        network=True,
        repair=True,
        env=(("CC", "gcc-13"),),
        timeout=3900,
        memory=2 << 30,
    )
    assert config.debian_security_mirror == "http://127.0.0.1/security"
    assert config.annotations == (("org.opencontainers.image.source", "z"),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('timeout = "soon"', 'builder.timeout must be a time such as "30m"'),
        ("timeout = 0", "builder.timeout must be a time"),
        ("timeout = true", "builder.timeout must be a time"),
        ('memory = "1k"', "builder.memory must be a size of 64m or more"),
        ("memory = 5", "builder.memory must be a string"),
        ("repair = 1", "builder.repair must be true or false"),
        ('resolve = "yes"', "builder.resolve must be true or false"),
        ('image = "oci:"', "builder.image"),
        ('packages = ["No Package"]', "not the name of a Debian package"),
        ('pakages = ["gcc"]', "did you mean 'packages'"),
    ],
)
def test_keys_of_the_builder_that_are_wrong(line, said):
    with pytest.raises(ConfigError) as caught:
        own(f"[builder]\n{line}\n")
    assert said in caught.value.what
    assert caught.value.where == "dpbuild.toml:2"


def test_every_key_of_the_schema_is_in_the_test_above():
    left = [key for key in KEYS if f"\n{key} =" not in EVERYTHING and f"\n[{key}]" not in EVERYTHING]
    assert left == ["extras", "groups", "script"]


def test_flags_win():
    config = loaded('[tool.dpbuild]\nbase = "oci:a"\nscript = "x"\n', {"base": "oci:b", "entrypoint": ["-m", "y"]})
    assert str(config.base) == "oci:b"
    assert (config.entrypoint, config.script) == (("-m", "y"), "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('files = [{from = "x", to = "etc/x"}]', "files[0]: to must be an absolute path, not 'etc/x'"),
        ('files = [{from = "x", to = "/etc/../../y"}]', "without '.', '..' and empty parts, not '/etc/../../y'"),
        ('files = [{from = "x", to = "/etc//y"}]', "without '.', '..' and empty parts"),
        ('files = [{from = "x", to = "/./"}]', "without '.', '..' and empty parts"),
        ('files = [{from = "x\\u0000", to = "/y"}]', "files[0]: a path cannot hold a NUL character"),
        ('files = [{from = "x", to = "/y\\u0000"}]', "files[0]: a path cannot hold a NUL character"),
        ('files = [{from = "x", to = "/proc/x"}]', "files[0]: to cannot be in /proc"),
        ('files = [{from = "x", to = "/sys/"}]', "files[0]: to cannot be in /sys"),
        ('files = [{from = "x", to = "/dev"}]', "files[0]: to cannot be in /dev"),
        ('files = [{from = "x", to = "/etc/.wh.passwd"}]', "'/etc/.wh.passwd' would delete files in the image"),
        ('files = [{from = "x", to = "/.wh.etc/"}]', "would delete files in the image"),
        ('stop-signal = "SIGFOO"', "not a signal: 'SIGFOO'"),
        ('stop-signal = "SIGRTMIN+16"', "not a signal"),
        ('stop-signal = "SIGRTMAX+1"', "not a signal"),
        ('stop-signal = "TERM"', "not a signal"),
        ('stop-signal = "0"', "not a signal"),
        ('stop-signal = "65"', "not a signal"),
        ('env = {A = "x\\u0000"}', "env: the value of 'A' holds a NUL character"),
        ('labels = {a = "\\u0000"}', "labels: the value of 'a' holds a NUL character"),
        ('env = {"A=B" = "x"}', "env: 'A=B' cannot be a name here"),
        ('cmd = ["a", "b\\u0000"]', "cmd[1] holds a NUL character"),
    ],
)
def test_values_that_no_image_can_have(line, said):
    with pytest.raises(ConfigError) as caught:
        own(f"{line}\n")
    assert said in caught.value.what
    assert (caught.value.where, caught.value.exit_code) == ("dpbuild.toml:1", 10)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGRTMIN+3", "SIGRTMAX-14", "SIGRTMIN", "SIGCLD", "9", "37", "64"])
def test_signals(name):
    assert own(f'stop-signal = "{name}"\n').stop_signal == name


@pytest.mark.parametrize("name", ["/", "/etc/acme/", "/etc/devices", "/process", "/srv/proc/x", "/a.wh.b"])
def test_places_of_files(name):
    assert own(f'files = [{{from = "x", to = "{name}"}}]\n').files == (FileCopy(source="x", target=name),)


def test_a_wrong_flag_is_a_usage_error():
    with pytest.raises(UsageError, match="only Linux"):
        loaded(flags={"platforms": ["windows/amd64"]})


def test_configured_twice():
    with pytest.raises(ConfigError, match="twice"):
        loaded("[tool.dpbuild]\n", dpbuild__toml="")


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_known_one():
    with pytest.raises(ConfigError) as caught:
        loaded('[project]\nname = "x"\nversion = "1"\n\n[tool.dpbuild]\nbase = "oci:a"\nplatform = ["linux/amd64"]\n')
    assert "'platform'" in caught.value.what
    assert "'platforms'" in caught.value.what
    assert caught.value.where == "pyproject.toml:7"
    assert caught.value.exit_code == 10


def test_all_problems_at_once():
    with pytest.raises(ConfigError) as caught:
        own(
            'base = "UPPER CASE"\nplatforms = "linux/amd64"\nbytecode = "yes"\nexpose = [0, true]\nenv = {A = 1}\n'
            'workdir = "relative"\nfiles = [{form = "a", to = "/b"}]\napp = "sdist"\nstop-signal = "9999"\nnonsense = 1\n'
            'entrypoint = ["a"]\nscript = "b"\ntags = ["r.example/a@sha256:' + "0" * 64 + '"]\n'
        )
    for line, text in [
        (1, "image reference"),
        (2, "platforms must be an array of strings, not a string"),
        (3, "bytecode must be true or false, not a string"),
        (4, "not a port: 0"),
        (4, "not true or false"),
        (5, "env.A must be a string, not an integer"),
        (6, "absolute path"),
        (7, "unknown key 'form'; did you mean 'from'?"),
        (8, "'sdist'"),
        (9, "not a signal"),
        (10, "unknown key 'nonsense'"),
        (12, "exclude each other"),
        (13, "cannot hold a digest"),
    ]:
        assert any(
            row.startswith(f"  dpbuild.toml:{line}: ") and text in row for row in caught.value.what.splitlines()
        ), text


def test_unknown_keys_that_resemble_none_are_told_which_there_are():
    with pytest.raises(ConfigError) as caught:
        own("nonsense = 1\n[check]\nxxxx = 1\n[builder]\nyyyy = 1\n[verify]\nzzzz = 1\n")
    top, check, builder, verify = caught.value.hint.split("; ")
    assert top.startswith("the keys are base, platforms, tags, ")
    assert check == "the keys of check are select, ignore"
    assert builder.startswith("the keys of builder are image, packages, ")
    assert verify == "the keys of verify are base-key"


def test_where_the_keys_of_a_dpbuild_toml_stand():
    with pytest.raises(ConfigError) as caught:
        own('# ours\n[tool.dpbuild]\nbase = "oci:a"\n')
    assert caught.value.what == "in dpbuild.toml the keys stand at the top, without [tool.dpbuild]"
    assert (caught.value.where, caught.value.hint) == ("dpbuild.toml:2", None)


def test_a_rule_that_is_not_there():
    with pytest.raises(ConfigError) as caught:
        own('[check]\nignore = ["XYZ1"]\n')
    assert caught.value.what == "check.ignore: no rule is named 'XYZ1'"
    assert caught.value.hint == "dpbuild explain lists all rules"


def test_what_the_project_lacks_is_told_with_the_other_problems():
    text = (
        '[project]\nname = "x"\nversion = "1"\ndependencies = ["a"]\n[project.scripts]\nserve = "x:main"\n'
        "[project.optional-dependencies]\nProd_A = []\n[dependency-groups]\nlint = []\n[tool.dpbuild]\n"
        'extras = ["prod", "prod-a"]\ngroups = ["lnt"]\nscript = "serv"\nfiles = [{from = "conf", to = "/etc"}]\n'
        'ca-certificates = ["ca.pem", "no.pem"]\nverify = {base-key = "k.pub"}\nbytecode = 1\n'
    )
    with pytest.raises(ConfigError) as caught:
        load("/project", {"pyproject.toml": text, "no.pem": "x"}.get, lacking="{} does not exist".format)
    assert sorted(caught.value.what.splitlines()[1:]) == [
        "  pyproject.toml:12: the project has no extra 'prod' (it has: prod-a)",
        "  pyproject.toml:13: there is no dependency group 'lnt' (there are: lint)",
        "  pyproject.toml:14: script: the project has no script 'serv'; did you mean 'serve'?",
        "  pyproject.toml:15: files: conf does not exist",
        "  pyproject.toml:16: ca-certificates: ca.pem does not exist",
        "  pyproject.toml:16: ca-certificates: no.pem holds no PEM certificate",
        "  pyproject.toml:17: verify.base-key: there is no file k.pub",
        "  pyproject.toml:18: bytecode must be true or false, not an integer",
    ]
    assert caught.value.hint == "paths are relative to the project"


def test_a_script_that_may_be_a_dependencys_is_no_problem_by_itself():
    text = '[project]\nname = "x"\nversion = "1"\ndependencies = ["a"]\n[project.scripts]\nserve = "x:main"\n'
    assert loaded(text + '[tool.dpbuild]\nscript = "server"\n').script == "server"


def test_extras_that_another_file_knows():
    project = '[project]\nname = "x"\nversion = "1"\ndynamic = ["optional-dependencies"]\n'
    wanted = '[tool.dpbuild]\nextras = ["prod"]\ngroups = ["dev"]\n'
    own = {"pyproject.toml": project + wanted, "pylock.toml": ""}
    assert load("/project", own.get).extras == ("prod",)
    own = {"pyproject.toml": project + "[tool.uv]\ndev-dependencies = []\n" + wanted, "uv.lock": ""}
    assert load("/project", own.get).groups == ("dev",)
    own["pyproject.toml"] = project.replace("optional-", "") + wanted
    with pytest.raises(ConfigError, match=r"(?s)no extra 'prod'.*no dependency group 'dev'"):
        load("/project", own.get)


def test_compression():
    assert own('compression = "zstd"').compression == "zstd"
    assert own("").compression == "gzip"
    with pytest.raises(ConfigError, match='"gzip" or "zstd", not \'lz4\''):
        own('compression = "lz4"')


def test_broken_toml():
    with pytest.raises(ConfigError, match="not valid TOML") as caught:
        loaded("[project\n")
    assert caught.value.where == "pyproject.toml"


def test_the_project():
    config = loaded(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "My.App"\nversion = "1.0"\nrequires-python = ">=3.11"\n[project.scripts]\nrun = "app:main"\n'
    )
    project = config.project
    assert (project.name, project.version, project.requires_python) == ("my-app", "1.0", ">=3.11")
    assert project.scripts == (("run", "app:main"),)
    assert (project.build_requires, project.build_backend, project.has_build_system) == (
        ("hatchling",),
        "hatchling.build",
        True,
    )


def test_problems_of_the_project_are_reported_with_the_others():
    with pytest.raises(ConfigError) as caught:
        loaded("[project]\nname = 3\n[tool.dpbuild]\nbytecode = 1\n")
    assert "pyproject.toml:2: project.name must be a string" in caught.value.what
    assert "pyproject.toml:4: bytecode" in caught.value.what


@pytest.mark.parametrize(
    ("key", "line"),
    [("a", 1), ("t.b", 3), ("t.u.c", 5), ("t.u.q.r", 6), ("t.v.d", 8), ("rows.x", 10), ("t.missing", 2), ("none", 0)],
)
def test_lines(key, line):
    text = 'a = 1\n[t]\nb = 2\n[t.u]\nc = 3\nq.r = 4\n["t".v]\n"d" = 5\n[[rows]]\nx = 1\n'
    assert find_line(text, key) == line
