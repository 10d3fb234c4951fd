"""The route of the texts users agree to."""

from collections.abc import Sequence
from typing import Any

from companion.consents import Consent
from companion.rest.kernel import Call, Route
from companion.rest.paging import page


class ConsentRoutes:
    def __init__(self, consents: Sequence[Consent]) -> None:
        self._consents = consents

    def routes(self) -> list[Route]:
        says = "The texts in force that users agree to"
        return [Route("GET", "/consents", self.list, public=True, summary=says, tag="consents")]

    async def list(self, _call: Call) -> Any:
        return page(self._consents)
