"""Text messages while no provider is connected."""

import sys
from collections.abc import Mapping

import structlog

from care.masking import mask_phone

log = structlog.get_logger(__name__)


class SandboxSms:
    """Shows what would be sent to whoever runs the server; implements `care.ports.Sms`."""

    async def send(self, phone: str, template: str, values: Mapping[str, str]) -> None:
        log.info("sandbox_sms_made", template=template)
        # to the terminal, past the log: codes don't belong in one
        shown = " ".join(f"{name}={value}" for name, value in values.items())
        print(f"[sandbox SMS] {mask_phone(phone)} {template}: {shown}", file=sys.stderr)  # noqa: T201 - as above
