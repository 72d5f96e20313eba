"""Moments and spans of time as people write them, and back.

The clock and the time zone are passed in. Days and weeks follow the wall clock, so that "in
a week" is the same hour also when summer time ends between; hours and minutes are exact.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from passby.node.quantities import shown
from passby.protocol.errors import UsageError
from passby.protocol.limits import TYPED_MAX
from passby.protocol.payloads import Window

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_DAY: Final = timedelta(days=1)
_SOON: Final = 'write it like "5 weeks", "2026-12-24", "2026-12-24T18:00" or "tomorrow 18:00"'
_SPAN: Final = 'write it like "18:00-20:00", "tomorrow 18:00-20:00" or "2026-11-23T18:00/PT2H"'
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS: Final = {
    word: unit
    for unit, words in {
        "minutes": "min mins minute minutes",
        "hours": "h hr hrs hour hours",
        "days": "d day days",
        "weeks": "w wk wks week weeks",
        "months": "month months",
        "years": "y year years",
    }.items()
    for word in words.split()
}
_COUNTS: Final = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_LENGTH: Final = re.compile(r"(?:in\s+)?([0-9]{1,6}|[a-z]+)\s*([a-z]+)")
_ISO_LENGTH: Final = re.compile(
    r"P(?=[0-9T])(?:([0-9]{1,6})Y)?(?:([0-9]{1,6})M)?(?:([0-9]{1,6})W)?(?:([0-9]{1,6})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,6})H)?(?:([0-9]{1,6})M)?(?:([0-9]{1,6})S)?)?"
)
_CLOCK: Final = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))?(?::([0-9]{2})(?:\.[0-9]+)?)?\s*(am|pm)?")
_HOURS: Final = re.compile(
    r"(?:(?P<day>.*\S)[\st]+)?(?P<start>[0-9][^-–]*?)\s*[-–]\s*(?P<end>[0-9].*)"
)


def to_ms(moment: datetime) -> int:
    """Return the Unix milliseconds of an aware `moment`, floored."""
    return (moment - _EPOCH) // _MS


def from_ms(at_ms: int, tz: tzinfo) -> datetime:
    """Return `at_ms` on the wall clock of `tz`.

    Raises:
        UsageError: beyond the year 9999.
    """
    try:
        return (_EPOCH + at_ms * _MS).astimezone(tz)
    except OverflowError:
        raise UsageError("a time beyond the year 9999", _SOON) from None


def parse_moment(text: str, now_ms: int, tz: tzinfo) -> int:
    """Return the Unix milliseconds of the moment in `text`, past or to come.

    Understands "5 weeks", "P5W", "2026-12-24" (its last millisecond), "2026-12-24T18:00",
    "today", "tomorrow 18:00", "friday", "18:00" (the next one). Wall clocks are in `tz` unless
    the text names an offset.

    Raises:
        UsageError: no such moment.
    """
    plain = " ".join(text.casefold().split())
    if not plain or len(text) > TYPED_MAX:
        raise UsageError(f'"{shown(text)}" is not a time', _SOON)
    try:
        found = _moment(plain, now_ms, tz)
    except (OverflowError, ValueError):
        found = None
    if found is None or found < 0:
        raise UsageError(f'"{shown(text)}" is not a time', _SOON)
    return found


def parse_until(text: str, now_ms: int, tz: tzinfo) -> int:
    """Return the Unix milliseconds of a moment to come; as `parse_moment`.

    Raises:
        UsageError: no such moment, or it is over.
    """
    until_ms = parse_moment(text, now_ms, tz)
    if until_ms <= now_ms:
        raise UsageError(
            f'"{shown(text)}" is over: it is {show_moment(now_ms, tz)} now',
            f"give a time to come; {_SOON}",
        )
    return until_ms


def parse_window(text: str, now_ms: int, tz: tzinfo) -> Window:
    """Return the span in `text`: "18:00-20:00" (the next), with a day before it, or "A/B".

    An end that is earlier on the clock than the start is on the day after.

    Raises:
        UsageError: no such span, one that ends before it starts, or one that is over.
    """
    plain = " ".join(text.casefold().split())
    if len(text) > TYPED_MAX:
        raise UsageError(f'"{shown(text)}" is not a span of time', _SPAN)
    try:
        window = _from_to(plain, now_ms, tz) if "/" in plain else _hours(plain, now_ms, tz)
    except (OverflowError, ValueError):
        window = None
    if window is None or window.from_ms < 0:
        raise UsageError(f'"{shown(text)}" is not a span of time', _SPAN)
    if window.until_ms <= now_ms:
        raise UsageError(
            f'"{shown(text)}" is over: it is {show_moment(now_ms, tz)} now',
            f"give a span to come; {_SPAN}",
        )
    return window


def show_moment(at_ms: int, tz: tzinfo) -> str:
    """Return `at_ms` on the wall clock of `tz`: "2026-12-24 18:00"."""
    return from_ms(at_ms, tz).strftime("%Y-%m-%d %H:%M")


def show_until(until_ms: int, tz: tzinfo, now_ms: int | None = None) -> str:
    """Return the end of a span: "2026-12-24", where the whole day counts, or with the hour.

    With `now_ms` it says how far that is: "2026-12-24 (in 5 weeks)", "... (over)".
    """
    moment = from_ms(until_ms, tz)
    last = moment.time() >= time(23, 59, 59)
    shown_until = moment.strftime("%Y-%m-%d" if last else "%Y-%m-%d %H:%M")
    if now_ms is None:
        return shown_until
    left = "over" if until_ms <= now_ms else f"in {show_span(until_ms - now_ms)}"
    return f"{shown_until} ({left})"


def show_span(span_ms: int) -> str:
    """Return a length of time roughly, as people say it: "5 weeks", "3 days", "under a minute"."""
    minutes = span_ms // 60_000
    for size, name, least in ((10_080, "week", 2), (1440, "day", 2), (60, "hour", 2)):
        if minutes >= least * size:
            return f"{minutes // size} {name}s"
    if minutes < 1:
        return "under a minute"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def show_window(window: Window, tz: tzinfo) -> str:
    """Return "2026-11-23 18:00-20:00", or both days in full where they differ."""
    start, end = from_ms(window.from_ms, tz), from_ms(window.until_ms, tz)
    if start.date() == end.date():
        return f"{start:%Y-%m-%d %H:%M}-{end:%H:%M}"
    return f"{start:%Y-%m-%d %H:%M} - {end:%Y-%m-%d %H:%M}"


def _moment(plain: str, now_ms: int, tz: tzinfo) -> int | None:
    length = _after(plain, now_ms, tz)
    if length is not None:
        return length
    day, _, clock = plain.replace("t", " ", 1).partition(" ") if _is_date(plain) else _split(plain)
    on = _day(day, now_ms, tz)
    if on is None:
        at = _clock(plain)
        if at is None:
            return None
        today = from_ms(now_ms, tz).date()
        moment = to_ms(datetime.combine(today, at, tz))
        return moment if moment > now_ms else to_ms(datetime.combine(today + _DAY, at, tz))
    if not clock:
        return to_ms(datetime.combine(on + _DAY, time(), tz)) - 1
    if _is_date(plain) and re.search(r"(?:z|[+-][0-9:]+)$", clock):
        moment_there = datetime.fromisoformat(f"{day}T{clock.upper()}")
        return to_ms(moment_there) if moment_there.tzinfo is not None else None
    at = _clock(clock)
    return None if at is None else to_ms(datetime.combine(on, at, tz))


def _is_date(plain: str) -> bool:
    return re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])", plain) is not None


def _split(plain: str) -> tuple[str, str, str]:
    day, space, clock = plain.partition(" ")
    return day, space, clock.removeprefix("at ")


def _day(word: str, now_ms: int, tz: tzinfo) -> date | None:
    """Return the day that `word` names: a date, "today", "tomorrow", the next "friday"."""
    today = from_ms(now_ms, tz).date()
    if word in ("today", "tomorrow"):
        return today + _DAY * (word == "tomorrow")
    if word in _WEEKDAYS:
        return today + _DAY * ((_WEEKDAYS.index(word) - today.weekday() - 1) % 7 + 1)
    return date.fromisoformat(word) if _is_date(word) else None


def _clock(text: str) -> time | None:
    """Return the time of day in `text`: "18:00", "18:00:30", "6pm", "18"."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    hour = int(found[1])
    if found[4]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (found[4] == "pm")
    return time(hour, int(found[2] or 0), int(found[3] or 0))


def _after(plain: str, now_ms: int, tz: tzinfo) -> int | None:
    """Return now plus the length that `plain` names, None where it names none."""
    iso = _ISO_LENGTH.fullmatch(plain.upper())
    if iso:
        years, months, weeks, days, hours, minutes, seconds = (int(n or 0) for n in iso.groups())
        return _add(now_ms, tz, 12 * years + months, 7 * weeks + days) + 1000 * (
            3600 * hours + 60 * minutes + seconds
        )
    found = _LENGTH.fullmatch(plain)
    if found is None or found[2] not in _UNITS:
        return None
    count = int(found[1]) if found[1].isdecimal() else _COUNTS.get(found[1])
    if count is None:
        return None
    match _UNITS[found[2]]:
        case "minutes":
            return now_ms + 60_000 * count
        case "hours":
            return now_ms + 3_600_000 * count
        case "days":
            return _add(now_ms, tz, 0, count)
        case "weeks":
            return _add(now_ms, tz, 0, 7 * count)
        case "months":
            return _add(now_ms, tz, count, 0)
        case _:
            return _add(now_ms, tz, 12 * count, 0)


def _add(now_ms: int, tz: tzinfo, months: int, days: int) -> int:
    """Return `now_ms` so many months (cut to the month's length) and days on, by the wall clock."""
    now = from_ms(now_ms, tz)
    years, month = divmod(now.month - 1 + months, 12)
    first = now.replace(year=now.year + years, month=month + 1, day=1)
    length = ((first + timedelta(days=31)).replace(day=1) - first).days
    return to_ms(first + timedelta(days=min(now.day, length) - 1 + days))


def _from_to(plain: str, now_ms: int, tz: tzinfo) -> Window | None:
    start, _, end = plain.partition("/")
    from_ms_ = _moment(start.strip(), now_ms, tz)
    if from_ms_ is None:
        return None
    until_ms = _after(end.strip(), from_ms_, tz) or _moment(end.strip(), now_ms, tz)
    return None if until_ms is None else Window(from_ms_, until_ms)


def _hours(plain: str, now_ms: int, tz: tzinfo) -> Window | None:
    found = _HOURS.fullmatch(plain)
    if found is None:
        return None
    start, end = _clock(found["start"].strip()), _clock(found["end"].strip())
    on = from_ms(now_ms, tz).date()
    if found["day"]:
        named = _day(found["day"], now_ms, tz)
        if named is None:
            return None
        on = named
    if start is None or end is None or start == end:
        return None
    window = _on(on, start, end, tz)
    if window.until_ms <= now_ms and not found["day"]:
        return _on(on + _DAY, start, end, tz)
    return window


def _on(day: date, start: time, end: time, tz: tzinfo) -> Window:
    last = day + _DAY * (end < start)
    return Window(to_ms(datetime.combine(day, start, tz)), to_ms(datetime.combine(last, end, tz)))
