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
    ServerEvent("transfer:updated", "A transfer (转诊) of one's own, after any change of it (T1)"),
    ServerEvent("group:invited", "An invitation to a group consultation (会诊), as it is (G1)"),
    ServerEvent("group:updated", "A group consultation of one's own, after any change of it"),
    ServerEvent("prescription:updated", "The prescription, after any change of it (X2)"),
    ServerEvent("drug_order:updated", "The order of drugs, after any change of it or its payment"),
    ServerEvent("call:incoming", "Somebody calls: `call`, `text` (V1)"),
    ServerEvent("call:updated", "The call as its party sees it, after any change: `call`"),
    ServerEvent("call:offer", "The other side's offer: `call`, `from`, `sdp`"),
    ServerEvent("call:answer", "The other side's answer: `call`, `from`, `sdp`"),
    ServerEvent("call:candidate", "The other side's candidate: `call`, `from`, `candidate`"),
    ServerEvent("call:media", "The other side's devices: `call`, `user`, `mic`, `camera` (V7)"),
    ServerEvent("notice:new", "A notice: `id`, `template`, `title`, `values`, `at`, `read`"),
    ServerEvent("session:expiring", "The token ends soon: `expires_at`; answer by session:refresh"),
]
