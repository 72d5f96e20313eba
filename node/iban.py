"""Bank accounts: an IBAN checked by its own digits, and the QR code that banks' apps read."""

from __future__ import annotations

from passby.protocol.errors import UsageError

_CENTS_MAX = 99_999_999_999
"""The European Payments Council's code holds up to 999,999,999.99 euros."""


def parse_iban(text: str) -> str:
    """Return an IBAN without blanks.

    Raises:
        UsageError: its check digits (ISO 13616, modulo 97) do not fit.
    """
    plain = "".join(text.split()).upper()
    fits = plain.isascii() and plain.isalnum() and 15 <= len(plain) <= 34
    if not fits or int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 != 1:
        raise UsageError(
            f"{text!r} is no IBAN: its digits do not add up.", "Type it as it is on your card."
        )
    return plain


def epc_code(name: str, iban: str, cents: int, words: str) -> str | None:
    """Return the text of a credit transfer's QR code (EPC069-12, version 002).

    Args:
        name: the payee's, of which 70 characters are used.
        iban: the payee's account.
        cents: euro cents.
        words: what the payment is for, of which 140 characters are used.

    Returns:
        None where the amount is none that the code can hold.
    """
    if not 1 <= cents <= _CENTS_MAX:
        return None
    amount = f"EUR{cents // 100}.{cents % 100:02}"
    plain = [" ".join(part.split()) for part in (name[:70], words[:140])]
    lines = ["BCD", "002", "1", "SCT", "", plain[0], iban, amount, "", "", plain[1]]
    return "\n".join(lines)
