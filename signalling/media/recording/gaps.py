"""Find what a recording misses."""

from collections import Counter
from collections.abc import Iterable

from care.recordings import Gap, GapReason, Track

LEAST_MS = {"audio": 200, "video": 500}
"""Less than this nobody notices; the packets lost are counted all the same."""
ABSENT_MS = 2000
GAPS_MAX = 500


class Gaps:
    """Follow the frames of every track."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[Track, int, int]] = {}
        """Of a side's audio or video: the track, visit and time of its last frame."""
        self._found: list[Gap] = []
        self._lost: Counter[Track] = Counter()

    def saw(self, track: Track, visit: int, at_ms: int, lost: int) -> None:
        """Take a frame's time, and how many packets were missing before it."""
        side = track.user, track.kind
        before, earlier, last = self._last.get(side, (track, visit, 0))
        reason = None
        if before.codec != track.codec:
            reason = GapReason.CODEC
        else:
            self._lost[track] += lost
            reason = _reason(track.kind, at_ms - last, lost=bool(lost), came=visit != earlier)
        if reason is not None:
            self._add(track, reason, last, at_ms)
        self._last[side] = track, visit, at_ms

    def missing(self, reason: GapReason, begins_ms: int, ends_ms: int | None) -> None:
        """Note what every side misses."""
        self._found.append(Gap(reason=reason, begins_ms=begins_ms, ends_ms=ends_ms))

    def ended(self, end_ms: int, *, told: bool) -> None:
        """Note who stopped sending before the end, and an end that nobody asked for."""
        for track, _, last in self._last.values():
            if end_ms - last >= ABSENT_MS:
                self._add(track, GapReason.ABSENT, last, end_ms)
        if not told:
            self.missing(GapReason.INTERRUPTED, end_ms, None)

    def listed(self) -> tuple[Gap, ...]:
        """Give the gaps by their begin; of too many, the first."""
        return tuple(sorted(self._found, key=lambda gap: gap.begins_ms)[:GAPS_MAX])

    def counted(self, tracks: Iterable[Track]) -> tuple[Track, ...]:
        return tuple(track.changed(lost_packets=self._lost[track]) for track in tracks)

    def _add(self, track: Track, reason: GapReason, begins_ms: int, ends_ms: int) -> None:
        self._found.append(
            Gap(
                user=track.user, kind=track.kind, reason=reason,
                begins_ms=begins_ms, ends_ms=ends_ms,
            )
        )  # fmt: skip


def _reason(kind: str, missing_ms: int, *, lost: bool, came: bool) -> GapReason | None:
    if came and missing_ms >= LEAST_MS[kind]:
        return GapReason.ABSENT
    if lost and missing_ms >= LEAST_MS[kind]:
        return GapReason.LOST
    return GapReason.ABSENT if missing_ms >= ABSENT_MS else None
