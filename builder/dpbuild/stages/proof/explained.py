"""What no file can tell, but people run into: explained, never found."""

from typing import Final

from dpbuild.model.finding import Severity
from dpbuild.stages.proof.rule import Rule

RULES: Final = (
    Rule(
        id="STA017",
        severity=Severity.NOTE,
        title="a program as PID 1 does not end on SIGTERM",
        symptom="docker stop takes ten seconds, and the program is killed; in Kubernetes thirty",
        why="The kernel does not apply a signal's default action to process 1. Python handles SIGINT, but installs"
        " nothing for SIGTERM, so a program without a handler of its own ignores it. Servers such as gunicorn and"
        " uvicorn have one.",
        fix='stop-signal = "SIGINT" in the configuration (STOPSIGNAL SIGINT), a handler for SIGTERM in the program, or'
        " an init: docker run --init",
    ),
    Rule(
        id="STA018",
        severity=Severity.NOTE,
        title="debug images have a shell, but not where programs look for it",
        symptom="FileNotFoundError: [Errno 2] No such file or directory: '/bin/sh', although the base is a debug image",
        why="The shell of debug variants is /busybox/sh. Their Entrypoint is still Python, and subprocess with"
        " shell=True, os.system and shell-form commands look for /bin/sh.",
        fix="docker run --entrypoint=/busybox/sh -it IMAGE to look around; in code subprocess.run([…]) without a shell",
    ),
    Rule(
        id="STA019",
        severity=Severity.NOTE,
        title="old hash functions are not there",
        symptom="ValueError: unsupported hash type md4",
        why="OpenSSL 3 keeps md4, whirlpool and others in its legacy provider, a module that distroless leaves out"
        " (python3-debian13 has no ossl-modules at all). Configuration does not bring it back.",
        fix="use another hash; for NTLM and the like a package with a hash of its own, such as pycryptodome",
    ),
    Rule(
        id="STA020",
        severity=Severity.NOTE,
        title="a read-only root file system",
        symptom="FileNotFoundError: No usable temporary directory found; FileNotFoundError in multiprocessing (no"
        " /dev/shm)",
        why="With --read-only, or readOnlyRootFilesystem in Kubernetes, the image's /tmp is closed, too. Semaphores and"
        " shared memory of multiprocessing need /dev/shm.",
        fix="mount a tmpfs on /tmp, and one on /dev/shm where multiprocessing is used",
    ),
)
