"""propose, accept, handover, receive, cancel, trade: a trade's steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

import click

from passby.node.cli import show
from passby.node.cli.frame import Group, Session, clean, command
from passby.node.cli.receipts import evidence_lines, write_receipt
from passby.node.cli.talking import payment_lines, rating_lines, talk_lines
from passby.node.cli.typed import amount_option, in_unit, moment_option
from passby.protocol.errors import Exit, LocalError, RefusedError

CODE_FILE_MAX = 256
"""Characters of a file that holds four words."""


@command(
    "propose",
    'passby propose ab12cd34 --amount "half a quart"',
    "passby propose ab12cd34 --for 9f0e1d2c",
    "passby propose ab12cd34 --carrier 77be10c4",
    "passby propose ab12cd34 --quote 77aa01bc",
    'passby propose ab12cd34 --backup --wait "3 hours"',
)
@click.argument("lot")
@click.option("--amount", metavar="AMOUNT", help="How much of it; all that is left unless told.")
@click.option("--for", "request", metavar="REQUEST", help="The request of yours that it fulfils.")
@click.option(
    "--carrier",
    "carriers",
    multiple=True,
    metavar="LOT",
    help="The offered room of who brings it; several in the order of the way.",
)
@click.option("--room", metavar="AMOUNT", help="How much of a carrier's room it takes.")
@click.option("--quote", metavar="QUOTE", help="At the price and amount of this quote to you.")
@click.option("--backup", is_flag=True, help="Also what is set aside for another, should it fail.")
@click.option("--wait", metavar="TIME", help='How long you wait for an answer: "3 hours".')
@click.option("--by", metavar="TIME", help="Hand-over at the latest then.")
@click.option("--text", metavar="TEXT", help="A word to go with it, for the other side alone.")
@click.option("--measure", type=click.Choice(["us", "imperial"]), help="Whose quarts are meant.")
def propose_command(
    session: Session,
    *,
    lot: str,
    amount: str | None,
    request: str | None,
    carriers: tuple[str, ...],
    room: str | None,
    quote: str | None,
    backup: bool,
    wait: str | None,
    by: str | None,
    text: str | None,
    measure: str | None,
) -> None:
    """Propose to take an offer, or a part of it. The price is fixed at this moment."""
    body: dict[str, Any] = {"lot": session.identity(lot), "text": text}
    if request is not None:
        body["request"] = session.identity(request)
    if amount is not None:
        typed = amount_option(session, amount, measure)
        body["amount"], body["unit"] = typed.value, typed.unit.value
    if room is not None and not carriers:
        raise click.UsageError("--room goes with --carrier.")
    taken: dict[str, Any] = {}
    if room is not None:
        typed = amount_option(session, room, measure)
        taken = {"amount": typed.value, "unit": typed.unit.value}
    if carriers:
        body["carriers"] = [{"lot": session.identity(lot), **taken} for lot in carriers]
    if by is not None:
        body["handover_until_ms"] = moment_option(by)
    if quote is not None:
        body["quote"] = session.identity(quote)
    if backup:
        body["backup"] = True
    if wait is not None:
        body["respond_within_s"] = max(1, (moment_option(wait) - show.now_ms()) // 1000)
    given = {key: value for key, value in body.items() if value is not None}
    _tell(session, session.post("/v1/trades", given))


@command("accept", "passby accept 5c77aa01", "passby accept 77be10c4 --queue")
@click.argument("trade")
@click.option("--queue", is_flag=True, help="As soon as enough is free, should another not come.")
def accept_command(session: Session, *, trade: str, queue: bool) -> None:
    """Accept a proposal for your offer. The amount is set aside for the taker."""
    _take(session, session.identity(trade), "queue" if queue else "accept")


@command(
    "handover",
    "passby handover 5c77aa01",
    'passby handover 5c77aa01 --code "lake moon tree stone"',
    "passby handover 5c77aa01 --code-file -",
)
@click.argument("trade")
@click.option("--code", metavar="WORDS", help="The receiver's four words; asked for unless told.")
@click.option(
    "--code-file",
    type=click.File(),
    metavar="FILE",
    help="They stand there; - for standard input. Others see a command's words, not its input.",
)
@click.option("--amount", metavar="AMOUNT", help="What was handed over, if not what was agreed.")
@click.option("--measure", type=click.Choice(["us", "imperial"]), help="Whose quarts are meant.")
def handover_command(
    session: Session,
    *,
    trade: str,
    code: str | None,
    code_file: TextIO | None,
    amount: str | None,
    measure: str | None,
) -> None:
    """Hand the goods over. The receiver's four words prove that you met."""
    trade = session.identity(trade)
    if code is None and code_file is not None:
        code = code_file.read(CODE_FILE_MAX)
    if code is None:
        code = session.ask("The receiver's code of four words", '--code "four words of theirs"')
    body: dict[str, Any] = {"code": " ".join(code.lower().split())}
    if amount is not None:
        body["amount"] = _of_leg(session, trade, amount, measure)
    _take(session, trade, "handover", body)


@command("return", 'passby return 5c77aa01 --code "lake moon tree stone"')
@click.argument("trade")
@click.option("--code", metavar="WORDS", help="The four words that the giver tells you.")
def return_command(session: Session, *, trade: str, code: str | None) -> None:
    """Give goods back that nobody took. The giver's four words prove that you met."""
    trade = session.identity(trade)
    if code is None:
        code = session.ask("The giver's code of four words", '--code "four words of theirs"')
    _take(session, trade, "return", {"code": " ".join(code.lower().split())})


@command("putback", "passby putback 5c77aa01")
@click.argument("trade")
@click.option("--amount", metavar="AMOUNT", help="What is still good, if not all of it.")
@click.option("--measure", type=click.Choice(["us", "imperial"]), help="Whose quarts are meant.")
def putback_command(
    session: Session, *, trade: str, amount: str | None, measure: str | None
) -> None:
    """Put goods that came back on offer again."""
    trade = session.identity(trade)
    body = {} if amount is None else {"amount": _of_leg(session, trade, amount, measure)}
    _take(session, trade, "putback", body)


@command(
    "receive",
    "passby receive 5c77aa01",
    "passby receive 5c77aa01 --money",
    'passby receive 5c77aa01 --amount "400 ml"',
)
@click.argument("trade")
@click.option("--money", is_flag=True, help="You are the giver, and got the money.")
@click.option("--paid", metavar="PRICE", help="With --money: what you got, if not what was agreed.")
@click.option("--amount", metavar="AMOUNT", help="What you got, if not what was agreed.")
@click.option("--measure", type=click.Choice(["us", "imperial"]), help="Whose quarts are meant.")
def receive_command(
    session: Session,
    *,
    trade: str,
    money: bool,
    paid: str | None,
    amount: str | None,
    measure: str | None,
) -> None:
    """Confirm that you got the goods, or the money. For the money, with --money."""
    trade = session.identity(trade)
    if paid is not None and not money:
        raise click.UsageError("--paid goes with --money.")
    if money and amount is not None:
        raise click.UsageError("--amount is of goods; with --money give --paid.")
    if money:
        body: dict[str, Any] = {}
        if paid is not None:
            from passby.node.prices import parse_price

            leg = _leg(session, trade)
            typed = parse_price(paid, leg["currency"])
            if typed.currency != leg["currency"]:
                raise RefusedError(
                    f"The trade is in {leg['currency']}, not in {typed.currency}.",
                    f"Give what you got in {leg['currency']}.",
                )
            body["amount_minor"] = typed.minor
        _take(session, trade, "paid", body)
        return
    body = {} if amount is None else {"amount": _of_leg(session, trade, amount, measure)}
    _take(session, trade, "receive", body)


@command("cancel", 'passby cancel 5c77aa01 --reason "found one at home"')
@click.argument("trade")
@click.option("--reason", metavar="TEXT", help="A word for the other side alone.")
def cancel_command(session: Session, *, trade: str, reason: str | None) -> None:
    """Step back from a trade. While that is still lawful; what was set aside is free again."""
    body = {"reason": reason} if reason else {}
    _take(session, session.identity(trade), "cancel", body)


trade_command = Group("trade", help="Look at trades.")
trade_command.examples = ("passby trade list", "passby trade show 5c77aa01")


@trade_command.add("list", "passby trade list", "passby trade list --all")
@click.option("--all", "finished", is_flag=True, help="Finished ones too.")
def trade_list(session: Session, *, finished: bool) -> None:
    """List your trades, and whose turn it is in each."""
    answer = session.get("/v1/trades", state="all" if finished else "open")

    def lines() -> list[str]:
        if not answer["trades"]:
            more = "" if finished else f" Finished ones: {session.line('trade list --all')}"
            return [f"No {'' if finished else 'open '}trades.{more}"]
        rows = [_row(trade) for trade in answer["trades"]]
        return show.table(
            ["id", "state", "what", ">how much", ">pays", "with", "next"], rows, squeeze=2
        )

    session.out(answer, lines)


def _row(trade: dict[str, Any]) -> list[str]:
    leg = trade["legs"][0]
    partner = (
        (trade.get("taker_name"), trade["taker"])
        if trade["role"] == "lister"
        else (leg.get("lister_name"), leg["lister"])
    )
    turns = [turn for turn in trade["your_turn"] if not _is_way_out(trade, turn)]
    waits = [wait for wait in trade["waiting_for"] if not _is_way_out(trade, wait)]
    if turns:
        following = click.style("you: " + clean(turns[0]["command"]), fg="yellow")
    elif waits:
        wait = waits[0]
        following = f"{show.who(wait.get('name'), wait['party'])} {_step(trade, wait)}"
    else:
        following = "-"
    more = f" +{len(trade['legs']) - 1}" if len(trade["legs"]) > 1 else ""
    return [
        show.short(trade["id"]),
        clean(trade["state"]),
        clean(leg["name"] or "-") + more,
        _size(leg),
        _cost(leg),
        show.who(*partner),
        following,
    ]


@trade_command.add("show", "passby trade show 5c77aa01", "passby trade show 5c77aa01 --evidence")
@click.argument("trade")
@click.option("--evidence", is_flag=True, help="What each side has signed and said, side by side.")
def trade_show(session: Session, *, trade: str, evidence: bool) -> None:
    """Show one trade: what was agreed, every step so far, and the next."""
    found = session.get(f"/v1/trades/{session.identity(trade)}")
    if evidence:
        session.out(found, lambda: evidence_lines(found))
        return
    _tell(session, found)


@trade_command.add("receipt", "passby trade receipt 5c77aa01 --html receipt.html")
@click.argument("trade")
@click.option(
    "--html",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it; it prints on a page.",
)
def trade_receipt(session: Session, *, trade: str, path: Path) -> None:
    """Write a receipt to print: what was agreed, given and paid, and the signed entries."""
    write_receipt(session, trade, path)


@trade_command.add("check", "passby trade check 5c77aa01")
@click.argument("trade")
def trade_check(session: Session, *, trade: str) -> None:
    """Ask the witnesses once more, before you pay in advance. Exit code 3 where too few vouch."""
    after = session.post(f"/v1/trades/{session.identity(trade)}/check")
    session.out(
        after,
        lambda: [
            *_trade_lines(session, after),
            "Enough witnesses have just cosigned that this still stands.",
        ],
    )


_WAYS_OUT = frozenset({"cancel", "release", "return"})
"""Steps that one may take, and that nobody waits for."""
_STEPS = {
    "reserve": "to accept",
    "confirm": "to confirm (its node does)",
    "commit": "to commit (its node does)",
    "handover": "to hand over",
    "receipt": "to say that the goods came",
    "cancel": "to step back",
    "release": "to let go",
}


def _is_way_out(trade: dict[str, Any], step: dict[str, Any]) -> bool:
    """Tell whether nobody waits for a step: stepping back, or giving the goods back."""
    if step["step"] == "handover":
        number = step.get("number")
        if number is None:  # whoever has the goods already can only hand them back
            return all(leg["handed_over"] for leg in trade["legs"])
        return any(leg["handed_over"] for leg in trade["legs"] if leg["number"] == number)
    return step["step"] in _WAYS_OUT


def _step(trade: dict[str, Any], wait: dict[str, Any]) -> str:
    if wait.get("words"):
        return clean(wait["words"])
    listers = {leg["lister"] for leg in trade["legs"]}
    if wait["step"] == "receipt" and wait["party"] in listers:
        return "to say that the money came"
    return _STEPS.get(wait["step"], clean(wait["step"]))


def _take(session: Session, trade: str, step: str, body: dict[str, Any] | None = None) -> None:
    """Take a step and show the trade; a refusal names where to see whose turn it is."""
    try:
        after = session.post(f"/v1/trades/{trade}/{step}", body)
    except LocalError as error:
        if error.exit_code == Exit.REFUSED and not error.hint:
            error.hint = f"See it: {session.line(f'trade show {trade[: show.SHORT_ID]}')}"
        raise
    _tell(session, after)


def _tell(session: Session, trade: dict[str, Any]) -> None:
    session.out(trade, lambda: _trade_lines(session, trade))


_ROLE = {
    "taker": "you take",
    "lister": "you give",
    "carrier": "you carry",
    "observer": "between others",
}


def _trade_lines(session: Session, trade: dict[str, Any]) -> list[str]:
    role = _ROLE.get(trade["role"], clean(trade["role"]))
    state = click.style(clean(trade["state"]), bold=True)
    lines = [f"Trade {show.short(trade['id'])} is {state} ({role})"]
    for leg in trade["legs"]:
        giver = show.who(leg.get("lister_name"), leg["lister"])
        done = [
            words
            for key, words in (
                ("reserved", "set aside"),
                ("committed", "committed"),
                ("handed_over", "handed over"),
                ("returned", "given back"),
                ("received", "received"),
                ("paid", "paid"),
            )
            if leg[key]
        ]
        part = "carried by" if leg.get("carries") else "from"
        lines.append(
            f"  {clean(leg['name'] or 'something')}: {_size(leg)} for {_cost(leg)}, {part} {giver}"
            + (f"; {', '.join(done)}" if done else "")
        )
    pairs = [("the goods", clean(held["words"])) for held in trade.get("custody", [])]
    for turn in trade["your_turn"]:
        by = f" (by {show.moment(turn['by_ms'])})" if turn.get("by_ms") else ""
        typed = clean(turn["command"]) + (f" --home {session.told}" if session.told else "")
        label = "you may" if _is_way_out(trade, turn) else "your turn"
        pairs.append((label, f"{click.style(typed, fg='yellow')}{by}"))
    for wait in trade["waiting_for"]:
        if _is_way_out(trade, wait):
            continue
        by = f" (by {show.moment(wait['by_ms'])})" if wait.get("by_ms") else ""
        pairs.append(
            ("waits for", f"{show.who(wait.get('name'), wait['party'])} {_step(trade, wait)}{by}")
        )
    if trade.get("queued"):
        pairs.append(("queued", "your node accepts it once enough is free"))
    if (vouched := trade.get("witnesses")) is not None:
        pairs.append(("witnesses", _vouched(vouched)))
    if trade.get("code"):
        pairs.append(("your code", click.style(clean(trade["code"]), bold=True)))
        pairs.append(("", "say it when you have the goods in your hands, not before"))
    if trade.get("return_code"):
        pairs.append(("return code", click.style(clean(trade["return_code"]), bold=True)))
        pairs.append(("", "say it when the goods are back in your hands, not before"))
    for warning in trade["warnings"]:
        liar = show.who(warning.get("name"), warning["author"])
        told = f"{liar} is proven false from its entry {warning['false_from']} on:"
        pairs.append(("warning", click.style(f"{told} {clean(warning['rule'])}", fg="red")))
        pairs.append(("", "finish what was agreed, and agree to nothing more"))
    pairs += [
        ("fault", f"{clean(fault['rule'])}, by {show.short(fault['accused'])}")
        for fault in trade["faults"]
    ]
    lines += show.facts(pairs)
    for entry in trade.get("entries", []):
        author = show.who(entry.get("author_name"), entry["author"])
        lines.append(
            f"  {show.moment(entry['at_ms'])}  {author} #{entry['seq']}  {clean(entry['words'])}"
            + (" (after the fork)" if entry["after_fork"] else "")
            + (f": {clean(entry['text'])}" if entry.get("text") else "")
        )
    lines += talk_lines(trade.get("talk", []))
    lines += payment_lines(trade.get("payments", []))
    return lines + rating_lines(trade.get("ratings", []))


def _vouched(vouched: dict[str, Any]) -> str:
    """Return who has cosigned what was set aside, and who is lacking."""
    cosigned, lacking = vouched["cosigned"], vouched["lacking"]
    said = f"{len(cosigned)} of {len(cosigned) + len(lacking)} have cosigned"
    if lacking:
        said += f"; lacking: {', '.join(map(clean, lacking))}"
    return said + (f" ({clean(vouched['why'])})" if vouched["why"] else "")


def _size(leg: dict[str, Any]) -> str:
    """Return how much a leg is of; its unit is in the terms, which may not be here yet."""
    return show.amount(leg["amount"], leg["unit"]) if leg["unit"] else str(leg["amount"])


def _cost(leg: dict[str, Any]) -> str:
    if leg["total_minor"] is None:
        return "terms not here yet"
    return show.money(leg["total_minor"], leg["currency"])


def _leg(session: Session, trade: str) -> dict[str, Any]:
    """Return the leg that the person's step is about: the first one open to them."""
    found: dict[str, Any] = session.get(f"/v1/trades/{trade}")
    numbers = {turn.get("number") for turn in found["your_turn"]}
    legs: list[dict[str, Any]] = found["legs"]
    return next((leg for leg in legs if leg["number"] in numbers), legs[0])


def _goods_unit(session: Session, trade: str) -> str:
    """Return the unit in which the goods are counted, whose room they may be in meanwhile."""
    found: dict[str, Any] = session.get(f"/v1/trades/{trade}")
    by_number = {leg["number"]: leg for leg in found["legs"]}
    leg = by_number[_leg(session, trade)["number"]]
    while leg.get("carries"):
        leg = by_number[leg["carries"][0]]
    return str(leg["unit"])


def _of_leg(session: Session, trade: str, amount: str, measure: str | None) -> int:
    return in_unit(amount_option(session, amount, measure), _goods_unit(session, trade))
