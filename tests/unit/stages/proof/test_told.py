"""What a source says is the same when it is remembered, and then it is not parsed."""

import pytest

from dpbuild.stages.proof import sources
from dpbuild.stages.proof.told import Sources

TEXTS = (
    b"",
    b"import os.path as p, json\nfrom . import a\nfrom ..b import *\n",
    b"def f():\n    import lazy\n    global g\n    g.h = 1\ntry:\n    import x\nexcept ImportError as e:\n    pass\n",
    b"import subprocess, ctypes\nsubprocess.run(['ls'])\nctypes.CDLL('libz.so')\nprint(__package__)\n",
    b"match x:\n    case {'a': b, **c}:\n        pass\ntry:\n    pass\nexcept* OSError:\n    pass\n",
    b"open('\\ud800')\n__import__('\\ud800')\n",
    b"return 1\n",
    b"no Python at all",
    b"\xff\xfe",
)


def test_what_was_told_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Sources()
    told = [first.ask(text) for text in TEXTS]
    kept = first.kept()
    assert kept is not None

    def never(data: bytes) -> None:
        pytest.fail("it was parsed again")

    monkeypatch.setattr(sources, "parse", never)
    second = Sources(kept)
    assert [second.ask(text) for text in TEXTS] == told
    assert second.kept() is None
    assert len({repr(each) for each in told}) == len(TEXTS) - 1


def test_only_what_is_there_now_is_kept() -> None:
    first = Sources()
    for text in TEXTS[:3]:
        first.ask(text)
    second = Sources(first.kept())
    for text in TEXTS[1:4]:
        second.ask(text)
    third = Sources(second.kept())
    for text in TEXTS[1:4]:
        third.ask(text)
    assert third.kept() is None
    assert second.kept() != first.kept()
