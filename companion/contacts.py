"""How a user is reached outside, by what his account says."""

from storage.accounts import AccountStore


class AccountContacts:
    """Implements `care.notices.Contacts`."""

    def __init__(self, accounts: AccountStore) -> None:
        self._accounts = accounts

    async def openid(self, user: str) -> str | None:
        account = await self._accounts.get(user)
        return account.openid if account else None

    async def phone(self, user: str) -> str | None:
        account = await self._accounts.get(user)
        return account.phone if account else None
