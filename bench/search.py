"""What finding Chinese text costs: a scan, a scan of index keys alone, an index of character pairs.

docs/decisions/0006-search-without-a-text-index.md reads it.
"""

import random
import re
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from pymongo import IndexModel

from bench.report import Figure, percentile
from care.rooms import Draft, Head, Kind, Sender
from storage.database import Collection, Database, Document
from storage.embedded import EmbeddedMongo
from storage.messages import INDEXES, Messages, to_document

ROOMS = 5_000
QUICK_ROOMS = 500
FEW = 20
RUNS = 5
MESSAGES_A_ROOM = 30
BATCH = 500
PAGE = 20
START = datetime(2026, 11, 22, 8, tzinfo=UTC)

PATIENT = Sender("patient", "patient", "问诊小白")
DOCTOR = Sender("doctor", "doctor", "小傅")
PHRASES = [
    *("您好", "医生", "最近三天", "头疼", "有点发热", "体温三十八度", "没有咳嗽", "吃了布洛芬"),
    *("饭后服用", "一天两次", "注意休息", "多喝水", "请问还需要复查吗", "检查报告已经上传", "谢谢"),
    *("血压偏高", "过敏史", "睡眠不好", "孩子四岁", "昨天晚上开始", "情况怎么样", "继续观察"),
    *("如有不适及时就诊", "胃口不好"),
]
RARE = "带状疱疹"
QUERIES = {"common": "头疼", "rare": RARE, "absent": "骨质疏松", "one character": "咳"}

TEXT_KEYS = [("room", 1), ("kind", 1), ("body.text", 1), ("_id", 1)]
PAIRS = [("room", 1), ("pairs", 1)]

Search: TypeAlias = Callable[[str], Awaitable[int]]


def conversations(rooms: int) -> list[Document]:
    """Make the rooms' messages in the order of time, all rooms talking at once."""
    chance = random.Random(1)  # noqa: S311 (test data)
    heads = [Head() for _ in range(rooms)]
    documents = []
    for turn in range(MESSAGES_A_ROOM):
        for room in range(rooms):
            now = START + timedelta(minutes=turn, milliseconds=room)
            words = "，".join(chance.choices(PHRASES, k=chance.randint(2, 5)))
            if chance.random() < 0.0002:
                words += RARE
            sender = chance.choice([PATIENT, DOCTOR])
            message_id = f"{int(now.timestamp() * 1000):012x}{chance.getrandbits(64):016x}"
            draft = Draft(
                message_id, f"{room:028x}", sender, message_id, Kind.TEXT, {"text": words}
            )
            message = heads[room].follow(draft, now)
            heads[room] = heads[room].after(message)
            documents.append(to_document(message))
    return documents


def pairs_of(text: str) -> list[str]:
    return sorted({text[i : i + 2] for i in range(len(text) - 1)})


@asynccontextmanager
async def mongod() -> AsyncIterator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        mongo = EmbeddedMongo(Path(folder))
        await mongo.start()
        database = Database(mongo.uri)
        try:
            yield database
        finally:
            await database.close()
            await mongo.stop()


async def measure(quick: bool) -> list[Figure]:
    """Fill a collection for each way to search, then search it for each word."""
    rooms = [f"{room:028x}" for room in range(QUICK_ROOMS if quick else ROOMS)]
    documents = conversations(len(rooms))
    with_pairs = [d | {"pairs": pairs_of(d["body"]["text"])} for d in documents]
    async with mongod() as database:
        scan = Messages(database)
        keys, pairs = database["text_keys"], database["pairs"]
        ways: list[tuple[str, Search]] = [
            ("scan", lambda text: by_scan(scan, rooms, text)),
            (f"scan, a patient with {FEW} rooms", lambda text: by_scan(scan, rooms[:FEW], text)),
            ("index keys", lambda text: by_keys(keys, rooms, text)),
            ("index of pairs", lambda text: by_pairs(pairs, rooms, text)),
        ]
        text_keys = IndexModel(TEXT_KEYS, partialFilterExpression={"kind": "text"})
        return [
            *await fill(database["messages"], documents),
            *await fill(keys, documents, text_keys),
            *await fill(pairs, with_pairs, IndexModel(PAIRS)),
            *[await timed(name, query, way) for name, way in ways for query in QUERIES.items()],
        ]


async def by_scan(messages: Messages, rooms: list[str], text: str) -> int:
    return len(await messages.search(rooms, text, None, PAGE))


async def by_keys(keys: Collection, rooms: list[str], text: str) -> int:
    query = {
        "room": {"$in": rooms}, "kind": "text",
        "body.text": {"$regex": re.escape(text), "$options": "i"},
    }  # fmt: skip
    found = keys.find(query, {"_id": 1}).hint(TEXT_KEYS).sort("_id", -1).limit(PAGE)
    ids = [d["_id"] async for d in found]
    return len([d async for d in keys.find({"_id": {"$in": ids}})])


async def by_pairs(pairs: Collection, rooms: list[str], text: str) -> int:
    query: Document = {"room": {"$in": rooms}, "body.text": {"$regex": re.escape(text)}}
    query |= {"pairs": {"$all": pairs_of(text)}} if len(text) > 1 else {}
    found = pairs.find(query).hint(PAIRS).sort("_id", -1).limit(PAGE)
    return len([d async for d in found])


async def fill(
    collection: Collection, documents: list[Document], *extra: IndexModel
) -> list[Figure]:
    await collection.create_indexes([*INDEXES, *extra])
    begun = time.perf_counter()
    for i in range(0, len(documents), BATCH):
        await collection.insert_many(documents[i : i + BATCH])
    seconds = time.perf_counter() - begun
    stats = await collection.database.command("collStats", collection.name)
    size, indexes = stats["size"] / 2**20, stats["totalIndexSize"] / 2**20
    return [
        Figure(f"{collection.name}: inserts", len(documents) / seconds, "/s"),
        Figure(f"{collection.name}: size", size, "MB", f"and {indexes:.0f} MB of indexes"),
    ]


async def timed(name: str, query: tuple[str, str], search: Search) -> Figure:
    label, text = query
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        found = await search(text)
        times.append((time.perf_counter() - begun) * 1000)
    return Figure(f"{name}, {label}", percentile(times, 0.5), "ms", f"{found} found")
