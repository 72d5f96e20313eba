"""Flip bits and tear pages of a killed node's ledger: `python -m tests.crash.flips 200`.

Each case damages the database or its log in one place, by its seed alone. The audit must say
so, unless nothing that is held has changed; then salvage and a healthy neighbour must bring
the node to exactly what it held, with a clean audit, and able to append again.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from tests.crash.healing import Case, Healing, contents, findings

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


def check(case: Case, seed: int) -> tuple[str, bool, int]:
    """Damage, audit, mend and heal by `seed`; return what was done, if found, what was fetched."""
    path = case.killed(f"case-{seed}")
    done = damage(path, random.Random(seed))
    said = findings(path) != case.said
    if not said:
        # Nothing but unused bytes were hit, or the end of the log, as any kill may leave it.
        healthy = Healing(path, case.own)
        held = contents(healthy.store)
        if held == case.whole:
            assert healthy.writer.refusal is None
        else:
            assert all(held[key][0].seq <= case.whole[key][0].seq for key in held)
            own = held.get(case.own)
            if own is None or own[0] != case.whole[case.own][0]:
                assert healthy.writer.refusal is not None, "an own entry is lost, and nobody says"
        healthy.close()
    mend(path)
    healing = Healing(path, case.own)
    try:
        fetched = healing.sync_from(case.peer)
        assert contents(healing.store) == case.whole, f"{seed}: {done}: not what it was"
        assert healing.writer.refusal is None, f"{seed}: {done}: {healing.writer.refusal}"
        assert healing.store.integrity() == []
    finally:
        healing.close()
    assert findings(path) == case.said, f"{seed}: {done}"
    return done, said, fetched


def main(count: int) -> None:
    """Run `count` cases and say how each went."""
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder))
        found = fetched = 0
        for seed in range(count):
            done, said, came = check(case, seed)
            found += said
            fetched += came
            print(f"{seed:4} {done:32} {'found' if said else 'harmless':9} {came:5} fetched")
        print(f"{count} damaged ledgers, all healed: {found} found, {fetched} entries fetched")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
