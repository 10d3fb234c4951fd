"""What the group consultations' scenarios have in common: the people, and the way to each state."""

from dataclasses import dataclass
from typing import Any

from tests.scenarios.people import User, begin, say

TITLE, REASON = "颌面外伤多科讨论", "口腔外伤合并发热，请外科和内科会诊"
OPINION, CONCLUSION = "考虑下颌骨线性骨折，建议CT", "转入外科门诊，今日完善CT"


@dataclass(frozen=True)
class Case:
    """A patient in a talk with his doctor, and two doctors who may be asked."""

    patient: User
    opener: User
    one: User
    two: User
    consultation: str
    room: str

    async def open(self, mode: str = "with_patient", **more: Any) -> Any:
        answer = await self.opener.emit(
            "group:open", consultation=self.consultation, title=TITLE, reason=REASON, mode=mode,
            doctors=[self.one.id, self.two.id], **more,
        )  # fmt: skip
        return answer["group"]

    async def active(self, mode: str = "with_patient", **more: Any) -> Any:
        group = await self.open(mode, **more)
        return await step(self.one, "accept", group)

    async def concluded(self, mode: str = "with_patient") -> Any:
        group = await self.active(mode)
        await step(self.one, "opinion", group, text=OPINION)
        return await step(self.opener, "close", group, conclusion=CONCLUSION)

    async def cancelled(self, mode: str = "with_patient") -> Any:
        group = await self.open(mode)
        await step(self.one, "decline", group)
        return await step(self.two, "decline", group)

    async def lines(self, user: User) -> list[Any]:
        return list((await user.emit("room:join", room=self.room, after_seq=0))["messages"])


async def step(user: User, action: str, group: Any, **more: Any) -> Any:
    return (await user.emit(f"group:{action}", group=group["id"], **more))["group"]


async def open_case(patient: User, opener: User, one: User, two: User) -> Case:
    """Bring a talk to where the doctor has answered."""
    made = await begin(patient, opener)
    for doctor in (one, two):
        await doctor.client.connect()
    await say(patient, made["room"], "医生您好，右下后牙疼")
    await say(opener, made["room"], "您好，我看看")
    return Case(patient, opener, one, two, made["id"], made["room"])
