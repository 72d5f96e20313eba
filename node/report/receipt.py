"""A trade's receipt as one HTML file that prints on a page: who gave what to whom, for how much.

Like an audit's page it needs nothing else, every text in it is escaped, and its own policy
forbids scripts. It names the signed entries, so that whoever holds the chains can check it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from passby.node.prices import decimals_of
from passby.node.report.drawing import moment
from passby.node.report.markup import Markup, join, style, tag
from passby.protocol.errors import UsageError

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_SIGNED: Final = (
    "propose",
    "reserve",
    "confirm",
    "commit",
    "handover",
    "receipt",
    "release",
    "cancel",
)
_ONES: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS: Final = [
    "-",
    "-",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
]
_GROUPS: Final = (
    (10**15, "quadrillion"),
    (10**12, "trillion"),
    (10**9, "billion"),
    (10**6, "million"),
    (1000, "thousand"),
    (100, "hundred"),
)
RULES: Final = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1d2024;
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 720px; margin: 0 auto; padding: 32px 24px; }
h1 { font-size: 24px; font-weight: 600; margin: 0; }
h2 { font-size: 15px; font-weight: 600; margin: 28px 0 6px; }
p { margin: 4px 0; }
.soft { color: #5f656d; }
.state { border-left: 4px solid #2f7d4f; padding: 8px 14px; margin: 18px 0; background: #f4f6f3; }
.state.open { border-color: #a8741a; background: #faf6ee; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0;
  border-bottom: 1px solid #d9d6cf; }
th { font-size: 12.5px; font-weight: 600; color: #5f656d; }
td:last-child, th:last-child { padding-right: 0; }
.number { text-align: right; white-space: nowrap; }
tfoot td { font-weight: 600; border-bottom: 0; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 11px;
  overflow-wrap: anywhere; }
td.when { white-space: nowrap; }
@page { size: A4; margin: 18mm 16mm; }
@media print { main { max-width: none; padding: 0; } tr { break-inside: avoid; }
  h2 { break-after: avoid; } thead { display: table-header-group; } }
"""


def receipt(
    trade: dict[str, Any],
    now_ms: int,
    *,
    amount: Callable[[int, str], str],
    money: Callable[[int, str], str],
) -> str:
    """Return the whole file; the same for the same arguments.

    Args:
        trade: the trade with its entries, as the local API shows it.
        now_ms: when.
        amount: words an amount of a unit.
        money: words minor units of a currency.
    """
    settled = trade["state"] == "SETTLED"
    short = trade["id"][:12]
    body = tag(
        "main",
        tag("h1", "Receipt" if settled else "Trade"),
        tag("p", f"Trade {short}, agreed {moment(trade['at_ms'])} UTC.", class_="soft"),
        tag(
            "div",
            tag("strong", trade["state"]),
            " This trade is settled."
            if settled
            else " This is no receipt yet: the trade is not settled.",
            class_="state" if settled else "state open",
        ),
        tag("h2", "Parties"),
        _parties(trade),
        tag("h2", "What was agreed"),
        _legs(trade, amount, money),
        _totals(trade, money),
        tag("h2", "What was signed"),
        _entries(trade),
        tag(
            "p",
            f"Made {moment(now_ms)} UTC by passby from signed entries; times are UTC and their"
            " authors' own. Whoever holds the parties' chains can check every line: ",
            tag("code", f"passby proof {short}"),
            class_="soft",
        ),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"passby receipt {short}"),
        style(RULES),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', body), lang='en')}\n"


def _parties(trade: dict[str, Any]) -> Markup:
    rows = [_party("takes", trade.get("taker_name"), trade["taker"])]
    for leg in trade["legs"]:
        if leg["lister"]:
            does = "carries" if leg.get("carries") else "gives"
            rows.append(_party(does, leg.get("lister_name"), leg["lister"]))
    return tag("table", tag("tbody", join(*rows)))


def _party(does: str, name: str | None, key: str) -> Markup:
    return tag("tr", tag("td", name or "unnamed"), tag("td", does), tag("td", tag("code", key)))


def _legs(
    trade: dict[str, Any], amount: Callable[[int, str], str], money: Callable[[int, str], str]
) -> Markup:
    def size(value: int | None, leg: dict[str, Any]) -> str:
        if value is None:
            return "-"
        return amount(value, leg["unit"]) if leg["unit"] else str(value)

    heads = ("what", "agreed", "handed over", "received", "price", "paid")
    rows = []
    for leg in trade["legs"]:
        priced = leg["total_minor"] is not None
        paid = leg["paid_minor"]
        rows.append(
            tag(
                "tr",
                tag("td", leg["name"] or "something"),
                tag("td", size(leg["amount"], leg), class_="number"),
                tag("td", size(leg["handed_amount"], leg), class_="number"),
                tag("td", size(leg["received_amount"], leg), class_="number"),
                tag(
                    "td",
                    money(leg["total_minor"], leg["currency"]) if priced else "not known here",
                    class_="number",
                ),
                tag(
                    "td",
                    money(paid, leg["currency"]) if priced and paid is not None else "-",
                    class_="number",
                ),
            )
        )
    head = tag(
        "tr",
        join(
            *(
                tag("th", text, class_="number" if place else None)
                for place, text in enumerate(heads)
            )
        ),
    )
    return tag("table", tag("thead", head), tag("tbody", join(*rows)))


def _totals(trade: dict[str, Any], money: Callable[[int, str], str]) -> Markup:
    """Return what all of it costs, in figures and in words, each currency for itself."""
    sums: dict[str, int] = {}
    for leg in trade["legs"]:
        if leg["total_minor"] is not None:
            sums[leg["currency"]] = sums.get(leg["currency"], 0) + leg["total_minor"]
    return join(
        *(
            tag(
                "p",
                "Total: ",
                tag("strong", money(minor, currency)),
                f" ({in_words(minor, currency)})",
            )
            for currency, minor in sorted(sums.items())
        )
    )


def _entries(trade: dict[str, Any]) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", moment(entry["at_ms"]), class_="when"),
            tag("td", entry["words"]),
            tag("td", tag("code", entry["id"])),
        )
        for entry in trade["entries"]
        if entry["type"] in _SIGNED
    ]
    head = tag(
        "tr", tag("th", "when"), tag("th", "who says what"), tag("th", "id of the signed entry")
    )
    return tag("table", tag("thead", head), tag("tbody", join(*rows)))


def in_words(minor: int, currency: str) -> str:
    """Return money as a cheque has it: "four and 05/100 EUR"."""
    try:
        decimals = decimals_of(currency)
    except UsageError:
        return f"{spelled(minor)} minor units of {currency}"
    if not decimals:
        return f"{spelled(minor)} {currency}"
    whole, part = divmod(minor, 10**decimals)
    return f"{spelled(whole)} and {part:0{decimals}}/{10**decimals} {currency}"


def spelled(number: int) -> str:
    """Return a number from 0 to 10**18 - 1 in English words."""
    if number < len(_ONES):
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    for size, name in _GROUPS:
        if number >= size:
            many, rest = divmod(number, size)
            return f"{spelled(many)} {name}" + (f" {spelled(rest)}" if rest else "")
    raise AssertionError("every number from 100 has a group")
