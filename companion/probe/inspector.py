"""Have uploads inspected by worker processes: a file can cost its worker, never the hub."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import structlog

from care.attachments import Finding
from care.errors import BadRequest, TooLarge, Unavailable
from care.policy import FilePolicy

ROOT = Path(__file__).resolve().parents[2]
JOBS_PER_WORKER = 200
"""Then a new one takes its place: a leak in a decoder stays small."""
WAITING_MAX = 32

log = structlog.get_logger(__name__)


class WorkerDied(Exception):
    """The worker went away while it had a file in hand."""


class Inspector:
    """Inspect uploads, a few at a time; workers start with the first file and are used again."""

    def __init__(self, policy: FilePolicy) -> None:
        self._policy = policy
        self._slots = asyncio.Semaphore(policy.inspection_workers)
        self._idle: list[_Worker] = []
        self._waiting = 0

    async def inspect(self, folder: Path) -> Finding:
        """Clean `upload` in the folder into `content`, and `thumbnail` where it has a picture.

        Raises BadRequest or TooLarge for what isn't accepted, Unavailable when too many wait.
        """
        if self._waiting >= WAITING_MAX:
            raise Unavailable("上传的人较多，请稍后再试")
        self._waiting += 1
        try:
            async with self._slots:
                answer = await self._ask(folder)
        finally:
            self._waiting -= 1
        return _read(answer)

    async def _ask(self, folder: Path) -> dict[str, Any]:
        worker = await self._take()
        job = {"folder": str(folder), "policy": self._policy.model_dump()}
        try:
            async with asyncio.timeout(self._policy.inspection_seconds):
                answer = await worker.ask(job)
        except (TimeoutError, WorkerDied) as failure:
            await worker.kill()
            log.warning("inspection_failed", reason=type(failure).__name__)
            raise BadRequest.field("file", "无法处理该文件，请转换格式后重试") from None
        except BaseException:
            await worker.kill()
            raise
        if worker.jobs < JOBS_PER_WORKER:
            self._idle.append(worker)
        else:
            await worker.kill()
        return answer

    async def _take(self) -> "_Worker":
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
        return await _Worker.start()

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().kill()


def _read(answer: dict[str, Any]) -> Finding:
    if "found" in answer:
        return Finding.model_validate(answer["found"])
    if answer.get("refused") == TooLarge.code:
        raise TooLarge(answer["why"])
    if "damaged" in answer:
        log.info("upload_damaged", reason=answer["damaged"])
    raise BadRequest.field("file", answer.get("why", "文件已损坏或不完整，请重新选择"))


class _Worker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.jobs = 0

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @classmethod
    async def start(cls) -> "_Worker":
        """Start one without the hub's environment, which may hold secrets. Raises Unavailable."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "companion.probe.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=ROOT,
                env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        except OSError:
            log.exception("inspection_worker_not_started")
            raise Unavailable from None
        return cls(process)

    async def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """Give it a job and wait for the answer. Raises WorkerDied."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise WorkerDied
        self.jobs += 1
        try:
            stdin.write(json.dumps(job).encode() + b"\n")
            await stdin.drain()
        except ConnectionError:
            raise WorkerDied from None
        line = await stdout.readline()
        if not line.endswith(b"\n"):
            raise WorkerDied
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
