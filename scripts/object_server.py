"""The private S3 server of the tests: moto on loopback, which keeps objects in memory and forgets them when it ends."""

from __future__ import annotations

import http
import http.client
import subprocess
import sys

from plain_server import PlainServer
from server_surroundings import ServiceError


class ObjectServer(PlainServer):
    """One server."""

    title = "S3 server"

    def __init__(self) -> None:
        """Find the folder; change nothing."""
        super().__init__("objects")

    def install(self) -> str:
        """See to it that there is a program."""
        done = subprocess.run([sys.executable, "-c", "import moto.server"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"moto is not installed: {done.stderr.strip()[-300:]}")
        return f"{self.title}: moto"

    def command(self, port: int) -> list[str]:
        """Return the command that runs it."""
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

    def answers_on(self, port: int) -> bool:
        """Ask for nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def url(self, note: dict[str, str]) -> str:
        """Return where it is."""
        return f"DATAFLARE_TEST_S3=http://127.0.0.1:{note['port']}"

    def wipe(self) -> str:
        """Stop it, and with it all objects are gone."""
        self.stop()
        for file in (self.log, self.note):
            file.unlink(missing_ok=True)
        return f"{self.title}'s objects removed"


__all__ = ["ObjectServer"]
