"""Configuration for nginx-rtmp: the part to paste into a server one has, and a whole file for a server of our own.

No log that is switched on here writes a query string: that is where tokens travel.
"""

import ipaddress
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import urlsplit

from stagedoor.model.secret import Secret

CONTROL_PATH: Final = "/_stagedoor_control"
"""Where the http server of these configurations answers our own calls: `PATH/stat`, and `PATH/control/...`."""

_RTMP = Template("""\
rtmp {
    # Tokens travel in the query of stream names, and this log would write them down.
    access_log off;
    server {
        listen $rtmp_listen;
        notify_method post;
$applications
    }
}
""")

_APPLICATION = Template("""\
        application $name {
            live on;
            wait_key on;
            idle_streams off;
            # Stagedoor decides; an unreachable Stagedoor refuses.
            on_publish      $hook_url;
            on_play         $hook_url;
            on_publish_done $hook_url;
            on_play_done    $hook_url;
            # Asked about while they run, by way of the http server below.
            on_update       http://$itself/_stagedoor_update;
            notify_update_timeout 10s;
            hls on;
            hls_path $hls_path/$directory;
            hls_nested on;
            hls_fragment 1s;
            hls_playlist_length 8s;
        }""")

_HTTP_SERVER = Template("""\
    server {
        listen $hls_listen;
        # Each playlist and each segment is asked for. With a token: /hls/~TOKEN/NAME/index.m3u8
        location ~ ^/hls/(?:~[^/]+/)?(?<stagedoor_file>.+)$$ {
            auth_request /_stagedoor;
            root $hls_path;
            try_files $found =404;
            types { application/vnd.apple.mpegurl m3u8; video/mp2t ts; }
            add_header Cache-Control no-cache always;
            add_header Access-Control-Allow-Origin * always;
            # Both logs would write the request line, and with it the token.
            access_log off;
            error_log /dev/null;
        }
        location = /_stagedoor {
            internal;
            proxy_pass $hook_url/hls;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Original-URI $$request_uri;
            proxy_set_header X-Real-IP $$remote_addr;
            access_log off;
            error_log /dev/null;
        }
        # Whether what runs may go on. While Stagedoor itself is away, it does.
        location = /_stagedoor_update {
            # nginx itself calls: from the address that it is called at, or where that is loopback, from any of loopback.
            set $$stagedoor_ends "$$remote_addr $$server_addr";
            if ($$stagedoor_ends !~ "^(?:127\\.|::1 |(\\S+) \\1$$)") {
                return 403;
            }
            proxy_pass $hook_url;
            proxy_connect_timeout 2s;
            proxy_read_timeout 5s;
            error_page 502 504 = @stagedoor_away;
            access_log off;
            error_log /dev/null;
        }
        location @stagedoor_away {
            return 204;
        }
$control    }
""")

_CONTROL = Template("""\
        # For Stagedoor itself: $what. Only with this secret, and from where it runs: allow another address if need be.
        location $location {
            # In each location by itself: none inherits it from another.
            if ($$http_authorization != "Bearer $secret") {
                return 403;
            }
$allowed
            deny all;
            $directive all;
            access_log off;
        }
""")

_WHOLE = Template("""\
$load_module
$user
worker_processes 1;
daemon off;
pid $run/nginx.pid;
error_log $run/error.log warn;
events { worker_connections 1024; }

$rtmp
http {
    access_log off;
    client_body_temp_path $run/temp-body;
    proxy_temp_path $run/temp-proxy;
    fastcgi_temp_path $run/temp-fastcgi;
    uwsgi_temp_path $run/temp-uwsgi;
    scgi_temp_path $run/temp-scgi;
$http_server
}
""")

_LOOPBACK: Final = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  no listening
"""By the names for all addresses, one that is among them."""

_OWN_MACHINE: Final = ("127.0.0.0/8", "::1")

APPLICATIONS: Final = {"live": "live", "v2/pub": "pub"}
"""Where encoders publish (`rtmp://HOST/live/NAME`, and `rtmp://HOST/v2/pub/NAME` as in the compatible API), and the
directory of each for HLS: nginx-rtmp takes no directory twice."""


def snippet(
    hook_url: str,
    control_secret: Secret,
    *,
    rtmp_listen: str = "1935",
    hls_listen: str = "8088",
    hls_path: str = "/var/lib/stagedoor/hls",
) -> str:
    """Return the blocks to add to nginx.conf: `rtmp`, and a `server` for its `http` block.

    `control_secret` is what our own calls show (see `service.engines.control_secret`). `rtmp_listen` and `hls_listen` are a
    port, or an address, a colon and a port, as nginx writes them.
    """
    return (
        "# Into nginx.conf, beside the http block. worker_processes must be 1: nginx-rtmp keeps its state per worker.\n"
        + _rtmp(hook_url, rtmp_listen, hls_listen, hls_path)
        + "\n# Into the http block. Its address is the engine's control URL, so that streams can be ended at once.\n"
        + _http_server(hook_url, control_secret, hls_listen, hls_path)
    )


def whole(
    hook_url: str,
    control_secret: Secret,
    *,
    run: Path,
    rtmp_listen: str,
    hls_listen: str,
    module: Path | None,
    user: str | None,
) -> str:
    """Return a complete nginx.conf for a server of our own that keeps everything below the directory `run`.

    `control_secret`, `rtmp_listen` and `hls_listen` are as in `snippet`. `module` is loaded when the RTMP module is not
    built in; `user` is the one workers run as, when started by root.
    """
    hls_path = str(run / "hls")
    return _WHOLE.substitute(
        load_module=f"load_module {module};" if module is not None else "",
        user=f"user {user};" if user is not None else "",
        run=run,
        rtmp=_rtmp(hook_url, rtmp_listen, hls_listen, hls_path),
        http_server=_http_server(hook_url, control_secret, hls_listen, hls_path),
    )


def _rtmp(hook_url: str, rtmp_listen: str, hls_listen: str, hls_path: str) -> str:
    itself = _itself(hls_listen)
    applications = "\n".join(
        _APPLICATION.substitute(name=name, directory=directory, hook_url=hook_url, hls_path=hls_path, itself=itself)
        for name, directory in APPLICATIONS.items()
    )
    return _RTMP.substitute(rtmp_listen=rtmp_listen, applications=applications)


def _http_server(hook_url: str, control_secret: Secret, hls_listen: str, hls_path: str) -> str:
    found = " ".join(f"/{directory}/$stagedoor_file" for directory in APPLICATIONS.values())
    return _HTTP_SERVER.substitute(
        hook_url=hook_url,
        hls_listen=hls_listen,
        hls_path=hls_path,
        found=found,
        control=_control(hook_url, control_secret),
    )


def _control(hook_url: str, control_secret: Secret) -> str:
    """Return the locations that answer our own calls."""
    allowed = "\n".join(f"            allow {address};" for address in _callers(hook_url))
    shared = {"secret": control_secret.reveal(), "allowed": allowed}
    return _CONTROL.substitute(
        shared, what="what runs", location=f"= {CONTROL_PATH}/stat", directive="rtmp_stat"
    ) + _CONTROL.substitute(
        shared, what="to end what runs", location=f"{CONTROL_PATH}/control/", directive="rtmp_control"
    )


def _callers(hook_url: str) -> tuple[str, ...]:
    """Return the addresses that Stagedoor calls from: this machine's own, and where it is asked, if that is an address."""
    host = urlsplit(hook_url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _OWN_MACHINE
    return _OWN_MACHINE if address.is_loopback or address.is_unspecified else (*_OWN_MACHINE, str(address))


def _itself(hls_listen: str) -> str:
    """Return the address and port at which nginx reaches its own http server."""
    address, _, port = hls_listen.rpartition(":")
    return f"{_LOOPBACK.get(address, address)}:{port}"
