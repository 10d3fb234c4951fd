"""The calls' rows of the command table."""

from collections.abc import Mapping
from typing import Any

from care.accounts import Role
from care.calls import Device, Media, Report
from realtime.gateway import call_payloads as p
from realtime.gateway.connections import Connection
from realtime.gateway.table import Command
from signalling.calls import CallService
from signalling.quality import QualityService
from signalling.signals import SignalService

DOCTOR = frozenset({Role.DOCTOR})


class CallCommands:
    """Join the calls' use cases to their rows."""

    def __init__(self, calls: CallService, signals: SignalService, quality: QualityService) -> None:
        self._calls = calls
        self._signals = signals
        self._quality = quality

    def table(self) -> list[Command[Any]]:
        return [
            Command(
                "call:start",
                p.StartCall,
                self.start,
                DOCTOR,
                "Call the patient (V1); answers `call`, `ice_servers`",
            ),
            Command(
                "call:accept",
                p.OneCall,
                self.accept,
                None,
                "Take the call on this device (V1); answers `call`, `ice_servers`",
            ),
            Command("call:decline", p.OneCall, self.decline, None, "Refuse it; answers `call`"),
            Command("call:cancel", p.OneCall, self.cancel, None, "Stop ringing; answers `call`"),
            Command("call:hang_up", p.OneCall, self.hang_up, None, "End it (V6); answers `call`"),
            Command(
                "call:resume",
                p.ResumeCall,
                self.resume,
                None,
                "Come back after a reload or a lost socket (V5); answers `call`, `ice_servers`",
            ),
            Command(
                "call:offer",
                p.Describe,
                self.offer,
                None,
                "Pass an offer on (V3); in `relay` mode answers the server's `sdp`",
            ),
            Command("call:answer", p.Describe, self.answer, None, "Pass an answer on (V3)"),
            Command("call:candidate", p.Trickle, self.candidate, None, "Pass a candidate on (V3)"),
            Command(
                "call:media",
                p.SetMedia,
                self.media,
                None,
                "Show what is muted, off or blocked (V7)",
            ),
            Command(
                "call:consent",
                p.Consent,
                self.consent,
                None,
                "Agree to a recording, or take that back (V8); a doctor's asks; answers `call`",
            ),
            Command(
                "call:stats",
                p.ReportStats,
                self.stats,
                None,
                "Report every 5 s what was measured (V9), and at once when media flows (V2)",
            ),
        ]

    async def start(self, at: Connection, asked: p.StartCall) -> Mapping[str, Any]:
        media = Media(asked.media)
        return await self._calls.start(
            at.caller, at.id, at.device_id, asked.room, media, record=asked.record
        )

    async def accept(self, at: Connection, asked: p.OneCall) -> Mapping[str, Any]:
        return await self._calls.accept(at.caller, at.id, at.device_id, asked.call)

    async def decline(self, at: Connection, asked: p.OneCall) -> Mapping[str, Any]:
        return await self._calls.decline(at.caller, asked.call)

    async def cancel(self, at: Connection, asked: p.OneCall) -> Mapping[str, Any]:
        return await self._calls.cancel(at.caller, asked.call)

    async def hang_up(self, at: Connection, asked: p.OneCall) -> Mapping[str, Any]:
        return await self._calls.hang_up(at.caller, asked.call)

    async def resume(self, at: Connection, asked: p.ResumeCall) -> Mapping[str, Any]:
        return await self._calls.resume(
            at.caller, at.id, at.device_id, asked.call, fresh=asked.fresh
        )

    async def offer(self, at: Connection, asked: p.Describe) -> Mapping[str, Any]:
        answer = await self._signals.offer(at.user, at.id, asked.call, asked.to, asked.sdp)
        return {"sdp": answer} if answer else {}

    async def answer(self, at: Connection, asked: p.Describe) -> Mapping[str, Any]:
        await self._signals.answer(at.user, at.id, asked.call, asked.to, asked.sdp)
        return {}

    async def candidate(self, at: Connection, asked: p.Trickle) -> Mapping[str, Any]:
        candidate = asked.candidate.model_dump(exclude_unset=True)
        await self._signals.candidate(at.user, at.id, asked.call, asked.to, candidate)
        return {}

    async def media(self, at: Connection, asked: p.SetMedia) -> Mapping[str, Any]:
        mic, camera = Device(asked.mic), Device(asked.camera)
        await self._calls.set_media(at.caller, at.id, asked.call, mic, camera)
        return {}

    async def consent(self, at: Connection, asked: p.Consent) -> Mapping[str, Any]:
        return await self._calls.consent(at.caller, at.id, asked.call, agrees=asked.record)

    async def stats(self, at: Connection, asked: p.ReportStats) -> Mapping[str, Any]:
        await self._calls.hear(at.caller, at.id, asked.call, asked.stats.connection)
        await self._quality.report(at.user, asked.call, Report(**asked.stats.model_dump()))
        return {}
