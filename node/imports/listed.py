"""A draft as the local API takes it: what goes over the socket instead of the payload."""

from __future__ import annotations

from typing import Any

from passby.geo.cells import cell_text, parse_place
from passby.node.imports.draft import Draft
from passby.protocol.payloads import Offer


def lot_of(draft: Draft) -> dict[str, Any]:
    """Return a draft as the local API takes it.

    Raises:
        UsageError: a place that is neither a point nor a cell.
    """
    payload = draft.payload
    lot: dict[str, Any] = {
        "side": "offer" if isinstance(payload, Offer) else "request",
        "name": payload.name,
        "category": payload.category,
        "unit": payload.unit.value,
        "amount": draft.amount,
        "price": {
            "minor": payload.price.minor,
            "per_amount": payload.price.per_amount,
            "currency": payload.price.currency,
        },
        # Where none is named, it is a step.
        "minimum": payload.minimum if payload.minimum > 1 else None,
        "until_ms": draft.until_ms,
        "gtin": payload.gtin,
        "brand": payload.brand,
        "condition": payload.condition and payload.condition.value,
        "radius_m": payload.radius_m,
        "text": payload.text,
    }
    if payload.window:
        lot["window"] = {
            "from_ms": payload.window.from_ms,
            "until_ms": payload.window.until_ms,
        }
    if isinstance(payload, Offer):
        lot |= {
            "step": payload.step,
            "best_before_ms": payload.best_before_ms,
            "pay": list(payload.pay) or None,
        }
    else:
        lot |= {"needed_until_ms": payload.needed_until_ms, "margin_s": payload.margin_s or None}
    if draft.at is not None:
        lot |= {"lat": draft.at.lat, "lon": draft.at.lon}
    elif draft.place is not None:
        lot["cell"] = cell_text(parse_place(draft.place))
    return {key: value for key, value in lot.items() if value is not None}
