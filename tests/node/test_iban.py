"""Accounts: check digits, and the text of the code that banks' apps read."""

from __future__ import annotations

import pytest

from passby.node.iban import epc_code, parse_iban
from passby.protocol.errors import UsageError


def test_an_iban_is_taken_with_blanks_and_in_any_case() -> None:
    assert parse_iban("nl91 abna 0417 1643 00") == "NL91ABNA0417164300"
    assert parse_iban("DE89 3704 0044 0532 0130 00") == "DE89370400440532013000"


@pytest.mark.parametrize("typed", ["NL91ABNA0417164301", "NL91", "", "Ä" * 20, "NL91-ABNA-0417"])
def test_an_iban_with_a_slip_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        parse_iban(typed)


def test_an_epc_code_holds_name_account_amount_and_words_in_their_lines() -> None:
    code = epc_code("Ann\nEvil", "NL91ABNA0417164300", 205, "passby 5c77\nX")
    assert code is not None
    assert code.split("\n") == [
        "BCD", "002", "1", "SCT", "", "Ann Evil", "NL91ABNA0417164300", "EUR2.05", "", "",
        "passby 5c77 X",
    ]  # fmt: skip
    assert epc_code("Ann", "NL91ABNA0417164300", 0, "") is None
