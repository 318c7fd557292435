"""All rules, in the order in which they are listed and reported."""

from typing import Final

from dpbuild.stages.proof import interpreter, runtime
from dpbuild.stages.proof.rule import Rule

GROUPS: Final = {
    "INT": "interpreter",
    "ABI": "binary interface",
    "LIB": "shared libraries",
    "LAY": "layout of files",
    "SCR": "scripts",
    "STA": "start-up",
    "RUN": "surroundings at run time",
    "SIZ": "size and layers",
    "SUP": "supply chain",
}

ALL: Final[tuple[Rule, ...]] = (*interpreter.RULES, *runtime.RULES)

BY_ID: Final = {rule.id: rule for rule in ALL}
