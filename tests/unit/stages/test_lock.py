import tomllib
from dataclasses import replace

import pytest
from factories.facts import make_target
from fakes.resolver import FakeResolver, offered
from packaging.pylock import Pylock

from dpbuild.errors import LockError, NoCompatibleWheel, UnsupportedRequirement, UsageError
from dpbuild.model.lock import LockedBase
from dpbuild.oci.platform import Platform
from dpbuild.stages import lockfile
from dpbuild.stages.config import load
from dpbuild.stages.lock import (
    LockTarget,
    build_stale,
    changes,
    make_build_lock,
    make_lock,
    stale,
    wanted_platforms,
)
from dpbuild.stages.select import best_wheel, select

AMD64, ARM64 = make_target(), make_target(machine="aarch64")
X86 = "platform_machine == 'x86_64' and sys_platform == 'linux'"
ARM = "platform_machine == 'aarch64' and sys_platform == 'linux'"
MANY = "manylinux_2_17"


def config(*lines, tool="", project="", **files):
    rows = ", ".join(repr(line) for line in lines)
    text = f'[project]\nname = "proj"\nversion = "1"\ndependencies = [{rows}]\n{project}[tool.dpbuild]\n{tool}'
    files = {"pyproject.toml": text, **{name.replace("__", "."): value for name, value in files.items()}}
    return load("/project", files.get), files.get


def resolver(**wheels):
    files = {
        f"native-1.0-cp313-cp313-{MANY}_x86_64.whl": (),
        f"native-1.0-cp313-cp313-{MANY}_aarch64.whl": (),
        f"native-1.1-cp313-cp313-{MANY}_x86_64.whl": (),
        "pure-1.0-py3-none-any.whl": (),
        "pure-2.0-py3-none-any.whl": (),
        "intel_math-1.0-py3-none-any.whl": (),
        "app-1.0-py3-none-any.whl": ("pure", 'intel-math; platform_machine == "x86_64"'),
        "win-1.0-cp313-cp313-win_amd64.whl": (),
        f"x86_only-1.0-cp313-cp313-{MANY}_x86_64.whl": (),
    }
    return offered(FakeResolver(), files)


def base(platform):
    return LockedBase(
        platform=platform, digest="sha256:" + "1" * 64, facts=(("libc", "glibc 2.41"), ("python", "3.13.5"))
    )


def locked(made, *targets, previous=None, fake=None, **more):
    told, read = made
    rows = [
        LockTarget(target=row, base=base(str(row.platform))) if not isinstance(row, LockTarget) else row
        for row in targets or (AMD64, ARM64)
    ]
    return make_lock(told, rows, fake or resolver(), read, base_digest="sha256:" + "2" * 64, previous=previous, **more)


def test_both_platforms_in_one_lock():
    lock = locked(config("app", "native==1.0"))
    rows = {package.name: package for package in lock.packages}
    assert list(rows) == ["app", "intel-math", "native", "pure"]
    assert rows["intel-math"].marker == X86
    assert rows["app"].marker == rows["native"].marker == ""
    assert [wheel.name for wheel in rows["native"].wheels] == [
        f"native-1.0-cp313-cp313-{MANY}_{m}.whl" for m in ("aarch64", "x86_64")
    ]
    assert lock.environments == (ARM, X86)
    assert lock.requires_python == "==3.13.*"
    assert lock.platforms == ("linux/amd64", "linux/arm64")
    assert [row.platform for row in lock.bases] == ["linux/amd64", "linux/arm64"]


def test_the_first_platforms_versions_are_the_seconds_preferences():
    lock = locked(config("native"), ARM64, AMD64)
    assert [(row.version, row.marker) for row in lock.packages] == [("1.0", "")]


def test_versions_that_differ_have_markers_that_exclude_each_other():
    lock = locked(config("native"), AMD64, ARM64)
    assert [(row.version, row.marker) for row in lock.packages] == [("1.0", ARM), ("1.1", X86)]
    assert [package.version for package, _ in select(lock.packages, AMD64)] == ["1.1"]
    assert [package.version for package, _ in select(lock.packages, ARM64)] == ["1.0"]


def test_nothing_to_lock():
    lock = locked(config())
    assert lock.packages == ()
    assert lockfile.loads(lockfile.dumps(lock)) == lock


def test_a_platform_that_is_not_required_may_drop_out_with_a_note():
    notes = []
    lock = locked(config("x86-only"), AMD64, LockTarget(target=ARM64, required=False), note=notes.append)
    assert lock.platforms == ("linux/amd64",)
    assert lock.packages[0].marker == ""
    assert len(notes) == 1
    assert "linux/arm64 is not locked: x86-only" in notes[0]
    with pytest.raises(NoCompatibleWheel, match="x86-only"):
        locked(config("x86-only"), AMD64, ARM64)


def test_the_project_says_which_python_it_needs():
    made = config("pure", project='requires-python = ">=3.14"\n')
    with pytest.raises(UnsupportedRequirement, match=r"proj needs Python >=3\.14, and the base has 3\.13\.5"):
        locked(made)


def test_pythons_that_differ():
    with pytest.raises(LockError, match=r"3\.12, 3\.13"):
        locked(config("pure"), AMD64, make_target("3.12.1", "aarch64"))


def test_the_file_is_the_same_when_written_again_and_packaging_reads_it():
    lock = locked(config("app", "native"))
    text = lockfile.dumps(lock)
    assert lockfile.loads(text) == lock
    assert lockfile.dumps(lockfile.loads(text)) == text
    found = Pylock.from_dict(tomllib.loads(text))
    assert [str(marker) for marker in found.environments] == [row.replace("'", '"') for row in (ARM, X86)]
    assert "3.13.5" not in "".join(lock.environments)
    assert found.tool["dpbuild"]["base"]["platforms"][0]["facts"] == {"libc": "glibc 2.41", "python": "3.13.5"}


def test_the_packages_of_a_composed_base_are_kept():
    row = replace(base("linux/amd64"), packages=(("libc6", "2.41", "a" * 64), ("zlib1g", "1.3", "b" * 64)))
    lock = replace(locked(config("pure"), LockTarget(target=AMD64, base=row)), base_date="2026-01-01")
    assert lockfile.loads(lockfile.dumps(lock)) == lock


def test_versions_stay_until_they_are_upgraded():
    old = locked(config("pure<2", "native<1.1"))
    made = config("pure", "native")
    assert changes(old, locked(made, AMD64, previous=old)) == ()
    assert changes(old, locked(made, AMD64, previous=old, upgrade=True)) == ("native 1.0 -> 1.1", "pure 1.0 -> 2.0")
    assert changes(old, locked(made, AMD64, previous=old, upgrade_packages=("Pure",))) == ("pure 1.0 -> 2.0",)
    assert changes(None, old) == ("+ native 1.0", "+ pure 1.0")
    assert changes(old, locked(config("pure<2"))) == ("- native 1.0",)
    with pytest.raises(UsageError, match="nope"):
        locked(made, previous=old, upgrade_packages=("nope",))


def test_staleness_in_words():
    lock = lockfile.loads(lockfile.dumps(locked(config("pure>=1", "native"))))
    assert stale(lock, config("native", "pure>=1")[0]) is None
    assert stale(lock, config("pure>=2", "native")[0]) == "dependencies changed: + pure>=2, - pure>=1"
    assert (
        stale(lock, config("pure>=1", "native", tool='base = "oci:x"\n')[0])
        == "base changed: gcr.io/distroless/python3-debian13:nonroot -> oci:x"
    )
    assert (
        stale(lock, config("pure>=1", "native", tool='platforms = ["linux/arm64", "linux/386"]\n')[0])
        == "it does not cover linux/386"
    )
    assert stale(lock, config("pure>=1", "native")[0], [Platform("linux", "s390x")]) == "it does not cover linux/s390x"
    assert (
        stale(lock, config("pure>=1", "native", project='requires-python = ">=3.9"\n')[0])
        == "requires-python changed: + >=3.9"
    )
    # Other keys do not decide the lock, nor what is done with a wheel that was built.
    packages = "[tool.dpbuild.recipes.native.build]\npackages = ['libx-dev']\n"
    with_recipe = locked(config("pure>=1", "native", tool=packages))
    assert stale(with_recipe, config("pure>=1", "native", tool=f"{packages}repair = true\n")[0]) is None
    assert stale(lock, config("pure>=1", "native", tool=packages)[0]) == "recipes changed"
    assert stale(lock, config("pure>=1", "native", tool='user = "7"\nbytecode = false\n')[0]) is None
    assert stale(replace(lock, inputs="sha256:0"), config("pure>=1", "native")[0]) == "the hash of the inputs differs"


def test_settings_of_uv_decide_too_but_their_passwords_do_not():
    def with_password(word):
        return config("pure", tool=f'[[tool.uv.index]]\nurl = "https://u:{word}@example.org/simple"\n')

    lock = locked(with_password("one"))
    assert stale(lock, with_password("two")[0]) is None
    assert stale(lock, config("pure")[0]) == "[tool.uv] changed"


def test_a_uv_lock_for_another_python():
    """Its markers say nothing of a Python that it is not for."""
    fake = resolver()
    made = config(uv__lock='version = 1\nrequires-python = ">=3.14"\n')
    with pytest.raises(UnsupportedRequirement, match=r"for Python >=3\.14, and the base has Python 3\.13\.5") as caught:
        locked(made, fake=fake)
    assert "requires-python" in caught.value.hint
    assert fake.exports == []


SHA = "c" * 64
FOREIGN = f"""
lock-version = "1.0"
created-by = "somebody"
requires-python = ">=3.11"
extras = ["prod"]
dependency-groups = ["serve", "dev"]
default-groups = ["serve"]
[[packages]]
name = "both"
version = "1"
wheels = [{{url = "https://example.org/both-1-py3-none-any.whl", size = 7, upload-time = 2020-01-01T00:00:00Z, hashes = {{sha256 = "{SHA}", md5 = "x"}}}}]
[[packages]]
name = "for-prod"
version = "1"
marker = "'prod' in extras"
wheels = [{{path = "for_prod-1-py3-none-any.whl", hashes = {{sha256 = "{SHA}"}}}}]
[[packages]]
name = "for-serve"
version = "1"
marker = "'serve' in dependency_groups"
wheels = [{{url = "https://example.org/for_serve-1-py3-none-any.whl", hashes = {{sha256 = "{SHA}"}}}}]
[[packages]]
name = "folder"
marker = "sys_platform == 'win32'"
directory = {{path = "x"}}
"""


def names(lock):
    return [package.name for package in lock.packages]


def test_a_lock_that_somebody_else_made():
    assert names(locked(config(pylock__toml=FOREIGN))) == ["both", "for-serve"]
    assert names(locked(config(tool='groups = ["dev"]\n', pylock__toml=FOREIGN))) == ["both"]
    lock = locked(config(tool='extras = ["prod"]\n', pylock__toml=FOREIGN))
    assert names(lock) == ["both", "for-prod", "for-serve"]
    assert lock.packages[1].wheels[0].path == "for_prod-1-py3-none-any.whl"
    text = lockfile.dumps(lock)
    assert "size" not in text
    assert "md5" not in text
    assert "upload-time" not in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sys_platform == 'win32'", "sys_platform == 'linux'", "folder cannot be locked"),
        ("sys_platform == 'win32'", "platform_release > '5'", "platform_release"),
        (">=3.11", ">=3.14", "Python >=3.14"),
        ('requires-python = ">=3.11"', "environments = [\"sys_platform == 'win32'\"]", "win32"),
        ("both-1-py3-none-any", "both-1-cp312-cp312-win_amd64", "both 1 has no wheel for cp313 manylinux_2_41_x86_64"),
        ('hashes = {sha256 = "' + SHA + '", md5 = "x"}', 'hashes = {md5 = "x"}', "both 1 has no sha256"),
        ("https://example.org/both", "https://user:hunter2@example.org/both", "user or password"),
        ('name = "for-serve"', 'name = "other"', "is not a file of other 1"),
        ('version = "1"\nmarker = "\'serve', 'version = "2"\nmarker = "\'serve', "is not a file of for-serve 2"),
        (
            '[[packages]]\nname = "folder"',
            FOREIGN[FOREIGN.index("[[packages]]") : FOREIGN.index('[[packages]]\nname = "for-prod')]
            + '[[packages]]\nname = "folder"',
            "locked twice",
        ),
    ],
)
def test_what_a_foreign_lock_must_not_hold(old, new, said):
    assert old in FOREIGN
    with pytest.raises((LockError, NoCompatibleWheel), match=said) as caught:
        lockfile.dumps(locked(config(pylock__toml=FOREIGN.replace(old, new))))
    assert "hunter2" not in str(caught.value)


def test_a_version_that_a_foreign_lock_leaves_out_is_that_of_the_wheel():
    text = FOREIGN.replace('name = "both"\nversion = "1"', 'name = "both"')
    assert locked(config(pylock__toml=text)).packages[0].version == "1"


def test_extras_that_a_foreign_lock_does_not_have():
    with pytest.raises(UnsupportedRequirement, match="'nope'"):
        locked(config(tool='extras = ["nope"]\n', pylock__toml=FOREIGN))


def test_a_changed_uv_lock_makes_the_lock_stale():
    lock = locked(config(pylock__toml=FOREIGN))
    assert stale(lock, config(pylock__toml=FOREIGN + "\n")[0]) == "the file that is locked changed"


def test_a_uv_lock_is_exported_with_extras_and_groups(tmp_path):
    (tmp_path / "uv.lock.exported").write_text(FOREIGN)
    known = "[project.optional-dependencies]\nprod = []\n[dependency-groups]\ndev = []\n"
    told, read = config(project=known, tool='extras = ["prod"]\ngroups = ["dev"]\n', uv__lock="")
    fake = resolver()
    lock = locked((replace(told, directory=str(tmp_path)), read), AMD64, fake=fake)
    assert fake.exports == [(str(tmp_path), ("prod",), ("dev",))]
    assert fake.requests == []
    assert "both" in names(lock)


def test_hashed_requirements_limit_the_files():
    fake = resolver()
    good = "a" * 64
    fake.add("hashed-1.0-py3-none-any.whl", ("pure",), sha256=good)
    fake.add(f"hashed-1.0-cp313-cp313-{MANY}_x86_64.whl", ("pure",), sha256="b" * 64)
    text = '[project]\nname = "x"\n'
    files = {"pyproject.toml": text, "requirements.txt": f"hashed==1.0 --hash=sha256:{good}"}
    lock = locked((load("/project", files.get), files.get), AMD64, fake=fake)
    assert [(p.name, [w.name for w in p.wheels]) for p in lock.packages] == [
        ("hashed", ["hashed-1.0-py3-none-any.whl"])
    ]
    files["requirements.txt"] = f"hashed==1.0 --hash=sha256:{'d' * 64}"
    with pytest.raises(UnsupportedRequirement, match="one of the hashes"):
        locked((load("/project", files.get), files.get), AMD64, fake=fake)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lock-version = "1.0"\ncreated-by = "x"\n', "not made by dpbuild"),
        ('lock-version = "1.0"\ncreated-by = "x"\n[tool.dpbuild]\nlock-version = 99\n', "lock version 99"),
        ('lock-version = "1.0"\ncreated-by = "x"\n[tool.dpbuild]\nlock-version = 1\n', "tool.dpbuild.inputs-hash"),
    ],
)
def test_a_lock_that_cannot_be_read(text, said):
    with pytest.raises(LockError, match=said):
        lockfile.loads(text)


@pytest.mark.parametrize("digest", ["sha256:zzzz", "sha512:00", "", "0" * 64])
def test_a_digest_that_is_none(digest):
    text = lockfile.dumps(locked(config("pure")))
    row = lockfile.loads(text).bases[0].digest
    place = text.rindex(row)
    with pytest.raises(
        LockError, match=r"damaged: tool\.dpbuild\.base\.platforms\[1\]\.digest must be \"sha256:\" and 64"
    ):
        lockfile.loads(text[:place] + digest + text[place + len(row) :])
    if digest:
        with pytest.raises(LockError, match=r"damaged: tool\.dpbuild\.base\.digest must be"):
            lockfile.loads(text.replace(f'digest = "{lockfile.loads(text).base_digest}"', f'digest = "{digest}"', 1))


def test_a_lock_that_is_not_utf_8():
    text = lockfile.dumps(locked(config("pure"))) + b"# \xff\n".decode(errors="surrogateescape")
    with pytest.raises(LockError, match="the lock is damaged: it is not UTF-8") as caught:
        lockfile.loads(text)
    assert (caught.value.exit_code, caught.value.where) == (40, lockfile.NAME)


def test_a_lock_without_hashes_is_damaged():
    text = lockfile.dumps(locked(config("pure")))
    sha = lockfile.loads(text).packages[0].wheels[0].sha256
    with pytest.raises(LockError, match="hashes"):
        lockfile.loads(text.replace(f'sha256 = "{sha}"', 'md5 = "1"'))


def test_platforms_that_are_locked():
    host = Platform("linux", "arm64", "v8")
    assert [(str(p), r) for p, r in wanted_platforms(config()[0], host)] == [
        ("linux/arm64", True),
        ("linux/amd64", False),
    ]
    told = config(tool='platforms = ["linux/amd64"]\n')[0]
    assert [(str(p), r) for p, r in wanted_platforms(told, host)] == [("linux/amd64", True)]
    previous = locked(config("pure"))
    assert [(str(p), r) for p, r in wanted_platforms(told, host, previous)] == [
        ("linux/amd64", True),
        ("linux/arm64", False),
    ]


def test_the_lock_of_build_requirements():
    lock = make_build_lock(("pure>=1", "app"), AMD64, resolver())
    assert names(lock) == ["app", "intel-math", "pure"]
    assert lockfile.loads(lockfile.dumps(lock)) == lock
    assert build_stale(lock, ("app", "pure>=1"), AMD64) is None
    assert build_stale(lock, ("app",), AMD64) == "dependencies changed: - pure>=1"
    assert build_stale(lock, ("app", "pure>=1"), make_target("3.12.1")) == "it is for another interpreter"
    assert make_build_lock((), AMD64, resolver()).packages == ()


class TestChoice:
    def files(self, *names):
        from dpbuild.model.lock import LockedFile

        return [LockedFile(name=name, sha256="0" * 64, url=f"https://example.org/{name}") for name in names]

    @pytest.mark.parametrize(
        ("names", "best"),
        [
            (["x-1-py3-none-any.whl", f"x-1-cp313-cp313-{MANY}_x86_64.whl"], 1),
            ([f"x-1-cp313-cp313-{MANY}_x86_64.whl", "x-1-cp313-cp313-manylinux_2_28_x86_64.whl"], 1),
            (["x-1-cp313-cp313-manylinux_2_42_x86_64.whl", "x-1-cp313-cp313-manylinux_2_28_x86_64.whl"], 1),
            ([f"x-1-cp39-abi3-{MANY}_x86_64.whl", f"x-1-cp312-abi3-{MANY}_x86_64.whl"], 1),
            (["x-1-py2-none-any.whl", "x-1-py2.py3-none-any.whl"], 1),
            (["x-1-1-py3-none-any.whl", "x-1-10-py3-none-any.whl", "x-1-py3-none-any.whl"], 1),
            (["x-1-cp313-cp313-musllinux_1_2_x86_64.whl", "broken.whl"], None),
            (["x-1-cp314-abi3-manylinux_2_17_x86_64.whl", "x-1-cp312-cp312-manylinux_2_17_x86_64.whl"], None),
        ],
    )
    def test_the_best_wheel(self, names, best):
        files = self.files(*names)
        for order in (files, files[::-1]):
            assert best_wheel(order, AMD64) == (None if best is None else files[best])

    def test_no_binary_needs_a_builder(self):
        with pytest.raises(NoCompatibleWheel, match=r"pure 2\.0 is to be built"):
            locked(config("pure", tool='no-binary = ["pure"]\n'))
