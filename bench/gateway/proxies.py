"""nginx and HAProxy as plain proxies: they check a token and pass everything on, unbuffered, and write no log."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.gateway import wire
from bench.gateway.server import Candidate, Launch, Site

_SBIN = "/usr/sbin:/usr/local/sbin"

_NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 100000000;
  map_hash_bucket_size 128;
  map $http_authorization $admitted {{
    default 0;
    "Bearer {token}" 1;
  }}
  upstream engine {{
    server 127.0.0.1:{upstream_port};
    keepalive 1024;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      if ($admitted = 0) {{ return 401; }}
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }}
  }}
}}
"""

_HAPROXY = """\
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  option abortonclose
  option http-no-delay
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  http-reuse always
frontend public
  bind 127.0.0.1:{port} backlog 4096
  http-request deny deny_status 401 unless {{ req.hdr(authorization) -m str "Bearer {token}" }}
  http-request del-header authorization
  default_backend engine
backend engine
  server engine 127.0.0.1:{upstream_port} maxconn 8192
"""


class NotInstalled(Exception):
    """The message tells why, and how to install it."""


@dataclass(frozen=True, slots=True)
class _Program:
    """One of the machine, or unpacked into the cache from Debian's packages, which needs no root."""

    name: str
    packages: Sequence[str]
    cache: Path

    @property
    def _root(self) -> Path:
        return self.cache / "root"

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": ":".join(map(str, self._root.glob("usr/lib/*-linux-gnu")))}

    def find(self) -> str | None:
        return shutil.which(self.name) or shutil.which(self.name, path=f"{_SBIN}:{self._root / 'usr' / 'sbin'}")

    def install(self) -> str:
        """Its version."""
        try:
            if not self.find():
                self._unpack()
            asked = [self.find() or self.name, "-v"]
            said = subprocess.run(asked, env=os.environ | self.environment, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotInstalled(f"{error}; on Debian: apt install {self.name}") from error
        found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
        return found[0] if found else "unknown"

    def _unpack(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pmpctl-bench-") as folder:
            subprocess.run(["apt-get", "download", "-qq", *self.packages], cwd=folder, check=True, capture_output=True)
            for archive in Path(folder).glob("*.deb"):
                subprocess.run(["dpkg", "-x", archive, self._root], check=True, capture_output=True)

    def launch(self, configuration: str, arguments: Sequence[str], site: Site) -> Launch:
        """`configuration` is a template; the last of the arguments announces its file."""
        file = site.folder / "configuration"
        file.write_text(configuration.format(token=wire.TOKEN, port=site.port, upstream_port=site.upstream_port))
        return Launch([self.find() or self.name, *arguments, file], self.environment)


def nginx(cache: Path) -> Candidate:
    program = _Program("nginx", ("nginx",), cache)
    return Candidate(
        "nginx", program.install, lambda site: program.launch(_NGINX, ["-p", str(site.folder), "-c"], site)
    )


def haproxy(cache: Path) -> Candidate:
    packages = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")
    program = _Program("haproxy", packages, cache)
    return Candidate("haproxy", program.install, lambda site: program.launch(_HAPROXY, ["-db", "-f"], site))
