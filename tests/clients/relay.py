"""Debian's coturn as a process of the tests, on this machine alone."""

import asyncio
import contextlib
import hashlib
import hmac
import socket
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.clients.need import missing

SECRET = "wenzhen-tests"
START_SECONDS = 30.0
POLL_SECONDS = 0.05
ARGUMENTS = [
    "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--use-auth-secret",
    f"--static-auth-secret={SECRET}", "--realm=hospital.test", "--fingerprint", "--no-cli",
    "--no-tls", "--no-dtls", "--no-rfc5780", "--allow-loopback-peers", "--log-file=stdout",
    "--pidfile=/dev/null",
]  # fmt: skip


@dataclass
class Relay:
    port: int

    GATHER = """async ([urls, username, credential]) => {
      const pc = new RTCPeerConnection({
        iceServers: [{ urls, username, credential }], iceTransportPolicy: "relay",
      });
      const found = { relays: 0, refused: false };
      pc.onicecandidateerror = ({ errorCode }) => (found.refused ||= errorCode === 401);
      pc.createDataChannel("x");
      const done = new Promise((resolve) => (pc.onicecandidate = ({ candidate }) => {
        if (candidate === null) resolve();
        else if (candidate.type === "relay") found.relays += 1;
      }));
      await pc.setLocalDescription();
      await done;
      pc.close();
      return found;
    }"""

    @classmethod
    @asynccontextmanager
    async def run(cls) -> AsyncIterator["Relay"]:
        relay = cls(_free_port())
        process = await asyncio.create_subprocess_exec(
            "turnserver", *ARGUMENTS, f"--listening-port={relay.port}",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await relay._wait_until_ready()
            yield relay
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    @staticmethod
    def need(relay: "Relay | None") -> "Relay":
        return relay or missing("RELAY", "no turnserver on PATH: relayed calls were NOT tested")

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}?transport=udp"

    @property
    def settings(self) -> dict[str, str]:
        return {"WENZHEN_CALLS__TURN": f'["{self.url}"]', "WENZHEN_SECRET_TURN_SECRET": SECRET}

    def credentials(self, seconds: int) -> tuple[str, str]:
        """Make a name and its password, good for so long."""
        name = f"{int(time.time()) + seconds}:somebody"
        digest = hmac.new(SECRET.encode(), name.encode(), hashlib.sha1).digest()
        return name, b64encode(digest).decode()

    async def _wait_until_ready(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                # another process's readiness has nothing to await: poll, bounded by the timeout
                with contextlib.suppress(ConnectionError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
