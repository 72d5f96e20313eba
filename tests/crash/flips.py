"""Flip bits and tear pages of a killed node's ledger: `python -m tests.crash.flips 200`.

Each case damages the database or its log in one place, by its seed alone. The audit must say
so, unless what is held is what was written, if only up to an earlier moment; then salvage and
a healthy neighbour, over the real sync session, must bring the node to exactly what it held, with
a clean audit, and able to append again.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.crash.healing import Case, Healing, but_erasures, contents, findings

from passby.node.mending import mend

PAGE = 4096


def damage(path: Path, dice: random.Random) -> str:
    """Damage one file of the ledger at `path`; return what was done."""
    suffix = dice.choice(["", "", "-wal"])
    file = path.with_name(path.name + suffix)
    data = bytearray(file.read_bytes())
    at = dice.randrange(len(data))
    match dice.choice(["bit", "bit", "bit", "header", "cut", "zero", "garbage", "elsewhere"]):
        case "bit":
            data[at] ^= 1 << dice.randrange(8)
            done = f"bit {at}"
        case "header":
            at = dice.randrange(100)
            data[at] ^= 1 << dice.randrange(8)
            done = f"header {at}"
        case "cut":
            del data[at:]
            done = f"cut at {at}"
        case "zero":
            at -= at % 512
            data[at : at + 512] = bytes(len(data[at : at + 512]))
            done = f"sector {at} lost"
        case "garbage":
            at -= at % PAGE
            data[at : at + PAGE] = dice.randbytes(len(data[at : at + PAGE]))
            done = f"page {at} of garbage"
        case _:
            at -= at % PAGE
            other = dice.randrange(len(data) // PAGE) * PAGE
            data[at : at + PAGE] = data[other : other + len(data[at : at + PAGE])]
            done = f"page {at} from {other}"
    file.write_bytes(data)
    return f"{suffix or 'db'}: {done}"


def check(case: Case, seed: int) -> tuple[str, str, int]:
    """Damage, audit, mend and heal by `seed`; return what was done, how it was seen, what came."""
    path = case.killed(f"case-{seed}")
    done = damage(path, random.Random(seed))
    verdict = "found" if findings(path) != case.said else _unseen(case, path)
    salvaged = mend(path).salvaged
    healing = Healing(path, case.own)
    try:
        fetched = healing.sync_from(case.peer)
        held, whole = contents(healing.store), case.whole
        if not salvaged.entries:
            # Not even which tables there were could be read, nor what had been erased here.
            held, whole = but_erasures(held), but_erasures(whole)
        assert held == whole, f"{seed}: {done}: not what it was"
        assert healing.writer.refusal is None, f"{seed}: {done}: {healing.writer.refusal}"
        assert healing.store.integrity() == []
    finally:
        healing.close()
    assert findings(path) == case.said, f"{seed}: {done}"
    return done, verdict, fetched


def _unseen(case: Case, path: Path) -> str:
    """Hold what the audit found nothing wrong with against what was written."""
    node = Healing(path, case.own)
    try:
        held = contents(node.store)
        if held == case.whole:
            # Unused bytes were hit, or a page of which the log holds a newer one.
            assert node.writer.refusal is None
            return "harmless"
        # The end of the log is gone, as any kill may leave it: an earlier moment, and whole.
        for author, (head, records, *_) in held.items():
            assert records == case.whole[author][1][-head.seq :]
        own = held.get(case.own)
        if own is None or own[0] != case.whole[case.own][0]:
            assert node.writer.refusal is not None, "an own entry is lost, and nobody says"
        return "older"
    finally:
        node.close()


def main(count: int) -> None:
    """Run `count` cases and say how each went."""
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder))
        seen: Counter[str] = Counter()
        fetched = 0
        for seed in range(count):
            done, verdict, came = check(case, seed)
            seen[verdict] += 1
            fetched += came
            print(f"{seed:4} {done:32} {verdict:9} {came:5} fetched")
        print(f"{count} damaged ledgers, all healed: {dict(seen)}, {fetched} entries fetched")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
