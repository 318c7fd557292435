"""A rule: what it looks for, and everything that ``explain`` says about it."""

from collections.abc import Callable, Iterable

from dpbuild.frozen import frozen
from dpbuild.model.finding import Severity
from dpbuild.stages.proof.subject import Subject


@frozen
class Found:
    """One place where a rule found something; ``fix`` and ``severity`` replace the rule's own where given."""

    path: str
    evidence: str
    fix: str = ""
    severity: Severity | None = None


@frozen
class Rule:
    """``id`` is stable: group and three digits. ``symptom`` is what Python or the engine says when it breaks;
    ``why`` the cause; ``fix`` what to do. ``look`` finds the places; None for what no file can tell, which is
    explained only.
    """

    id: str
    severity: Severity
    title: str
    symptom: str
    why: str
    fix: str
    look: Callable[[Subject], Iterable[Found]] | None = None

    @property
    def group(self) -> str:
        """The letters of the id."""
        return self.id.rstrip("0123456789")
