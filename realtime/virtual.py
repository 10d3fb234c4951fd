"""The virtual clock's route: move the hospital's time (`--demo --virtual-clock`, loopback only)."""

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from realtime.rooms.deadlines import Deadlines, MovableClock

YEAR_SECONDS = 366 * 86400


class Advance(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(ge=0, le=YEAR_SECONDS)


def mount(app: web.Application, deadlines: Deadlines, clock: MovableClock) -> None:
    """Serve `POST /test/clock/advance`: answers once every deadline due by then was handled."""

    async def advance(request: web.Request) -> web.Response:
        try:
            asked = Advance.model_validate_json(await request.read())
        except ValidationError:
            return web.json_response({"code": "bad_request", "fields": ["seconds"]}, status=400)
        await deadlines.advance(clock, asked.seconds)
        return web.json_response({"now": clock.now().isoformat()})

    app.router.add_post("/test/clock/advance", advance)
