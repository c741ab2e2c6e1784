"""A PostgreSQL server for tests, on loopback, with a password, run by an unprivileged user."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL on this machine; None if there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = [folder for place in _PLACES for folder in Path("/").glob(place.lstrip("/"))]
    folders = [folder for folder in folders if (folder / "initdb").exists()]
    return max(folders, key=lambda folder: (len(str(folder)), str(folder)), default=None)


_INIT = ("--auth=password", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")


class Cluster:
    """One server with its data. It survives kills, but no loss of power."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="pr2-postgresql-", dir="/tmp"))
        self._as: dict[str, Any] = {"cwd": self._folder}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
            account = pwd.getpwnam("nobody")
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._as |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._password = secrets.token_hex(16)
        self.data = self._folder / "data"
        self._port = 0
        self._server: subprocess.Popen[bytes] | None = None
        password = self._folder / "password"
        password.write_text(self._password)
        if "user" in self._as:
            os.chown(password, self._as["user"], self._as["group"])
        password.chmod(0o600)
        subprocess.run(
            [programs / "initdb", "-D", self.data, "-U", "pr2", f"--pwfile={password}", *_INIT],
            stdout=subprocess.DEVNULL,
            check=True,
            **self._as,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.start()

    def url(self, database: str) -> str:
        return f"postgresql://pr2:{self._password}@127.0.0.1:{self._port}/{database}"

    def create(self, database: str, options: str = "") -> str:
        """Create an empty database. Returns its URL."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}" {options}'.encode())
        return self.url(database)

    def start(self) -> None:
        """Start the server, and return when it takes connections."""
        quick = ("fsync=off", "full_page_writes=off", "max_wal_size=256MB", "shared_buffers=32MB")
        settings = ("listen_addresses=127.0.0.1", f"port={self._port}", "unix_socket_directories=", *quick)
        options = [part for setting in settings for part in ("-c", setting)]
        # It ends with this process, even if that is killed.
        tied = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*tied, self._programs / "postgres", "-D", self.data, *options],
                stdout=subprocess.DEVNULL,
                stderr=log,
                **self._as,
            )
        deadline = time.monotonic() + 60
        while not self._ready():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start:\n{(self._folder / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop the server at once: its clients lose their connections, and open transactions are lost.

        SIGKILL is what a crash does; the server's other processes notice it by themselves.
        """
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(60)
            self._server = None
            # The processes of connections outlive a killed one for a moment, and hold its shared memory.
            lock = self.data / "postmaster.pid"
            while how == signal.SIGKILL and lock.exists() and self._alive():
                time.sleep(0.01)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ready(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _alive(self) -> bool:
        """Whether a process still works in the data folder."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() == self.data:
                    return True
            except OSError:
                continue
        return False
