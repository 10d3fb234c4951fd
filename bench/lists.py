"""How long a page of a long list takes over REST, from its first page to its last."""

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import aiohttp

from bench.hub import Hub, Room, running_hub
from bench.report import Figure, percentile
from care.circle import LikeKind, PostKind
from care.record import new_id
from storage.database import Collection, Database, Document
from tests.scenarios.records import database_of
from tests.scenarios.wire import log_in

ROWS, QUICK_ROWS = 100_000, 2_000
OWN = 10
"""One row in so many is of the one person whose own list is read: 10,000 consultations a doctor."""
PAGE = 20
BATCH = 2_000
AIM_MS = 20
OPERATOR = "13600000001"


class WrongError(Exception):
    """A list lost rows, or gave some twice."""


@dataclass(frozen=True, slots=True)
class List:
    """A list of `rows` or more, as whoever has the token reads it."""

    name: str
    path: str
    token: str
    rows: int


async def measure(quick: bool) -> list[Figure]:
    """Fill each list, then read it page by page to its end."""
    rows = QUICK_ROWS if quick else ROWS
    async with running_hub() as hub, database_of(hub.server) as database:
        (room,) = await hub.make_rooms(1)
        lists = await fill(hub, database, room, rows)
        return [figure for one in lists for figure in await read(hub, one)]


async def fill(hub: Hub, database: Database, room: Room, rows: int) -> list[List]:
    async with aiohttp.ClientSession(raise_for_status=True) as http:
        staff = (await log_in(http, hub.server.url, OPERATOR))["access_token"]
        end = f"{hub.server.url}/api/v1/consultations/{room.consultation}/end"
        await http.post(end, headers={"Authorization": f"Bearer {room.patient_token}"})
    kept = await database["consultations"].find_one({"_id": room.consultation}) or {}
    patient, doctor = kept["patient"], kept["doctor"]["id"]
    article = await fill_circle(database, patient, rows)
    unique = ("request", "order_no", "room")
    await copy_rows(database["consultations"], kept, rows, unique, {"doctor.id": doctor})
    notice = await database["notices"].find_one({"user": doctor}) or {}
    await copy_rows(database["notices"], notice, rows, (), {"user": doctor})
    return [
        List("articles", "/articles?", room.patient_token, rows),
        List("comments on one article", f"/comments?post={article}&", room.patient_token, rows),
        List("one's own likes", "/me/likes?", room.patient_token, rows // OWN),
        List("one's own notices", "/notices?", room.doctor_token, rows // OWN),
        List("one's own consultations", "/consultations?", room.doctor_token, rows // OWN),
        List("everybody's consultations", "/operator/consultations?", staff, rows),
        List("everybody's comments", "/operator/comments?", staff, rows),
    ]


def moments(rows: int) -> Iterator[datetime]:
    """Give so many times up to now."""
    begins = datetime.now(UTC) - timedelta(seconds=rows)
    return (begins + timedelta(seconds=i) for i in range(rows))


async def copy_rows(
    collection: Collection,
    example: Document,
    rows: int,
    unique: Sequence[str],
    own: Mapping[str, str] = MappingProxyType({}),
    subjects: Sequence[str] = (),
) -> list[str]:
    """Store so many like this one, with ids and times of their own; give the ids.

    `own` names whose they are, by field: of most of them it is somebody else.
    """
    made: list[Document] = []
    for i, at in enumerate(moments(rows)):
        row = copy.deepcopy(example) | {"_id": new_id(at)}
        row |= dict.fromkeys(unique, row["_id"])
        row |= {name: at for name in ("at", "created_at") if name in example}
        row |= {"subject": subjects[i]} if subjects else {}
        for field, owner in own.items():
            outer, _, inner = field.rpartition(".")
            (row[outer] if outer else row)[inner] = owner if i % OWN == 0 else f"{owner}-{i % OWN}"
        made.append(row)
    for i in range(0, rows, BATCH):
        await collection.insert_many(made[i : i + BATCH])
    return [one["_id"] for one in made]


async def fill_circle(database: Database, patient: str, rows: int) -> str:
    """Store articles, comments on one of them, and a like of each; give that one's id."""
    article = await database["posts"].find_one({"kind": PostKind.ARTICLE.value}) or {}
    comment: Document = {
        "post": article["_id"], "post_kind": PostKind.ARTICLE.value, "parent": None,
        "ancestors": [], "by": patient, "name": "患者", "role": "patient", "text": "写得好",
        "at": None, "hidden": False, "like_count": 0, "reply_count": 0,
    }  # fmt: skip
    like: Document = {"user": patient, "kind": LikeKind.ARTICLE.value, "at": None}
    await copy_rows(database["comments"], comment, rows, ("mark",))
    articles = await copy_rows(database["posts"], article, rows, ("mark",))
    await copy_rows(database["likes"], like, rows, ("mark",), {"user": patient}, articles)
    return str(article["_id"])


async def read(hub: Hub, one: List) -> list[Figure]:
    """Read a list to its end. Raises WrongError."""
    times, seen, cursor = [], set[str](), ""
    headers = {"Authorization": f"Bearer {one.token}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as http:
        while True:
            url = f"{hub.server.url}/api/v1{one.path}limit={PAGE}{cursor}"
            begun = time.perf_counter()
            async with http.get(url) as answer:
                page: Any = await answer.json()
            times.append((time.perf_counter() - begun) * 1000)
            seen |= {item["id"] for item in page["items"]}
            if page["cursor"] is None:
                break
            cursor = f"&cursor={page['cursor']}"
    if len(seen) < one.rows:
        raise WrongError(f"{one.name}: {one.rows} rows, {len(seen)} seen")
    return [
        Figure(f"{one.name}, median", percentile(times, 0.5), "ms", f"{len(times)} pages"),
        Figure(f"{one.name}, p99", percentile(times, 0.99), "ms", f"aim {AIM_MS} ms"),
    ]
