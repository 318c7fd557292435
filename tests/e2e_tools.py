"""What the tests that run images share: the docker command, a web server's answer, the image in a layout."""

import json
import subprocess
import time
import urllib.request


def docker(*arguments: str) -> str:
    """What the command prints; it has to succeed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def image_row(index: bytes | str) -> dict:
    """The image in an ``index.json``; the other rows are what is attached to it."""
    rows = [row for row in json.loads(index)["manifests"] if "artifactType" not in row]
    assert len({row["digest"] for row in rows}) == 1
    return dict(rows[0])


def answer(url: str) -> object:
    """The JSON that a server on this machine answers with, once it is there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        try:
            with opener.open(url, timeout=20) as body:
                return json.load(body)
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")
