"""The scenes: what the origin does × a real program's configuration × what the client does, and what is then
true of the hop.

`checks` hold what must have happened, by the origin's and the client's own clocks: a scene that did not
happen (a machine that stood still) proves nothing about the verdict, and is told apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.matrix.programs import HAPROXY
from tests.matrix.scene_truth import (
    Check,
    answered,
    by_the_hop,
    changed,
    ended,
    later_by_the_hop,
    nothing_came,
    passed_within,
    queued,
    same,
    told_late,
    told_never,
)

LIMIT = "2s"  # of the hops' idle timers
DEAD = "dead"  # instead of an act: nobody listens upstream


@dataclass(frozen=True)
class Expect:
    """What must be told of one stream: `findings` and `absent` by kind."""

    verdict: str
    signatures: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def blames(self) -> bool:
        """Whether the hop is at fault."""
        return self.verdict not in ("clean", "unblamed")


def clean(*findings: str, absent: tuple[str, ...] = ()) -> Expect:
    """A healthy hop."""
    return Expect("clean", (), findings, absent)


def blamed(verdict: str, *signatures: str, findings: tuple[str, ...] = ()) -> Expect:
    """A hop at fault."""
    return Expect(verdict, signatures, findings)


# Whatever verdict, or none where but one tap has a trace: nobody is at fault, and what came is told.
UNBLAMED = Expect("unblamed", (), ("no-stream",))


@dataclass(frozen=True)
class Scene:
    """One scene; `expect` is of each stream, the last of all that follow.

    `lines`, `around`: the program's. `patience`: s after which the client leaves. `crowd`: streams, `apart` s
    from each other; `shared`: on one connection, over HTTP/2. `strike`: a signal to the program, `at` s.
    """

    kind: str
    name: str
    program: str
    act: str
    expect: tuple[Expect, ...]
    checks: tuple[Check, ...]
    lines: str = ""
    around: str = ""
    patience: float = 15.0
    crowd: int = 1
    apart: float = 0.0
    shared: bool = False
    strike: str = ""
    at: float = 3.2

    def expected(self, number: int) -> Expect:
        """What must be told of the stream with that number."""
        return self.expect[min(number, len(self.expect) - 1)]


_11 = "proxy_http_version 1.1; proxy_buffering off; "
_NO_DELAY = HAPROXY + "    option http-no-delay\n"


def _haproxy(*options: str) -> str:
    return _NO_DELAY + "".join(f"    {option}\n" for option in options)


def _caddy(*options: str) -> str:
    inner = "\n".join(options)
    return f"reverse_proxy $upstream {{\n{inner}\n}}"


def _caddy_transport(option: str) -> str:
    return _caddy(f"transport http {{\n{option}\n}}")


def _route(**settings: str) -> str:
    return json.dumps({"route": {"route": {"timeout": "0s"} | settings}})


def _varnish(setting: str) -> str:
    return f"sub vcl_backend_fetch {{ set bereq.{setting}; }}\n"


type Maker = Callable[..., Scene]


def _of(kind: str, expect: Expect | tuple[Expect, ...], *checks: Check, **defaults: object) -> Maker:
    """A maker of scenes that have the same kind, truth and checks."""

    def scene(name: str, program: str, act: str, lines: str = "", **more: object) -> Scene:
        each = expect if isinstance(expect, tuple) else (expect,)
        given = {"expect": each, "checks": checks} | defaults | more
        return Scene(kind, name, program, act, lines=lines, **given)  # type: ignore[arg-type]

    return scene


# --- how it ended --------------------------------------------------------------------------------------

_idle = _of("cut-idle", blamed("breaks", "cut-idle"), ended("left", "broken"))
_awake = _of("cut-idle", clean(), ended("well", "well"), same)
_limited = _haproxy(f"timeout server {LIMIT}")
IDLE = (
    _idle("caddy read_timeout", "caddy", "think", _caddy_transport(f"read_timeout {LIMIT}")),
    _idle("nginx proxy_read_timeout", "nginx", "think", _11 + f"proxy_read_timeout {LIMIT};"),
    _idle("haproxy timeout server", "haproxy", "think", around=_limited),
    _idle("apache timeout=2", "apache", "think", "timeout=2"),
    _idle(
        "varnish between_bytes_timeout",
        "varnish alone",
        "think",
        around=_varnish("between_bytes_timeout = 2s"),
    ),
    _idle("envoy idle_timeout", "envoy", "think", _route(idle_timeout=LIMIT)),
    _idle(
        "caddy, three at once",
        "caddy",
        "think",
        _caddy_transport(f"read_timeout {LIMIT}"),
        crowd=3,
        apart=0.1,
    ),
    _idle("nginx, three at once", "nginx", "think", _11 + f"proxy_read_timeout {LIMIT};", crowd=3, apart=0.1),
    _awake("caddy", "caddy", "think"),
    _awake("caddy read_timeout, pings", "caddy", "pinged", _caddy_transport(f"read_timeout {LIMIT}")),
    _awake("nginx, pings", "nginx", "pinged", _11 + f"proxy_read_timeout {LIMIT};"),
    _awake("haproxy, pings", "haproxy", "pinged", around=_limited),
    _awake("haproxy timeout client", "haproxy", "think", around=_haproxy(f"timeout client {LIMIT}")),
    _awake("apache", "apache", "think"),
    _awake("varnish", "varnish", "think"),
    _awake("envoy, pings", "envoy", "pinged", _route(idle_timeout=LIMIT)),
)

_total = _of("cut-total", blamed("breaks", "cut-total"), ended("left", "broken"))
_whole = _of("cut-total", clean(), ended("well", "well"), same)
TOTAL = (
    _total("envoy timeout 3s", "envoy", "long", _route(timeout="3s")),
    _total("gunicorn --timeout 3", "gunicorn", "long", "--timeout 3"),
    _total("go WriteTimeout", "go", "long", "limit"),
    _total("gateway, 3 s in all", "gateway", "long", "total 3"),
    _whole("envoy timeout 0s", "envoy", "long", _route()),
    _whole("gunicorn gthread", "gunicorn", "long", "--timeout 3 -k gthread --threads 4"),
    _whole("go", "go", "long", "proxy"),
    _whole("nginx proxy_read_timeout", "nginx", "long", _11 + f"proxy_read_timeout {LIMIT};"),
    _whole("haproxy timeout server", "haproxy", "long", around=_limited),
)

_struck = _of(
    "cut-together", blamed("breaks", "cut-together"), ended("left", "broken"), crowd=3, apart=1.2, at=3.7
)
_spared = _of("cut-together", clean(), ended("well", "well"), same, crowd=3, apart=1.2, at=3.7, strike="HUP")
TOGETHER = (
    _struck("nginx reload", "nginx alone", "long", "worker_shutdown_timeout 500ms;", strike="HUP"),
    _struck("caddy killed", "caddy alone", "long", strike="KILL", at=4.0),
    _struck(
        "haproxy hard-stop-after",
        "haproxy alone",
        "long",
        around="global\n    hard-stop-after 500ms\n" + _NO_DELAY,
        strike="USR1",
    ),
    _struck("nginx killed", "nginx alone", "long", "master_process off;", strike="KILL"),
    _spared("nginx reload, patient", "nginx alone", "long"),
)

_mend = _of("mended", blamed("breaks", "mended"))
_told = _of("mended", clean(absent=("end-broken",)))
_BY_CLOSE = _11 + "chunked_transfer_encoding off;"
_RESET, _FIN = ended("reset", "well"), ended("fin", "well")
_CUT, _CUT_FIN = ended("reset", "broken"), ended("fin", "broken")
MENDED = (
    _mend("aiohttp swallows a reset", "aiohttp", "reset", "mend", checks=(_RESET,)),
    _mend("aiohttp swallows a close", "aiohttp", "fin", "mend", checks=(_FIN,)),
    _mend("nginx by close, reset", "nginx", "reset", _BY_CLOSE, checks=(_RESET,)),
    _mend("nginx by close, close", "nginx", "fin", _BY_CLOSE, checks=(_FIN,)),
    _told("aiohttp passes a reset", "aiohttp", "reset", "pass", checks=(_CUT,)),
    _told("aiohttp passes a close", "aiohttp", "fin", "pass", checks=(_CUT_FIN,)),
    _told("nginx passes a close", "nginx", "fin", _11, checks=(_CUT_FIN,)),
    _told("nginx passes a reset", "nginx", "reset", _11, checks=(_CUT,)),
    _told("caddy passes a reset", "caddy", "reset", checks=(_CUT,)),
    _told("haproxy passes a reset", "haproxy", "reset", around=_NO_DELAY, checks=(_CUT,)),
    _told("envoy passes a reset", "envoy", "reset", _route(), checks=(_CUT,)),
    _told("varnish passes a reset", "varnish", "reset", checks=(_CUT,)),
    _told("apache passes a close", "apache", "fin", checks=(_CUT_FIN,)),
    _told("go passes a reset", "go", "reset", "proxy", checks=(_CUT,)),
    _told("nginx by close, a good end", "nginx", "steady", _BY_CLOSE, checks=(ended("well", "well"), same)),
    _told("nginx by close, [DONE]", "nginx", "done", _BY_CLOSE, checks=(_RESET, same)),
)

_hide = _of("hidden", blamed("breaks", "hidden"), patience=6.5)
_shown = _of("hidden", clean(), ended("well", "well"), same)
HIDDEN = (
    _hide(
        "http-proxy proxyTimeout",
        "node",
        "think",
        "proxy 2000",
        checks=(ended("left", "left"),),
        patience=8.0,
    ),
    _hide("http-proxy, upstream resets", "node", "reset", "proxy", checks=(ended("reset", "left"),)),
    _hide("pipe, upstream closes", "node", "fin", "pipe", checks=(ended("fin", "left"),)),
    _hide("the end never comes", "gateway", "steady", "end hidden", checks=(ended("well", "left"),)),
    _shown("pipeline, upstream resets", "node", "reset", "pipeline", checks=(_CUT,)),
    _shown("http-proxy, a good end", "node", "steady", "proxy"),
    _shown("http-proxy proxyTimeout, pings", "node", "pinged", "proxy 2000"),
)

ENDS = (
    _of("end-withheld", blamed("breaks", "end-withheld"), ended("well", "well"), same)(
        "gateway, 4 s", "gateway", "steady", "end held"
    ),
    _of("end-withheld", clean(), ended("well", "well"), same)("gateway", "gateway", "steady", "plain"),
)

# --- the client leaves -----------------------------------------------------------------------------------

# A fetch that a cache may want goes on without its client.
_CACHED = (
    "sub vcl_recv { return (hash); }\nsub vcl_backend_response { set beresp.ttl = 10s; return (deliver); }\n"
)

_late = _of("abort", blamed("breaks", "abort-late"), told_late(1.2), patience=2.6)
_lost = _of("abort", blamed("breaks", "abort-lost"), told_never, patience=2.0)
_passed = _of("abort", clean("abort-passed"), passed_within(0.8), patience=2.0)
ABORTS = (
    _late("haproxy", "haproxy", "resumed", around=_NO_DELAY),
    _late("nginx proxy_ignore_client_abort", "nginx", "resumed", _11 + "proxy_ignore_client_abort on;"),
    _late("apache", "apache", "resumed"),
    _late("aiohttp", "aiohttp", "resumed", "pass"),
    _lost("varnish", "varnish alone", "long", around=_CACHED),
    _passed("varnish pass", "varnish", "long"),
    _lost("http-proxy", "node", "long", "proxy"),
    _lost("pipe", "node", "long", "pipe"),
    _passed("caddy", "caddy", "long"),
    _passed("caddy, in a silence", "caddy", "stuck", patience=3.0),
    _passed("caddy flush_interval -1", "caddy", "stuck", _caddy("flush_interval -1"), patience=3.0),
    _passed("nginx", "nginx", "long", _11),
    _passed("nginx, in a silence", "nginx", "stuck", _11, patience=3.0),
    _passed("haproxy abortonclose", "haproxy", "stuck", around=_haproxy("option abortonclose"), patience=3.0),
    _passed("haproxy, data flows", "haproxy", "long", around=_NO_DELAY),
    _passed("envoy", "envoy", "long", _route()),
    _passed("envoy, in a silence", "envoy", "stuck", _route(), patience=3.0),
    _passed("starlette BaseHTTPMiddleware", "starlette-new", "long", "base"),
    _passed("starlette, in a silence", "starlette-new", "stuck", "plain", patience=3.0),
    _passed("aiohttp handler_cancellation", "aiohttp", "stuck", "cancel", patience=3.0),
    _passed("go", "go", "stuck", "proxy", patience=3.0),
    _passed("pipeline", "node", "long", "pipeline"),
)

# --- the answer ------------------------------------------------------------------------------------------

# Beside a stream that passed, so that the record shows that upstream could have been asked.
_page = _of("answers", blamed("answers", "error-page", findings=("no-stream",)))
_login = _of(
    "answers",
    (clean(), blamed("answers", "other-type", findings=("no-stream",))),
    later_by_the_hop,
    crowd=2,
    apart=1.0,
)
_own = _of("answers", clean("no-stream"))
_truth = _of("answers", UNBLAMED)
_NGINX_LATER = _11 + "default_type text/html; if ($http_x_cell ~ [.]1$) "
_CADDY_LATER = "@later header_regexp X-Cell [.]1$\n\theader @later Content-Type text/html\n\t"
ANSWERS = (
    _page("nginx 504", "nginx", "mute", _11 + f"proxy_read_timeout {LIMIT};", checks=(answered(504),)),
    _page("haproxy 504", "haproxy", "mute", around=_limited, checks=(answered(504),)),
    _page(
        "caddy 504",
        "caddy",
        "mute",
        _caddy_transport(f"response_header_timeout {LIMIT}"),
        checks=(answered(504),),
    ),
    _page("envoy 504", "envoy", "mute", _route(timeout=LIMIT), checks=(answered(504),)),
    _page("apache 504", "apache", "mute", "timeout=2", checks=(answered(504, 502),)),
    _page(
        "varnish 503",
        "varnish alone",
        "mute",
        around=_varnish("first_byte_timeout = 2s"),
        checks=(answered(503),),
    ),
    _truth("nginx 502", "nginx", DEAD, _11, checks=(answered(502),)),
    _truth("caddy 502", "caddy", DEAD, checks=(answered(502),)),
    _truth("haproxy 503", "haproxy", DEAD, around=_NO_DELAY, checks=(answered(502, 503),)),
    _truth("envoy 503", "envoy", DEAD, _route(), checks=(answered(502, 503),)),
    _own("caddy, 401", "caddy", "401", checks=(answered(401),)),
    _own("nginx, 401", "nginx", "401", _11, checks=(answered(401),)),
    _own("haproxy, 429", "haproxy", "429", around=_NO_DELAY, checks=(answered(429),)),
    _own("caddy, 429", "caddy", "429", checks=(answered(429),)),
    _own("envoy, 500", "envoy", "500", _route(), checks=(answered(500),)),
    _own("varnish, 500", "varnish", "500", checks=(answered(500),)),
    _login("nginx, login", "nginx", "steady", _NGINX_LATER + "{ return 302 /login; }"),
    _login("caddy, login", "caddy", "steady", _CADDY_LATER + "redir @later /login 302\n\t" + _caddy()),
    _login("nginx, fallback", "nginx", "steady", _NGINX_LATER + "{ return 200 '<!doctype html>'; }"),
    _login("caddy, fallback", "caddy", "steady", _CADDY_LATER + 'respond @later "<html>"\n\t' + _caddy()),
    _truth("nginx, login alone", "nginx", "steady", _11 + "return 302 /login;", checks=(by_the_hop,)),
    _truth("caddy, login alone", "caddy", "steady", "redir * /login 302", checks=(by_the_hop,)),
    _own("caddy, never", "caddy", "mute", checks=(nothing_came,), patience=4.0),
    _own("nginx, never", "nginx", "mute", _11, checks=(nothing_came,), patience=4.0),
)

_awaited = _of("headers never come", blamed("breaks", "headers-withheld"), nothing_came, patience=4.5)
HEADERS = (
    _awaited("nginx, buffering", "nginx", "late", "proxy_http_version 1.1;"),
    _of("headers never come", clean("abort-passed"), passed_within(0.8), patience=4.5)(
        "nginx, buffering off", "nginx", "late", _11
    ),
    _of("headers never come", clean("abort-passed"), passed_within(0.8), patience=4.5)(
        "caddy", "caddy", "late"
    ),
)

# --- the request -----------------------------------------------------------------------------------------

_held = _of(
    "request-held",
    (clean(), blamed("delays", "request-held")),
    queued(0.9, False, True),
    crowd=2,
    apart=0.4,
)
_free = _of("request-held", clean(), queued(0.5, False, False, False), crowd=3, apart=0.4)
REQUESTS = (
    _held("haproxy maxconn 1", "haproxy", "steady", around=_haproxy("default-server maxconn 1")),
    _held("apache max=1", "apache", "steady", "max=1 acquire=20000"),
    _held("httpx, one connection", "starlette-new", "steady", "pool"),
    _held(
        "nginx limit_req",
        "nginx",
        "steady",
        _11 + "limit_req zone=slow burst=9;",
        crowd=3,
        apart=0.2,
        checks=(queued(0.9, False, True, True),),
    ),
    _held(
        "apache H2MaxWorkers 2",
        "apache alone",
        "steady",
        around="Protocols h2c",
        lines="H2MinWorkers 2\nH2MaxWorkers 2",
        expect=(clean(), clean(), blamed("delays", "request-held")),
        checks=(queued(0.9, False, False, True),),
        crowd=3,
        apart=0.3,
        shared=True,
    ),
    _free("apache, HTTP/2", "apache alone", "steady", around="Protocols h2c", shared=True),
    _free("haproxy", "haproxy", "steady", around=_NO_DELAY),
    _free("apache", "apache", "steady"),
    _free("httpx", "starlette-new", "steady", "plain"),
    _free("nginx", "nginx", "steady", _11),
    _free("caddy", "caddy", "steady"),
)

# --- look-ahead --------------------------------------------------------------------------------------------

_ahead = _of("lookahead", Expect("delays", ("lookahead",)), ended("well", "well"), same)
_level = _of("lookahead", clean(), ended("well", "well"), same)
LOOKAHEAD = (
    _ahead("one behind, 250 ms", "gateway", "steady", "ahead 1"),
    _ahead("one behind, 100 ms", "gateway", "quick", "ahead 1"),
    _ahead("two behind, 250 ms", "gateway", "steady", "ahead 2"),
    _ahead("two behind, 100 ms", "gateway", "quick", "ahead 2"),
    _level("none, 250 ms", "gateway", "steady", "plain"),
    _level("none, 100 ms", "gateway", "quick", "plain"),
)

# --- the content -------------------------------------------------------------------------------------------


def _content(kind: str, expect: Expect, *checks: Check) -> Maker:
    return _of(kind, expect, ended("well", "well"), *checks)


_alters, _drops = "alters", "drops"
CONTENT = (
    _content("comments", clean("comments-added"), same)("added between", "gateway", "steady", "heartbeat"),
    _content("comments", clean("comments-added"), same)("added, fast", "gateway", "quick", "heartbeat"),
    _content("comments", blamed(_alters, "comment-in-event"), changed)(
        "inside an event", "gateway", "steady", "comment inside"
    ),
    _content("comments", blamed(_alters, "comments-as-events"), changed)(
        "as events", "gateway", "commented", "comments as events"
    ),
    _content("comments", blamed(_drops, "comments"), same)(
        "dropped", "gateway", "commented", "comments dropped"
    ),
    _content("comments", clean(), same)("passed", "gateway", "commented", "plain"),
    _content("reframed", clean("reframed"), same)("CRLF", "gateway", "steady", "crlf"),
    _content("reframed", clean("reframed"), same)("no space", "gateway", "steady", "no space"),
    _content("reframed", clean("reframed"), same)("event: message", "gateway", "steady", "typed"),
    _content("reframed", clean(), same)("lines, aiohttp", "aiohttp", "quick", "lines"),
    _content("reframed", clean(), same)("lines, go", "go", "quick", "wide"),
    _content("altered", blamed(_alters, "added"), changed)(
        "ping events", "gateway", "steady", "events added"
    ),
    _content("altered", blamed(_alters, "doubled"), changed)("doubled", "gateway", "steady", "doubled"),
    _content("altered", blamed(_alters, "rewritten"), changed)("rewritten", "gateway", "steady", "rewritten"),
    _content("altered", blamed(_alters, "rewritten"), changed)("renamed", "gateway", "steady", "renamed"),
    _content("altered", clean(), same)("nginx", "nginx", "steady", _11),
    _content("altered", clean(), same)("haproxy", "haproxy", "steady", around=_NO_DELAY),
    _content("garbled", blamed(_alters, "garbled"), changed)("toString()", "node", "chinese", "text"),
    _content("garbled", clean(), same)("StringDecoder", "node", "chinese", "decoder"),
    _content("garbled", clean(), same)("caddy", "caddy", "chinese"),
    _content("lost", blamed(_drops, "first-lost"), changed)("first", "gateway", "steady", "first lost"),
    _content("lost", blamed(_drops, "last-lost"), changed)("last", "gateway", "steady", "last lost"),
    _content("lost", blamed(_drops, "scattered"), changed)(
        "scattered", "gateway", "steady", "scattered lost"
    ),
    _of("lost", blamed(_drops, "line-limit"), changed)("Scanner", "go", "large", "scanner"),
    _content("lost", clean(), same)("Scanner, 4 MiB", "go", "large", "wide"),
    _content("lost", clean(), same)("caddy, 70 kB", "caddy", "large"),
    _content("coding", blamed(_alters, "coding-mismatch"), changed)(
        "fetch, header kept", "node", "coded", "fetch"
    ),
    _content("coding", blamed(_alters, "coding-mismatch"), changed)("header dropped", "node", "coded", "raw"),
    _content("coding", blamed(_alters, "coding-mismatch"), changed)(
        "inflated, header kept", "gateway", "coded", "inflated, header kept"
    ),
    _content("coding", clean(), same)("fetch, header dropped", "node", "coded", "fetched"),
    _content("coding", clean(), same)("coded, passed", "node", "coded", "whole"),
    _content("coding", clean(), same)("inflated", "gateway", "coded", "inflated"),
    _content("coding", clean(), same)("caddy", "caddy", "coded"),
)

SCENES = (
    *IDLE,
    *TOTAL,
    *TOGETHER,
    *MENDED,
    *HIDDEN,
    *ENDS,
    *ABORTS,
    *ANSWERS,
    *HEADERS,
    *REQUESTS,
    *LOOKAHEAD,
    *CONTENT,
)
