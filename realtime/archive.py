"""A consultation as one archive: record, page to read it by, attachments, recordings (S2)."""

import html
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from care.consultation import Consultation
from care.record import wire_time
from care.recordings import Recording
from care.rooms import Kind, Message
from realtime.stores import Stores

PAGE = 200
STYLE = (
    "body{font:16px/1.6 sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "td{vertical-align:top;padding:.3rem .6rem;border-top:1px solid #ddd}time{color:#666}"
    "video{width:100%}"
)


async def export(stores: Stores, consultation_id: str, out: Path) -> bool:
    """Write record.json, index.html, files/ and recordings/; say whether there is such a one."""
    consultation = await stores.consultations.get(consultation_id)
    if consultation is None:
        return False
    messages = [_plain(m) async for m in _messages(stores, consultation.room)]
    groups: list[dict[str, Any]] = [
        {
            "group": group.model_dump(mode="json"),
            "messages": [_plain(m) async for m in _messages(stores, group.room)],
        }
        for group in await stores.groups.among(consultation.groups)
    ]
    recordings = await stores.recordings.of_consultation(consultation.id)
    record = {
        "consultation": consultation.model_dump(mode="json"),
        "messages": messages,
        "groups": groups,
        "recordings": [r.to_wire() | {"file": _film_name(r)} for r in recordings],
    }
    said = messages + [m for group in groups for m in group["messages"]]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("record.json", json.dumps(record, ensure_ascii=False, indent=1))
        names = {f: await _write_file(stores, archive, f) for f in _used(consultation, said)}
        for recording in recordings:
            await _write_film(stores, archive, recording)
        archive.writestr("index.html", _page(consultation, messages, groups, recordings, names))
    return True


async def _messages(stores: Stores, room: str) -> AsyncIterator[Message]:
    seq = 0
    while page := await stores.messages.after(room, seq, PAGE):
        for message in page:
            yield message
        seq = page[-1].seq


def _used(consultation: Consultation, messages: list[dict[str, Any]]) -> list[str]:
    """List the attachments, each once, in the order of their use."""
    used = [*consultation.images, *(m["body"]["file"] for m in messages if "file" in m["body"])]
    return list(dict.fromkeys(used))


async def _write_file(stores: Stores, archive: zipfile.ZipFile, file: str) -> str:
    """Copy an attachment chunk by chunk; give its name in the archive."""
    attachment = await stores.files.get(file)
    if attachment is None:
        return ""
    name = f"files/{attachment.file_name(thumbnail=False)}"
    chunks = stores.files.read(attachment, thumbnail=False, start=0, stop=attachment.size)
    with archive.open(name, "w") as target:
        async for chunk in chunks:
            target.write(chunk)
    return name


def _film_name(recording: Recording) -> str | None:
    """Name a film in the archive; None for one that isn't stored, or has nothing in it."""
    if recording.footage is None or not recording.footage.tracks:
        return None
    ending = "mkv" if recording.footage.mime.endswith("matroska") else "webm"
    return f"recordings/{recording.id}.{ending}"


async def _write_film(stores: Stores, archive: zipfile.ZipFile, recording: Recording) -> None:
    """Copy a film and its poster as they are: they don't get smaller."""
    name, footage = _film_name(recording), recording.footage
    if name is None or footage is None:
        return
    copied = [(name, footage.size, False)]
    if footage.poster_size:
        copied.append((f"recordings/{recording.id}.jpg", footage.poster_size, True))
    for entry, size, poster in copied:
        chunks = stores.recordings.read(recording.id, poster=poster, start=0, stop=size)
        with archive.open(zipfile.ZipInfo(entry), "w", force_zip64=True) as target:
            async for chunk in chunks:
                target.write(chunk)


def _plain(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "seq": message.seq,
        "client_id": message.client_id,
        "sender": message.sender.to_wire(),
        "kind": message.kind.value,
        "body": dict(message.body),
        "at": wire_time(message.at),
        "prev": message.prev,
        "hash": message.hash,
    }


def _page(
    consultation: Consultation,
    messages: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    recordings: list[Recording],
    names: Mapping[str, str],
) -> str:
    """Lay the talk out for a person; after it its group consultations' talks, and recordings."""
    c = consultation
    talks = "".join(
        f"<h2>{html.escape('会诊 ' + g['group']['title'])}</h2>{_table(g['messages'], names)}"
        for g in groups
    )
    title = html.escape(f"问诊记录 {c.order_no}")
    facts = html.escape(f"{c.doctor.hospital} {c.doctor.department} {c.doctor.name}")
    person = html.escape(f"就诊人 {c.person.name} {c.person.age}岁 · {c.description}")
    return (
        f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1><p>{facts}<br>{person}</p>"
        f"{_table(messages, names)}{talks}{''.join(map(_shown, recordings))}</html>\n"
    )


def _shown(recording: Recording) -> str:
    """Lay a recording out: it plays, or the page says why not."""
    head = f"<h2>通话录制 <time>{wire_time(recording.started_at)}</time></h2>"
    name, footage = _film_name(recording), recording.footage
    if footage is None:
        return f"{head}<p>录制尚未保存</p>"
    if name is None:
        return f"{head}<p>没有声音和画面</p>"
    poster = f' poster="recordings/{recording.id}.jpg"' if footage.poster_size else ""
    gaps = f" · {len(footage.gaps)} 处缺失" if footage.gaps else ""
    return (
        f'{head}<video controls preload="none" src="{name}"{poster}></video>'
        f"<p>{footage.duration_ms // 1000} 秒{gaps} · SHA-256 {recording.sha256}</p>"
    )


def _table(messages: list[dict[str, Any]], names: Mapping[str, str]) -> str:
    """Lay a room out. What was recalled stays in the record, and says so."""
    recalled = {m["body"]["seq"] for m in messages if m["kind"] == Kind.RECALL}
    rows = "\n".join(
        _row(m, names, recalled=m["seq"] in recalled) for m in messages if m["kind"] != Kind.RECALL
    )
    return f"<table>{rows}</table>"


def _row(message: Mapping[str, Any], names: Mapping[str, str], *, recalled: bool) -> str:
    body = message["body"]
    said = html.escape(str(body.get("text") or body.get("description") or ""))
    if name := names.get(body.get("file", "")):
        said = f'<a href="{name}">{name}</a>'
    mark = "（已撤回）" if recalled else ""
    return (
        f"<tr><td>{message['seq']}<td>{html.escape(message['sender']['name'])}"
        f"<td>{said}{mark}<td><time>{message['at']}</time></tr>"
    )
