"""Where two holders of one chain begin to differ.

Two entries of one author at one seq prove a fork. Heads show only that the newest ones
differ; the first that do is found in log2(seq) questions, since from there on each entry
differs through its `prev`.
"""

from __future__ import annotations

from dataclasses import dataclass

from passby.protocol.entry import Record


@dataclass(slots=True)
class Bisection:
    """The search for the first differing seq: all up to `same` agree, `differs` is said not to."""

    differs: int
    same: int = 0
    record: Record | None = None
    """The other side's record at `differs`, once it was seen to differ."""

    @property
    def ask(self) -> int:
        """The seq to look at next; the one said to differ comes first, since it may be a lie."""
        return self.differs if self.record is None else (self.same + self.differs) // 2

    @property
    def found(self) -> Record | None:
        """The other side's record at the first difference, once that is known."""
        return self.record if self.differs - self.same == 1 else None

    def told(self, record: Record, own_id: bytes) -> bool:
        """Take the other side's record at `ask`; False if the difference was never there."""
        if record.entry.id != own_id:
            self.differs, self.record = record.entry.seq, record
            return True
        self.same = record.entry.seq
        return self.record is not None

    def pass_over(self) -> bool:
        """Look above `ask`, which one side has pruned; False if no difference was seen yet."""
        if self.record is None:
            return False
        self.same = self.ask
        return True
