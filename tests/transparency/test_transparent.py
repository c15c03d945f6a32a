"""mitmproxy's transparent mode: a redirected connection, in a network namespace of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sse_tap.trace.file import find_traces, read_trace
from tests.needs import missing

ADDRESS = "10.9.9.1"
ORIGIN = f"""
import http.server, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for i in range(5):
            self.wfile.write(b"data: %d\\n\\n" % i)
            time.sleep(0.1)

http.server.HTTPServer(("{ADDRESS}", 80), Handler).serve_forever()
"""
# Only the client's connections are redirected: it runs as nobody, the tap as root.
SCRIPT = f"""
ip link set lo up
ip addr add {ADDRESS}/32 dev lo
iptables -t nat -A OUTPUT -p tcp -d {ADDRESS} --dport 80 -m owner --uid-owner 65534 \\
    -j REDIRECT --to-ports 8080
"$PYTHON" -c "$ORIGIN" & origin=$!
"$PYTHON" -c 'from mitmproxy.tools.main import mitmdump; mitmdump()' -s "$ADDON" --mode transparent -p 8080 \\
    --set "sse_tap_dir=$TRACES" --set "sse_tap_fidelity=$CHOICE" >&2 & tap=$!
for i in $(seq 100); do
    ss -ltn | grep -q :8080 && ss -ltn | grep -q :80 && break
    sleep 0.1
done
sleep 0.5
setpriv --reuid=65534 --regid=65534 --clear-groups curl -sSN --max-time 10 http://{ADDRESS}/
sleep 0.5
kill -INT $tap; kill $origin; wait $tap
"""


PROGRAMS = ("unshare", "ip", "iptables", "ss", "setpriv", "curl")


def check_machine() -> None:
    """Skip (or, in CI, fail) where namespaces cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces are root's")
    for name in PROGRAMS:
        if shutil.which(name) is None:
            missing(name)


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
@pytest.mark.parametrize("fidelity", ["wire", "http"])
def test_a_redirected_connection(fidelity: str, tmp_path: Path) -> None:
    check_machine()
    env = {
        **os.environ,
        "PYTHON": sys.executable,
        "ORIGIN": ORIGIN,
        "ADDON": str(Path(__file__).parent.parent.parent / "addons" / "sse_tap.py"),
        "TRACES": str(tmp_path),
        "CHOICE": {"wire": "auto", "http": "http"}[fidelity],
    }
    # monitor mode: else a background job of a script ignores SIGINT
    done = subprocess.run(
        ["unshare", "-n", "bash", "-mc", SCRIPT],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "".join(f"data: {i}\n\n" for i in range(5)), done.stderr
    [path] = find_traces([tmp_path])
    trace = read_trace(path)
    assert (trace.header.mode, trace.header.fidelity) == ("transparent", fidelity)
    assert trace.request
    assert trace.request.url == f"http://{ADDRESS}/"
    assert len(trace.chunks) == 5
