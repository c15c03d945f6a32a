"""Which of the user's options and scripts need flows, and which whole bodies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.test import taddons

from sse_tap.tap.addon import SSETap
from sse_tap.tap.flowneeds import needs_bodies, needs_flows, stores_flows


def script(**hooks: Any) -> Any:
    return SimpleNamespace(path="other.py", name="other", addons=[SimpleNamespace(name="inner", **hooks)])


def master(*scripts: Any) -> Any:
    return SimpleNamespace(addons={"scriptloader": SimpleNamespace(addons=list(scripts))})


def test_nothing_is_needed_where_nothing_was_asked_for() -> None:
    with taddons.context(SSETap()) as context:
        assert needs_flows(context.master) == needs_bodies(context.master) == ""
        ours = SimpleNamespace(path="sse_tap", name="x", addons=[SSETap()])
        assert needs_flows(master(ours)) == ""
        assert needs_flows(master(script(running=print))) == ""
        assert not stores_flows()


@pytest.mark.parametrize(
    ("option", "value", "bodies", "stores"),
    [
        ("save_stream_file", "x", False, True),
        ("hardump", "x", False, True),
        ("modify_headers", ["/a/b"], False, False),
        ("modify_body", ["/a/b"], True, False),
        ("map_remote", ["|a|b"], False, False),
        ("map_local", ["|a|b"], False, False),
        ("stickycookie", "~u x", False, False),
    ],
)
def test_options_that_need_flows(option: str, value: Any, bodies: bool, stores: bool) -> None:
    with taddons.context(SSETap()) as context:
        context.options.add_option(option, type(value) if isinstance(value, str) else list, type(value)(), "")
        context.options.update(**{option: value})
        assert needs_flows(context.master) == option
        assert bool(needs_bodies(context.master)) == bodies
        assert stores_flows() == stores


@pytest.mark.parametrize(
    ("hook", "bodies"), [("request", False), ("responseheaders", False), ("response", True)]
)
def test_other_scripts_with_hooks_need_flows(hook: str, bodies: bool) -> None:
    with taddons.context(SSETap()):
        other = master(script(**{hook: print}))
        assert needs_flows(other) == "the script other.py"
        assert bool(needs_bodies(other)) == bodies
