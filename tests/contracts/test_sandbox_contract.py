"""One contract for everything that runs the base's own interpreter: its loader, bubblewrap, an engine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engines import podman_service, short_folder
from machinery import ComposedBase

from dpbuild.adapters.sandbox.bubblewrap import BubblewrapSandbox
from dpbuild.adapters.sandbox.connect import EngineSettings, Kind, connect
from dpbuild.adapters.sandbox.engine import EngineSandbox
from dpbuild.adapters.sandbox.loader import LoaderSandbox
from dpbuild.errors import SandboxError
from dpbuild.ports.sandbox import Job, Mount, Outcome, Sandbox

pytestmark = [pytest.mark.network]

ENV = (("LANG", "C.UTF-8"), ("GREETING", "hällo wörld"))
# What a way of running adds by itself.
ADDED = {"PYTHONHOME", "PWD", "PATH", "HOME", "HOSTNAME", "TERM", "container"}


def engine(kind: Kind = "docker", host: str = "") -> EngineSandbox:
    """The machine's own engine, or the one at an address."""
    environment = {**os.environ, **({"CONTAINER_HOST": host} if host else {})}
    settings = EngineSettings.configured(environment, os.environ.get("HOME", ""))
    return EngineSandbox(lambda: connect(settings, kind), kind)


@pytest.fixture(scope="module")
def podman() -> Iterator[str]:
    with short_folder() as folder, podman_service(folder) as url:
        yield url


@pytest.fixture(params=["loader", "bubblewrap", "docker", pytest.param("podman", marks=pytest.mark.slow)])
def sandbox(request: pytest.FixtureRequest, need: Callable[..., None]) -> Sandbox:
    match request.param:
        case "bubblewrap":
            need("bubblewrap")
            return BubblewrapSandbox(str(shutil.which("bwrap")))
        case "docker":
            need("docker")
            return engine()
        case "podman":
            need("podman")
            return engine("podman", request.getfixturevalue("podman"))
        case _:
            return LoaderSandbox()


# An engine takes seconds to take in a base; what it does best is asked of it by `make test-all` alone.
SELDOM = pytest.mark.parametrize(
    "sandbox",
    ["loader", "bubblewrap", *(pytest.param(name, marks=pytest.mark.slow) for name in ("docker", "podman"))],
    indirect=True,
)


@pytest.fixture(scope="session")
def base(composed_base: Callable[[str], ComposedBase]) -> ComposedBase:
    return composed_base("debian13")


@pytest.fixture
def run(sandbox: Sandbox, base: ComposedBase) -> Callable[..., Outcome]:
    """Run a program given as text by the base's interpreter."""

    def call(program: str, *arguments: str, **options: object) -> Outcome:
        argv = (base.base.facts.interpreter, "-c", textwrap.dedent(program), *arguments)
        return sandbox.run(Job(rootfs=base.rootfs, argv=argv, **{"env": ENV, **options}))  # type: ignore[arg-type]

    return call


@SELDOM
def test_it_is_the_bases_interpreter_with_its_own_libraries(run: Callable[..., Outcome], base: ComposedBase) -> None:
    done = run(
        """
        import platform, sqlite3, ssl, ctypes, lzma, bz2, sys
        print(platform.python_version(), ssl.OPENSSL_VERSION.split()[1], sqlite3.sqlite_version)
        print(ctypes.c_char_p.in_dll and ctypes.CDLL(None).gnu_get_libc_version and platform.libc_ver()[0])
        """
    )
    assert done.stderr == b""
    assert done.stdout.decode().split()[0] == base.base.facts.version
    assert done.status == 0


def test_status_output_and_arguments(run: Callable[..., Outcome]) -> None:
    done = run("import sys; print(sys.argv[1:]); print('e', file=sys.stderr); sys.exit(9)", "-x", "two words", "ü")
    assert done == Outcome(status=9, stdout="['-x', 'two words', 'ü']\n".encode(), stderr=b"e\n")


@SELDOM
def test_of_much_output_head_and_tail_are_kept(run: Callable[..., Outcome]) -> None:
    done = run("print('first'); print('x' * 1_000_000); print('last')", most=1000)
    assert done.stdout.startswith(b"first\nxxx")
    assert done.stdout.endswith(b"xxx\nlast\n")
    assert len(done.stdout) < 1100


@SELDOM
def test_a_signal_shows_in_the_status(run: Callable[..., Outcome]) -> None:
    # Process 1 of a container cannot be ended by SIGABRT, so the C library's abort() ends in a fault.
    assert run("import os; os.abort()").status in (128 + signal.SIGABRT, 128 + signal.SIGSEGV)


@SELDOM
def test_input_is_what_was_given_and_nothing_else(run: Callable[..., Outcome]) -> None:
    data = bytes(range(256)) * 4096
    done = run("import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d[::-1])", stdin=data)
    assert done.stdout == data[::-1]
    assert run("import sys; print(sys.stdin.read())").stdout == b"\n"


def test_the_environment_is_what_was_given(run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPBUILD_LEAK", "secret")
    done = run("import json, os; print(json.dumps(dict(os.environ)))")
    found = json.loads(done.stdout)
    assert {key: value for key, value in found.items() if key not in ADDED} == dict(ENV)


def test_mounts_and_the_working_directory(run: Callable[..., Outcome], sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/data").write_text("content")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("old")
    done = run(
        """
        import os, sys
        data, out = sys.argv[1:]
        print(open(data).read(), os.path.basename(os.getcwd()), os.environ["WHERE"] == out)
        open("relative", "w").write("1")
        os.mkdir(out + "/new"); open(out + "/new/file", "w").write("2"); os.remove(out + "/old")
        try:
            open(data, "w")
        except OSError as problem:
            print(problem.strerror)
        """,
        "/usr/share/deep/in/data",
        "/job/out",
        env=(*ENV, ("WHERE", "/job/out")),
        working_dir="/job/out",
        mounts=(
            Mount(source=str(tmp_path / "in"), target="/usr/share/deep/in"),
            Mount(source=str(tmp_path / "out"), target="/job/out", writable=True),
        ),
    )
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "content out True", done.stderr.decode()
    assert sorted(str(row.relative_to(tmp_path / "out")) for row in (tmp_path / "out").rglob("*")) == [
        "new",
        "new/file",
        "relative",
    ]
    if sandbox.isolates:
        assert (tmp_path / "in/data").read_text() == "content"


@SELDOM
def test_a_missing_program_is_an_error(sandbox: Sandbox, base: ComposedBase) -> None:
    with pytest.raises(SandboxError, match="nothing"):
        sandbox.run(Job(rootfs=base.rootfs, argv=("/usr/bin/nothing",)))


def test_too_long_is_an_error_and_leaves_nothing_running(
    run: Callable[..., Outcome], sandbox: Sandbox, tmp_path: Path
) -> None:
    program = """
        import os, subprocess, sys, time
        if os.fork() == 0:
            time.sleep(300)
        time.sleep(300)
        """
    word = f"marker-{tmp_path.name}-{os.getpid()}"
    with pytest.raises(SandboxError, match="longer than 2 s"):
        run(program, word, timeout=2.0)
    assert left(word) == []


def left(word: str) -> list[str]:
    """Processes whose command line has the word; a killed one may take a moment to go."""
    for _ in range(50):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                text = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in text:
                found.append(folder.name)
        if not found:
            break
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_leaves_nothing_running(
    sandbox: Sandbox, base: ComposedBase, tmp_path: Path, number: int, root: Path, request: pytest.FixtureRequest
) -> None:
    host = request.getfixturevalue("podman") if sandbox.name == "podman" else ""
    word = f"marker-{tmp_path.name}-{os.getpid()}"
    started = tmp_path / "started"
    driver = f"""
        import os, signal, sys
        sys.path[:0] = {[str(root / "builder"), str(root / "tests"), str(root / "tests/contracts")]!r}
        from test_sandbox_contract import engine
        from dpbuild.adapters.sandbox.bubblewrap import BubblewrapSandbox
        from dpbuild.adapters.sandbox.loader import LoaderSandbox
        from dpbuild.ports.sandbox import Job
        way = {{"docker": engine, "podman": lambda: engine("podman", {host!r}), "bubblewrap": lambda: BubblewrapSandbox({shutil.which("bwrap")!r})}}
        def stop(*_): raise KeyboardInterrupt
        signal.signal(signal.SIGTERM, stop)
        sandbox = way.get({sandbox.name!r}, LoaderSandbox)()
        argv = ({base.base.facts.interpreter!r}, "-c", "import time; time.sleep(300)", {word!r})
        open({str(started)!r}, "w").close()
        try:
            sandbox.run(Job(rootfs={base.rootfs!r}, argv=argv))
        except KeyboardInterrupt:
            sys.exit(77)
        """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(driver)])
    try:
        for _ in range(600):
            if started.exists() and running(word, process.pid):
                break
            time.sleep(0.1)
        else:
            pytest.fail("it did not start")
        process.send_signal(number)
        assert process.wait(60) == 77
    finally:
        # Asked first: what it started goes with it.
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert left(word) == []


def running(word: str, driver: int) -> bool:
    """Whether a Python that is not the driver has the word."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parts = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(folder.name) != driver and word.encode() in parts and b"--" not in parts[1:-2]:
            return True
    return False


@SELDOM
def test_several_at_once(run: Callable[..., Outcome]) -> None:
    results: dict[int, bytes] = {}

    def one(number: int) -> None:
        results[number] = run("import sys; print(int(sys.argv[1]) ** 2)", str(number)).stdout

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: b"%d\n" % number**2 for number in range(4)}


# Only where it isolates


@pytest.fixture
def isolated(sandbox: Sandbox, run: Callable[..., Outcome]) -> Callable[..., Outcome]:
    if not sandbox.isolates:
        pytest.skip("the loader does not isolate")
    return run


def test_no_network_unless_asked(isolated: Callable[..., Outcome]) -> None:
    done = isolated("import socket; print([name for _, name in socket.if_nameindex()])")
    assert set(json.loads(done.stdout.decode().replace("'", '"'))) <= {"lo"}
    done = isolated("import socket; print([name for _, name in socket.if_nameindex()])", network=True)
    assert len(json.loads(done.stdout.decode().replace("'", '"'))) > 1


def test_the_user_is_the_one_that_was_asked_for(isolated: Callable[..., Outcome]) -> None:
    program = "import os; print(os.getuid(), os.getgid())"
    assert isolated(program, user="1234:77").stdout == b"1234 77\n"
    assert isolated(program, user="nonroot").stdout == b"65532 65532\n"
    assert isolated(program, user="65532").stdout == b"65532 65532\n"
    with pytest.raises(SandboxError, match=r"nobody-knows"):
        isolated(program, user="nobody-knows")


@SELDOM
def test_mounts_can_be_read_whatever_the_umask_was(isolated: Callable[..., Outcome], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir(mode=0o700)
    (folder / "data").write_text("content")
    (folder / "data").chmod(0o600)
    (folder / "program").write_text("")
    (folder / "program").chmod(0o700)
    done = isolated(
        "import os, sys; print(open(sys.argv[1] + '/data').read(), os.access(sys.argv[1] + '/program', os.X_OK))",
        "/srv/in",
        user="65532",
        mounts=(Mount(source=str(folder), target="/srv/in"),),
    )
    assert done.stdout == b"content True\n"


def test_nothing_of_the_host_is_there(isolated: Callable[..., Outcome], base: ComposedBase, tmp_path: Path) -> None:
    done = isolated(
        "import os, sys; print([os.path.exists(p) for p in sys.argv[1:]], len([p for p in os.listdir('/proc') if p.isdigit()]) < 4)",
        str(tmp_path),
        base.rootfs,
        "/bin/sh",
    )
    assert done.stdout == b"[False, False, False] True\n"


@SELDOM
def test_the_extracted_base_is_not_changed(isolated: Callable[..., Outcome], base: ComposedBase) -> None:
    isolated("open('/etc/changed', 'w')", user="0")
    isolated("import os; os.remove('/etc/passwd')", user="0")
    assert not Path(base.rootfs, "etc/changed").exists()
    assert Path(base.rootfs, "etc/passwd").exists()


@SELDOM
def test_temporary_files_can_be_written(isolated: Callable[..., Outcome]) -> None:
    done = isolated("import tempfile; print(tempfile.NamedTemporaryFile().name[:5])", user="65532")
    assert done.stdout == b"/tmp/\n"


@pytest.mark.docker
def test_the_engine_keeps_nothing(base: ComposedBase) -> None:
    import docker

    client = docker.from_env()
    before = {row.id for row in client.containers.list(all=True)}
    word = "dpbuild-contract-engine"
    engine().run(Job(rootfs=base.rootfs, argv=(base.base.facts.interpreter, "-c", "pass", word)))
    mine = [row.id for row in client.containers.list(all=True) if row.id not in before and word in str(row.attrs)]
    client.close()
    assert mine == []


@pytest.mark.bubblewrap
def test_bubblewrap_needs_no_privileges(base: ComposedBase, tmp_path: Path, root: Path) -> None:
    """As ``nobody``, from a copy that nobody may read."""
    if os.geteuid() != 0:
        pytest.skip("already without privileges")
    folder = Path("/var/tmp", f"dpbuild-{os.getpid()}")
    shutil.copytree(base.rootfs, folder, symlinks=True)
    try:
        program = textwrap.dedent(
            f"""
            import os, sys
            os.setgroups([]); os.setgid(65534); os.setuid(65534); os.chdir("/")
            from dpbuild.adapters.sandbox.bubblewrap import BubblewrapSandbox
            from dpbuild.ports.sandbox import Job
            sandbox = BubblewrapSandbox({shutil.which("bwrap")!r})
            assert sandbox.works() == "", sandbox.works()
            code = "import os; print(os.getuid())"
            done = sandbox.run(Job(rootfs={str(folder)!r}, argv=({base.base.facts.interpreter!r}, "-c", code), user="7"))
            print(done.stdout.decode(), done.stderr.decode())
            """
        )
        # Everything is imported before the privileges go: the checkout may be root's alone.
        early = f"import sys; sys.path[:0] = [{str(root / 'builder')!r}]\nimport dpbuild.adapters.sandbox.bubblewrap\n"
        done = subprocess.run([sys.executable, "-c", early + program], capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.returncode) == ("7", 0), done.stderr
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
        shutil.rmtree(folder)
