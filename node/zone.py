"""The machine's time zone."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo


def local_zone() -> tzinfo:
    """Return the machine's zone with its summer time where it can be named, else its offset."""
    name = os.environ.get("TZ", "").lstrip(":")
    if not name:
        _, _, name = os.path.realpath("/etc/localtime").partition("zoneinfo/")
    if name and not Path(name).is_absolute():
        try:
            return ZoneInfo(name)
        except (OSError, ValueError):
            pass  # a zone such as "CET-1CEST", which only the C library reads
    return datetime.now(UTC).astimezone().tzinfo or UTC
