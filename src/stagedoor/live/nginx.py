"""An nginx-rtmp of our own: own configuration, own directory, own ports; never the distribution's service."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from stagedoor.engines.nginx_rtmp import config
from stagedoor.model.errors import ConfigError
from stagedoor.model.secret import Secret

_MODULES: Final = (
    Path("/usr/lib/nginx/modules/ngx_rtmp_module.so"),
    Path("/usr/lib64/nginx/modules/ngx_rtmp_module.so"),
)
_PROGRAMS: Final = (Path("/usr/sbin/nginx"), Path("/usr/local/sbin/nginx"))


def find_nginx() -> tuple[Path, Path] | None:
    """Return the nginx program and the RTMP module for it; None when either is missing."""
    found = shutil.which("nginx")
    program = Path(found) if found else next((path for path in _PROGRAMS if os.access(path, os.X_OK)), None)
    module = next((path for path in _MODULES if path.exists()), None)
    return (program, module) if program is not None and module is not None else None


class OwnNginx:
    """One nginx process with the RTMP module, below the directory `run`."""

    def __init__(
        self,
        *,
        program: Path,
        module: Path,
        run: Path,
        hook_url: str,
        control_secret: Secret,
        host: str,
        rtmp: int,
        hls: int,
    ) -> None:
        """Write the configuration; nothing is started yet.

        Raises: ConfigError when the directory cannot be written.
        """
        self._program = program
        self._run = run.resolve()
        self._file = self._run / "nginx.conf"
        try:
            self._run.mkdir(parents=True, exist_ok=True)
            # What a stopped server left would be played as if it were live.
            shutil.rmtree(self._run / "hls", ignore_errors=True)
            for directory in config.APPLICATIONS.values():
                (self._run / "hls" / directory).mkdir(parents=True)
            text = config.whole(
                hook_url,
                control_secret,
                run=self._run,
                rtmp_listen=f"{host}:{rtmp}",
                hls_listen=f"{host}:{hls}",
                module=module,
                user="root" if os.geteuid() == 0 else None,
            )
            # Security: the engine's secrets are in it.
            with os.fdopen(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
                stream.write(text)
        except OSError as error:
            raise ConfigError(f"cannot write {self._run}: {error.strerror}; choose a directory you can write") from None

    def check(self) -> None:
        """Let nginx read its configuration.

        Raises: ConfigError with nginx's own words.
        """
        command = [*self._command(log="stderr"), "-t", "-q"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            words = next(iter(result.stderr.splitlines()), "no reason given")
            raise ConfigError(f"nginx does not take its configuration: {words}")

    def start(self) -> subprocess.Popen[bytes]:
        """Start it as a child process that ends with SIGTERM."""
        return subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, start_new_session=True)

    def _command(self, log: str | None = None) -> list[str]:
        # Without -e the program opens the distribution's error log before it reads the configuration.
        log = log or str(self._run / "error.log")
        return [str(self._program), "-p", str(self._run), "-e", log, "-c", str(self._file)]
