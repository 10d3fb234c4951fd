"""The routes of the health circle (健康圈): articles, doctors' topics, likes (H1–H3, D5)."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from care.accounts import Caller, Role
from care.circle import Like, LikeKind, Post, PostKind
from care.errors import Forbidden
from care.ports import Clock, FileUrls
from care.record import wire_time
from companion.circle import Circle, Seen, Target
from companion.markdown import write_up
from companion.rest.directory import Named
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, PageQuery, marked, marked_page, page

DOCTOR = frozenset({Role.DOCTOR})
BODY_MAX = 10_000

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Markdown = Annotated[str, StringConstraints(min_length=1, max_length=BODY_MAX)]


class ArticleQuery(PageQuery):
    category: str | None = Field(default=None, max_length=20)


class TopicQuery(PageQuery):
    doctor: str | None = Field(default=None, max_length=64)


class NewTopic(Body):
    title: Title
    body: Markdown


class Author(BaseModel):
    id: str | None
    """A doctor's."""
    name: str


class Counts(BaseModel):
    like_count: int
    comment_count: int
    share_count: int


class PostCard(Counts):
    """An article or a topic in a list."""

    id: str
    kind: PostKind
    category: str | None
    title: str
    summary: str
    author: Author
    cover_url: str | None
    at: str


class PostPage(PostCard):
    html: str
    """Safe to show as it is."""
    liked: bool


class LikedView(BaseModel):
    kind: LikeKind
    id: str
    at: str
    post: str | None
    title: str | None
    """Of the post; both are null once nobody sees it any more."""
    text: str | None
    """Of the comment."""


class Likes(Listed[LikedView]):
    count: int


class CircleRoutes:
    def __init__(self, circle: Circle, files: FileUrls, clock: Clock) -> None:
        self._circle = circle
        self._files = files
        self._clock = clock

    def routes(self) -> list[Route]:
        article, topic, like = "/articles/{id}", "/topics/{id}", "/likes/{kind}/{id}"
        rows = [
            Route("GET", "/categories", self.categories, answer=Listed[Named],
                  summary="The articles' categories"),
            Route("GET", "/articles", self.articles, query=ArticleQuery, answer=Listed[PostCard],
                  summary="Articles, newest first"),
            Route("GET", article, self.article, answer=PostPage, summary="Read an article"),
            Route("POST", f"{article}/share", self.share_article, status=204,
                  summary="Count a share"),
            Route("GET", "/topics", self.topics, query=TopicQuery, answer=Listed[PostCard],
                  summary="Doctors' topics (医生话题), newest first"),
            Route("POST", "/topics", self.publish, body=NewTopic, roles=DOCTOR, status=201,
                  answer=PostPage, summary="Publish a topic, in Markdown"),
            Route("GET", topic, self.topic, answer=PostPage, summary="Read a topic"),
            Route("DELETE", topic, self.withdraw, roles=DOCTOR, status=204,
                  summary="Take the own topic back"),
            Route("POST", f"{topic}/share", self.share_topic, status=204, summary="Count a share"),
            Route("PUT", like, self.like, status=204, summary="Like an article, topic or comment"),
            Route("DELETE", like, self.unlike, status=204, summary="Like it no longer"),
            Route("GET", "/me/likes", self.likes, query=PageQuery, answer=Likes,
                  summary="The own likes, newest first, with their count"),
        ]  # fmt: skip
        return [replace(row, tag="circle") for row in rows]

    async def categories(self, _call: Call) -> Any:
        return page([Named(id=name, name=name) for name in self._circle.categories()])

    async def articles(self, call: Call) -> Any:
        return await self._list(call, PostKind.ARTICLE, category=call.query.category)

    async def topics(self, call: Call) -> Any:
        return await self._list(call, PostKind.TOPIC, by=call.query.doctor)

    async def _list(self, call: Call, kind: PostKind, **chosen: str | None) -> Any:
        query: PageQuery = call.query
        found = await self._circle.posts(kind, marked(query), query.limit + 1, **chosen)
        return post_page(self._files, call.caller, found, query.limit)

    async def article(self, call: Call) -> Any:
        return await self._read(call, PostKind.ARTICLE)

    async def topic(self, call: Call) -> Any:
        return await self._read(call, PostKind.TOPIC)

    async def _read(self, call: Call, kind: PostKind) -> PostPage:
        seen = await self._circle.post(call.caller, kind, call.path["id"])
        return self._page(call.caller, seen)

    async def share_article(self, call: Call) -> None:
        await self._circle.share(PostKind.ARTICLE, call.path["id"])

    async def share_topic(self, call: Call) -> None:
        await self._circle.share(PostKind.TOPIC, call.path["id"])

    async def publish(self, call: Call) -> Any:
        body: NewTopic = call.body
        writing = write_up(body.title, "", body.body, call.caller.name)
        topic = call.creation_id(self._clock.now())
        made = await self._circle.publish(call.caller.user, PostKind.TOPIC, topic, writing)
        return self._page(call.caller, Seen(made, liked=False))

    async def withdraw(self, call: Call) -> None:
        await self._circle.withdraw_topic(call.caller, call.path["id"])

    async def like(self, call: Call) -> None:
        await self._circle.like(call.caller, like_kind(call), call.path["id"])

    async def unlike(self, call: Call) -> None:
        await self._circle.unlike(call.caller, like_kind(call), call.path["id"])

    async def likes(self, call: Call) -> Any:
        query: PageQuery = call.query
        found = await self._circle.liked(call.caller, marked(query), query.limit + 1)
        listed = marked_page(found, query.limit, lambda one: one[0].mark, _liked)
        return {**listed, "count": await self._circle.count_likes(call.caller)}

    def _page(self, caller: Caller, seen: Seen[Post]) -> PostPage:
        card = post_card(self._files, caller, seen.thing)
        return PostPage(**dict(card), html=seen.thing.html, liked=seen.liked)


def like_kind(call: Call) -> LikeKind:
    """Read what is liked off the path. Raises Forbidden for what there is nothing of."""
    try:
        return LikeKind(call.path["kind"])
    except ValueError:
        raise Forbidden from None


def post_page(files: FileUrls, caller: Caller, found: list[Post], limit: int) -> Any:
    return marked_page(found, limit, lambda p: p.mark, lambda p: post_card(files, caller, p))


def _liked(one: tuple[Like, Target]) -> LikedView:
    like, of = one
    return LikedView(
        kind=like.kind,
        id=like.subject,
        at=wire_time(like.at),
        post=of.post and of.post.id,
        title=of.post and of.post.title,
        text=of.comment and of.comment.text,
    )


def post_card(files: FileUrls, caller: Caller, post: Post) -> PostCard:
    names = ("id", "kind", "category", "title", "summary", *Counts.model_fields)
    cover = post.cover and files.urls(post.cover, caller.user, thumbnail=True)["thumbnail_url"]
    return PostCard(
        **post.model_dump(include=set(names)),
        author=Author(id=post.by if post.kind is PostKind.TOPIC else None, name=post.author),
        cover_url=cover,
        at=wire_time(post.at),
    )
