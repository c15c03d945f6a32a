"""The programs that only scenes need, as `tests.matrix.programs` has the others."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sse_tap.demo.process import Child
from tests.matrix.hops import PROGRAMS, Program
from tests.matrix.programs import (
    APPS,
    CACHE,
    MODULES,
    NPM,
    Site,
    apache_head,
    caddy,
    find,
    haproxy,
    in_venv,
    nginx_conf,
    quiet,
    varnish_alone,
)

GO_HOP = CACHE / "go" / "hop"


def apache(sites: Sequence[Site], folder: Path, head: str = "") -> Child:
    """Apache; the lines stand behind the ProxyPass, those around them in the virtual host, `head` outside."""
    text = apache_head(folder, ("proxy_http", "http2")) + head + "\n"
    for site in sites:
        text += (
            f"Listen 127.0.0.1:{site.port}\n<VirtualHost 127.0.0.1:{site.port}>\n{site.around}\n"
            f"ProxyPass / http://127.0.0.1:{site.upstream}/ flushpackets=on retry=0 {site.lines}\n"
            f"</VirtualHost>\n"
        )
    file = folder / "apache.conf"
    file.write_text(text)
    command = [str(find("apache2")), "-D", "FOREGROUND", "-f", str(file)]
    return Child(command, folder / "log", [site.port for site in sites])


def apache_alone(site: Site, folder: Path) -> Child:
    """An Apache for one site; the lines are for the whole server."""
    return apache([site._replace(lines="")], folder, site.lines)


def nginx_master(site: Site, folder: Path) -> Child:
    """An nginx with a master process, which a HUP reloads; the lines stand before everything."""
    server = (
        f"    server {{\n        listen 127.0.0.1:{site.port};\n        location / {{\n"
        f"            proxy_pass http://127.0.0.1:{site.upstream};\n            proxy_http_version 1.1;\n"
        f"            proxy_buffering off;\n        }}\n    }}\n"
    )
    user = "user root;\n" if os.getuid() == 0 else ""
    text = nginx_conf(server, folder).replace("master_process off;\n", f"{user}{site.lines}\n")
    file = folder / "nginx.conf"
    file.write_text(text)
    command = [str(find("nginx")), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(file)]
    return Child(command, folder / "log", [site.port])


def caddy_alone(site: Site, folder: Path) -> Child:
    """A Caddy for one site."""
    return caddy([site], folder)


def haproxy_alone(site: Site, folder: Path) -> Child:
    """A HAProxy for one site."""
    return haproxy([site], folder)


def _app(command: Sequence[str], sites: Sequence[Site], folder: Path, **env: str) -> Child:
    """An application of `apps` that serves all its sites; the lines name the kind of hop."""
    given = json.dumps([[site.port, site.upstream, site.lines] for site in sites])
    return Child([*command, given], folder / "log", [site.port for site in sites], env=quiet() | env)


def gateway(sites: Sequence[Site], folder: Path) -> Child:
    """Small Python gateways with one habit each."""
    return _app([str(in_venv("aiohttp")), str(APPS / "gateway.py")], sites, folder)


def aiohttp(sites: Sequence[Site], folder: Path) -> Child:
    """aiohttp as a hop."""
    return _app([str(in_venv("aiohttp")), str(APPS / "aiohttp_hop.py")], sites, folder)


def node(sites: Sequence[Site], folder: Path) -> Child:
    """Node and npm's http-proxy."""
    return _app([str(find("node")), str(APPS / "node_hop.js")], sites, folder, NPM_FOLDER=str(NPM))


def go(sites: Sequence[Site], folder: Path) -> Child:
    """Go's ReverseProxy, and copies by its Scanner."""
    return _app([str(GO_HOP)], sites, folder)


def build_go() -> bool:
    """Compile the Go hop, where there is Go and it has changed; whether there is one now."""
    source, compiler = APPS / "hop.go", in_venv("go", "go")
    if compiler and not (GO_HOP.exists() and GO_HOP.stat().st_mtime > source.stat().st_mtime):
        env = os.environ | {"GOCACHE": str(CACHE / "go" / "cache"), "GO111MODULE": "off"}
        command = [str(compiler), "build", "-o", str(GO_HOP), str(source)]
        subprocess.run(command, env=env, capture_output=True, check=False)
    return GO_HOP.exists()


def gunicorn(site: Site, folder: Path) -> Child:
    """gunicorn; the lines are options."""
    command = [str(in_venv("gunicorn", "gunicorn")), "-b", f"127.0.0.1:{site.port}", "--chdir", str(APPS)]
    command += [*site.lines.split(), "wsgi_hop:app"]
    return Child(command, folder / "log", [site.port], env=quiet() | {"UPSTREAM": str(site.upstream)})


def _node_here() -> bool:
    return find("node") is not None and (NPM / "node_modules" / "http-proxy").exists()


SCENE_PROGRAMS = PROGRAMS | {
    "apache": Program(lambda: find("apache2") is not None and MODULES.exists(), apache),
    "apache alone": Program(lambda: find("apache2") is not None and MODULES.exists(), single=apache_alone),
    "nginx alone": Program(lambda: find("nginx") is not None, single=nginx_master),
    "caddy alone": Program(PROGRAMS["caddy"].here, single=caddy_alone),
    "haproxy alone": Program(lambda: find("haproxy") is not None, single=haproxy_alone),
    "varnish alone": Program(lambda: find("varnishd") is not None, single=varnish_alone),
    "gateway": Program(lambda: in_venv("aiohttp") is not None, gateway),
    "aiohttp": Program(lambda: in_venv("aiohttp") is not None, aiohttp),
    "node": Program(_node_here, node),
    "go": Program(build_go, go),
    "gunicorn": Program(lambda: in_venv("gunicorn", "gunicorn") is not None, single=gunicorn),
}
