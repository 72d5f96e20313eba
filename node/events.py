"""The event stream: what happens here, for whoever listens; slow listeners are cut off."""

from __future__ import annotations

from typing import Any

import trio

from passby.protocol.errors import RefusedError
from passby.protocol.limits import EVENT_READERS_MAX, EVENTS_WAITING_MAX

Event = dict[str, Any]


class Events:
    """Hands each event to every listener, and waits for none."""

    def __init__(self) -> None:
        self._listeners: set[trio.MemorySendChannel[Event]] = set()

    def tell(self, event: Event) -> None:
        """Give `event` to all who listen now."""
        for listener in list(self._listeners):
            try:
                listener.send_nowait(event)
            except trio.WouldBlock:
                listener.close()
                self._listeners.discard(listener)
            except trio.BrokenResourceError:
                self._listeners.discard(listener)

    def listen(self) -> trio.MemoryReceiveChannel[Event]:
        """Listen until the channel is closed; it ends early for a listener that lags.

        Raises:
            RefusedError: too many listen already.
        """
        # Who has closed its end is noticed when there is something to tell, or here.
        self._listeners = {
            each for each in self._listeners if each.statistics().open_receive_channels
        }
        if len(self._listeners) >= EVENT_READERS_MAX:
            raise RefusedError(
                "Too many programs follow the events already.", "Stop one of them, and try again."
            )
        send, receive = trio.open_memory_channel[Event](EVENTS_WAITING_MAX)
        self._listeners.add(send)
        return receive
