"""The process that touches hostile files: one job a line in, one answer a line out.

It has no secrets in its environment, no more memory than it needs, and may die of any file.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import av

from care.attachments import Finding
from care.errors import BadRequest, TooLarge
from care.policy import FilePolicy
from companion.probe import CONTENT, THUMBNAIL, UPLOAD
from companion.probe.images import clean_image
from companion.probe.recordings import clean_mp4, clean_voice
from companion.probe.sniff import IMAGES, Format, recognise

if sys.platform != "win32":
    import resource

MEMORY_BYTES = 2 * 2**30


def inspect(folder: Path, policy: FilePolicy) -> Finding:
    """Clean the upload in the folder. Raises BadRequest or TooLarge."""
    content, thumbnail = folder / CONTENT, folder / THUMBNAIL
    data = (folder / UPLOAD).read_bytes()
    form = recognise(data)
    if form in IMAGES:
        found = clean_image(data, form, content, thumbnail, policy)
    elif form is Format.MP4:
        found = clean_mp4(data, folder / UPLOAD, content, thumbnail, policy)
    else:
        found = clean_voice(data, form, content, policy)
    return Finding(
        **found,
        size=content.stat().st_size,
        sha256=hashlib.sha256(content.read_bytes()).hexdigest(),
        thumbnail_size=thumbnail.stat().st_size if thumbnail.exists() else None,
    )


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job; whatever a decoder throws means that the file is damaged."""
    try:
        found = inspect(Path(job["folder"]), FilePolicy.model_validate(job["policy"]))
    except (BadRequest, TooLarge) as refusal:
        return {"refused": refusal.code, "why": refusal.message}
    except Exception as failure:
        return {"damaged": type(failure).__name__}
    return {"found": found.model_dump(mode="json")}


def confine() -> None:
    """Give up what a decoder taken over by a file could use, and let the hub have the processor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        return
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def main() -> None:
    confine()
    av.logging.set_level(None)
    # nothing a library prints can be taken for an answer
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
