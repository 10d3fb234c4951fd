"""What may listen to a media room: a recorder, a test (V8)."""

from typing import Protocol

from aiortc.rtp import RtpPacket


class PacketTap(Protocol):
    """Hears the packets of a media room as their senders sent them, on the room's event loop.

    What was lost and came again by RTX comes as the packet it was, late; what came twice comes
    twice. A call must return at once and must not raise, and must not change the packet: it goes
    to the other sides too.
    """

    def on_rtp(self, user: str, kind: str, codec: str, packet: RtpPacket, arrival: float) -> None:
        """Take a packet of a side's `kind` audio or video.

        `codec` is opus, VP8 or H264 and may change between two packets; so may the SSRC, when a
        side comes back. `arrival` is in seconds of the event loop's clock.
        """
        ...

    def on_sender_report(self, user: str, kind: str, ssrc: int, ntp: int, rtp: int) -> None:
        """Take an RTCP sender report: `rtp` was on its clock when `ntp` (32.32) was on the wall's.

        Audio and video of one side are brought in step by these (RFC 3550, 6.4.1).
        """
        ...

    def on_left(self, user: str) -> None:
        """Note that a side is gone. It may come back, with other SSRCs."""
        ...


class Tappable(Protocol):
    """A media room as a tap sees it."""

    @property
    def users(self) -> tuple[str, ...]: ...

    def attach(self, tap: PacketTap) -> None:
        """Let it hear everything from now on, and ask every side for a key frame."""
        ...

    def detach(self, tap: PacketTap) -> None: ...

    def ask_key_frame(self, user: str) -> None:
        """Ask a side for a key frame; too many at once are one."""
        ...
