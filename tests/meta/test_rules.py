"""The registry of rules, and the page that is made from it."""

import re
from pathlib import Path

import pytest

from dpbuild.stages.proof.handbook import handbook
from dpbuild.stages.proof.rule import Rule
from dpbuild.stages.proof.rules import ALL, BY_ID, GROUPS


def test_the_page_is_current(root: Path) -> None:
    assert (root / "docs/rules.md").read_text() == handbook(), "run make rules"


def test_ids_are_a_group_and_three_digits_each_once() -> None:
    assert [rule.id for rule in ALL if not re.fullmatch(f"({'|'.join(GROUPS)})\\d{{3}}", rule.id)] == []
    assert len(BY_ID) == len(ALL)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.id)
def test_rules_say_everything(rule: Rule) -> None:
    assert all((rule.title, rule.symptom, rule.why, rule.fix))
    assert rule.title == rule.title.strip()
    assert not rule.title.endswith(".")
    assert rule.why.endswith(".")
    assert not rule.fix.endswith(".")


def test_what_is_not_looked_for_is_explained() -> None:
    """Pains 18, 20 and 24 of the catalogue, and the read-only root of 26."""
    assert [rule.id for rule in ALL if rule.look is None] == ["STA017", "STA018", "STA019", "STA020"]
