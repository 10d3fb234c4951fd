"""Subscription messages while no mini-program is connected."""

from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)


class SandboxMessages:
    """Notes what would be sent, without the values; see care.notices.SubscriptionMessages."""

    async def send(
        self,
        openid: str,  # noqa: ARG002 - the port's
        template_id: str,
        page: str,
        data: Mapping[str, str],
    ) -> None:
        log.info("sandbox_message_made", template=template_id, page=page, fields=sorted(data))
