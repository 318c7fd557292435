"""``build`` refuses what would break, and an edit that no rule asks about costs no proof."""

from unittest import mock

import pytest
from bench import Bench
from fakes.registry import fake_registry

from dpbuild.stages.proof import prove as module
from dpbuild.stages.proof.prove import prove


def proofs(bench: Bench, text: str, *, status: int = 0) -> tuple[int, str]:
    """How often all rules ran for a build with this app, and what it said."""
    (bench.project / "main.py").write_text(text)
    with mock.patch.object(module, "prove", side_effect=prove) as called:
        done = bench.build()
    assert done.status == status, done.err
    return called.call_count, done.err


def test_an_image_that_would_break_is_not_written(bench: Bench) -> None:
    (bench.project / "main.py").write_text("import demo\nimport telnetlib\n")
    err = bench.fails(70, "RUN003 /app/main.py: line 2: import telnetlib, which Python 3.13", lock=True)
    assert "fix: add the distribution" in err
    assert "explain RULE" in err


def test_an_image_that_would_break_is_not_pushed(bench: Bench) -> None:
    """Its layers may be in the registry by then, which nothing refers to."""
    (bench.project / "main.py").write_text("import demo\nimport telnetlib\n")
    with fake_registry() as registry:
        name = f"{registry.host}/acme/app:1"
        done = bench.run("build", bench.project, "--push", "-t", name, "--platform", "linux/amd64")
        assert done.status == 70, done.err
        assert registry.manifests == {}
        (bench.project / "main.py").write_text("import demo\n")
        done = bench.run("build", bench.project, "--push", "-t", name, "--platform", "linux/amd64")
        assert done.status == 0, done.err
        assert "1" in registry.manifests["acme/app"]


@pytest.mark.parametrize("row", ['ignore = ["RUN003"]', 'ignore = ["RUN"]', 'ignore = ["ALL"]', 'select = ["SIZ"]'])
def test_rules_can_be_left_out(bench: Bench, row: str) -> None:
    bench.configure("[tool.dpbuild.check]", row)
    (bench.project / "main.py").write_text("import telnetlib\n")
    bench.build(check=True)


def test_a_rule_that_is_named_counts_against_a_group_that_is_left_out(bench: Bench) -> None:
    bench.configure("[tool.dpbuild.check]", 'ignore = ["RUN"]', 'select = ["ALL", "RUN003"]')
    (bench.project / "main.py").write_text("import telnetlib\n")
    assert bench.build().status == 70


def test_an_unknown_rule_is_a_configuration_error(bench: Bench) -> None:
    bench.configure("[tool.dpbuild.check]", 'ignore = ["RUM003"]')
    bench.fails(10, "no rule is named 'RUM003'; did you mean 'RUN003'")


def test_an_edit_that_no_rule_asks_about_is_not_proved_again(bench: Bench) -> None:
    assert proofs(bench, "import demo\nprint('one')\n")[0] == 1
    assert proofs(bench, "import demo\nprint('two')\n")[0] == 0
    assert proofs(bench, "\n\nimport demo\nprint(2 + 2)\n")[0] == 0
    assert proofs(bench, "import demo, json\nprint('two')\n")[0] == 1
    assert proofs(bench, "import demo\nimport telnetlib\n", status=70)[0] == 1
    assert proofs(bench, "import demo\ntry:\n    import telnetlib\nexcept ImportError:\n    pass\n")[0] == 1
    assert proofs(bench, "import demo\nprint('three')\n")[0] == 0


def test_findings_in_the_app_tell_the_right_line(bench: Bench) -> None:
    """A warning is told again with the line that it is on now."""
    count, said = proofs(bench, "import os\nos.system('x')\n")
    assert count == 1
    assert "RUN001 /app/main.py: line 2" in said
    count, said = proofs(bench, "import os\n\n\nos.system('x')\n")
    assert count == 1
    assert "RUN001 /app/main.py: line 4" in said
