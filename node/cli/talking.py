"""say: words between the parties of a trade, beside the ledger."""

from __future__ import annotations

from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.node.cli.typed import amount_option, moment_option

_STATES = {"waiting": " (not delivered yet)", "refused": " (not delivered)", "in": "", "sent": ""}


@command("say", 'passby say 5c77aa01 "I am at the gate"')
@click.argument("trade")
@click.argument("text")
def say_command(session: Session, *, trade: str, text: str) -> None:
    """Say something to the other side of a trade. Sealed; it waits until they are awake."""
    answer = session.post(f"/v1/trades/{session.identity(trade)}/say", {"text": text})
    session.out(answer, lambda: talk_lines(answer["talk"]))


def talk_lines(talk: list[dict[str, Any]]) -> list[str]:
    """Return what was said, a line each, as people read it."""
    lines = []
    for said in talk:
        author = show.who(said.get("author_name"), said["author"])
        state = _STATES.get(said["state"], "")
        words = clean(_words(said))
        lines.append(f"  {show.moment(said['at_ms'])}  {author}{state}: {words}")
    return lines


def payment_lines(payments: list[dict[str, Any]]) -> list[str]:
    """Return how to pay, with the code that a bank's app reads."""
    lines = []
    for payment in payments:
        owed = show.money(payment["total_minor"], payment["currency"])
        account = f", {payment['iban']}" if payment["iban"] else ""
        lines.append(f"  pay {owed} to {clean(payment['name'])}{clean(account)}")
        if payment["epc"]:
            lines += _code(payment["epc"])
    return lines


def _code(text: str) -> list[str]:
    """Return a QR code of half blocks; nothing where nobody looks at a terminal."""
    import io
    import sys

    if not sys.stdout.isatty():
        return []
    import segno

    drawn = io.StringIO()
    segno.make(text, error="m").terminal(drawn, compact=True)
    return drawn.getvalue().splitlines()


def _words(said: dict[str, Any]) -> str:
    match said["kind"]:
        case "place":
            return f"come to {said['text']}"
        case "payment":
            return f"pay to {said['name']} {said.get('iban') or said.get('text') or ''}".rstrip()
        case _:
            return str(said.get("text") or "")


@command(
    "quote",
    'passby quote 9f0e1d2c --lot ab12cd34 --price "1.80"',
    'passby quote ab12cd34 --lot ab12cd34 --price "1.50" --valid "2 hours"',
)
@click.argument("request")
@click.option("--lot", required=True, metavar="LOT", help="The offer of yours that you mean.")
@click.option("--price", required=True, metavar="PRICE", help="For all of the amount together.")
@click.option("--amount", metavar="AMOUNT", help="How much; what is asked for unless told.")
@click.option("--valid", metavar="TIME", help='Until when: "2 hours"; a day unless told.')
@click.option("--text", metavar="TEXT", help="A word to go with it.")
@click.option("--measure", type=click.Choice(["us", "imperial"]), help="Whose quarts are meant.")
def quote_command(
    session: Session,
    *,
    request: str,
    lot: str,
    price: str,
    amount: str | None,
    valid: str | None,
    text: str | None,
    measure: str | None,
) -> None:
    """Quote a price, to whoever asks for it. For a REQUEST; or for your LOT, to its last bidder.

    Your node accepts by itself what is then proposed at this price.
    """
    body = {"about": session.identity(request), "lot": session.identity(lot), "text": text}
    given = {**body, **_priced(session, price, amount, measure)}
    given.pop("currency")
    if valid is not None:
        given["valid_within_s"] = max(1, (moment_option(valid) - show.now_ms()) // 1000)
    answer = session.post("/v1/quotes", {k: v for k, v in given.items() if v is not None})
    session.out(answer, lambda: [_quote_line(answer), "They hear of it when they are awake."])


@command("bid", 'passby bid ab12cd34 --price "1.50"')
@click.argument("lot")
@click.option("--price", required=True, metavar="PRICE", help="For all of the amount together.")
@click.option("--amount", metavar="AMOUNT", help="How much of it; all unless told.")
@click.option("--text", metavar="TEXT", help="A word to go with it.")
@click.option("--measure", type=click.Choice(["us", "imperial"]), help="Whose quarts are meant.")
def bid_command(
    session: Session,
    *,
    lot: str,
    price: str,
    amount: str | None,
    text: str | None,
    measure: str | None,
) -> None:
    """Bid less for an offer. Binds nobody; the lister may answer with a quote."""
    body = {"lot": session.identity(lot), "text": text}
    given = {**body, **_priced(session, price, amount, measure)}
    answer = session.post("/v1/bids", {k: v for k, v in given.items() if v is not None})
    session.out(answer, lambda: [_quote_line(answer), "They hear of it when they are awake."])


@command("quotes", "passby quotes")
def quotes_command(session: Session) -> None:
    """List quotes that you can take. And what others bid for your offers."""
    answer = session.get("/v1/quotes")

    def lines() -> list[str]:
        if not answer["quotes"] and not answer["bids"]:
            return ["Nobody has quoted or bid anything."]
        told = []
        for quote in answer["quotes"]:
            told += [_quote_line(quote), f"    take it: {_taking(session, quote)}"]
        for bid in answer["bids"]:
            lot = show.short(bid["about"])
            step = session.line(f"quote {lot} --lot {lot} --price PRICE")
            told += [_quote_line(bid), f"    answer: {step}"]
        return told

    session.out(answer, lines)


def _taking(session: Session, quote: dict[str, Any]) -> str:
    return session.line(f"propose {show.short(quote['lot'])} --quote {show.short(quote['id'])}")


def _quote_line(said: dict[str, Any]) -> str:
    """Return a quote or a bid in a line."""
    size = show.amount(said["amount"], said["unit"]) if said["unit"] else str(said["amount"])
    paid = show.money(said["total_minor"], said["currency"])
    until = f", until {show.moment(said['valid_until_ms'])}" if "valid_until_ms" in said else ""
    side = "from" if said["state"] == "in" else "to"
    who = show.who(said.get("other_name"), said["other"])
    words = f": {clean(said['text'])}" if said.get("text") else ""
    name = clean(said["name"] or "something")
    title = f"{said['kind']} {show.short(said['id'])} {side} {who}"
    return f"{title}: {name}, {size} for {paid}{until}{words}"


def _priced(
    session: Session, price: str, amount: str | None, measure: str | None
) -> dict[str, Any]:
    from passby.node.prices import parse_price

    typed = parse_price(price, session.home.config().currency)
    given: dict[str, Any] = {"total_minor": typed.minor, "currency": typed.currency}
    if amount is not None:
        given["amount"] = amount_option(session, amount, measure).value
    return given


@command("rate", 'passby rate 5c77aa01 5 "Sealed, as described"')
@click.argument("trade")
@click.argument("stars", type=click.IntRange(1, 5))
@click.argument("text", required=False)
def rate_command(session: Session, *, trade: str, stars: int, text: str | None) -> None:
    """Rate a trade once it is settled. Once, in public, in your own chain."""
    body = {"stars": stars, **({"text": text} if text else {})}
    answer = session.post(f"/v1/trades/{session.identity(trade)}/rate", body)
    session.out(answer, lambda: rating_lines(answer["ratings"]))


def rating_lines(ratings: list[dict[str, Any]]) -> list[str]:
    """Return the ratings of a trade, a line each."""
    lines = []
    for rating in ratings:
        author = show.who(rating.get("author_name"), rating["author"])
        words = f": {clean(rating['text'])}" if rating.get("text") else ""
        lines.append(f"  {author} gives {rating['stars']} of 5{words}")
    return lines


@command("close", "passby close ab12cd34")
@click.argument("lot")
def close_command(session: Session, *, lot: str) -> None:
    """Take an offer or a request of yours off the market. For good."""
    answer = session.post(f"/v1/lots/{session.identity(lot)}/close")
    session.out(answer, lambda: [f"Closed: {show.short(answer['id'])}."])
