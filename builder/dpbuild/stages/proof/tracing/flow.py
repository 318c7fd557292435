"""The ways out of a block, and what is remembered while one runs."""

from dataclasses import dataclass, field

from dpbuild.stages.proof.tracing.values import Cause, Raised, Value


@dataclass(slots=True)
class Flow:
    """The ways out of a block. ``raised`` is set only if no other way is open: what may go well, does."""

    normal: bool = True
    returned: list[Value] = field(default_factory=list)
    broke: bool = False
    continued: bool = False
    raised: Raised | None = None

    def join(self, other: "Flow") -> "Flow":
        """Either this or the other."""
        both = Flow(
            normal=self.normal or other.normal,
            returned=[*self.returned, *other.returned],
            broke=self.broke or other.broke,
            continued=self.continued or other.continued,
        )
        if not both.open:
            both.raised = self.raised or other.raised
            if self.raised and other.raised:
                both.raised = Raised(self.raised.type, self.raised.causes | other.raised.causes)
        return both

    @property
    def open(self) -> bool:
        """Whether there is a way other than an exception."""
        return bool(self.normal or self.returned or self.broke or self.continued)


@dataclass(slots=True)
class Frame:
    """A module's body or one call: what was caught in it, what is being handled, what it yields."""

    seen: set[Cause] = field(default_factory=set)
    handling: list[Raised] = field(default_factory=list)
    yielded: list[Value] = field(default_factory=list)
