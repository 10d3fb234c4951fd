"""The companion's use cases, joined to what they are kept in, and their rows of the REST table."""

import asyncio
from zoneinfo import ZoneInfo

import structlog

from care.circle import WordList
from care.policy import Policy
from care.ports import Clock
from companion import consents
from companion.accounts import Accounts
from companion.catalogue import Catalogue
from companion.circle import Circle
from companion.demo import DemoParts, load_demo
from companion.directory import Directory
from companion.files import FileService
from companion.one_tap import MiniProgram, NoMiniProgram, OneTap, SandboxMiniProgram
from companion.passwords import Passwords
from companion.people import PeopleService
from companion.pharmacies import PharmacyService
from companion.probe.inspector import Inspector
from companion.rest.auth import AuthRoutes
from companion.rest.circle import CircleRoutes
from companion.rest.circle_staff import CircleStaffRoutes
from companion.rest.comments import CommentRoutes
from companion.rest.consents import ConsentRoutes
from companion.rest.directory import DirectoryRoutes
from companion.rest.files import FileRoutes
from companion.rest.kernel import Route
from companion.rest.people import PeopleRoutes
from companion.rest.pharmacies import PharmacyRoutes
from companion.schedules import ScheduleService
from companion.sessions import OnRevoked, Sessions
from companion.sms_codes import SmsCodes
from companion.staff import Staff
from companion.tokens import AccessTokens, SigningKeys
from companion.wechat import WechatClient
from companion.words import read_words
from realtime.outside import join_outside, join_sms
from realtime.secrets import ConfigError, Secrets
from realtime.settings import Settings
from realtime.stores import Stores

DEMO_SMS_CODE = "246810"
SWEEP_SECONDS = 600.0

logger = structlog.get_logger(__name__)


class Companion:
    def __init__(
        self,
        stores: Stores,
        secrets: Secrets,
        settings: Settings,
        clock: Clock,
        on_revoked: OnRevoked,
    ) -> None:
        policy, zone = settings.policy, ZoneInfo(settings.policy.timezone)
        self._stores = stores
        self._clock = clock
        self._policy = policy
        self.consent_versions = consents.CURRENT
        keys = SigningKeys(secrets.jwt_keys, secrets.jwt_current)
        self.tokens = AccessTokens(keys, stores.sessions, clock, policy.accounts)
        self.sessions = Sessions(
            stores.sessions, stores.accounts, self.tokens, clock, policy.accounts, on_revoked
        )
        self.sms = join_sms(settings, secrets, clock)
        self.codes = SmsCodes(
            stores.sms_codes, self.sms, stores.vault, clock, policy.accounts, zone,
            fixed_code=DEMO_SMS_CODE if settings.demo else None,
        )  # fmt: skip
        self.inspector = Inspector(policy.files)
        self.files = FileService(
            stores.files, self.inspector, stores.room_access, clock, policy.files,
            secrets.url_key,
        )  # fmt: skip
        passwords = Passwords()
        self.accounts = Accounts(
            stores.accounts, stores.login_failures, self.sessions, self.codes, passwords,
            stores.vault, stores.audit, stores.signing_keys, clock, zone,
            terms_version=consents.CURRENT["terms"],
        )  # fmt: skip
        self.staff = Staff(self.accounts, stores.doctors, stores.hospitals, stores.departments)
        self.wechat = _wechat(stores, secrets, settings, clock)
        self.outside = join_outside(settings, stores.accounts, self.wechat, self.sms)
        self.one_tap = OneTap(
            self.wechat or _without_wechat(settings), stores.accounts, self.sessions, passwords,
            clock, policy.accounts,
        )  # fmt: skip
        self.people = PeopleService(
            stores.people, stores.consultations, stores.audit, clock, policy.people, zone
        )
        self.catalogue = Catalogue(stores.drugs, stores.diagnoses)
        self.pharmacies = PharmacyService(stores.pharmacies, stores.addresses, stores.prescriptions)
        self.schedules = ScheduleService(stores.schedules, policy.bookings)
        self.directory = Directory(
            stores.doctors, stores.favourites, stores.reviews, stores.departments,
            stores.hospitals, stores.audit, clock, policy.presence,
        )  # fmt: skip
        self.circle = Circle(
            stores.posts, stores.comments, stores.likes, _forbidden_words(policy), stores.audit,
            clock, policy.circle,
        )  # fmt: skip

    def routes(self) -> list[Route]:
        """List the companion's rows."""
        return [
            *AuthRoutes(
                self.accounts,
                self.one_tap,
                self.sessions,
                self.codes,
                self.files,
                self._policy.accounts,
            ).routes(),
            *PeopleRoutes(self.people, self._clock, self._policy.people).routes(),
            *ConsentRoutes(consents.load()).routes(),
            *DirectoryRoutes(self.directory, self.files, self._clock).routes(),
            *PharmacyRoutes(self.pharmacies, self._clock).routes(),
            *CircleRoutes(self.circle, self.files, self._clock).routes(),
            *CircleStaffRoutes(self.circle, self.files, self._clock).routes(),
            *CommentRoutes(self.circle, self._clock).routes(),
            *FileRoutes(self.files, self._clock, self._policy.files).routes(),
        ]

    async def load_demo(self) -> None:
        """Load the demo data once (PROTOCOL.md, «Demo data»)."""
        parts = DemoParts(
            self.accounts, self.people, self._stores.doctors, self._stores.departments,
            self._stores.hospitals, self.schedules, self.catalogue, self.pharmacies,
            self.circle, self._stores.demo_marks,
        )  # fmt: skip
        await load_demo(parts, self._clock.now())

    async def run(self) -> None:
        """Remove uploads nobody used, for as long as the process runs."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.files.sweep(self._clock.now())
            except Exception:
                logger.exception("sweep_failed")

    async def close(self) -> None:
        await self.inspector.close()
        if self.wechat is not None:
            await self.wechat.close()
        await self.sms.close()


def _wechat(
    stores: Stores, secrets: Secrets, settings: Settings, clock: Clock
) -> WechatClient | None:
    """Join the mini-program, where its id and its secret are given."""
    appid, secret = settings.wechat.appid, secrets.optional.get("wechat_secret")
    if not appid or not secret:
        return None
    return WechatClient(appid, secret, settings.wechat.base_url, stores.wechat_tokens, clock)


def _forbidden_words(policy: Policy) -> WordList:
    try:
        return read_words(policy.circle.forbidden_words)
    except (OSError, UnicodeDecodeError):
        raise ConfigError("circle.forbidden_words: must be a readable UTF-8 file") from None


def _without_wechat(settings: Settings) -> MiniProgram:
    return SandboxMiniProgram() if settings.demo else NoMiniProgram()
