"""Routes of the local API. Errors answer with the words that the command line shows."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from passby.geo.lots import Side
from passby.node.api.service import Service
from passby.node.rides import Latitude, Longitude, Ride
from passby.protocol.errors import Exit, LocalError, UsageError
from passby.protocol.limits import (
    API_BODY_MAX,
    API_LIST_MAX,
    LOTS_PER_PROPOSE_MAX,
    QUOTE_FOR_S,
    TRIPS_MAX,
)
from passby.protocol.units import Unit

_encode = msgspec.json.Encoder().encode
log = logging.getLogger(__name__)
Handler = Callable[[Request], Awaitable[Response]]
T = TypeVar("T")

_STATUS = {Exit.USAGE: 400, Exit.REFUSED: 409, Exit.BAD_CONFIG: 409}


def make_app(service: Service) -> Starlette:
    """Return the application that answers for `service`."""
    routes = [
        Route(path, _guarded(handler), methods=[method])
        for method, path, handler in _Handlers(service).table()
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _no_route})


def _no_route(request: Request, error: Exception) -> Response:
    """Answer what no route takes, in the shape of every other error."""
    shown = {
        "message": f"There is no {request.method} {request.url.path[:80]} here.",
        "hint": "The command and the daemon may be of different versions: restart the daemon.",
        "exit_code": int(Exit.USAGE),
    }
    return _json({"error": shown}, error.status_code if isinstance(error, HTTPException) else 404)


def _json(value: Any, status: int = 200) -> Response:
    return Response(_encode(value), status, media_type="application/json")


def _guarded(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except LocalError as error:
            shown = {
                "message": error.message,
                "hint": error.hint,
                "exit_code": int(error.exit_code),
            }
            return _json({"error": shown}, _STATUS.get(error.exit_code, 503))
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:  # logged whole, and answered
            # One request that trips over a bug of ours must not take the node with it.
            log.exception("%s %s", request.method, request.url.path)
            shown = {
                "message": "Something is wrong in passby itself.",
                "hint": "The daemon's log tells what; please report it.",
                "exit_code": int(Exit.FAILED),
            }
            return _json({"error": shown}, 500)

    return answer


async def _body(request: Request, kind: type[T]) -> T:
    """Return the request's JSON body as `kind`.

    Raises:
        UsageError: too large, not JSON, or not of this kind.
    """
    data = bytearray()
    async for chunk in request.stream():
        # Read to the end, or the sender would find a broken pipe instead of the reason.
        if len(data) <= API_BODY_MAX:
            data += chunk
    if len(data) > API_BODY_MAX:
        raise UsageError(f"A request may have {API_BODY_MAX} bytes.", "Send fewer at a time.")
    try:
        return msgspec.json.decode(bytes(data) or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The request cannot be read: {error}.") from None


class _Join(msgspec.Struct, forbid_unknown_fields=True):
    address: str


class _FollowBody(msgspec.Struct, forbid_unknown_fields=True):
    author: str
    follows: bool = True


class _VouchBody(msgspec.Struct, forbid_unknown_fields=True):
    author: str
    stands: bool = True


class _State(msgspec.Struct, forbid_unknown_fields=True):
    statement: str


class _Witness(msgspec.Struct, forbid_unknown_fields=True):
    on: bool


class _Prune(msgspec.Struct, forbid_unknown_fields=True):
    keep_days: int | None = None
    dry_run: bool = False


class _Lots(msgspec.Struct, forbid_unknown_fields=True):
    lots: list[dict[str, Any]]
    source: Annotated[str, Meta(max_length=4096)] | None = None
    keys: list[Annotated[str, Meta(max_length=128)]] = []


class _Carrier(msgspec.Struct, forbid_unknown_fields=True):
    lot: str
    amount: int | None = None
    unit: Unit | None = None


class _ProposeBody(msgspec.Struct, forbid_unknown_fields=True):
    lot: str = ""
    amount: int | None = None
    unit: Unit | None = None
    request: str | None = None
    handover_until_ms: int | None = None
    respond_within_s: int | None = None
    text: str | None = None
    carriers: Annotated[list[_Carrier], Meta(max_length=LOTS_PER_PROPOSE_MAX)] = []
    quote: str | None = None
    backup: bool = False


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _QuoteBody(msgspec.Struct, forbid_unknown_fields=True):
    about: str
    lot: str
    total_minor: int
    amount: int | None = None
    valid_within_s: int = QUOTE_FOR_S
    text: str | None = None


class _BidBody(msgspec.Struct, forbid_unknown_fields=True):
    lot: str
    total_minor: int
    currency: str
    amount: int | None = None
    text: str | None = None


class _WishBody(msgspec.Struct, forbid_unknown_fields=True):
    lot: dict[str, Any]


class _ThingBody(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _Trips(msgspec.Struct, forbid_unknown_fields=True):
    trips: Annotated[list[list[tuple[Latitude, Longitude, int]]], Meta(max_length=TRIPS_MAX)]


class _StepBody(msgspec.Struct, forbid_unknown_fields=True):
    code: str | None = None
    amount: int | None = None
    amount_minor: int | None = None
    reason: str | None = None
    text: str | None = None
    stars: int | None = None


class _Handlers:
    def __init__(self, service: Service) -> None:
        self._service = service

    def table(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/healthz", self.healthz),
            ("GET", "/v1/status", self.status),
            ("GET", "/v1/id", self.identity),
            ("GET", "/v1/peers", self.peers),
            ("POST", "/v1/join", self.join),
            ("GET", "/v1/invite", self.invite),
            ("POST", "/v1/followed", self.follow),
            ("GET", "/v1/followed", self.followed),
            ("POST", "/v1/vouches", self.vouch),
            ("GET", "/v1/vouches", self.vouches),
            ("GET", "/v1/reputation", self.reputation),
            ("GET", "/v1/doctor", self.doctor),
            ("POST", "/v1/clock/accept", self.accept_clock),
            ("POST", "/v1/statements", self.state),
            ("POST", "/v1/lots", self.list_lots),
            ("POST", "/v1/lots/{id}/close", self.close),
            ("GET", "/v1/book", self.book),
            ("GET", "/v1/matches", self.matches),
            ("GET", "/v1/swaps", self.swaps),
            ("GET", "/v1/wishes", self.wishes),
            ("POST", "/v1/wishes", self.save_wish),
            ("POST", "/v1/wishes/{id}/drop", self.drop_wish),
            ("GET", "/v1/garage", self.garage),
            ("POST", "/v1/garage", self.add_thing),
            ("POST", "/v1/garage/{id}/drop", self.drop_thing),
            ("GET", "/v1/rides", self.rides),
            ("POST", "/v1/rides", self.add_ride),
            ("POST", "/v1/rides/{id}/stop", self.stop_ride),
            ("GET", "/v1/commutes", self.commutes),
            ("POST", "/v1/commutes", self.learn),
            ("GET", "/v1/quotes", self.quotes),
            ("POST", "/v1/quotes", self.quote),
            ("POST", "/v1/bids", self.bid),
            ("POST", "/v1/trades", self.propose),
            ("GET", "/v1/trades", self.trades),
            ("GET", "/v1/trades/{id}", self.trade),
            ("POST", "/v1/trades/{id}/{step}", self.step),
            ("GET", "/v1/witnesses", self.witnesses),
            ("POST", "/v1/witness", self.witness),
            ("GET", "/v1/ledger/heads", self.heads),
            ("GET", "/v1/ledger/log", self.log),
            ("GET", "/v1/ledger/entries/{id}", self.entry),
            ("POST", "/v1/ledger/entries/{id}/erase", self.erase),
            ("GET", "/v1/ledger/export", self.export),
            ("POST", "/v1/ledger/prune", self.prune),
            ("GET", "/v1/events", self.events),
            ("POST", "/v1/shutdown", self.shutdown),
        ]

    async def healthz(self, _request: Request) -> Response:
        return _json({"ok": True})

    async def status(self, _request: Request) -> Response:
        return _json(self._service.status())

    async def identity(self, _request: Request) -> Response:
        return _json(self._service.identity())

    async def peers(self, _request: Request) -> Response:
        return _json(self._service.peers())

    async def join(self, request: Request) -> Response:
        body = await _body(request, _Join)
        return _json(await self._service.people.join(body.address))

    async def invite(self, _request: Request) -> Response:
        return _json(self._service.people.invite())

    async def follow(self, request: Request) -> Response:
        body = await _body(request, _FollowBody)
        people = self._service.people
        return _json(people.follow(body.author) if body.follows else people.unfollow(body.author))

    async def followed(self, _request: Request) -> Response:
        return _json(self._service.people.followed())

    async def vouch(self, request: Request) -> Response:
        body = await _body(request, _VouchBody)
        return _json(await self._service.people.vouch(body.author, stands=body.stands))

    async def vouches(self, _request: Request) -> Response:
        return _json(self._service.people.vouches())

    async def reputation(self, request: Request) -> Response:
        return _json(self._service.people.reputation(request.query_params.get("author", "")))

    async def doctor(self, _request: Request) -> Response:
        return _json(self._service.doctor())

    async def accept_clock(self, _request: Request) -> Response:
        return _json(self._service.accept_clock())

    async def state(self, request: Request) -> Response:
        body = await _body(request, _State)
        return _json(await self._service.state(body.statement))

    async def list_lots(self, request: Request) -> Response:
        body = await _body(request, _Lots)
        if body.source is not None:
            results = await self._service.keep_lots(body.source, body.keys, body.lots)
            return _json({"results": results})
        return _json({"results": await self._service.list_lots(body.lots)})

    async def close(self, request: Request) -> Response:
        await _body(request, _Nothing)
        return _json(await self._service.close(request.path_params["id"]))

    async def book(self, request: Request) -> Response:
        query = request.query_params
        own = query.get("own")
        return _json(
            {
                "lots": self._service.book(
                    Side.REQUEST if query.get("side") == "request" else Side.OFFER,
                    category=query.get("category") or None,
                    text=query.get("text") or None,
                    gtin=query.get("gtin") or None,
                    own=None if own is None else own == "1",
                    radius_m=_whole(request, "radius_m", None),
                    limit=_limit(request, 50),
                )
            }
        )

    async def matches(self, request: Request) -> Response:
        lot = request.query_params.get("lot")
        return _json({"matches": self._service.matches(lot, _limit(request, 20))})

    async def swaps(self, request: Request) -> Response:
        return _json({"swaps": self._service.swaps(_limit(request, 20))})

    async def wishes(self, request: Request) -> Response:
        return _json(self._service.wants.wishes(_limit(request, 20)))

    async def save_wish(self, request: Request) -> Response:
        body = await _body(request, _WishBody)
        return _json(self._service.wants.save(body.lot, _limit(request, 20)))

    async def drop_wish(self, request: Request) -> Response:
        return _json(self._service.wants.drop(request.path_params["id"]))

    async def garage(self, _request: Request) -> Response:
        return _json(self._service.wants.garage())

    async def add_thing(self, request: Request) -> Response:
        return _json(self._service.wants.add((await _body(request, _ThingBody)).name))

    async def drop_thing(self, request: Request) -> Response:
        return _json(self._service.wants.remove(request.path_params["id"]))

    async def rides(self, request: Request) -> Response:
        return _json({"rides": self._service.rides(_limit(request, 20))})

    async def add_ride(self, request: Request) -> Response:
        return _json(self._service.add_ride(await _body(request, Ride)))

    async def stop_ride(self, request: Request) -> Response:
        return _json(self._service.stop_ride(request.path_params["id"]))

    async def commutes(self, _request: Request) -> Response:
        return _json({"commutes": self._service.commutes()})

    async def learn(self, request: Request) -> Response:
        body = await _body(request, _Trips)
        return _json({"commutes": self._service.learn(body.trips)})

    async def propose(self, request: Request) -> Response:
        body = await _body(request, _ProposeBody)
        return _json(
            await self._service.propose(
                body.lot,
                body.amount,
                unit=body.unit,
                request=body.request,
                handover_until_ms=body.handover_until_ms,
                respond_within_s=body.respond_within_s,
                text=body.text,
                carriers=[(each.lot, each.amount, each.unit) for each in body.carriers],
                quote=body.quote,
                backup=body.backup,
            )
        )

    async def quotes(self, _request: Request) -> Response:
        return _json(self._service.talking.quotes())

    async def quote(self, request: Request) -> Response:
        body = await _body(request, _QuoteBody)
        return _json(
            self._service.quote(
                body.about,
                body.lot,
                body.amount,
                body.total_minor,
                body.valid_within_s,
                body.text,
            )
        )

    async def bid(self, request: Request) -> Response:
        body = await _body(request, _BidBody)
        return _json(
            self._service.bid(body.lot, body.amount, body.total_minor, body.currency, body.text)
        )

    async def trades(self, request: Request) -> Response:
        only_open = request.query_params.get("state", "all") == "open"
        return _json({"trades": self._service.trades(only_open=only_open)})

    async def trade(self, request: Request) -> Response:
        return _json(self._service.trade(request.path_params["id"]))

    async def step(self, request: Request) -> Response:
        trade, step = request.path_params["id"], request.path_params["step"]
        body = await _body(request, _StepBody)
        match step:
            case "accept":
                return _json(await self._service.accept(trade))
            case "handover":
                return _json(await self._service.handover(trade, body.code or "", body.amount))
            case "return":
                return _json(await self._service.give_back(trade, body.code or ""))
            case "putback":
                return _json(await self._service.put_back(trade, body.amount))
            case "receive":
                return _json(await self._service.receive(trade, body.amount))
            case "paid":
                return _json(await self._service.paid(trade, body.amount_minor))
            case "check":
                return _json(await self._service.check(trade))
            case "rate":
                return _json(await self._service.rate(trade, body.stars or 0, body.text))
            case "queue":
                return _json(self._service.queue(trade))
            case "say":
                return _json(self._service.say(trade, body.text or ""))
            case "cancel":
                return _json(await self._service.cancel(trade, body.reason))
            case _:
                raise UsageError(
                    f"“{step}” is no step of a trade.",
                    "Steps: accept, handover, return, putback, receive, paid, check, say, cancel.",
                )

    async def witnesses(self, _request: Request) -> Response:
        return _json(await self._service.witnesses.show())

    async def witness(self, request: Request) -> Response:
        body = await _body(request, _Witness)
        return _json(self._service.witnesses.turn(on=body.on))

    async def prune(self, request: Request) -> Response:
        body = await _body(request, _Prune)
        return _json(await self._service.prune(body.keep_days, dry=body.dry_run))

    async def heads(self, _request: Request) -> Response:
        return _json({"heads": self._service.heads()})

    async def log(self, request: Request) -> Response:
        before = _whole(request, "before", None)
        author = request.query_params.get("author")
        return _json({"entries": self._service.log(author, before, _limit(request, 50))})

    async def entry(self, request: Request) -> Response:
        return _json(self._service.entry(request.path_params["id"]))

    async def erase(self, request: Request) -> Response:
        return _json(await self._service.erase(request.path_params["id"]))

    async def export(self, request: Request) -> Response:
        records = self._service.export(request.query_params.get("author"))

        async def lines() -> AsyncIterator[bytes]:
            async for record in records:
                yield _encode({"record": record.hex()}) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def events(self, _request: Request) -> Response:
        events = self._service.events()

        async def stream() -> AsyncIterator[bytes]:
            with events:
                yield b": passby\n\n"
                async for event in events:
                    yield b"data: " + _encode(event) + b"\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def shutdown(self, _request: Request) -> Response:
        self._service.shut_down()
        return _json({})


def _limit(request: Request, default: int) -> int:
    return max(1, min(_whole(request, "limit", None) or default, API_LIST_MAX))


def _whole(request: Request, name: str, default: int | None) -> int | None:
    text = request.query_params.get(name)
    if text is None or not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise UsageError(f"The {name} is a whole number, not “{text[:20]}”.")
    return int(text)
