"""The pages for people: the first page, the reference, and what they are made of."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

FOLDER = Path(__file__).with_name("pages")
PAGES: Mapping[str, str] = {"/": "index.html", "/docs": "docs.html"}
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
DEMO_PASSWORD = "wenzhen-2026"  # noqa: S105  # printed on the page, on purpose
DEMO_ACCOUNTS = (
    ("patient", "问诊小白", "13800000001"),
    ("patient", "问诊小黑", "13800000002"),
    ("doctor", "小傅", "13900000001"),
    ("doctor", "皇甫谧", "13900000002"),
    ("doctor", "华佗", "13900000003"),
    ("doctor", "神农", "13900000004"),
    ("pharmacist", "药师", "13700000001"),
    ("operator", "运营", "13600000001"),
    ("admin", "管理员", "13500000001"),
)

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
    accounts = [
        {"role": role, "name": name, "phone": phone, "password": DEMO_PASSWORD}
        for role, name, phone in (DEMO_ACCOUNTS if demo else ())
    ]
    answer: Mapping[str, Any] = {"demo": demo, "accounts": accounts}

    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.json_response(answer, headers={"Cache-Control": "no-cache"})

    return serve
