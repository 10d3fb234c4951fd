"""A recording's journal: what passed, appended as it came; made into a film when it is finished.

A killed writer leaves a part that is whole up to its last entry, and another writer goes on with
the next part. A writer holds a lock on its part (flock): what can be locked, nobody writes.
"""

import fcntl
import os
import secrets
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from care.record import Record
from signalling.media.recording.paths import JOURNAL

MAGIC = b"WENZHEN-RTP-1\n"
SUFFIX = ".journal"
BODY_MAX = 1 << 16

_HEAD = struct.Struct("<BII")
"""Of each entry: its kind, the length of its body and the body's CRC-32."""
_PACKET = struct.Struct("<HdHIB")
_REPORT = struct.Struct("<HQI")
_MOMENT = struct.Struct("<d")

ABOUT, SOURCE, PACKET, REPORT, DROPPED, END = range(1, 7)


class About(Record):
    """What a part begins with."""

    recording: str
    call: str
    started_at: datetime


class Source(Record):
    """One stream of RTP. A side that comes back, or changes its codec, has another one."""

    number: int
    user: str
    visit: int
    """Counts how often the user came: one visit is one device with one clock."""
    kind: str
    codec: str


@dataclass(frozen=True, slots=True)
class Packet:
    """`arrival` is in seconds since the recording began."""

    source: int
    arrival: float
    seq: int
    timestamp: int
    marker: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """A sender report: `timestamp` was sampled at `ntp` (32.32 bits) of the sender's clock."""

    source: int
    ntp: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """From this time on something was not written, until the next packet."""

    arrival: float


@dataclass(frozen=True, slots=True)
class End:
    """The recording was told to end at this time."""

    arrival: float


Entry = About | Source | Packet | Report | Dropped | End


def beginning(entry: About) -> bytes:
    return _entry(ABOUT, entry.model_dump_json().encode())


def source(entry: Source) -> bytes:
    return _entry(SOURCE, entry.model_dump_json().encode())


def packet(
    number: int, arrival: float, seq: int, timestamp: int, marker: int, payload: bytes
) -> bytes:
    """Write a `Packet` without making one: this runs for each that passes."""
    head = _PACKET.pack(number, arrival, seq, timestamp, marker)
    return _entry(PACKET, head + payload)


def report(number: int, ntp: int, timestamp: int) -> bytes:
    return _entry(REPORT, _REPORT.pack(number, ntp, timestamp))


def moment(kind: int, arrival: float) -> bytes:
    """Write an entry that has its time alone: DROPPED or END."""
    return _entry(kind, _MOMENT.pack(arrival))


def _entry(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body), zlib.crc32(body)) + body


def _packet(body: bytes) -> Packet:
    source, arrival, seq, timestamp, marker = _PACKET.unpack_from(body)
    return Packet(source, arrival, seq, timestamp, marker, body[_PACKET.size :])


_READERS: Mapping[int, Callable[[bytes], Entry]] = {
    ABOUT: About.model_validate_json,
    SOURCE: Source.model_validate_json,
    PACKET: _packet,
    REPORT: lambda body: Report(*_REPORT.unpack(body)),
    DROPPED: lambda body: Dropped(*_MOMENT.unpack(body)),
    END: lambda body: End(*_MOMENT.unpack(body)),
}


def read(parts: Sequence[Path]) -> Iterator[Entry]:
    """Give the entries of all parts as if one writer had written them, each part up to its tear."""
    first: datetime | None = None
    for number, path in enumerate(parts):
        offset = 0.0
        for entry in _read(path):
            if isinstance(entry, About):
                first = first or entry.started_at
                offset = (entry.started_at - first).total_seconds()
            yield _shifted(entry, number << 16, offset) if number else entry


def _shifted(entry: Entry, base: int, offset: float) -> Entry:
    """Count a later part's streams and visits on, and its time from the first part's begin."""
    match entry:
        case About():
            return entry
        case Source():
            return entry.changed(number=base + entry.number, visit=base + entry.visit)
        case Packet():
            return replace(entry, source=base + entry.source, arrival=offset + entry.arrival)
        case Report():
            return replace(entry, source=base + entry.source)
        case Dropped() | End():
            return replace(entry, arrival=offset + entry.arrival)


def _read(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            kind, size, checksum = _HEAD.unpack(head)
            body = file.read(size) if size <= BODY_MAX else b""
            # a loss of power may leave anything where data were to come
            if kind not in _READERS or len(body) < size or zlib.crc32(body) != checksum:
                return
            yield _READERS[kind](body)


def parts(folder: Path, recording: str) -> list[Path]:
    """List a recording's parts in their order: each is named by the time it began."""
    return sorted(folder.glob(f"{recording}.*{JOURNAL}"))


def about(folder: Path, recording: str) -> About | None:
    """Read what a recording is of; None where there is nothing that can be read."""
    return next((e for e in read(parts(folder, recording)) if isinstance(e, About)), None)


def create(folder: Path, entry: About) -> BinaryIO:
    """Begin the next part, locked from the moment its name says so. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    nameless = folder / f".{entry.recording}.{secrets.token_hex(4)}"
    file = nameless.open("xb", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        append(file, MAGIC + beginning(entry))
        milliseconds = int(entry.started_at.timestamp() * 1000)
        # unlike a rename, this never takes the place of another one
        (folder / f"{entry.recording}.{milliseconds:014d}{JOURNAL}").hardlink_to(nameless)
    except OSError:
        file.close()
        raise
    finally:
        nameless.unlink()
    return file


def append(file: BinaryIO, data: bytes) -> None:
    """Write all of it: a nearly full disk takes a part, and refuses the next."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


@contextmanager
def held(paths: Sequence[Path]) -> Iterator[bool]:
    """Keep every part from others inside the block; or say that some are written or held."""
    with ExitStack() as locks:
        yield all(_lock(path, locks) for path in paths)


def _lock(path: Path, locks: ExitStack) -> bool:
    try:
        file = locks.enter_context(path.open("rb"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False
    # it may have been removed since it was opened: its film is stored
    return os.fstat(file.fileno()).st_nlink > 0
