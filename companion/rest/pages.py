"""The pages for people: the first page, the reference, and what they are made of."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from companion.demo import read_data

FOLDER = Path(__file__).with_name("pages")
PAGES: Mapping[str, str] = {"/": "index.html", "/docs": "docs.html", "/call": "call.html"}
TYPES: Mapping[str, str] = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' blob: data:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # asked again each time, and answered 304: a new version is there at once
    "Cache-Control": "no-cache",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def mount(app: web.Application, *, demo: bool) -> None:
    """Serve the pages, their assets, and whom one may log in as where demo data is loaded."""
    for path, name in PAGES.items():
        app.router.add_get(path, _file(FOLDER / name))
    for file in sorted(FOLDER.iterdir()):
        if file.suffix != ".html":
            app.router.add_get(f"/assets/{file.name}", _file(file))
    app.router.add_get("/demo.json", _demo(demo=demo))


def _file(path: Path) -> Handler:
    """Serve one file from memory."""
    body = path.read_bytes()
    etag = hashlib.sha256(body).hexdigest()[:32]

    async def serve(request: web.Request) -> web.StreamResponse:
        known = request.if_none_match or ()
        response = web.Response(headers=HEADERS)
        response.etag = etag
        if any(tag.value == etag for tag in known):
            response.set_status(304)
            return response
        response.body, response.content_type = body, TYPES[path.suffix]
        response.charset = "utf-8"
        return response

    return serve


def _demo(*, demo: bool) -> Handler:
    answer: Mapping[str, Any] = {"demo": demo, "accounts": _accounts() if demo else []}

    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.json_response(answer, headers={"Cache-Control": "no-cache"})

    return serve


def _accounts() -> list[Mapping[str, str]]:
    """List whom the demo data knows, with the password that is no secret there."""
    data = read_data()
    people = [
        *(("patient", patient.name, patient.phone) for patient in data.patients),
        *(("doctor", doctor.name, doctor.phone) for doctor in data.doctors),
        *((staff.role.value, staff.name, staff.phone) for staff in data.staff),
    ]
    return [
        {"role": role, "name": name, "phone": phone, "password": data.password}
        for role, name, phone in people
    ]
