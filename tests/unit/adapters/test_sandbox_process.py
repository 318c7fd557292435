"""Starting programs on the host, and users of an image as numbers."""

from pathlib import Path

import pytest

from dpbuild.adapters.sandbox.process import attached, captured
from dpbuild.adapters.sandbox.users import resolve_user
from dpbuild.errors import SandboxError


@pytest.mark.parametrize("capture", [True, False])
def test_a_program_for_another_machine_is_an_error_that_says_so(tmp_path: Path, capture: bool) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF" + bytes(200))
    program.chmod(0o755)
    with pytest.raises(SandboxError, match="cannot start") as caught:
        if capture:
            captured([str(program)], {}, cwd="/", stdin=b"", timeout=5, name="it")
        else:
            attached([str(program)], {}, cwd="/", timeout=5, name="it")
    assert caught.value.exit_code == 100
    assert "another machine" in (caught.value.hint or "")


def test_a_missing_program_is_no_other_machine(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="No such file") as caught:
        captured([str(tmp_path / "none")], {}, cwd="/", stdin=b"", timeout=5, name="it")
    assert caught.value.hint is None


@pytest.fixture
def rootfs(tmp_path: Path) -> str:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/x\n7:x:70:71::/seven:\nbroken\n"
    )
    (tmp_path / "etc/group").write_text("staff:x:50:\nnonroot:x:65532:\n")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", (0, 0)),
        ("0", (0, 0)),
        ("nonroot", (65532, 65532)),
        ("65532", (65532, 65532)),
        ("1234", (1234, 0)),
        ("1234:77", (1234, 77)),
        ("nonroot:staff", (65532, 50)),
        ("1234:staff", (1234, 50)),
        ("7", (70, 71)),
    ],
)
def test_users_are_those_of_the_image(rootfs: str, user: str, ids: tuple[int, int]) -> None:
    assert resolve_user(rootfs, user) == ids


@pytest.mark.parametrize("user", ["nobody", "root:nobody", "-1", "1.5"])
def test_users_that_the_image_does_not_have(rootfs: str, user: str) -> None:
    with pytest.raises(SandboxError, match="the image has no"):
        resolve_user(rootfs, user)


def test_an_image_without_users_has_numbers(tmp_path: Path) -> None:
    assert resolve_user(str(tmp_path), "1000:1000") == (1000, 1000)


def test_a_password_file_that_points_outside_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("/etc/passwd")
    with pytest.raises(SandboxError):
        resolve_user(str(tmp_path), "root")
