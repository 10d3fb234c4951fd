"""Text messages: their settings, and what stands in while no provider is connected."""

import sys
from collections.abc import Mapping
from typing import Literal

import structlog

from care.masking import mask_phone
from care.policy import Section

log = structlog.get_logger(__name__)


class SmsSettings(Section):
    """`templates`: the provider's template id for each message of ours."""

    provider: Literal["sandbox", "tencent"] = "sandbox"
    base_url: str = "https://sms.tencentcloudapi.com"
    region: str = "ap-guangzhou"
    app_id: str = ""
    sign_name: str = ""
    templates: Mapping[str, str] = {}


class SandboxSms:
    """Shows what would be sent to whoever runs the server; implements `care.ports.Sms`."""

    async def send(self, phone: str, template: str, values: Mapping[str, str]) -> None:
        log.info("sandbox_sms_made", template=template)
        # to the terminal, past the log: codes don't belong in one
        shown = " ".join(f"{name}={value}" for name, value in values.items())
        print(f"[sandbox SMS] {mask_phone(phone)} {template}: {shown}", file=sys.stderr)  # noqa: T201 - as above

    async def close(self) -> None:
        """Do nothing: there is no connection."""
