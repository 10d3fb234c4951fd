"""What an operator does from the command line, through the same use cases as the server."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from care.accounts import Role
from care.directory import Practice
from companion.prescriptions import Verdict
from companion.rest import openapi
from realtime import app, archive, record
from realtime.gateway import asyncapi
from realtime.gateway.events import EVENTS
from realtime.secrets import MAKERS, parse
from realtime.servers import mongodb_beside_a_server, read_secrets
from realtime.settings import Settings


@asynccontextmanager
async def hub(settings: Settings) -> AsyncIterator[app.Hub]:
    """Build the parts on the hospital's database, also while a server runs on it."""
    secrets = read_secrets(settings)
    async with mongodb_beside_a_server(settings) as uri:
        parts = app.Hub(app.Runtime(settings, secrets, uri))
        try:
            await parts.stores.ensure_indexes()
            yield parts
        finally:
            await parts.stop()


async def create_account(
    settings: Settings,
    role: Role,
    phone: str,
    name: str,
    password: str,
    practice: Practice | None = None,
) -> str:
    """Give the new account's id; a doctor gets his page in the directory too."""
    async with hub(settings) as parts:
        return await parts.companion.staff.create(role, phone, name, password, practice)


async def verify_record(settings: Settings, consultation: str) -> record.Verdict | None:
    async with hub(settings) as parts:
        return await record.verify(parts.stores, consultation)


async def export_record(settings: Settings, consultation: str, out: Path) -> bool:
    async with hub(settings) as parts:
        return await archive.export(parts.stores, consultation, out)


async def verify_prescription(settings: Settings, prescription: str) -> Verdict | None:
    async with hub(settings) as parts:
        return await parts.prescriptions.verify(prescription)


async def load_catalogue(
    settings: Settings, drugs: Path | None, diagnoses: Path | None
) -> tuple[int, int]:
    async with hub(settings) as parts:
        return await parts.companion.catalogue.load(drugs, diagnoses)


async def load_pharmacies(
    settings: Settings, pharmacies: Path | None, offers: Path | None
) -> tuple[int, int]:
    async with hub(settings) as parts:
        return await parts.companion.pharmacies.load(pharmacies, offers)


async def write_reference(out: Path) -> list[Path]:
    """Write the protocol's generated reference: it needs the tables alone, no database."""
    secrets = parse({name: make() for name, make in MAKERS.items()}, optional={})
    parts = app.Hub(app.Runtime(Settings(demo=True), secrets, "mongodb://unused.invalid"))
    documents = {
        "openapi.json": openapi.document(parts.routes(), app.VERSION),
        "asyncapi.json": asyncapi.document(parts.commands, EVENTS, app.VERSION),
    }
    await parts.stop()
    return [write_document(out / name, document) for name, document in documents.items()]


def write_document(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True)
    path.write_text(f"{text}\n", encoding="utf-8")
    return path
