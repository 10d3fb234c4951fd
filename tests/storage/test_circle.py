"""The circle's counts, kept by two processes that know nothing of each other (H3)."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Iterator

import pytest

from care.circle import Comment, LikeKind, Post, PostKind
from care.errors import Forbidden
from care.record import new_id
from storage.comments import Comments
from storage.database import Database
from storage.files import Files
from storage.likes import Likes
from storage.posts import Posts
from tests.clock import START

numbers: Iterator[int] = itertools.count()
chance = random.Random(20261123)  # noqa: S311  who does what when: no secret


def made_post() -> Post:
    return Post(
        id="p", mark=new_id(START), kind=PostKind.ARTICLE, by="staff", at=START, title="题",
        summary="", body="", html="", author="编辑部",
    )  # fmt: skip


def made_comment(above: Comment | None = None) -> Comment:
    return Comment(
        id=f"c{next(numbers)}", mark=new_id(START), post="p", post_kind=PostKind.ARTICLE,
        ancestors=above.line if above else (), by="u", name="患者", role="patient", text="好",
        at=START,
    )  # fmt: skip


@pytest.fixture
async def posts(database: Database) -> Posts:
    posts = Posts(database, Files(database))
    for store in (posts, Comments(database), Likes(database)):
        await store.ensure_indexes()
    await posts.add(made_post())
    return posts


@pytest.mark.parametrize("seed", range(3))
async def test_replies_and_hiding_at_once_leave_every_count_right(
    database: Database, posts: Posts, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311  as above
    nodes = [Comments(database), Comments(database)]
    tree = [await nodes[0].add(made_comment()) for _ in range(3)]
    for _ in range(12):
        tree.append(await nodes[0].add(made_comment(dice.choice(tree))))

    async def act() -> None:
        node, one = dice.choice(nodes), dice.choice(tree)
        if dice.random() < 0.5:
            await node.hide(one, hidden=dice.random() < 0.5)
            return
        # what is hidden by now takes none
        with contextlib.suppress(Forbidden):
            await node.add(made_comment(one))

    await asyncio.gather(*(act() for _ in range(80)))
    await right_counts(database, posts)


async def right_counts(database: Database, posts: Posts) -> None:
    """Count everything anew, and compare."""
    every = {d["_id"]: d async for d in database["comments"].find()}
    for found in every.values():
        below = [d for d in every.values() if found["_id"] in d["ancestors"]]
        seen = 0
        for one in below:
            line = one["ancestors"][one["ancestors"].index(found["_id"]) + 1 :]
            seen += not one["hidden"] and not any(every[a]["hidden"] for a in line)
        assert found["reply_count"] == seen
    shown = [
        d for d in every.values()
        if not d["hidden"] and not any(every[a]["hidden"] for a in d["ancestors"])
    ]  # fmt: skip
    assert (await posts.get(None, "p")).comment_count == len(shown)


async def test_likes_of_two_processes_are_counted_once_each(
    database: Database, posts: Posts
) -> None:
    nodes = [Likes(database), Likes(database)]

    async def act(user: str) -> None:
        node = chance.choice(nodes)
        if chance.random() < 0.5:
            await node.add(user, LikeKind.ARTICLE, "p", START)
        else:
            await node.remove(user, LikeKind.ARTICLE, "p")

    await asyncio.gather(*(act(f"u{i % 20}") for i in range(200)))
    stored = await database["likes"].count_documents({})
    assert (await posts.get(None, "p")).like_count == stored


async def test_what_is_hidden_can_be_liked_no_more(database: Database, posts: Posts) -> None:
    await posts.hide(PostKind.ARTICLE, "p", hidden=True)
    with pytest.raises(Forbidden):
        await Likes(database).add("u", LikeKind.ARTICLE, "p", START)
    assert await database["likes"].count_documents({}) == 0
