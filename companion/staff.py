"""Accounts of the staff, and a doctor's page beside his (A11)."""

from care.accounts import Role
from care.directory import Doctor, Practice, Prices
from companion.accounts import Accounts
from storage.doctors import Doctors
from storage.names import Names


class Staff:
    def __init__(
        self, accounts: Accounts, doctors: Doctors, hospitals: Names, departments: Names
    ) -> None:
        self._accounts = accounts
        self._doctors = doctors
        self._hospitals = hospitals
        self._departments = departments

    async def create(
        self,
        role: Role,
        phone: str,
        name: str,
        password: str,
        practice: Practice | None = None,
        *,
        by: str = "command_line",
        must_change_password: bool = False,
    ) -> str:
        """Make an account and give its id; asking again makes what is missing.

        Raises BadRequest, Conflict.
        """
        account = await self._accounts.create_staff(
            role, phone, name, password, by=by, must_change_password=must_change_password
        )
        if practice is not None:
            await self._hospitals.put([practice.hospital])
            await self._departments.put([practice.department])
            # one offer that needs no agreement on money: the others are opened later
            prices = Prices(text=0)
            page = Doctor(id=account, name=name, prices=prices, **practice.model_dump())
            await self._doctors.add(page)
        return account
