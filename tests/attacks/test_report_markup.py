"""Names and words of peers, shown in an audit's page: they stay words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.authors import NOW_MS, SALT, Author, named
from tests.node.test_report import Outline, hold

from passby.ledger.audit import audit
from passby.ledger.findings import Finding, Severity
from passby.ledger.store_memory import MemoryStore
from passby.node.report.markup import Markup, join, tag
from passby.node.report.page import page
from passby.node.report.traces import trace_store
from passby.protocol.keys import Certificate, SigningKey, certificate_commitment
from passby.protocol.payloads import Genesis, Offer, encode_payload
from passby.protocol.price import Price
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

HOSTILE = [
    "<script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "--></style><style>*{display:none}</style>",
    "]]><![CDATA[<script>",
    "&lt;script&gt;&#60;b&#62;",
    "javascript:alert(1)//",
    "\u202egnp.exe",
    "a\u2028b\u0085c",
]


def ledger(name: str) -> MemoryStore:
    """A chain whose author, and whose lot, are named `name`."""
    author, root = Author("hostile"), SigningKey(named("root"))
    certificate = Certificate.issue(root, author.public, NOW_MS).raw
    fact = certificate_commitment(SALT, certificate)
    author.say(EntryType.GENESIS, encode_payload(Genesis(name, certificate, SALT)), facts=(fact,))
    author.offer(
        3,
        payload=encode_payload(
            Offer(
                name=name,
                category="c",
                unit=Unit.PIECE,
                price=Price(0, 1, "EUR"),
                cell=0x881969C9B5FFFFF,
            )
        ),
    )
    store = MemoryStore()
    hold(store, author.records)
    return store


def shown(name: str) -> str:
    store = ledger(name)
    report = audit(store, NOW_MS)
    (author,) = report.authors
    # Texts of findings are our own, and yet treated as anybody's.
    report.add(Finding(Severity.PROVEN, name, author, (2,)))
    return page(report, trace_store(store, report), about=name, now_ms=NOW_MS)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_cannot_smuggle_markup_into_the_report(name: str) -> None:
    harmless, text = Outline(shown("harmless")), shown(name)
    outline = Outline(text)
    assert outline.tags == harmless.tags
    assert outline.ids == harmless.ids
    assert "<script" not in text
    assert not {"\u202e", "\u2028", "\u0085"} & set(text)


@given(st.text(min_size=1, max_size=40))
def test_no_text_becomes_markup(text: str) -> None:
    for made in (tag("p", text), tag("p", class_=text), join(text)):
        Outline(made)
        bare = made.replace("<p>", "").replace("</p>", "").replace('<p class="', "")
        assert "<" not in bare
        assert '"' not in bare.removesuffix('">')
    assert not isinstance(text, Markup)


def test_the_page_forbids_scripts_and_the_network_by_its_own_policy() -> None:
    text = shown("x")
    policy = "default-src &#x27;none&#x27;; style-src &#x27;unsafe-inline&#x27;"
    assert f'http-equiv="Content-Security-Policy" content="{policy}' in text
    assert text.index("Content-Security-Policy") < text.index("<title>")
