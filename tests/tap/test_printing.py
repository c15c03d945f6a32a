"""mitmproxy's own words go by an outlet; where it has changed shape they stay as they are."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from mitmproxy.addons.dumper import Dumper
from mitmproxy.addons.termlog import TermLog

from sse_tap.tap.printing import never_wait_for_output
from sse_tap.util.outlet import Outlet


def test_the_log_and_the_list_of_flows_share_an_outlet_and_their_order() -> None:
    stream = io.StringIO()
    log, dumper = TermLog(stream), Dumper(stream)
    log.uninstall()
    master: Any = SimpleNamespace(_termlog_addon=log, addons={"dumper": dumper})
    never_wait_for_output(master)
    never_wait_for_output(master)
    assert isinstance(dumper.outfp, Outlet)
    assert log.logger.file is dumper.outfp
    print("a word", file=dumper.outfp)
    dumper.outfp.close()
    assert stream.getvalue() == "a word\n"


def test_without_them_nothing_is_done() -> None:
    never_wait_for_output(SimpleNamespace())
    never_wait_for_output(SimpleNamespace(_termlog_addon=None, addons={}))
