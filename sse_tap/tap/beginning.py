"""How a connection begins at fidelity `wire`, in each mode that has it: the upstream is there first, as a
client's server is, and what it does before the client's first byte is passed on.
"""

from __future__ import annotations

from typing import cast

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.mode_specs import ReverseMode

type Commands = layer.CommandGenerator[None]

TLS_RECORD = b"\x16\x03"
"""The first bytes of a TLS handshake (RFC 8446, 5.1); mitmproxy knows it by three bytes."""

CONNECT = b"CONNECT "


class Beginning(layer.NextLayer):
    """Asks which layer is next as soon as that can be known, a closing included."""

    awaited, known_by = TLS_RECORD, 3  # what is waited for where it may have begun, and bytes that tell it

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.ConnectionClosed):
            yield from self._closed(event)
        elif self._too_short(event):
            self.events.append(event)
        else:
            yield from super()._handle_event(event)

    def _closed(self, event: events.ConnectionClosed) -> Commands:
        self.events.append(event)
        if self._heard() or self._may_be_plain():
            yield from self._ask()  # type: ignore[no-untyped-call]
        if self.layer is None:  # for one, there is no TLS yet in which anything could be passed on
            yield commands.CloseConnection(self.context.client)

    def _may_be_plain(self) -> bool:
        """Whether the upstream may be told of a closing before the client has said anything."""
        mode = self.context.client.proxy_mode
        return not isinstance(mode, ReverseMode) or mode.scheme in ("http", "tcp")

    def _too_short(self, event: events.Event) -> bool:
        """Whether what the client said may be the beginning of what is waited for."""
        if not isinstance(event, events.DataReceived) or event.connection is not self.context.client:
            return False
        heard = self._heard() + event.data
        return len(heard) < self.known_by and self.awaited.startswith(heard)

    def _heard(self) -> bytes:
        return cast(bytes, self.data_client())  # type: ignore[no-untyped-call]


class _OpensFirst(modes.DestinationKnown):
    """mitmproxy's step from a known destination to what comes next, with the upstream opened in between."""

    def finish_start(self) -> layer.CommandGenerator[str | None]:
        self.child_layer = Beginning(self.context)
        error = yield commands.OpenConnection(self.context.server)
        if not error:
            self._handle_event = self.child_layer.handle_event  # type: ignore[method-assign]
            yield from self.child_layer.handle_event(events.Start())
        else:
            self._handle_event = self.done  # type: ignore[method-assign]
        return cast(str | None, error)


class WireReverse(_OpensFirst, modes.ReverseProxy):
    """mitmproxy's `reverse:` mode."""


class WireTransparent(_OpensFirst, modes.TransparentProxy):
    """mitmproxy's `transparent` mode, in which the machine's firewall says where a client wanted to go."""


class WireSocks(_OpensFirst, modes.Socks5Proxy):
    """mitmproxy's `socks5` mode: what the client asks for is opened before it is told so."""


class _FirstRequest(Beginning):
    awaited, known_by = CONNECT, len(CONNECT)

    def _may_be_plain(self) -> bool:
        return False  # there is no upstream yet


class _AsksFirst(layer.Layer):
    """A first request that is told by more than its first byte."""

    def _handle_event(self, event: events.Event) -> Commands:
        child = _FirstRequest(self.context)
        self._handle_event = child.handle_event  # type: ignore[method-assign]
        yield from child.handle_event(event)


class WireForward(_AsksFirst, modes.HttpProxy):
    """mitmproxy's `regular` mode."""


class WireUpstream(_AsksFirst, modes.HttpUpstreamProxy):
    """mitmproxy's `upstream:` mode: a forward proxy that asks another one."""
