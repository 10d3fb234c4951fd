"""What the transfers' scenarios have in common: the people, and the way to each state."""

from dataclasses import dataclass
from typing import Any

from tests.scenarios.people import User, begin, say

REASON = "口腔问题已处理，牙疼由颌面外伤引起，需外科继续诊治"


@dataclass(frozen=True)
class Case:
    """A patient in a talk with his doctor, and the doctor it may go to."""

    patient: User
    old: User
    new: User
    consultation: str
    room: str

    async def propose(self) -> str:
        answer = await self.old.emit(
            "transfer:propose", consultation=self.consultation, to_doctor=self.new.id, reason=REASON
        )
        return str(answer["transfer"]["id"])

    async def agreed(self) -> str:
        transfer = await self.propose()
        await self.patient.emit("transfer:agree", transfer=transfer)
        return transfer

    async def accepted(self) -> str:
        transfer = await self.agreed()
        await self.new.emit("transfer:accept", transfer=transfer)
        return transfer

    async def refused(self) -> str:
        transfer = await self.propose()
        await self.patient.emit("transfer:refuse", transfer=transfer)
        return transfer

    async def declined(self) -> str:
        transfer = await self.agreed()
        await self.new.emit("transfer:decline", transfer=transfer)
        return transfer

    async def cancelled(self) -> str:
        transfer = await self.propose()
        await self.patient.emit("consultation:end", consultation=self.consultation)
        return transfer

    async def transfer(self, transfer: str) -> Any:
        return await self.patient.get(f"/transfers/{transfer}")

    async def state(self) -> Any:
        return (await self.patient.get(f"/consultations/{self.consultation}"))["state"]

    async def lines(self, user: User) -> list[Any]:
        return list((await user.emit("room:join", room=self.room, after_seq=0))["messages"])


async def open_case(patient: User, old: User, new: User) -> Case:
    """Bring a talk to where the doctor has answered."""
    made = await begin(patient, old)
    await new.client.connect()
    await say(patient, made["room"], "医生您好，右下后牙疼")
    await say(old, made["room"], "您好，我看看")
    return Case(patient, old, new, made["id"], made["room"])
