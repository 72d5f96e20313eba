"""passby demo: a street of five nodes on this machine plays one trade, for real."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from passby.node.demo.guard import Guard
from passby.node.demo.story import Story
from passby.protocol.errors import Exit, LocalError


def play(*, stay: bool, as_json: bool, data: Path | None) -> int:
    """Play the story, on stderr if the result is printed as JSON; return the exit code.

    Args:
        stay: keep the nodes running until Ctrl-C or SIGTERM, with a word on what to try;
            where there is no terminal nobody could, so that it ends all the same.
        as_json: print the result on stdout as one JSON object.
        data: a file of further lots.

    Raises:
        LocalError: something did not happen as it should; the homes are kept for a look.
    """
    folder = Path(tempfile.mkdtemp(prefix="passby-demo-"))
    started_s = time.monotonic()
    out = sys.stderr if as_json else sys.stdout

    def tell(words: str) -> None:
        print(f"{time.monotonic() - started_s:6.1f} s  {words}", file=out, flush=True)

    guard = Guard(folder)
    story = Story(folder, tell, guard, data)
    # The nodes have sessions of their own: whoever ends the demo must not leave them behind.
    signal.signal(signal.SIGTERM, _interrupt)
    keep = False
    try:
        tell("five nodes start")
        story.play()
        story.result["seconds"] = round(time.monotonic() - started_s, 1)
        if as_json:
            print(json.dumps(story.result), flush=True)  # noqa: T201
        if stay and sys.stdin.isatty():
            _stay(story)
    except LocalError as error:
        keep = True
        raise LocalError(
            error.message, f"{error.hint} The homes are in {folder}.".strip()
        ) from None
    finally:
        codes = story.stop()
        guard.dismiss()
        if not keep and (all(code == 0 for code in codes) or sys.exc_info()[0] is not None):
            shutil.rmtree(folder)
    if any(code != 0 for code in codes):
        raise LocalError(f"The nodes ended with {codes}.", f"Their logs are in {folder}.")
    good = (
        story.result["audit"]["exit"] == 0
        and story.result["trade"]["state"] == "SETTLED"
        and story.result["delivery"]["state"] == "SETTLED"
        and story.result["no_show"]["backup"] == "SETTLED"
        and story.result["restart"]["acknowledged_lost"] == 0
    )
    return Exit.DONE if good else Exit.FAILED


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stay(story: Story) -> None:
    """Say what to try, then wait for Ctrl-C or SIGTERM."""
    passby = Path(sys.argv[0])
    program = str(passby) if passby.name == "passby" else "passby"
    first, third = story.nodes[0], story.nodes[2]
    lines = (
        "",
        "The nodes keep running. In another terminal:",
        f"  {program} --home {first.home.path} book",
        f"  {program} --home {third.home.path} matches",
        f"  {program} --home {third.home.path} trade show {story.result['trade']['id'][:8]}",
        f"  {program} --home {first.home.path} give Compost --category garden --amount 10kg",
        f"  {program} --home {third.home.path} audit",
        "Ctrl-C here stops them and removes their homes.",
    )
    print("\n".join(lines), flush=True)  # noqa: T201
    with suppress(KeyboardInterrupt):
        signal.pause()
