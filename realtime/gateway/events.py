"""The events the server pushes, for the reference."""

from realtime.gateway.table import ServerEvent

EVENTS = [
    ServerEvent("message:new", "A stored message, to every member's sockets but the sending one"),
    ServerEvent("message:recalled", "A message was taken back (撤回): `room`, `seq`, `by`"),
    ServerEvent("message:read", "A member's read mark moved: `room`, `user`, `seq`"),
    ServerEvent("typing", "A member types or stopped: `room`, `user`, `on`"),
    ServerEvent("room:updated", "The room's new snapshot"),
    ServerEvent("presence:changed", "Somebody of an open consultation: `user`, `online`"),
    ServerEvent("consultation:updated", "The consultation, after any change of it or its queue"),
    ServerEvent("notice:new", "A notice: `id`, `template`, `title`, `values`, `at`, `read`"),
    ServerEvent("session:expiring", "The token ends soon: `expires_at`; answer by session:refresh"),
]
