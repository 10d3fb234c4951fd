"""The accounts collection: phone and ID card sealed, found by the phone's keyed digest (P3, A1)."""

from datetime import datetime

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from care.accounts import Account, LogIn, Role
from care.attachments import AVATAR, FileKind
from care.errors import Conflict
from care.ports import Vault
from storage.database import Database, Document, Session
from storage.doctors import Doctors
from storage.files import Files
from storage.sessions import SessionStore

TAKEN = "该手机号已注册"
SEALED = ("phone", "id_card", "openid")


class AccountStore:
    """Keeps accounts, and lets no log-in slip past a change of password."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        sessions: SessionStore,
        files: Files,
        doctors: Doctors,
    ) -> None:
        self._accounts = database["accounts"]
        self._run = database.run
        self._vault = vault
        self._sessions = sessions
        self._files = files
        self._doctors = doctors

    async def ensure_indexes(self) -> None:
        await self._accounts.create_indexes(
            [
                # one account a phone; log-in finds it by this
                IndexModel("phone_index", unique=True),
                # who checks prescriptions: a few of all the accounts
                IndexModel(
                    "role",
                    partialFilterExpression={"role": Role.PHARMACIST.value},
                    name="pharmacists",
                ),
            ]
        )

    async def add(self, account: Account) -> None:
        """Store a new account. Raises Conflict when its phone has one."""
        try:
            await self._accounts.insert_one(self._to_document(account))
        except DuplicateKeyError:
            raise Conflict(TAKEN) from None

    async def get(self, account_id: str) -> Account | None:
        return self._from_document(await self._accounts.find_one({"_id": account_id}))

    async def by_phone(self, phone: str) -> Account | None:
        index = self._vault.index(phone)
        return self._from_document(await self._accounts.find_one({"phone_index": index}))

    async def pharmacists(self) -> list[str]:
        found = self._accounts.find({"role": Role.PHARMACIST.value}, {"_id": 1})
        return [document["_id"] async for document in found]

    async def replace(self, before: Account, after: Account) -> bool:
        """Store a change of what was seen; say no when it was no longer so.

        Raises Conflict for a phone that has an account, Forbidden for an avatar that isn't the
        owner's own picture.
        """
        document = self._to_document(after)
        # these have writers of their own
        for field in ("password_hash", "must_change_password", "openid"):
            del document[field]

        async def work(session: Session) -> bool:
            result = await self._accounts.update_one(
                {"_id": before.id, "version": before.version}, {"$set": document}, session=session
            )
            if result.matched_count:
                await self._change_avatar(session, before, after)
                if after.role is Role.DOCTOR:
                    await self._doctors.show_account(session, after)
            return result.matched_count == 1

        try:
            return await self._run(work)
        except DuplicateKeyError:
            raise Conflict(TAKEN) from None

    async def _change_avatar(self, session: Session, before: Account, after: Account) -> None:
        if after.avatar == before.avatar:
            return
        if after.avatar is not None:
            await self._files.claim_in(session, [after.avatar], after.id, AVATAR, FileKind.IMAGE)
        if before.avatar is not None:
            await self._files.let_go_in(session, before.avatar, before.id, AVATAR)

    async def keep_openid(self, account_id: str, openid: str) -> None:
        """Note who the account is in the mini-program; the newest log-in there decides."""
        sealed = self._vault.seal(openid)
        await self._accounts.update_one({"_id": account_id}, {"$set": {"openid": sealed}})

    async def log_in(self, account: Account, login: LogIn) -> bool:
        """Store a session; say no when the password changed since it was checked.

        Writing to the account makes this transaction and `set_password` exclude each other: a
        session is either there to be ended by the change, or refused after it. It must be a count:
        setting a field to the value it has is no write, and excludes nothing.
        """

        async def work(session: Session) -> bool:
            result = await self._accounts.update_one(
                {"_id": account.id, "password_hash": account.password_hash},
                {"$inc": {"log_ins": 1}},
                session=session,
            )
            if result.matched_count:
                await self._sessions.add(login, session)
            return result.matched_count == 1

        return await self._run(work)

    async def set_password(
        self, account: Account, password_hash: str, keep: str | None, now: datetime
    ) -> list[str] | None:
        """Change the password and end every session but one; give the ended ones' ids.

        None when the password was changed by somebody else meanwhile.
        """

        async def work(session: Session) -> list[str] | None:
            result = await self._accounts.update_one(
                {"_id": account.id, "password_hash": account.password_hash},
                {"$set": {"password_hash": password_hash, "must_change_password": False}},
                session=session,
            )
            if result.matched_count == 0:
                return None
            return await self._sessions.revoke_others(
                account.id, keep, "password_changed", now, session
            )

        return await self._run(work)

    def _to_document(self, account: Account) -> Document:
        document = account.model_dump(exclude={"id"})
        for field in SEALED:
            clear = document[field]
            document[field] = self._vault.seal(clear) if clear is not None else None
        return {"_id": account.id, "phone_index": self._vault.index(account.phone), **document}

    def _from_document(self, document: Document | None) -> Account | None:
        if document is None:
            return None
        # a field that is newer than the document has its default
        fields = {name: document[name] for name in Account.model_fields if name in document}
        for field in SEALED:
            sealed = fields.get(field)
            fields[field] = self._vault.open(sealed) if sealed is not None else None
        return Account(id=document["_id"], **fields)
