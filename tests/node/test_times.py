from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.node.times import (
    parse_moment,
    parse_until,
    parse_window,
    show_until,
    show_window,
    to_ms,
)
from passby.protocol.errors import UsageError

TZ = ZoneInfo("Europe/Amsterdam")
NOW = to_ms(datetime(2026, 11, 22, 18, 30, tzinfo=TZ))  # a Sunday


def at(*parts: int) -> int:
    return to_ms(datetime(*parts, tzinfo=TZ))  # type: ignore[arg-type,misc] # year, month, day, ...


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5 weeks", at(2026, 12, 27, 18, 30)),
        ("in 5 weeks", at(2026, 12, 27, 18, 30)),
        ("P5W", at(2026, 12, 27, 18, 30)),
        ("30 min", at(2026, 11, 22, 19, 0)),
        ("PT2H", at(2026, 11, 22, 20, 30)),
        ("a month", at(2026, 12, 22, 18, 30)),
        ("P1Y2M3DT4H", at(2028, 1, 25, 22, 30)),
        ("2026-12-24", at(2026, 12, 25) - 1),
        ("2026-12-24T18:00", at(2026, 12, 24, 18)),
        ("2026-12-24 18:00", at(2026, 12, 24, 18)),
        ("2026-12-24T18:00Z", at(2026, 12, 24, 19)),
        ("2026-12-24T18:00:00+09:00", at(2026, 12, 24, 10)),
        ("today", at(2026, 11, 23) - 1),
        ("tomorrow 18:00", at(2026, 11, 23, 18)),
        ("tomorrow at 6pm", at(2026, 11, 23, 18)),
        ("friday 18:00", at(2026, 11, 27, 18)),
        ("sunday", at(2026, 11, 30) - 1),
        ("19:00", at(2026, 11, 22, 19)),
        ("18:00", at(2026, 11, 23, 18)),
    ],
)
def test_a_time_to_come_is_read_as_people_write_it(text: str, expected: int) -> None:
    assert parse_until(text, NOW, TZ) == expected


@pytest.mark.parametrize("text", ["2020-01-01", "today 17:00", "2026-11-22T18:29", "0 days"])
def test_what_is_over_is_refused_with_the_time_it_is(text: str) -> None:
    with pytest.raises(UsageError, match="is over: it is 2026-11-22 18:30 now"):
        parse_until(text, NOW, TZ)


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "next blue moon", "2026-13-01", "25:00", "9" * 6 + " years", "9" * 999]
)
def test_what_is_no_time_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time") as refused:
        parse_until(text, NOW, TZ)
    assert "tomorrow 18:00" in refused.value.hint


def test_a_week_ends_at_the_same_hour_when_summer_time_ends_between() -> None:
    before = at(2026, 10, 21, 18)
    assert parse_until("1 week", before, TZ) == at(2026, 10, 28, 18)
    assert parse_until("168 hours", before, TZ) == at(2026, 10, 28, 17)


def test_a_month_from_the_last_day_of_january_is_the_last_of_february() -> None:
    assert parse_moment("1 month", at(2027, 1, 31, 12), TZ) == at(2027, 2, 28, 12)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("18:00-20:00", at(2026, 11, 22, 18), at(2026, 11, 22, 20)),
        ("17:00-18:00", at(2026, 11, 23, 17), at(2026, 11, 23, 18)),
        ("22-2", at(2026, 11, 22, 22), at(2026, 11, 23, 2)),
        ("tomorrow 6pm - 8pm", at(2026, 11, 23, 18), at(2026, 11, 23, 20)),
        ("2026-11-23 18:00-20:00", at(2026, 11, 23, 18), at(2026, 11, 23, 20)),
        ("2026-11-23T18:00-20:00", at(2026, 11, 23, 18), at(2026, 11, 23, 20)),
        ("2026-11-23T18:00/2026-11-23T20:00", at(2026, 11, 23, 18), at(2026, 11, 23, 20)),
        ("2026-11-23T18:00/PT2H", at(2026, 11, 23, 18), at(2026, 11, 23, 20)),
    ],
)
def test_a_window_is_read_as_people_write_it(text: str, start: int, end: int) -> None:
    window = parse_window(text, NOW, TZ)
    assert (window.from_ms, window.until_ms) == (start, end)


@pytest.mark.parametrize(
    "text",
    ["", "/", "x", "18:00", "18:00-18:00", "yesterday 18-20", "2026-11-23T18:00/2026-11-22T20:00"],
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a span"):
        parse_window(text, NOW, TZ)


def test_a_window_that_is_over_is_refused() -> None:
    with pytest.raises(UsageError, match="is over"):
        parse_window("2020-01-01 18:00-20:00", NOW, TZ)


def test_times_are_shown_as_people_write_them() -> None:
    assert show_until(at(2026, 12, 25) - 1, TZ) == "2026-12-24"
    assert show_until(at(2026, 12, 24, 18), TZ) == "2026-12-24 18:00"
    assert show_until(at(2026, 12, 27, 18, 30), TZ, NOW) == "2026-12-27 18:30 (in 5 weeks)"
    assert show_until(NOW, TZ, NOW).endswith("(over)")
    assert show_window(parse_window("18-20", NOW, TZ), TZ) == "2026-11-22 18:00-20:00"


@given(st.integers(0, 250_000_000_000_000))
def test_a_shown_minute_is_read_back(at_ms: int) -> None:
    minute = at_ms // 60_000 * 60_000
    utc = ZoneInfo("UTC")
    assert parse_moment(show_until(minute, utc), 0, utc) == minute


@given(
    st.one_of(
        st.text(max_size=40),
        st.from_regex(r"[0-9]{1,6} ?(weeks|days|months|years|h)", fullmatch=True),
        st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[tT ]?[0-9:+zZ-]{0,12}", fullmatch=True),
        st.from_regex(r"P[0-9YMWDTHS]{0,12}(/P[0-9YMWDT]{0,8})?", fullmatch=True),
    ),
    st.integers(0, 2**48),
)
def test_no_text_raises_anything_but_a_usage_error(text: str, now_ms: int) -> None:
    for parse in (parse_moment, parse_until, parse_window):
        try:
            parse(text, now_ms, TZ)
        except UsageError:
            continue
