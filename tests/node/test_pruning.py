"""A node that lets go of old history: what it frees, and what its neighbours still get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trio.testing
from tests.ledger.authors import NOW_MS, Author
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, Street, street

from passby.ledger.audit import audit
from passby.ledger.checkpoint import SignedCheckpoint, WitnessKey, sign_checkpoint
from passby.ledger.findings import AuditExit
from passby.ledger.ingest import Check, admit
from passby.ledger.policy import NO_POLICY, k_of
from passby.ledger.store import Freed
from passby.ledger.store_sqlite import SqliteStore
from passby.ledger.tree import BLOCK, root_at, rows_of
from passby.node.cli import run
from passby.node.following import Following
from passby.node.home import Home
from passby.node.pruning import DAY_MS, Pruning
from passby.protocol.errors import RefusedError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import PRUNE_EVERY_S

Capture = pytest.CaptureFixture[str]
WITNESS: Final = WitnessKey(SigningKey(b"\x07" * 32))
POLICY: Final = k_of(1, [WITNESS.verifier])
GONE: Final = frozenset({2 * BLOCK, 3 * BLOCK, 4 * BLOCK})


def old_chain() -> Author:
    ada = Author("ada")
    ada.genesis()
    while len(ada.records) < 4 * BLOCK + 9:
        ada.note(None)
    return ada


ADA: Final = old_chain()


def cosigned(size: int = len(ADA.records)) -> SignedCheckpoint:
    root = root_at(rows_of([record.entry.id for record in ADA.records]), size)
    signed = sign_checkpoint(ADA.key, size, root)
    return signed.with_lines((WITNESS.cosign(signed.head.text, NOW_MS // 1000),))


async def holding(here: Street, name: str) -> Household:
    """Open a household that follows Ada and holds her chain, and a checkpoint of it."""
    found = await here.open(name)
    found.participant.circle.follow([ADA.public])
    for start in range(0, len(ADA.records), BLOCK):
        await found.participant.chains.admit(ADA.records[start : start + BLOCK], Check.RUNS)
    await found.participant.chains.keep_checkpoint(cosigned())
    found.policy = POLICY
    return found


def held(household: Household) -> int:
    head = household.participant.chains.reader.head(ADA.public)
    return head.seq if head else 0


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "sqlite"])
async def test_old_history_goes_behind_enough_witnesses_alone(
    tmp_path: Path, on_disk: bool
) -> None:
    async with street(MemoryMaker(), tmp_path if on_disk else None) as here:
        ben = await holding(here, "ben")
        pruning = ben.participant.pruning
        # Whom the person follows stays whole.
        assert await pruning.prune(30 * DAY_MS) == {}
        ben.participant.circle.follow([])
        ben.policy = k_of(1, [WitnessKey(SigningKey(b"\x08" * 32)).verifier])
        assert await pruning.prune(30 * DAY_MS) == {}
        ben.policy = NO_POLICY
        with pytest.raises(RefusedError, match="no witnesses vouch"):
            await pruning.prune(30 * DAY_MS)
        ben.policy = POLICY
        assert await pruning.prune(100 * 365 * DAY_MS) == {}
        size = sum(record.size for record in ADA.records[BLOCK : 4 * BLOCK])
        freed = {ADA.public: Freed(3 * BLOCK, size)}
        reader = ben.participant.chains.reader
        assert await pruning.prune(30 * DAY_MS, dry=True) == freed
        assert reader.pruned(ADA.public).blocks == frozenset()
        assert await pruning.prune(30 * DAY_MS) == freed
        assert reader.pruned(ADA.public).blocks == GONE
        assert await pruning.prune(30 * DAY_MS) == {}
        assert audit(reader, here.clock(), policy=POLICY).exit_code is AuditExit.CLEAN


async def test_a_newcomer_gets_the_rest_of_a_pruned_chain_from_its_author() -> None:
    async with street(MemoryMaker()) as here:
        # Whoever holds all of it stands for the author, who prunes nothing of its own.
        author, ben = await holding(here, "author"), await holding(here, "ben")
        await ben.participant.chains.prune(ADA.public, GONE)
        cleo = await here.open("cleo")
        cleo.participant.circle.follow([ADA.public])
        await cleo.join(ben)
        await eventually(lambda: held(cleo) == BLOCK)
        # Ben ends there, and is not asked again and again.
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert held(cleo) == BLOCK
        await cleo.join(author)
        await eventually(lambda: held(cleo) == len(ADA.records))
        # What comes now goes on at all of them, and nothing that was pruned comes back.
        news = ADA.fork(len(ADA.records) + 1).note(None)
        await author.participant.chains.admit([news], Check.EACH)
        await ben.join(author)
        for household in (ben, cleo):
            await eventually(lambda household=household: held(household) == news.entry.seq)
        reader = ben.participant.chains.reader
        assert reader.pruned(ADA.public).blocks == GONE
        assert reader.record_at(ADA.public, BLOCK + 1) is None


@pytest.mark.parametrize("both", [False, True], ids=["one side", "both sides"])
async def test_a_fork_within_what_was_pruned_is_still_found(*, both: bool) -> None:
    async with street(MemoryMaker()) as here:
        ben, dora = await holding(here, "ben"), await here.open("dora")
        dora.participant.circle.follow([ADA.public])
        other = ADA.fork(700)
        while len(other.records) < len(ADA.records):
            other.note()
        for start in range(0, len(other.records), BLOCK):
            await dora.participant.chains.admit(other.records[start : start + BLOCK], Check.RUNS)
        await ben.participant.chains.prune(ADA.public, GONE)
        if both:
            root = root_at(rows_of([record.entry.id for record in other.records]), 1030)
            await dora.participant.chains.keep_checkpoint(sign_checkpoint(ADA.key, 1030, root))
            await dora.participant.chains.prune(ADA.public, GONE)
            assert dora.participant.chains.reader.pruned(ADA.public).blocks == GONE
        await ben.join(dora)
        for household in (ben, dora):
            await eventually(
                lambda household=household: household.participant.chains.is_frozen(ADA.public)
            )


async def test_a_witness_that_pruned_cannot_tell_of_a_tree_within_what_went() -> None:
    async with street(MemoryMaker()) as here:
        ben = await holding(here, "ben")
        await ben.participant.chains.prune(ADA.public, GONE)
        agrees = ben.participant.checkpoints.agrees
        assert agrees(cosigned(700), ADA.public) is None
        assert agrees(cosigned(3 * BLOCK), ADA.public)
        assert agrees(cosigned(), ADA.public)
        assert agrees(sign_checkpoint(ADA.key, len(ADA.records), bytes(32)), ADA.public) is False


async def test_a_node_prunes_by_itself_once_a_day(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    async with street(MemoryMaker()) as here, trio.open_nursery() as nursery:
        ben = await holding(here, "ben")
        chains = ben.participant.chains
        nursery.start_soon(Pruning(chains, lambda: POLICY, lambda _: False, 0).run)
        await trio.sleep(2 * PRUNE_EVERY_S)
        assert chains.reader.pruned(ADA.public).blocks == frozenset()
        nursery.start_soon(Pruning(chains, lambda: POLICY, lambda _: False, DAY_MS).run)
        await trio.sleep(2 * PRUNE_EVERY_S)
        assert chains.reader.pruned(ADA.public).blocks == GONE
        nursery.cancel_scope.cancel()


# --- the command -----------------------------------------------------------------------


def said(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_command_prunes_a_home_whose_node_is_down(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "home"

    def tell(*words: str) -> int:
        capsys.readouterr()
        return run(["--home", str(path), *words])

    assert tell("init", "--at", "52.375,4.884", "--name", "Ann", "--yes", "--no-mdns") == 0
    home = Home.open(path)
    store = SqliteStore.open(home.database_path)
    for start in range(0, len(ADA.records), BLOCK):
        records = ADA.records[start : start + BLOCK]
        store.commit([admit(store.view(records), records, Check.RUNS)], durable=True)
    store.keep_checkpoint(cosigned())
    store.close()
    assert tell("ledger", "prune") == 4
    assert "no witnesses vouch" in capsys.readouterr().err
    home.policy_path.write_text(f"witness w {WITNESS.verifier}\nquorum w\n")
    assert tell("ledger", "prune", "--older-than", "soon") == 2
    assert tell("ledger", "prune", "--dry-run", "--json") == 0
    told = said(capsys)
    assert (told["dry_run"], told["entries"]) == (True, 3 * BLOCK)
    assert told["chains"][0]["author"] == ADA.public.hex()
    following = Following(home.followed_path)
    following.add(ADA.public, NOW_MS)
    assert tell("ledger", "prune", "--older-than", "30d", "--json") == 0
    assert said(capsys)["entries"] == 0
    following.remove(ADA.public)
    assert tell("ledger", "prune", "--older-than", "30d") == 0
    assert "768 entries" in capsys.readouterr().out
    assert tell("ledger", "prune", "--json") == 0
    assert said(capsys)["entries"] == 0
    assert tell("config", "set", "retention_days", "0") == 0
    assert tell("ledger", "prune") == 2
    assert tell("audit", "--json") == 0
    assert said(capsys)["trusted"] == 3 * BLOCK
    other = tmp_path / "other.txt"
    other.write_text("quorum none\n")
    assert tell("audit", "--json", "--policy", str(other)) == 3
    told = said(capsys)
    assert (told["trusted"], told["on_word"]) == (0, 3 * BLOCK)
    assert tell("audit", "--policy", str(tmp_path / "none.txt")) == 74
    assert tell("audit", "--html", str(tmp_path / "page.html")) == 0
    assert "pruned behind a checkpoint" in (tmp_path / "page.html").read_text()
