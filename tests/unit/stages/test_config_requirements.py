import pytest

from dpbuild.errors import ConfigError, LockError, UnsupportedRequirement
from dpbuild.stages.config import load

HASH = "a" * 64
HEAD = '[project]\nname = "proj"\nversion = "1"\n'


def found(files, **flags):
    return load("/project", files.get, flags).requirements


def test_the_first_file_that_is_there_wins():
    files = {
        "requirements.in": "from-in",
        "pyproject.toml": HEAD + 'dependencies = ["from-project"]\n',
        "requirements.txt": f"from-hashed==1 --hash=sha256:{HASH}",
        "pylock.toml": "",
        "uv.lock": "",
    }
    kinds = []
    for name in ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml", "requirements.in"):
        kinds.append((found(files).kind, found(files).origin))
        del files[name]
    assert kinds == [
        ("uv-lock", "uv.lock"),
        ("pylock", "pylock.toml"),
        ("hashed", "requirements.txt"),
        ("project", "pyproject.toml"),
        ("requirements", "requirements.in"),
    ]
    assert found({"requirements.txt": "plain"}).origin == "requirements.txt"
    assert found({}).kind == "none"


def test_a_project_without_dependencies_leaves_the_word_to_requirements_txt():
    assert found({"pyproject.toml": HEAD, "requirements.txt": "a"}).lines == ("a",)
    assert found({"pyproject.toml": HEAD + "dependencies = []\n", "requirements.txt": "a"}).lines == ()


def test_lines_are_canonical_and_sorted():
    rows = found(
        {"pyproject.toml": HEAD + "dependencies = ['B>=1,<2 ; python_version>\"3\"', 'a [x]', 'a[x]']\n"}
    ).lines
    assert rows == ('B<2,>=1; python_version > "3"', "a[x]")


def test_a_requirements_file_with_everything():
    files = {
        "requirements.txt": (
            "\ufeff# a comment\n"
            "a>=1 \\\n  , <2  # why\n"
            "-r more/other.txt\n--constraint=limits.txt\n"
            "b ; sys_platform == 'linux'\n"
            "--extra-index-url https://index.example.org/simple\n\n"
            "url @ https://files.example.org/url-1-py3-none-any.whl#egg=x\n"
        ),
        "more/other.txt": "c\n-r ../last.txt\n-c more.txt\n",
        "more/more.txt": "m<9\n",
        "last.txt": "d\n-r requirements.txt\n",
        "limits.txt": "e<3\n-r nested.txt\n",
        "nested.txt": "f<4",
    }
    rows = found(files)
    assert rows.lines == (
        "a<2,>=1",
        'b; sys_platform == "linux"',
        "c",
        "d",
        "url @ https://files.example.org/url-1-py3-none-any.whl#egg=x",
    )
    assert rows.constraints == ("e<3", "f<4", "m<9")
    assert rows.options == ("--extra-index-url https://index.example.org/simple",)


def test_hashes():
    text = f"A_b==1.0 \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{'B' * 64}\nc==2 ; python_version < '4' --hash sha256:{HASH}\n"
    rows = found({"requirements.txt": text})
    assert rows.lines == ("A_b==1.0", 'c==2; python_version < "4"')
    assert rows.hashes == (("a-b", (HASH, "b" * 64)), ("c", (HASH,)))


OTHER = "b" * 64
ROW = f"a==1 --hash=sha256:{HASH}\n"


@pytest.mark.parametrize(
    ("files", "where", "said"),
    [
        ({"requirements.txt": ROW + "Big_one==2\n"}, "requirements.txt:2", "^Big_one has no hash, and others have"),
        (
            {"requirements.txt": "--require-hashes\na==1\n"},
            "requirements.txt:2",
            "^a has no hash, and --require-hashes",
        ),
        ({"requirements.txt": ROW + "-r more.txt", "more.txt": "\nb==1"}, "more.txt:2", "^b has no hash"),
        ({"requirements.txt": "a==1\n-r more.txt", "more.txt": "--require-hashes"}, "requirements.txt:1", "^a has no"),
        ({"requirements.txt": "a==1\n-c more.txt", "more.txt": ROW}, "requirements.txt:1", "^a has no hash"),
        ({"requirements.in": ROW + "b\n"}, "requirements.in:2", "^b has no hash"),
        ({"requirements.txt": ROW + "b==1\n", "pyproject.toml": HEAD + "dependencies = ['b']\n"}, ".txt:2", "^b has"),
        (
            {"requirements.txt": ROW + "-c more.txt", "more.txt": f"A==1 --hash=sha256:{OTHER}"},
            "more.txt:1",
            "^A has other hashes",
        ),
    ],
)
def test_where_one_row_has_a_hash_every_row_has_one(files, where, said):
    with pytest.raises(LockError, match=said) as caught:
        found(files)
    assert caught.value.exit_code == 40
    assert caught.value.where.endswith(where)


def test_the_error_for_a_row_without_a_hash_says_what_to_do():
    with pytest.raises(LockError) as caught:
        found({"requirements.txt": ROW + "b==1\n"})
    assert "--hash=sha256:" in caught.value.hint
    assert "--generate-hashes" in caught.value.hint


def test_hashes_are_honoured_wherever_they_stand():
    told = found({"requirements.in": f"--require-hashes\n{ROW}"})
    assert (told.kind, told.origin, told.hashes) == ("hashed", "requirements.in", (("a", (HASH,)),))
    url = f"https://files.example.org/url-1-py3-none-any.whl#sha256={OTHER}"
    assert found({"requirements.txt": f"{ROW}url @ {url}"}).hashes == (("a", (HASH,)), ("url", (OTHER,)))
    limited = {
        "requirements.txt": f"a==1 --hash=sha256:{HASH} --hash=sha256:{OTHER}\nb==1 --hash=sha256:{HASH}\n-c c.txt",
        "c.txt": f"A==1 ; sys_platform == 'linux' --hash=sha256:{OTHER}\nb<2\n",
    }
    assert found(limited).hashes == (("a", (OTHER,)), ("b", (HASH,)))


@pytest.mark.parametrize("value", ["sha256:aa", f"sha256:{'g' * 64}", f"md5:{'a' * 32}", HASH, f"sha512:{HASH}"])
def test_what_is_no_hash(value):
    with pytest.raises(ConfigError, match=r"^not a hash: '") as caught:
        found({"requirements.txt": f"\na==1 \\\n  --hash={value}\n"})
    assert caught.value.where == "requirements.txt:2"
    assert "64 hexadecimal" in caught.value.hint


def test_setuptools_reads_no_hashes():
    text = HEAD + 'dynamic = ["dependencies"]\n[tool.setuptools.dynamic]\ndependencies = {file = "deps.txt"}\n'
    with pytest.raises(UnsupportedRequirement, match="no hashes") as caught:
        found({"pyproject.toml": text, "deps.txt": ROW})
    assert caught.value.where == "deps.txt"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-e .", "editable"),
        ("--editable=../x", "editable"),
        ("./here", "./here"),
        ("../dist/x-1-py3-none-any.whl", "path"),
        ("git+https://example.org/x.git", "version-control"),
        ("x @ git+ssh://git@example.org/x.git", "x comes from"),
        ("x @ file:///srv/x-1-py3-none-any.whl", "x comes from"),
        ("x @ https://example.org/x-1.tar.gz", "not that of a wheel"),
        ("x; platform_release > '5'", "platform_release"),
        ("x; 'a' in platform_version", "platform_version"),
        ("-r https://example.org/r.txt", "URL"),
        ("--index-url https://user:hunter2@example.org/simple", "user or password"),
    ],
)
def test_what_cannot_be_locked_is_named(line, said):
    with pytest.raises(UnsupportedRequirement, match=said) as caught:
        found({"requirements.txt": f"ok\n{line}\n"})
    assert caught.value.exit_code == 41
    assert caught.value.where == "requirements.txt:2"
    assert "hunter2" not in str(caught.value)


def test_a_password_in_a_url_is_not_repeated():
    with pytest.raises(LockError, match="user or password") as caught:
        found({"requirements.txt": "x @ https://user:hunter2@example.org/x-1-py3-none-any.whl"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--nonsense 1", "--nonsense"),
        ("a b c", "not a requirement"),
        ("-r gone.txt", "not there"),
        ("-r", "needs a value"),
        ("x --global-option=y", "--global-option"),
    ],
)
def test_what_is_wrong_with_a_file(line, said):
    with pytest.raises(ConfigError, match=said):
        found({"requirements.txt": line})


EXTRAS = HEAD + (
    'dependencies = ["a"]\n[project.optional-dependencies]\nProd = ["b", "proj[fast]"]\nfast = ["c"]\nall = ["proj[prod,all]"]\n'
    '[dependency-groups]\nserve = ["d", {include-group = "Base_x"}]\nbase-x = ["e"]\nloop = [{include-group = "loop"}]\nbad = [1]\n'
)


def test_extras_and_groups():
    files = {"pyproject.toml": EXTRAS}
    assert found(files).lines == ("a",)
    assert found(files, extras=["prod"]).lines == ("a", "b", "c")
    assert found(files, extras=["all"]).lines == ("a", "b", "c")
    assert found(files, groups=["serve"]).lines == ("a", "d", "e")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"extras": ["nope"]}, "no extra 'nope'"),
        ({"groups": ["nope"]}, "no dependency group 'nope'"),
        ({"groups": ["loop"]}, "includes itself: loop -> loop"),
        ({"groups": ["bad"]}, "include-group"),
    ],
)
def test_extras_and_groups_that_are_wrong(flags, said):
    with pytest.raises(ConfigError, match=said):
        found({"pyproject.toml": EXTRAS}, **flags)


def test_dynamic_dependencies():
    text = HEAD + 'dynamic = ["dependencies"]\n'
    with pytest.raises(UnsupportedRequirement, match="dynamic"):
        found({"pyproject.toml": text, "requirements.txt": "a"})
    text += '[tool.setuptools.dynamic]\ndependencies = {file = ["deps.txt"]}\n'
    assert found({"pyproject.toml": text, "deps.txt": "a\nb"}).lines == ("a", "b")


@pytest.mark.parametrize("kind", ["git", "path", "url", "workspace"])
def test_sources_that_are_no_wheels(kind):
    value = "true" if kind == "workspace" else '"https://example.org/x"'
    text = HEAD + f'dependencies = ["Foo.Bar"]\n[tool.uv.sources]\nfoo-bar = {{ {kind} = {value} }}\n'
    with pytest.raises(UnsupportedRequirement, match=f"foo-bar comes from a {kind} source") as caught:
        found({"pyproject.toml": text})
    assert caught.value.where == "pyproject.toml:6"


def test_sources_of_projects_that_are_not_required_do_not_matter():
    text = (
        HEAD + 'dependencies = ["a"]\n[tool.uv.sources]\nb = { git = "https://example.org/b" }\na = { index = "own" }\n'
    )
    assert found({"pyproject.toml": text}).lines == ("a",)
