import pytest
from factories.facts import make_target

from dpbuild.adapters.uv_errors import clean, disk_full, sdist_only, translate

HEAD = "error: No solution found when resolving dependencies\n  cause: "
WORDS = "cp313 manylinux_2_41_x86_64"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (
            (
                "Because all versions of pyspark have no usable wheels and you require pyspark, we can conclude that …\n\n"
                "hint: Wheels are required for `pyspark` because building from source is disabled for all packages (i.e., with `--no-build`)"
            ),
            52,
            f"no version of pyspark has a wheel for {WORDS}; it has an sdist, which would have to be built",
        ),
        (
            (
                "Because tensorflow<=2.15.1 has no wheels with a matching Python ABI tag (e.g., `cp313`) and …\n\n"
                "hint: You require CPython 3.13 (`cp313`), but we only found wheels for `tensorflow` (v2.15.1) with the following Python ABI tags: `cp310`, `cp311`"
            ),
            52,
            f"tensorflow <=2.15.1 has no wheel for {WORDS}; there is 2.15.1 for cp310, cp311",
        ),
        (
            (
                "Because win==1.0 has no wheels with a matching platform tag (e.g., `manylinux_2_40_x86_64`) and …\n\n"
                "hint: Wheels are available for `win` (v1.0) on the following platform: `win_amd64`"
            ),
            52,
            f"win 1.0 has no wheel for {WORDS}; there is 1.0 for win_amd64",
        ),
        ("Because a>=1,<2 has no usable wheels and …", 52, f"a >=1,<2 has no wheel for {WORDS}"),
        ("Because x was not found in the package registry and you require x, …", 41, "x was not found"),
        (
            "Because you require a<1 and a>2, we can conclude that your requirements are unsatisfiable.",
            41,
            "a<1 and a>2",
        ),
    ],
)
def test_no_solution(text, code, said):
    error = translate(HEAD + text, make_target())
    assert error.exit_code == code
    assert said in error.what
    assert "--no-build" not in error.what


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "error: Request failed after 3 retries\n  cause: Failed to fetch: https://u:pw@index.example.org/simple/x/\n  cause: Connection refused (os error 111)",
            "cannot be reached: Connection refused",
        ),
        (
            "error: HTTP status client error (403 Forbidden) for url (https://index.example.org/simple/x/)",
            "credentials",
        ),
        ("error: Network connectivity is disabled, but `--offline` was given", "offline"),
        ("error: Something new about https://u:pw@index.example.org/x", "uv failed: Something new about the index"),
        ("", "without saying why"),
    ],
)
def test_failures(text, said):
    error = translate(text, make_target())
    assert error.exit_code == 40
    assert said in error.what
    assert "example.org" not in f"{error.what} {error.hint}"


def test_warnings_are_not_part_of_an_explanation():
    text = "warning: pylock is experimental\n  cause: nobody knows\nerror: broken\n  cause: by `git+https://t@h.example.org/x.git`\nResolved 3 packages\n"
    assert clean(text) == "broken\n  by `the index`"


def test_sdists_are_found_by_their_normalised_name():
    text = "hint: Wheels are required for `Foo_Bar` because building from source is disabled for all packages"
    assert sdist_only(text) == {"foo-bar"}


def test_a_full_disk() -> None:
    assert disk_full("failed to write to file `/x`: No space left on device (os error 28)")
    assert disk_full("Disk quota exceeded (os error 122)")
    assert not disk_full("Permission denied (os error 13)")
    assert not disk_full("")
