"""The transfers' rows of the command table."""

from collections.abc import Mapping
from typing import Any

from care.accounts import Role
from care.transfer import TransferAction
from realtime.gateway import payloads as p
from realtime.gateway.connections import Connection
from realtime.gateway.table import Command
from realtime.rooms.transfers import TransferService

DOCTOR = frozenset({Role.DOCTOR})
PATIENT = frozenset({Role.PATIENT})


class TransferCommands:
    """Join the transfers' use cases to their rows."""

    def __init__(self, transfers: TransferService) -> None:
        self._transfers = transfers

    def table(self) -> list[Command[Any]]:
        return [
            Command(
                "transfer:propose",
                p.ProposeTransfer,
                self.propose,
                DOCTOR,
                "Ask the patient to go on with another doctor (转诊, T1); answers `transfer`",
            ),
            Command(
                "transfer:agree",
                p.OneTransfer,
                self.agree,
                PATIENT,
                "Agree; the new doctor is asked (T2); answers `transfer`",
            ),
            Command(
                "transfer:refuse",
                p.OneTransfer,
                self.refuse,
                PATIENT,
                "Refuse; the consultation closes and is refunded (T3); answers `transfer`",
            ),
            Command(
                "transfer:accept",
                p.OneTransfer,
                self.accept,
                DOCTOR,
                "Take the patient over (T2); answers `transfer`",
            ),
            Command(
                "transfer:decline",
                p.OneTransfer,
                self.decline,
                DOCTOR,
                "Leave the patient with his doctor (T2); answers `transfer`",
            ),
        ]

    async def propose(self, at: Connection, asked: p.ProposeTransfer) -> Mapping[str, Any]:
        made = await self._transfers.propose(
            at.caller, asked.consultation, asked.to_doctor, asked.reason
        )
        return {"transfer": made}

    async def agree(self, at: Connection, asked: p.OneTransfer) -> Mapping[str, Any]:
        return await self._answer(at, asked, TransferAction.AGREE)

    async def refuse(self, at: Connection, asked: p.OneTransfer) -> Mapping[str, Any]:
        return await self._answer(at, asked, TransferAction.REFUSE)

    async def accept(self, at: Connection, asked: p.OneTransfer) -> Mapping[str, Any]:
        return await self._answer(at, asked, TransferAction.ACCEPT)

    async def decline(self, at: Connection, asked: p.OneTransfer) -> Mapping[str, Any]:
        return await self._answer(at, asked, TransferAction.DECLINE)

    async def _answer(
        self, at: Connection, asked: p.OneTransfer, action: TransferAction
    ) -> Mapping[str, Any]:
        return {"transfer": await self._transfers.answer(at.caller, asked.transfer, action)}
