"""The mitmproxy addon: options in, hooks to the recorder, a summary at the end.

Loaded by `mitmdump -s sse_tap` (and mitmproxy, mitmweb), by `addons/sse_tap.py` and by
`sse-tap record`. Which fidelity a connection gets is decided here (`docs/transparency.md`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mitmproxy import command, connection, ctx, http, options, tls
from mitmproxy.addonmanager import Loader
from mitmproxy.hooks import UpdateHook
from mitmproxy.log import ALERT
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import layer, mode_specs, server_hooks
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.tls import ServerTLSLayer
from mitmproxy.proxy.tunnel import LayerStack
from mitmproxy.version import VERSION as MITMPROXY_VERSION
from OpenSSL import SSL

from sse_tap import __version__
from sse_tap.recording.descriptors import raise_limit
from sse_tap.recording.desk import PROCESS_KEY, Listener, Seams, Tap
from sse_tap.recording.local import LocalRecorder
from sse_tap.recording.remote import RemoteRecorder
from sse_tap.recording.settings import Settings
from sse_tap.recording.verdict_lines import Line
from sse_tap.tap.beginning import (
    CONNECT,
    WireForward,
    WireReverse,
    WireSocks,
    WireTransparent,
    WireUpstream,
)
from sse_tap.tap.connect import Connect, Opened
from sse_tap.tap.crashes import CrashWatch
from sse_tap.tap.filters import matcher
from sse_tap.tap.flowneeds import needs_bodies, needs_flows, stores_flows
from sse_tap.tap.hostheader import HostRewriter, authority, names_a_host, same_host
from sse_tap.tap.httpfacts import FlowRecord
from sse_tap.tap.layer import WireClientTLS, WireLayer, WireServerTLS
from sse_tap.tap.printing import never_wait_for_output, say_no_more
from sse_tap.tap.reads import Reads
from sse_tap.tap.refusal import refusing
from sse_tap.tap.settings import (
    check,
    declare,
    parse_filter,
    parse_hash_key,
    parse_names,
    parse_redact,
    parse_types,
    parse_watch,
)
from sse_tap.tap.sockets import wait_in_line
from sse_tap.tap.spec import TapSpec
from sse_tap.tap.stamps import keep_stamping
from sse_tap.trace.records import media_type
from sse_tap.util.text import plural, size, visible

logger = logging.getLogger("sse_tap")

WIRE_SCHEMES = ("http", "https", "tcp", "tls")
WIRE_MODES = (
    mode_specs.RegularMode,
    mode_specs.UpstreamMode,
    mode_specs.Socks5Mode,
    mode_specs.TransparentMode,
)
"""Those besides `reverse:` that can have fidelity `wire`."""

WIRE_BEGINNINGS: dict[type[layer.Layer], type[layer.Layer]] = {
    modes.ReverseProxy: WireReverse,
    modes.TransparentProxy: WireTransparent,
    modes.Socks5Proxy: WireSocks,
    modes.HttpProxy: WireForward,
    modes.HttpUpstreamProxy: WireUpstream,
}
"""Our layers for the modes that have fidelity `wire`, by mitmproxy's."""

IDLE_TIMEOUT = 24 * 3600
"""Seconds of silence after which a connection is given up, in place of mitmproxy's 600."""

_BEAT = 0.02  # seconds between two looks at the event loop's lateness
_LATE = 0.005  # seconds of lateness that are worth a `lag` record


class KeepingHost:
    """mitmproxy's options for the connections of a tap that keeps the Host; all else is as it was set."""

    keep_host_header = True

    def __init__(self, options: Any) -> None:
        self._options = options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._options, name)


class SSETap:
    """mitmproxy addon that records streams.

    `specs` (by mitmproxy mode) are the taps of `sse-tap record`; `listeners` hear of every recorded
    stream's facts, on the observer thread. `seams` is for tests that break the recorder.
    """

    name = "sse_tap"

    def __init__(
        self,
        *,
        specs: Mapping[str, TapSpec] | None = None,
        listeners: Sequence[Listener] = (),
        seams: Seams | None = None,
    ) -> None:
        self._specs = dict(specs or {})
        self._listeners = listeners
        self._seams = seams
        self._recorder: LocalRecorder | RemoteRecorder | None = None
        self._taps: dict[tuple[str, str], Tap] = {}
        self._reached: set[str] = set()  # names of the taps that a client has connected to
        self._outages: set[tuple[str, str, str]] = set()  # tap, upstream, what it cannot be
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heart: asyncio.TimerHandle | None = None
        self._names: dict[int, str] = {}
        self._records: dict[str, FlowRecord] = {}
        self._over: deque[FlowRecord] = deque(maxlen=200)  # flows that wait for their verdict
        self._told: set[str] = set()  # choices that were said
        self._crashes: CrashWatch | None = None

    # set-up

    def load(self, loader: Loader) -> None:
        declare(loader)
        never_wait_for_output(ctx.master)

    def configure(self, updated: set[str]) -> None:
        with refusing():
            check(ctx.options, updated)
            if "sse_tap_names" in updated:
                self._names = parse_names(ctx.options.sse_tap_names)
            if "sse_tap_filter" in updated:
                parse_filter(ctx.options.sse_tap_filter)
        self._update_recorder(updated)

    def _update_recorder(self, updated: set[str]) -> None:
        """Options changed while running act on what begins from now on."""
        if self._recorder and not updated.isdisjoint(("sse_tap_dir", "sse_tap_filter")):
            folder = Path(ctx.options.sse_tap_dir).expanduser().absolute()
            self._recorder.change(str(folder), ctx.options.sse_tap_filter)

    def running(self) -> None:
        if self._loop:
            return  # the first client was faster
        self._loop = asyncio.get_running_loop()
        self._lift_limits()
        raise_limit()
        keep_stamping()
        wait_in_line(getattr(ctx.master.addons.get("proxyserver"), "servers", ()))
        if ctx.master.addons.get(UpstreamFirst.name) is None:
            ctx.master.addons.add(UpstreamFirst())
        self._start_recorder()
        self._crashes = CrashWatch(self._crashed)
        self._heart = self._loop.call_later(_BEAT, self._beat, self._loop.time() + _BEAT)

    def _lift_limits(self) -> None:
        """Defaults of mitmproxy that would make a tap visible; what the user has set stays."""
        lifted: dict[str, object] = {
            "tcp_timeout": IDLE_TIMEOUT,
            "keep_alt_svc_header": True,
            "connection_strategy": "lazy",  # for fidelity http; WireReverse does not ask
        }
        changes = {
            name: value
            for name, value in lifted.items()
            if name in ctx.options and not ctx.options.has_changed(name)
        }
        ctx.options.update(**changes)

    def _start_recorder(self) -> None:
        assert self._loop
        settings = settings_of(ctx.options)
        if not (self._seams or self._listeners):
            try:
                self._recorder = RemoteRecorder(settings, self._report, self._show_verdict, self._loop)
                return
            except (OSError, NotImplementedError) as error:
                self._report(f"the recorder has no process of its own and may delay the streams: {error}")
        self._recorder = LocalRecorder(
            settings,
            self._report,
            self._show_verdict,
            self._loop,
            matcher,
            more=self._listeners,
            broken=self._seams,
        )

    def _report(self, text: str) -> None:
        """Log from any thread: mitmproxy's log handlers expect the event loop's."""
        loop = self._loop
        if loop and not loop.is_closed():
            loop.call_soon_threadsafe(logger.warning, f"sse-tap: {text}")

    def done(self) -> None:
        if self._heart:
            self._heart.cancel()
        if self._crashes:
            self._crashes.close()
        if helper := ctx.master.addons.get(UpstreamFirst.name):
            ctx.master.addons.remove(helper)
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        if not recorder.close():
            logger.warning(f"sse-tap: {_unfinished(recorder)}")
        for line in self._summaries():
            logger.log(ALERT, line)
        if ctx.master.should_exit.is_set():
            say_no_more()

    # verdict lines, and the flows they are about

    def _show_verdict(self, line: Line) -> None:
        logger.log(logging.WARNING if line.flagged else ALERT, f"sse-tap: {line.text}")
        for seen in [seen for seen in self._over if seen.path in line.paths]:
            self._over.remove(seen)
            seen.flow.marked = ":red_circle:" if line.flagged else ":white_check_mark:"
            seen.flow.comment = line.text
            ctx.master.addons.trigger(UpdateHook([seen.flow]))

    # the tap's own lateness

    def _beat(self, due: float) -> None:
        assert self._loop
        now = self._loop.time()
        if self._recorder:
            late = round((now - due) * 1e9) if now - due > _LATE else 0
            self._recorder.beat(time.monotonic_ns(), late)
        self._heart = self._loop.call_later(_BEAT, self._beat, now + _BEAT)

    # fidelity `wire`

    def client_connected(self, client: connection.Client) -> None:
        """Put our first layer in the place of mitmproxy's; where that has changed shape, it may stay.

        mitmproxy listens a moment before it says `running`; what comes in that moment is recorded too.
        """
        self.running()
        self._reached.add(self._name(client))
        handler = cast(Any, ctx.master.addons.get("proxyserver")).connections.get(client.id)
        top = getattr(handler, "layer", None)
        if top is not None and self._keeps_host(client):
            top.context.options = KeepingHost(top.context.options)
        if self._recorder is None or not self._can_wire(client.proxy_mode):
            return
        ours = None if top is None else WIRE_BEGINNINGS.get(type(top))
        if top is not None and ours and top.context.layers == [top]:
            top.context.layers.clear()
            handler.layer = ours(top.context)

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        client = nextlayer.context.client
        if nextlayer.layer or self._recorder is None or client.transport_protocol != "tcp":
            return
        if not self._can_wire(client.proxy_mode) or _is_ignored(nextlayer):
            return
        layers = nextlayer.context.layers
        match layers:
            case (
                [modes.ReverseProxy() | WireTransparent() | WireSocks()]
                | [WireForward(), Connect()]
                | [WireUpstream(), Connect(), *_, Opened()]
            ):
                nextlayer.layer = self._first_layers(nextlayer)
            case [WireForward() | WireUpstream()] if nextlayer.data_client().startswith(CONNECT):
                nextlayer.layer = Connect(nextlayer.context)
            case _ if any(isinstance(each, WireClientTLS) for each in layers):
                if not self._needs_http(nextlayer.context):
                    nextlayer.layer = self._wire(nextlayer.context)

    def _keeps_host(self, client: connection.Client) -> bool:
        """Whether the Host passes as the client sent it: by mitmproxy's option, or for this tap."""
        spec = self._specs.get(client.proxy_mode.full_spec)
        return bool(ctx.options.keep_host_header or (spec and spec.keep_host))

    def _first_layers(self, nextlayer: layer.NextLayer) -> layer.Layer:
        """mitmproxy's TLS where either side has it, and at the end of the stack the wire layer.

        With TLS towards the client the end is decided after the handshake (`next_layer` is asked
        again), because only then SNI and ALPN are known. A forward proxy's client has TLS with its server.
        """
        context = nextlayer.context
        mode = context.client.proxy_mode
        client_tls = starts_like_tls_record(nextlayer.data_client())
        stack = LayerStack()
        if mode.scheme in ("https", "tls") if isinstance(mode, mode_specs.ReverseMode) else client_tls:
            stack /= WireServerTLS(context)
        if client_tls:
            stack /= WireClientTLS(context)
        else:
            stack /= self._wire(context)
        return stack[0]

    def _wire(self, context: Context) -> WireLayer:
        assert self._recorder
        scheme = "https" if context.client.tls else "http"
        protocol = "h2" if context.client.alpn == b"h2" else ""
        record = self._recorder.connection(self._tap(context.client, "wire"), scheme, protocol)
        return WireLayer(context, record, Reads().number, self._rewriter(context, protocol))

    def _rewriter(self, context: Context, protocol: str) -> HostRewriter | None:
        """What changes the heads of HTTP/1 requests, where they are to be changed."""
        inject = traceparent_line if ctx.options.sse_tap_inject else None
        named = self._host_to_tell(context.client)
        if protocol == "h2" or not (named or inject):
            return None
        mode = context.client.proxy_mode
        if isinstance(mode, mode_specs.ReverseMode):
            return HostRewriter(named, authority(*mode.address, mode.scheme), inject)
        return HostRewriter("", "", inject)

    def _host_to_tell(self, client: connection.Client) -> str:
        """The upstream's name where clients of this tap address it by another; "" for no such name."""
        mode = client.proxy_mode
        if not isinstance(mode, mode_specs.ReverseMode) or self._keeps_host(client):
            return ""
        host: str = mode.address[0]
        return host if names_a_host(host) else ""

    def _needs_http(self, context: Context) -> bool:
        """HTTP/2's :authority cannot be rewritten on the wire (it is compressed): mitmproxy must. A forward
        proxy's client gets mitmproxy's page where the upstream has failed the handshake.
        """
        client, server = context.client, context.server
        forward = not isinstance(client.proxy_mode, mode_specs.ReverseMode)
        if forward and server.tls and not server.tls_established:
            return True
        if client.alpn != b"h2":
            return False
        named = self._host_to_tell(client)
        return bool(ctx.options.sse_tap_inject or (named and not same_host(client.sni or "", named)))

    def _can_wire(self, mode: mode_specs.ProxyMode) -> bool:
        fidelity = ctx.options.sse_tap_fidelity
        if isinstance(mode, mode_specs.ReverseMode):
            possible = mode.scheme in WIRE_SCHEMES
        else:
            possible = isinstance(mode, WIRE_MODES)
        if not possible or fidelity == "http":
            return False
        return fidelity == "wire" or not (_shows_flows() or self._flows_needed())

    def _flows_needed(self) -> bool:
        """Whether the user asked for something that only mitmproxy's HTTP layer can do; says so, once."""
        what = needs_flows(ctx.master)
        if what:
            self._tell(
                f"fidelity http, as {what} needs flows (for untouched bytes: --set sse_tap_fidelity=wire)"
            )
        return bool(what)

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.log(ALERT, f"sse-tap: {text}")

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        context = data.context
        client, server = context.client, context.server
        if not isinstance(client.proxy_mode, mode_specs.ReverseMode):
            return
        if any(isinstance(item, ServerTLSLayer) for item in context.layers):
            named = server.address is not None and names_a_host(server.address[0])
            if client.sni and server.address and (not named or self._keeps_host(client)):
                server.sni = client.sni  # an address names no virtual host: only the client can
        elif b"http/1.1" in (client.alpn_offers or ()):
            client.alpn = b"http/1.1"  # a plain upstream speaks no HTTP/2 that was negotiated

    def tls_start_server(self, data: tls.TlsData) -> None:
        """A tap with `--insecure` takes any certificate; all others are left to mitmproxy."""
        spec = self._specs.get(data.context.client.proxy_mode.full_spec)
        if spec and spec.insecure and data.ssl_conn is None:
            ctx.master.addons.get("tlsconfig").tls_start_server(data)
            if data.ssl_conn is not None:
                data.ssl_conn.set_verify(SSL.VERIFY_NONE)

    # which tap

    def _tap(self, client: connection.Client, fidelity: str) -> Tap:
        name = self._name(client)
        if (name, fidelity) not in self._taps:
            mode = client.proxy_mode
            host = mode.listen_host(ctx.options.listen_host) or client.sockname[0]
            port = self._listening_on(client)
            self._taps[name, fidelity] = Tap(
                name, f"{host}:{port}", mode.full_spec.split("@", 1)[0], fidelity
            )
        return self._taps[name, fidelity]

    def _name(self, client: connection.Client) -> str:
        spec = self._specs.get(client.proxy_mode.full_spec)
        port = self._listening_on(client)
        return spec.name if spec else self._names.get(port, f"tap-{port}")

    # upstreams

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Let one tap relay to another of the same process; mitmproxy takes that for a loop."""
        port = self._listening_on(data.client)
        to_itself = data.server.address and data.server.address[1] == port
        if (data.server.error or "").startswith("Request destination unknown") and not to_itself:
            data.server.error = None

    @staticmethod
    def _listening_on(client: connection.Client) -> int:
        return client.proxy_mode.listen_port(ctx.options.listen_port) or client.sockname[1]

    # dead upstreams: said once per outage

    def server_connect_error(self, data: server_hooks.ServerConnectionHookData) -> None:
        reason = data.server.error or "no reason given"
        self._failing(data.client, data.server, "reached", f"cannot be reached: {reason}")

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        self._working(data.client, data.server, "reached")

    def tls_failed_server(self, data: tls.TlsData) -> None:
        server = cast(connection.Server, data.conn)
        text = f"failed the TLS handshake: {server.error}"
        if "certificate verify failed" in text.lower():
            spec = self._specs.get(data.context.client.proxy_mode.full_spec)
            any_of_them = spec.to_trust_any if spec else "--set ssl_insecure=true"
            text += f" ({any_of_them}, or --set ssl_verify_upstream_trusted_ca=CA.pem)"
        self._failing(data.context.client, server, "trusted", text)

    def tls_established_server(self, data: tls.TlsData) -> None:
        self._working(data.context.client, cast(connection.Server, data.conn), "trusted")

    def _failing(self, client: connection.Client, server: connection.Server, how: str, text: str) -> None:
        outage = (self._name(client), _address(server), how)
        if outage not in self._outages:
            self._outages.add(outage)
            # No error: one that is logged while mitmproxy starts ends the program, and this may pass.
            logger.warning(f"sse-tap: {outage[0]}: upstream {outage[1]} {text}")

    def _working(self, client: connection.Client, server: connection.Server, how: str) -> None:
        outage = (self._name(client), _address(server), how)
        if outage in self._outages:
            self._outages.discard(outage)
            logger.log(ALERT, f"sse-tap: {outage[0]}: upstream {outage[1]} can be {how} again")

    # fidelity `http`

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if self._recorder is None or flow.is_replay:
            return
        if ctx.options.sse_tap_inject and "traceparent" not in flow.request.headers:
            flow.request.headers["traceparent"] = traceparent()
        record = self._recorder.exchange(self._tap(flow.client_conn, "http"))
        seen = FlowRecord(flow, record, Reads())
        self._records[flow.id] = seen
        flow.request.stream = seen.request_piece

    def request(self, flow: http.HTTPFlow) -> None:
        t = time.monotonic_ns()
        if seen := self._records.get(flow.id):
            seen.request_done(t)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        t = time.monotonic_ns()
        seen = self._records.get(flow.id)
        if seen is None or flow.response is None or self._recorder is None:
            return
        kind = media_type(flow.response.headers.get("content-type"))
        unsaid = kind in ("", "text/plain") and "content-length" not in flow.response.headers
        recorded = kind in self._recorder.types or unsaid or seen.asks_for_stream()
        if recorded or not self._bodies_needed():
            flow.response.stream = seen.response_piece
            seen.keeps_all = not recorded and stores_flows()
        seen.response_head(t, flow.response)

    def response(self, flow: http.HTTPFlow) -> None:
        t = time.monotonic_ns()
        if seen := self._records.pop(flow.id, None):
            seen.completed(t)
            self._over.append(seen)

    def error(self, flow: http.HTTPFlow) -> None:
        t = time.monotonic_ns()
        if seen := self._records.pop(flow.id, None):
            seen.failed(t, flow.error.msg if flow.error else "")
            seen.completed(t)
            self._over.append(seen)

    def _crashed(self, client: connection.Address, why: str) -> None:
        """mitmproxy could not go on with a client's connection: its streams are broken by this tap."""
        t = time.monotonic_ns()
        for seen in [each for each in self._records.values() if each.flow.client_conn.peername == client]:
            seen.broken(t, why)

    def _bodies_needed(self) -> bool:
        """Whether responses that are not recorded are held back until they are whole; says so, once."""
        what = needs_bodies(ctx.master)
        if what:
            self._tell(f"answers that are not recorded are held back until they are whole: {what} needs that")
        return bool(what)

    @command.command("sse_tap.summary")
    def summary_command(self) -> str:
        """Say what was recorded so far."""
        return "\n".join(self._summaries()) or "nothing was seen yet"

    def _summaries(self) -> list[str]:
        """A line for each name: a tap that served both fidelities is one tap to its user."""
        names = dict.fromkeys(name for name, _ in self._taps)
        lines = [summary(*(tap for (of, _), tap in self._taps.items() if of == name)) for name in names]
        missing = [spec.name for spec in self._specs.values() if spec.name not in names]
        return lines + [f"sse-tap: {self._why_nothing(name)}" for name in missing]

    def _why_nothing(self, name: str) -> str:
        """Why a tap has nothing to show."""
        if name in self._reached:
            return f"{name}: connections came, and none of them got through to its upstream"
        return f"no connection came to {name}: is anything pointed at it?"


def settings_of(given: options.Options) -> Settings:
    """What the recorder is to know of mitmproxy's options."""
    names, bodies = parse_redact(given.sse_tap_redact)
    return Settings(
        directory=str(Path(given.sse_tap_dir).expanduser().absolute()),
        types=tuple(parse_types(given.sse_tap_types)),
        filter=given.sse_tap_filter,
        redact=names.pattern if names else "",
        alarm=given.sse_tap_alarm,
        bound=given.sse_tap_queue << 20,
        versions={"sse_tap": __version__, "mitmproxy": MITMPROXY_VERSION},
        bodies=bodies,
        hash_key=(parse_hash_key(given.sse_tap_hash_key) or PROCESS_KEY).hex(),
        max_disk=given.sse_tap_max_disk,
        max_age=given.sse_tap_max_age,
        roll=given.sse_tap_roll << 20,
        compress=given.sse_tap_compress,
        watch=tuple(parse_watch(given.sse_tap_watch)),
    )


def traceparent() -> str:
    """A new trace's `traceparent`, sampled (W3C Trace Context, 3.2)."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def traceparent_line() -> bytes:
    """The same as a line of an HTTP/1 head."""
    return f"traceparent: {traceparent()}\r\n".encode()


class UpstreamFirst:
    """Comes after mitmproxy's own addon for TLS, to have its last word: the upstream's handshake is done
    before the client's, so that a client is offered the protocol that its upstream speaks. mitmproxy
    does so with eager connections alone, which make a bare close of a dead upstream.
    """

    name = "sse_tap_upstream_first"

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        if any(isinstance(item, ServerTLSLayer) for item in data.context.layers):
            data.establish_server_tls_first = True


def summary(*taps: Tap) -> str:
    """One line about the taps of one name: streams, chunks seen, recorded, lost."""
    streams, chunks = sum(tap.streams for tap in taps), sum(tap.chunks for tap in taps)
    recorded, unobserved = sum(tap.recorded for tap in taps), sum(tap.unobserved for tap in taps)
    text = (
        f"sse-tap: {taps[0].name}: {plural(streams, 'stream')}, {chunks} chunks seen, "
        f"{recorded} recorded, {chunks - recorded} lost"
    )
    text += f"; {unobserved} could not be followed to the end" if unobserved else ""
    unread = sum(tap.unread for tap in taps)
    text += f"; {size(unread)} passed that were not looked at any more" if unread else ""
    return text + _unrecorded(sum((tap.unrecorded for tap in taps), Counter()))


def _unfinished(recorder: LocalRecorder | RemoteRecorder) -> str:
    """What the recorder did not get done before the tap ended, and why."""
    if recorder.unread:
        return f"the recorder did not look at the last {size(recorder.unread)} in time; they are not recorded"
    return "the disk did not take the rest of the record in time; it is lost"


def _unrecorded(passed: Counter[str]) -> str:
    """Answers that may have been streams, and how to record them."""
    if not passed:
        return ""
    kind, count = passed.most_common(1)[0]
    named = visible(kind) or "no type"
    how = f" (to record them: --set sse_tap_types={named})" if kind else ""
    return f"; {plural(sum(passed.values()), 'answer')} of other types passed, {count} of {named}{how}"


def _shows_flows() -> bool:
    """Whether this is one of mitmproxy's interactive programs, whose point is to show flows."""
    return any(kind.__name__ in ("ConsoleMaster", "WebMaster") for kind in type(ctx.master).__mro__)


def _is_ignored(nextlayer: layer.NextLayer) -> bool:
    """Connections that the user told mitmproxy to leave alone."""
    return bool(ctx.options.ignore_hosts or ctx.options.allow_hosts) and _mitmproxy_ignores(nextlayer)


def _mitmproxy_ignores(nextlayer: layer.NextLayer) -> bool:
    addon = cast(Any, ctx.master.addons.get("nextlayer"))
    try:
        return bool(
            addon._ignore_connection(nextlayer.context, nextlayer.data_client(), nextlayer.data_server())
        )
    except Exception:  # noqa: BLE001 - NeedsMoreData, or mitmproxy changed: leave it to mitmproxy
        return True


def _address(server: connection.Server) -> str:
    return ":".join(map(str, server.address[:2])) if server.address else "(unknown)"
