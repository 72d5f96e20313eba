"""Trust by fulfilled trades: who has it, how much is handed on, and by what it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from passby.ledger.reputation import WHOLE, Dealing, Dealings, View, reputation, view

ME = b"me".ljust(32)
HOUR_MS = 3_600_000


def key(name: str) -> bytes:
    return name.encode().ljust(32)


def dealt(*pairs: tuple[str, str]) -> Dealings:
    found = Dealings()
    for number, (giver, receiver) in enumerate(pairs):
        trade = number.to_bytes(32, "big")
        found.note(trade, [Dealing(trade, number * HOUR_MS, key(giver), key(receiver))])
    return found


def seen(
    dealings: Dealings,
    vouches: dict[str, Sequence[str]] | None = None,
    false: Sequence[str] = (),
) -> View:
    given = {key(name): [key(other) for other in to] for name, to in (vouches or {}).items()}
    return view(
        {ME},
        dealings,
        lambda author: given.get(author, []),
        lambda author: author in map(key, false),
    )


def test_an_own_partner_is_trusted_whole_and_hands_on_half() -> None:
    trust = seen(dealt(("me", "ben"), ("ben", "cleo"))).trust
    assert trust[key("ben")] == WHOLE
    # Half, in two parts, since Ben has traded with me too; and halved for one way only.
    assert trust[key("cleo")] == WHOLE // 8


def test_a_second_trade_with_the_same_person_changes_nothing() -> None:
    once = seen(dealt(("me", "ben"), ("ben", "cleo")))
    often = seen(dealt(("me", "ben"), ("ben", "cleo"), ("ben", "cleo"), ("me", "ben")))
    assert once == often


def test_who_is_reached_by_two_acquaintances_is_trusted_more_than_twice_as_much() -> None:
    one = seen(dealt(("me", "ben"), ("me", "ann"), ("ben", "cleo")))
    two = seen(dealt(("me", "ben"), ("me", "ann"), ("ben", "cleo"), ("ann", "cleo")))
    assert two.trust[key("cleo")] == 4 * one.trust[key("cleo")]


def test_a_vouch_leads_on_but_is_worth_nothing_by_itself() -> None:
    found = seen(dealt(("ben", "cleo")), {"me ": ["ben"], "me": ["ben", "dora"]})
    assert key("dora") not in found.trust
    assert found.steps[key("dora")] == 1
    assert found.trust[key("cleo")] > 0


def test_who_is_proven_false_has_no_trust_and_hands_none_on() -> None:
    found = seen(dealt(("me", "ben"), ("ben", "cleo")), false=["ben"])
    assert found == View()


def test_who_has_only_traded_with_strangers_has_partners_but_no_trust() -> None:
    dealings = dealt(("x", "y"))
    found = reputation(key("x"), dealings, seen(dealings))
    assert (found.trust, found.steps) == (0, None)
    assert [partner.author for partner in found.partners] == [key("y")]


def test_the_evidence_says_with_whom_how_often_and_since_when() -> None:
    dealings = dealt(("ben", "cleo"), ("me", "ben"), ("cleo", "ben"))
    found = reputation(key("ben"), dealings, seen(dealings))
    assert {p.author: (p.trades, p.first_ms, p.last_ms) for p in found.partners} == {
        key("cleo"): (2, 0, 2 * HOUR_MS),
        ME: (1, HOUR_MS, HOUR_MS),
    }


def test_a_trade_that_is_settled_no_longer_is_taken_back() -> None:
    dealings = dealt(("me", "ben"))
    assert dealings.note(bytes(32), [])
    assert not dealings.note(bytes(32), [])
    assert seen(dealings) == View()
    assert len(dealings) == 0
