"""What is read of a Dockerfile is what Docker makes of it."""

import json
import subprocess
from pathlib import Path

import pytest
from e2e_tools import docker

from dpbuild.stages.dockerfile import last_stage

FILES = {
    "exec": 'FROM scratch\nENTRYPOINT ["python", "-m", "a b"]\nCMD ["--x", "\\u00e9"]\nUSER 5:6\nEXPOSE 80 53/udp\nEXPOSE 80\n',
    "shell": "FROM scratch\nENV A=1 \\\n  B='2 3' \\\n  # between\n  C=\"4\"\nENV D some words\ncmd exec  gunicorn a:b\n",
    "stages": 'FROM scratch AS one\nENV A=1\nCMD ["one"]\nWORKDIR /srv\nFROM one\nWORKDIR sub/../app\nENV B=2 A=3\n',
    "reset": 'FROM scratch AS one\nCMD ["one"]\nFROM one AS Two\nENTRYPOINT ["two"]\nFROM two\nLABEL x="CMD"\n',
    "escape": "# escape=`\nFROM scratch\nENV A=1 `\n  B=2\nCMD []\n",
}


@pytest.mark.docker
@pytest.mark.parametrize("name", FILES)
def test_docker_reads_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / "Dockerfile").write_text(FILES[name])
    made = subprocess.run(
        ["docker", "build", "-q", str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    ).stdout.strip()
    try:
        config = json.loads(docker("image", "inspect", made))[0]["Config"]
    finally:
        docker("image", "rm", "-f", made)
    stage = last_stage(FILES[name])
    assert stage is not None
    for found, key in ((stage.entrypoint, "Entrypoint"), (stage.cmd, "Cmd")):
        assert [*found.words] == (config.get(key) or []) or ["/bin/sh", "-c", found.shell] == config[key]
    assert stage.user == config.get("User", "")
    assert stage.workdir == config.get("WorkingDir", "")
    env = dict(row.split("=", 1) for row in config.get("Env") or [])
    assert dict(stage.env) == {key: value for key, value in env.items() if key != "PATH"}
    assert {row if "/" in row else f"{row}/tcp" for row in stage.expose} == set(config.get("ExposedPorts") or {})
