"""A wheel that makes several layers, pushed by dpbuild, pulled and run by Docker."""

import hashlib
import os

import pytest
from bench import Bench, bare, bench
from e2e_tools import docker
from factories.wheel import make_wheel

__all__ = ["bare", "bench"]

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.network]

# Every file that RECORD lists is there, whichever layer it came in.
PROGRAM = """
import base64, hashlib, large
from importlib.metadata import distribution
for row in distribution("large").files:
    data = row.locate().read_bytes()
    found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    assert row.hash is None or row.hash.value == found, row
    if row.suffix == ".bin":
        print(row.name, hashlib.sha256(data).hexdigest())
"""


@pytest.mark.slow
def test_docker_runs_it(bench: Bench, registry: str) -> None:
    files: dict[str, str | bytes] = {f"large/{name}.bin": os.urandom(30 << 20) for name in "abc"}
    bench.index.add(make_wheel("large", "1.0", files={**files, "large/__init__.py": ""}))
    (bench.project / "main.py").write_text(PROGRAM)
    bench.configure('entrypoint = ["main.py"]', dependencies=("large",))
    tag = f"{registry}/large-wheel/{os.getpid()}:1"
    first = bench.run("build", bench.project, "-t", tag, "--push", check=True)
    assert "3 layers, 0 of them kept from before" in first.err
    line = first.out.strip()
    docker("pull", "-q", line)
    try:
        comments = docker("history", "--no-trunc", "--format", "{{.Comment}}", line).splitlines()
        assert [row for row in comments if row.startswith("large")] == ["large 1.0 (2 of 2)", "large 1.0 (1 of 2)"]
        said = docker("run", "--rm", line).splitlines()
    finally:
        docker("rmi", line)
    assert said == [f"{name}.bin {hashlib.sha256(bytes(files[f'large/{name}.bin'])).hexdigest()}" for name in "abc"]  # type: ignore[arg-type]
    # Another line of the app is another layer of the app, and nothing else.
    (bench.project / "main.py").write_text(PROGRAM + "#\n")
    again = bench.run("build", bench.project, "-t", tag, "--push", check=True)
    assert "3 layers, 2 of them kept from before" in again.err
