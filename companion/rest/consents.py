"""The route of the texts users agree to."""

from collections.abc import Sequence
from typing import Any

from companion.consents import Consent
from companion.rest.kernel import Call, Route
from companion.rest.paging import Listed, page


class ConsentRoutes:
    def __init__(self, consents: Sequence[Consent]) -> None:
        self._consents = consents

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/consents", self.list, public=True, answer=Listed[Consent],
                  tag="consents", summary="The texts in force that users agree to"),
        ]  # fmt: skip

    async def list(self, _call: Call) -> Any:
        return page(self._consents)
