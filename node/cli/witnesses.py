"""witness, policy: for whom this node vouches, and whose word it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Group, Session, clean
from passby.protocol.errors import ConfigError

if TYPE_CHECKING:
    from passby.ledger.policy import Policy

witness_command = Group("witness", help="Cosign neighbours' chains, so that nobody forks unseen.")
witness_command.examples = ("passby witness key", "passby witness list", "passby witness off")


@witness_command.add("on", "passby witness on")
def witness_on(session: Session) -> None:
    """Cosign the checkpoints of neighbours' chains, now and after every start."""
    _turn(session, on=True)


@witness_command.add("off", "passby witness off")
def witness_off(session: Session) -> None:
    """Cosign no more. What was cosigned stays remembered."""
    _turn(session, on=False)


def _turn(session: Session, *, on: bool) -> None:
    from passby.node.cli.setup import change

    change(session, "witness", "true" if on else "false")
    if session.home.daemon_pid() is not None:
        session.post("/v1/witness", {"on": on})
    session.out(
        {"on": on},
        lambda: [
            "This node cosigns its neighbours' checkpoints."
            if on
            else "This node cosigns nobody's checkpoints."
        ],
    )


@witness_command.add("key", "passby witness key")
def witness_key(session: Session) -> None:
    """Show the line by which others name this node in their policy."""
    from passby.ledger.checkpoint import WitnessKey
    from passby.node.witness_key import witness_seed
    from passby.protocol.keys import SigningKey

    home = session.home
    vkey = str(WitnessKey(SigningKey(witness_seed(home))).verifier)
    line = f"witness {_word(home.config().name)} {vkey}"
    session.out({"vkey": vkey, "line": line}, lambda: [line])


def _word(name: str) -> str:
    """Return a name as a word of a policy file."""
    word = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    return word if word and word != "none" else "neighbour"


@witness_command.add("list", "passby witness list")
def witness_list(session: Session) -> None:
    """List the chains that this node has cosigned, and the witnesses among its neighbours."""
    answer = session.get("/v1/witnesses")

    def lines() -> list[str]:
        rows = [
            [
                show.who(chain.get("name"), chain["author"]),
                show.short(chain["author"]),
                f"{chain['size']:,}",
                show.moment(chain["at_ms"]),
            ]
            for chain in answer["cosigned"]
        ]
        told = (
            show.table(["chain of", "key", ">entries", "last"], rows, squeeze=0)
            if rows
            else ["Nothing cosigned yet."]
        )
        if not answer["on"]:
            told.append(f"This node cosigns nobody's checkpoints: {session.line('witness on')}")
        named = [
            [clean(found["policy_name"] or "-"), clean(found["peer"]), clean(found["vkey"])]
            for found in answer["witnesses"]
        ]
        if named:
            told += ["", *show.table(["in your policy", "peer", "key"], named, squeeze=2)]
        return told

    session.out(answer, lines)


policy_command = Group("policy", help="Whose cosignatures your trades need: policy.txt.")
policy_command.examples = ("passby policy show", "passby policy check")


@policy_command.add("show", "passby policy show")
def policy_show(session: Session) -> None:
    """Show whose cosignatures your trades need, and where that is written."""
    path = session.home.policy_path
    policy = _read(path, missing=True)
    session.out(
        {"file": str(path), **_plain(policy)},
        lambda: (
            _lines(policy)
            if policy.witnesses
            else [
                "Your trades need nobody's cosignature.",
                f"To change that, write {path}; a neighbour's `passby witness key` gives a line.",
            ]
        ),
    )


@policy_command.add("check", "passby policy check", "passby policy check new-policy.txt")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def policy_check(session: Session, *, file: Path | None) -> None:
    """Read a policy over, and tell which of its witnesses can be reached."""
    from passby.ledger.policy import readable

    path = file or session.home.policy_path
    policy = _read(path, missing=False)
    running = session.home.daemon_pid() is not None
    found = session.get("/v1/witnesses") if running else None
    here = {found["vkey"]: "this node"} if found and found["on"] else {}
    here |= {one["vkey"]: one["peer"] for one in found["witnesses"]} if found else {}
    reach = {readable(name): here.get(str(key)) for name, key in policy.witnesses.items()}
    answer = {"file": str(path), **_plain(policy), "reachable": reach if running else None}

    def lines() -> list[str]:
        told = [f"{path} is in order.", *_lines(policy)]
        if not running:
            return [*told, "The node is not running: who can be reached is not known."]
        rows = [[clean(name), clean(peer or "not reachable")] for name, peer in reach.items()]
        return [*told, *(show.table(["witness", "at"], rows) if rows else [])]

    session.out(answer, lines)


def _read(path: Path, *, missing: bool) -> Policy:
    from passby.ledger.policy import NO_POLICY, parse_policy
    from passby.node.policy_file import read_policy

    try:
        return parse_policy(read_policy(path))
    except FileNotFoundError:
        if missing:
            return NO_POLICY
        raise ConfigError(
            f"There is no {path}.", "`passby policy show` tells where to write yours, and how."
        ) from None


def _plain(policy: Policy) -> dict[str, Any]:
    from passby.ledger.policy import readable

    return {
        "quorum": readable(policy.quorum),
        "witnesses": {readable(name): str(key) for name, key in policy.witnesses.items()},
        "groups": {
            readable(name): {"k": group.k, "members": [readable(one) for one in group.members]}
            for name, group in policy.groups.items()
        },
    }


def _lines(policy: Policy) -> list[str]:
    plain = _plain(policy)
    pairs = [("quorum", clean(plain["quorum"]))]
    pairs += [
        (clean(name), f"{group['k']} of {', '.join(map(clean, group['members']))}")
        for name, group in plain["groups"].items()
    ]
    pairs += [(clean(name), clean(key)) for name, key in plain["witnesses"].items()]
    return show.facts(pairs)
