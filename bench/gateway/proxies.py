"""nginx and HAProxy as plain proxies: they check a token and pass everything on, unbuffered, and write no log."""

import re
import shutil
import subprocess
import tempfile
from functools import partial
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
    """The message tells how to install it."""


def nginx(cache: Path) -> Candidate:
    return Candidate("nginx", partial(_version, "nginx", "nginx-light", cache), partial(_launch_nginx, cache))


def haproxy(cache: Path) -> Candidate:
    return Candidate("haproxy", partial(_version, "haproxy", "haproxy", cache), partial(_launch_haproxy, cache))


def _launch_nginx(cache: Path, site: Site) -> Launch:
    config = site.folder / "nginx.conf"
    config.write_text(_NGINX.format(token=wire.TOKEN, port=site.port, upstream_port=site.upstream_port))
    return Launch([_find("nginx", cache), "-p", site.folder, "-c", config])


def _launch_haproxy(cache: Path, site: Site) -> Launch:
    config = site.folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(token=wire.TOKEN, port=site.port, upstream_port=site.upstream_port))
    return Launch([_find("haproxy", cache), "-db", "-f", config])


def _version(program: str, package: str, cache: Path) -> str:
    try:
        path = _find(program, cache)
    except NotInstalled:
        _unpack(package, cache)
        path = _find(program, cache)
    said = subprocess.run([path, "-v"], capture_output=True, text=True, check=True)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    return found[0] if found else "unknown"


def _find(program: str, cache: Path) -> str:
    found = shutil.which(program) or shutil.which(program, path=f"{_SBIN}:{cache / 'root' / 'usr' / 'sbin'}")
    if found is None:
        raise NotInstalled(f"{program} is not installed; on Debian: apt install {program}")
    return found


def _unpack(package: str, cache: Path) -> None:
    """A Debian package without installing it, which needs no root; what it depends on must be there."""
    with tempfile.TemporaryDirectory(prefix="pmpctl-bench-") as folder:
        try:
            subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True, capture_output=True)
            for archive in Path(folder).glob("*.deb"):
                subprocess.run(["dpkg", "-x", archive, cache / "root"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotInstalled(f"{package} could not be fetched with apt-get ({error})") from error
