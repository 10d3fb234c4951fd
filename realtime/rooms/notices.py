"""Notices: stored once, shown at once, then sent outside to those who need it (N1, N2, R8, C5)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from care.errors import BadRequest, CareError, Forbidden
from care.notices import (
    TEMPLATES,
    ConsentStore,
    Contacts,
    Deliver,
    Delivered,
    InvalidUser,
    Notice,
    NoticeStore,
    Notify,
    QuotaUsed,
    SubscriptionMessages,
    Way,
    message_data,
    shown_values,
)
from care.ports import Channel, Clock, OnlineUsers, Sms

PAGE = "pages/notices/notices"
"""What a subscription message opens in the mini-program."""

UNSENT = frozenset({Delivered.NO_CONSENT, Delivered.REFUSED, Delivered.FAILED})

logger = structlog.get_logger(__name__)


class Outside:
    """The ways that leave the hospital. `templates`: WeChat's template id for each of ours."""

    def __init__(
        self,
        contacts: Contacts,
        wechat: SubscriptionMessages,
        sms: Sms,
        templates: Mapping[str, str],
    ) -> None:
        self.contacts = contacts
        self.wechat = wechat
        self.sms = sms
        self.templates = templates


class NoticeService:
    def __init__(
        self,
        notices: NoticeStore,
        consents: ConsentStore,
        outside: Outside,
        online: OnlineUsers,
        channel: Channel,
        clock: Clock,
        zone: ZoneInfo,
    ) -> None:
        self._notices = notices
        self._consents = consents
        self._outside = outside
        self._online = online
        self._channel = channel
        self._clock = clock
        self._zone = zone

    async def notify(self, effect: Notify) -> None:
        """Keep a notice and push it, once for each key."""
        here = await self._here(effect.user)
        notice = Notice(
            id=effect.key,
            user=effect.user,
            template=effect.template,
            values=shown_values(effect.values, self._zone),
            at=self._clock.now(),
            deliveries={Way.SOCKET: Delivered.SENT if here else Delivered.AWAY},
        )
        if await self._notices.add(notice):
            self._channel.push([notice.user], "notice:new", notice.to_wire())

    async def deliver(self, effect: Deliver) -> None:
        """Send a notice outside, to whom is away: by WeChat, and what is urgent else by SMS.

        Raises what a later try may mend.
        """
        notice = await self._notices.get(effect.notice)
        if notice is None or notice.read_at is not None:
            return
        template = TEMPLATES[notice.template]
        age = (self._clock.now() - notice.at).total_seconds()
        if template.good_seconds is not None and age > template.good_seconds:
            logger.warning("notice_too_late", notice=notice.id, template=notice.template)
            return
        away = not await self._here(notice.user)
        if away or template.even_here:
            wechat = await self._by_wechat(notice, urgent=template.urgent and away)
            if template.urgent and away and wechat in UNSENT:
                await self._by_sms(notice)

    async def _here(self, user: str) -> bool:
        return user in await self._online.online([user])

    async def _by_wechat(self, notice: Notice, *, urgent: bool) -> Delivered:
        """Send the subscription message unless that is settled; give how far it got."""
        settled = notice.deliveries.get(Way.WECHAT)
        if settled is not None and settled is not Delivered.SENDING:
            return settled
        openid = await self._outside.contacts.openid(notice.user)
        template_id = self._outside.templates.get(notice.template)
        if openid is None or template_id is None:
            delivered = Delivered.REFUSED
        elif not await self._notices.spend(notice):
            delivered = Delivered.NO_CONSENT
        else:
            delivered = await self._send(notice, openid, template_id, urgent=urgent)
        return await self._note(notice, Way.WECHAT, delivered)

    async def _send(
        self, notice: Notice, openid: str, template_id: str, *, urgent: bool
    ) -> Delivered:
        """Hand the message to WeChat. What a later try may mend is raised, unless it is urgent.

        A failure gives the consent back, also where WeChat may have sent and its answer was lost:
        a ledger one too high costs a refused call, which sets it right, one too low a message.
        """
        data = message_data(TEMPLATES[notice.template], notice.values)
        try:
            await self._outside.wechat.send(openid, template_id, PAGE, data)
        except QuotaUsed:
            await self._consents.clear(notice.user, notice.template)
            return Delivered.NO_CONSENT
        except InvalidUser:
            await self._notices.give_back(notice)
            return Delivered.REFUSED
        except CareError:
            await self._notices.give_back(notice)
            if not urgent:
                raise
            return Delivered.FAILED
        return Delivered.SENT

    async def _by_sms(self, notice: Notice) -> None:
        if notice.deliveries.get(Way.SMS) is Delivered.SENT:
            return
        phone = await self._outside.contacts.phone(notice.user)
        if phone is None:
            return
        await self._outside.sms.send(phone, notice.template, notice.values)
        await self._note(notice, Way.SMS, Delivered.SENT)

    async def _note(self, notice: Notice, way: Way, delivered: Delivered) -> Delivered:
        await self._notices.note(notice.id, way, delivered)
        logger.info("notice_delivery", notice=notice.id, way=way.value, state=delivered.value)
        return delivered

    async def page(
        self, user: str, before: tuple[datetime, str] | None, limit: int
    ) -> tuple[list[Notice], bool, int]:
        """List the user's notices; say whether there are more, and count the unread."""
        found = await self._notices.page(user, before, limit + 1)
        return found[:limit], len(found) > limit, await self._notices.unread(user)

    async def read(self, user: str, notice_id: str) -> int:
        """Mark one as read; give how many are unread. Raises Forbidden for anyone else's."""
        if not await self._notices.read(user, notice_id, self._clock.now()):
            raise Forbidden
        return await self._notices.unread(user)

    async def read_all(self, user: str) -> None:
        await self._notices.read_all(user, self._clock.now())

    async def subscriptions(self, user: str) -> list[dict[str, Any]]:
        """List what a client may ask the user's consent for, and what is left of it."""
        left = await self._consents.left(user)
        return [
            {"template": name, "template_id": template_id, "left": left.get(name, 0)}
            for name, template_id in self._outside.templates.items()
        ]

    async def consent(self, user: str, template: str, accepted: int) -> int:
        """Count the consents the user gave WeChat; give what is left. Raises BadRequest."""
        if template not in self._outside.templates:
            raise BadRequest.field("template", "没有这个订阅消息模板")
        return await self._consents.add(user, template, accepted)
