"""Deals that the tests of trades start from."""

from __future__ import annotations

import pytest
from tests.protocol.chains import HANDOVER_UNTIL, HOUR, Deal, Party

from passby.protocol.trade import TAKER


@pytest.fixture
def deal() -> Deal:
    """Anna gives to Ben."""
    return Deal.between(Party("ben"), [Party("anna")])


@pytest.fixture
def two() -> Deal:
    """Anna and Cleo both give to Ben."""
    return Deal.between(Party("ben"), [Party("anna"), Party("cleo")])


@pytest.fixture
def carried() -> Deal:
    """Anna's goods go with Carl to Ben."""
    until = [HANDOVER_UNTIL, HANDOVER_UNTIL + HOUR]
    return Deal.between(Party("ben"), [Party("anna"), Party("carl")], [2, TAKER], until)
