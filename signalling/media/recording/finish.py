"""Make a film of a journal nobody writes any more, in a process of its own (V8).

`python -m signalling.media.recording.finish FOLDER RECORDING` leaves three files in the folder: the
film, its poster where there is a picture, and last, as the sign that all is there, what it holds.
It reads the journal from the disk several times and keeps only what waits for late packets.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from care.recordings import Footage, GapReason, Track
from signalling.media.recording import journal
from signalling.media.recording.film import Film, can_begin, poster
from signalling.media.recording.frames import Assembler, Frame
from signalling.media.recording.gaps import Gaps
from signalling.media.recording.journal import About, Dropped, End, Packet, Source
from signalling.media.recording.paths import FILM, FOOTAGE, POSTER
from signalling.media.recording.timing import SourceTiming, learn


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame of a track, in which visit of its user, and when it was taken."""

    track: Track
    visit: int
    frame: Frame
    at_ms: int


class Reel:
    """Read a journal's frames; what is known of it as a whole is known from the first reading."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts = parts
        self.about: About | None = None
        self.drops: list[tuple[int, int | None]] = []
        """From when to when the disk was too slow, in milliseconds."""
        self.breaks: list[tuple[int, int]] = []
        """From when to when nobody wrote."""
        self.told = False
        """It was told to end."""
        self.end_ms = 0
        self.tracks: set[Track] = set()
        self._timings = learn(self._entries())

    def _entries(self) -> Iterator[journal.Entry]:
        for entry in journal.read(self._parts):
            match entry:
                case About():
                    self._open(entry)
                case Source():
                    self.tracks.add(_track(entry))
                case Packet() | Dropped() | End():
                    self._pass(entry)
            yield entry

    def _open(self, part: About) -> None:
        if self.about is None:
            self.about = part
        elif not self.told:
            since = part.started_at - self.about.started_at
            self.breaks.append((self.end_ms, round(since.total_seconds() * 1000)))

    def _pass(self, entry: Packet | Dropped | End) -> None:
        at_ms = max(round(entry.arrival * 1000), 0)
        self.end_ms = max(self.end_ms, at_ms)
        self.told = isinstance(entry, End)
        if isinstance(entry, Dropped):
            self.drops.append((at_ms, None))
        elif isinstance(entry, Packet) and self.drops and self.drops[-1][1] is None:
            self.drops[-1] = self.drops[-1][0], at_ms

    def shots(self) -> Iterator[Shot]:
        """Give the frames, each track's in order."""
        strips: dict[int, Strip] = {}
        running: dict[tuple[str, str], Strip] = {}
        for entry in journal.read(self._parts):
            match entry:
                case Source():
                    strips[entry.number] = Strip(entry, self._timings[entry.number])
                case Packet():
                    strip = strips[entry.source]
                    before = running.setdefault(strip.side, strip)
                    if before is not strip:
                        # one side's streams never overlap in the film
                        yield from before.flush()
                        running[strip.side] = strip
                    yield from strip.add(entry)
        for strip in running.values():
            yield from strip.flush()


class Strip:
    """One stream's frames, with their times."""

    def __init__(self, source: Source, timing: SourceTiming) -> None:
        self.side = source.user, source.kind
        self._track, self._visit, self._timing = _track(source), source.visit, timing
        self._assembler = Assembler(source)

    def add(self, packet: Packet) -> Iterator[Shot]:
        return map(self._shot, self._assembler.add(packet))

    def flush(self) -> Iterator[Shot]:
        return map(self._shot, self._assembler.flush())

    def _shot(self, frame: Frame) -> Shot:
        at_ms = max(round(self._timing.at(frame.timestamp) * 1000), 0)
        return Shot(self._track, self._visit, frame, at_ms)


def _track(source: Source) -> Track:
    return Track(user=source.user, kind=source.kind, codec=source.codec)


class Unreadable(Exception):
    """A journal has no beginning."""


def finish(folder: Path, recording: str) -> Footage | None:
    """Finish a recording; None while it is written or when there is none.

    Its journal stays until the film is kept for good. Raises OSError, Unreadable.
    """
    parts = journal.parts(folder, recording)
    with journal.held(parts) as free:
        if not free or not parts:
            return None
        reel = Reel(parts)
        if reel.about is None:
            raise Unreadable(recording)
        stem = folder / recording
        names = tuple(part.name for part in parts)
        footage = _develop(reel, reel.about, stem).changed(parts=names)
        _replace(stem.with_suffix(FOOTAGE), footage.model_dump_json().encode())
        return footage


def _develop(reel: Reel, about: About, stem: Path) -> Footage:
    firsts = _first_frames(reel)
    gaps = Gaps()
    for begins_ms, ends_ms in reel.drops:
        gaps.missing(GapReason.OVERLOAD, begins_ms, ends_ms)
    for begins_ms, until_ms in reel.breaks:
        gaps.missing(GapReason.INTERRUPTED, begins_ms, until_ms)
    film = stem.with_suffix(FILM)
    mime, duration_ms = _write_film(film, reel, firsts, gaps)
    gaps.ended(reel.end_ms, told=reel.told)
    return Footage(
        recording=about.recording,
        call=about.call,
        started_at=about.started_at,
        duration_ms=duration_ms,
        mime=mime,
        size=film.stat().st_size,
        poster_size=_write_poster(stem, firsts),
        tracks=gaps.counted(firsts),
        gaps=gaps.listed(),
    )


def _first_frames(reel: Reel) -> dict[Track, Frame]:
    """Give a frame with which each track can begin; a track without any is none of the film."""
    firsts: dict[Track, Frame] = {}
    for shot in reel.shots():
        if shot.track in firsts or not shot.frame.key:
            continue
        if can_begin(shot.track.codec, shot.frame.data):
            firsts[shot.track] = shot.frame
        if len(firsts) == len(reel.tracks):
            break
    return firsts


def _write_film(path: Path, reel: Reel, firsts: dict[Track, Frame], gaps: Gaps) -> tuple[str, int]:
    """Give the film's MIME type and its milliseconds; it is empty where nothing came."""
    if not firsts:
        path.write_bytes(b"")
        return "application/octet-stream", 0
    film, begun = Film(path, firsts), set[Track]()
    try:
        for shot in reel.shots():
            # what comes before a track can begin shows nothing, and a player may give up over it
            if shot.frame == firsts.get(shot.track):
                begun.add(shot.track)
            if shot.track not in begun:
                continue
            at_ms = film.write(shot.track, shot.frame, shot.at_ms)
            gaps.saw(shot.track, shot.visit, at_ms, shot.frame.lost)
    finally:
        film.close()
    _sync(path)
    return film.mime, film.end_ms


def _write_poster(stem: Path, firsts: dict[Track, Frame]) -> int | None:
    """Give the poster's size; None where no side's first picture can be decoded."""
    for track, frame in firsts.items():
        picture = poster(track.codec, frame.data) if track.kind == "video" else None
        if picture:
            _replace(stem.with_suffix(POSTER), picture)
            return len(picture)
    return None


def _replace(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, also after a loss of power."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    _sync(part)
    part.rename(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main() -> None:
    # calls come first
    os.nice(10)
    logging.getLogger("libav").setLevel(logging.CRITICAL)
    folder, recording = sys.argv[1:]
    finish(Path(folder), recording)


if __name__ == "__main__":
    main()
