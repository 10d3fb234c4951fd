"""The use cases of the directory: search, a doctor's page, favourites, heartbeats (D1–D4, D6)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from care.accounts import Caller
from care.directory import Doctor, Favourite, Rank, Search
from care.errors import Forbidden
from care.policy import PresencePolicy
from care.ports import Audit, Clock
from care.reviews import Review
from storage.doctors import Doctors
from storage.favourites import Favourites
from storage.names import Names
from storage.reviews import Reviews

FIRST_REVIEWS = 3
"""How many reviews a doctor's page shows before the list of all."""


@dataclass(frozen=True, slots=True)
class Page:
    """A doctor's page (D3)."""

    doctor: Doctor
    favourite: bool
    reviews: list[Review]


class Directory:
    def __init__(
        self,
        doctors: Doctors,
        favourites: Favourites,
        reviews: Reviews,
        departments: Names,
        hospitals: Names,
        audit: Audit,
        clock: Clock,
        policy: PresencePolicy,
    ) -> None:
        self._doctors = doctors
        self._favourites = favourites
        self._reviews = reviews
        self._departments = departments
        self._hospitals = hospitals
        self._audit = audit
        self._clock = clock
        self._heartbeat = timedelta(seconds=policy.heartbeat_seconds)

    async def departments(self) -> list[str]:
        return await self._departments.all()

    async def hospitals(self) -> list[str]:
        return await self._hospitals.all()

    async def search(
        self, search: Search, after: Rank | None, limit: int
    ) -> list[tuple[Rank, Doctor]]:
        return await self._doctors.search(search, after, limit)

    async def recommend(self, caller: Caller, doctor_id: str, *, recommended: bool) -> None:
        """Show a doctor on the home page or no longer (D4). Raises Forbidden for an unknown one."""
        await self._doctor(doctor_id)
        action = "doctor_recommended" if recommended else "doctor_not_recommended"
        await self._audit.record(caller.user, action, doctor_id, "edit")
        await self._doctors.recommend(doctor_id, recommended=recommended)

    async def page(self, user: str, doctor_id: str) -> Page:
        """Give a doctor's page as this user sees it. Raises Forbidden for an unknown one."""
        doctor = await self._doctor(doctor_id)
        favourite = await self._favourites.has(user, doctor_id)
        reviews = await self._reviews.of(doctor_id, None, FIRST_REVIEWS)
        return Page(doctor, favourite, reviews)

    async def reviews(self, doctor_id: str, before: str | None, limit: int) -> list[Review]:
        """List reviews, newest first. Raises Forbidden for an unknown doctor."""
        await self._doctor(doctor_id)
        return await self._reviews.of(doctor_id, before, limit)

    async def mark(self, user: str, doctor_id: str) -> None:
        """Make a doctor a favourite. Raises Forbidden for an unknown one."""
        await self._doctor(doctor_id)
        await self._favourites.add(user, doctor_id, self._clock.now())

    async def unmark(self, user: str, doctor_id: str) -> None:
        await self._favourites.remove(user, doctor_id)

    async def count_favourites(self, user: str) -> int:
        return await self._favourites.count(user)

    async def favourites(self, user: str, before: str | None, limit: int) -> list[Favourite]:
        """List what the user marked, newest first, older than the mark `before`."""
        return await self._favourites.page(user, before, limit)

    async def among(self, doctor_ids: Collection[str]) -> dict[str, Doctor]:
        return await self._doctors.among(doctor_ids)

    async def hear(self, doctor_id: str) -> datetime:
        """Take a doctor's heartbeat; tell until when he counts as online. Raises Forbidden."""
        until = self._clock.now() + self._heartbeat
        if not await self._doctors.heard_from(doctor_id, until):
            raise Forbidden
        return until

    async def _doctor(self, doctor_id: str) -> Doctor:
        doctor = await self._doctors.find(doctor_id)
        if doctor is None:
            raise Forbidden
        return doctor
