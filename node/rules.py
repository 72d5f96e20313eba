"""rules.toml: what the person agrees to beforehand, read strictly, and again when it changes.

    [[accept]]                      # each of them; one that fits is enough
    to = "followed"                 # or "vouched": nobody else is accepted by a rule
    expires_within_days = 2         # only what is best before then
    category = "food"               # only what lies under it
    free = true                     # only gifts

A node accepts by itself only for those somebody answers for; made-up keys would empty a shelf.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from passby.geo.categories import parse_category
from passby.node.chains import Chains
from passby.node.clock import Clock
from passby.node.trades import offer_of, owed_minor
from passby.protocol.errors import ConfigError, RefusedError, UsageError
from passby.protocol.limits import RULES_FILE_MAX, RULES_MAX
from passby.protocol.trade import Trade

_DAY_MS = 24 * 3_600_000


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is accepted, and for whom; what is not named does not matter."""

    to: Literal["followed", "vouched"]
    expires_within_days: Annotated[int, Meta(ge=0, le=3650)] | None = None
    category: Annotated[str, Meta(min_length=1, max_length=120)] | None = None
    free: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    accept: Annotated[tuple[Rule, ...], Meta(max_length=RULES_MAX)] = ()


def parse_rules(text: str, where: str) -> tuple[Rule, ...]:
    """Return the rules in TOML `text`; errors name `where`.

    Raises:
        ConfigError: not TOML, a word that is not known, or a value that does not fit.
    """
    try:
        rules = msgspec.convert(tomllib.loads(text), _File, strict=True).accept
        return tuple(
            rule
            if rule.category is None
            else msgspec.structs.replace(rule, category=parse_category(rule.category))
            for rule in rules
        )
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UsageError) as error:
        raise ConfigError(f"{where} cannot be read: {error}.", "Mend it, or remove it.") from None


class Rules:
    """The person's standing rules.

    Args:
        path: rules.toml; without it nothing is accepted by a rule.
        chains: what offers say.
        clock: for what expires.
        is_followed: whether the person follows an author.
        is_vouched: whether somebody answers for an author.
    """

    def __init__(
        self,
        path: Path | None,
        chains: Chains,
        clock: Clock,
        is_followed: Callable[[bytes], bool],
        is_vouched: Callable[[bytes], bool],
    ) -> None:
        self._path = path
        self._chains = chains
        self._clock = clock
        self._is_followed = is_followed
        self._is_vouched = is_vouched
        self._seen: tuple[int, int, int] | None = None
        self._rules: tuple[Rule, ...] = ()

    def all(self) -> tuple[Rule, ...]:
        """Return the rules as the file holds them now.

        Raises:
            ConfigError: it cannot be read, or a line of it is wrong: none counts then.
        """
        if self._path is None:
            return ()
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                self._rules, self._seen = (), None
                if found.st_size > RULES_FILE_MAX:
                    raise ConfigError(f"{self._path} has over {RULES_FILE_MAX} bytes.")
                self._rules = parse_rules(self._path.read_text("utf-8"), str(self._path))
                self._seen = seen
        except FileNotFoundError:
            self._rules, self._seen = (), None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._path} cannot be read: {error}.", "Mend it.") from error
        return self._rules

    def accepts(self, trade: Trade) -> bool:
        """Tell whether every own lot of a trade is accepted for its taker by some rule.

        Raises:
            ConfigError: the rules cannot be read.
        """
        rules = self.all()
        own = [leg.lot for leg in trade.legs if leg.lister == self._chains.author]
        if not rules or not own or not self._is_vouched(trade.taker):
            return False
        costs = any(owed_minor(self._chains, trade, leg) for leg in trade.legs)
        return all(any(self._fits(rule, trade, lot, costs=costs) for rule in rules) for lot in own)

    def _fits(self, rule: Rule, trade: Trade, lot: bytes, *, costs: bool) -> bool:
        record = self._chains.reader.record(lot)
        if record is None or (rule.to == "followed" and not self._is_followed(trade.taker)):
            return False
        try:
            offer = offer_of(record)
        except RefusedError:
            return False
        if rule.free and costs:
            return False
        if rule.category is not None and not _under(offer.category, rule.category):
            return False
        if rule.expires_within_days is None:
            return True
        until_ms = self._clock() + rule.expires_within_days * _DAY_MS
        return offer.best_before_ms is not None and offer.best_before_ms <= until_ms


def _under(category: str, root: str) -> bool:
    return category == root or category.startswith(root + "/")
