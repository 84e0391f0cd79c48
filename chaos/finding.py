"""What a check says."""

from dataclasses import dataclass, field

from chaos.evidence import OrderEvidence

Orders = dict[str, OrderEvidence]


@dataclass(kw_only=True)
class Finding:
    """An invariant, how many things were held against it, and what breaks it."""

    name: str
    checked: int = 0
    violations: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001 - the condition itself
        """Count one thing, and write down that it does not hold."""
        self.checked += 1
        if not holds:
            self.violations.append(otherwise)
