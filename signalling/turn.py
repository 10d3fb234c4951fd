"""ICE servers for one side of one call: TURN credentials by coturn's shared secret (V4)."""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any

from care.policy import CallPolicy


class IceServers:
    def __init__(self, policy: CallPolicy, turn_secret: str | None) -> None:
        self._policy = policy
        self._secret = turn_secret

    def give(self, call: str, user: str, now: datetime) -> list[dict[str, Any]]:
        """List them in the form of RTCConfiguration.iceServers.

        The name holds the time after which coturn refuses it; a relay that runs by then goes on.
        """
        servers: list[dict[str, Any]] = []
        if self._policy.stun:
            servers.append({"urls": list(self._policy.stun)})
        if self._policy.turn and self._secret:
            until = now + timedelta(seconds=self._policy.turn_seconds)
            name = f"{int(until.timestamp())}:{call}.{user}"
            # coturn's "use-auth-secret" knows SHA-1 alone
            digest = hmac.new(self._secret.encode(), name.encode(), hashlib.sha1).digest()
            password = base64.b64encode(digest).decode()
            urls = list(self._policy.turn)
            servers.append({"urls": urls, "username": name, "credential": password})
        return servers
