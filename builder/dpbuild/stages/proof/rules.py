"""All rules, in the order in which they are listed and reported."""

from typing import Final

from dpbuild.stages.proof import (
    abi,
    attributes,
    bytecode,
    command,
    explained,
    files,
    healthcheck,
    installs,
    interpreter,
    layout,
    programs,
    requires,
    runtime,
    scripts,
    shared,
    size,
    startup,
    supply,
    unparsed,
)
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

_RULES: Final[tuple[Rule, ...]] = (
    *abi.RULES,
    *attributes.RULES,
    *bytecode.RULES,
    *command.RULES,
    *explained.RULES,
    *files.RULES,
    *healthcheck.RULES,
    *installs.RULES,
    *interpreter.RULES,
    *layout.RULES,
    *programs.RULES,
    *requires.RULES,
    *runtime.RULES,
    *scripts.RULES,
    *shared.RULES,
    *size.RULES,
    *startup.RULES,
    *supply.RULES,
    *unparsed.RULES,
)

ALL: Final = tuple(sorted(_RULES, key=lambda rule: (tuple(GROUPS).index(rule.group), rule.id)))

BY_ID: Final = {rule.id: rule for rule in ALL}
