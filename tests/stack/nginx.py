"""Real nginx as a hop, in one process, with every file in one folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from string import Template

from sse_tap.demo.process import Child
from sse_tap.util.ports import free_port

CONF = Template("""\
daemon off;
master_process off;
pid $folder/nginx.pid;
error_log $folder/error.log warn;
events {}
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    $http
    server {
        listen 127.0.0.1:$port;
        location / {
            proxy_pass http://127.0.0.1:$upstream;
            $location
        }
    }
}
""")


def find_nginx() -> str | None:
    """The path of nginx; Debian keeps it where only root's PATH looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Nginx(Child):
    """nginx in front of `upstream`; `location` and `http` are directives for these blocks."""

    def __init__(
        self, binary: str, upstream: int, folder: Path, *, location: str = "", http: str = "", port: int = 0
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        values = {"folder": folder, "port": self.port, "upstream": upstream}
        file = folder / "nginx.conf"
        file.write_text(CONF.substitute(values, location=location, http=http))
        command = [binary, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(file)]
        super().__init__(command, folder / "nginx.log", [self.port])
