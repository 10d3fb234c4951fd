"""The routes of comments in the health circle, and of what one said there (H3, D5)."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from care.circle import Comment, PostKind
from care.ports import Clock
from care.record import wire_time
from companion.circle import Circle, Seen, Target
from companion.rest.consultations import Id
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, PageQuery, marked, marked_page


class CommentQuery(PageQuery):
    post: str = Field(min_length=1, max_length=64)
    parent: str | None = Field(default=None, max_length=64)
    """Lists the replies to this comment, oldest first."""


class NewComment(Body):
    post: Id
    parent: Id | None = None
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=5000)]


class Speaker(BaseModel):
    id: str
    name: str
    role: str


class CommentCard(BaseModel):
    """A comment as everybody sees it."""

    id: str
    post: str
    post_kind: PostKind
    parent: str | None
    author: Speaker
    text: str
    at: str
    like_count: int
    reply_count: int
    """Below it on every level."""


class CommentView(CommentCard):
    liked: bool
    mine: bool


class SaidView(CommentCard):
    hidden: bool
    title: str | None
    """Of the post; null once nobody sees it any more."""


class Said(Listed[SaidView]):
    count: int


class CommentRoutes:
    def __init__(self, circle: Circle, clock: Clock) -> None:
        self._circle = circle
        self._clock = clock

    def routes(self) -> list[Route]:
        rows = [
            Route("GET", "/comments", self.list, query=CommentQuery, answer=Listed[CommentView],
                  summary="A post's comments, newest first, or the replies to one, oldest first"),
            Route("POST", "/comments", self.add, body=NewComment, status=201, answer=CommentView,
                  summary="Comment on an article or a topic, or reply to a comment"),
            Route("DELETE", "/comments/{id}", self.withdraw, status=204,
                  summary="Take the own comment back, and with it what is below"),
            Route("GET", "/me/comments", self.said, query=PageQuery, answer=Said,
                  summary="The own comments, newest first, with their count"),
        ]  # fmt: skip
        return [replace(row, tag="circle") for row in rows]

    async def list(self, call: Call) -> Any:
        query: CommentQuery = call.query
        found = await self._circle.comments(
            call.caller, query.post, query.parent, marked(query), query.limit + 1
        )
        return marked_page(
            found, query.limit, lambda seen: seen.thing.mark, lambda seen: _view(call, seen)
        )

    async def add(self, call: Call) -> Any:
        body: NewComment = call.body
        comment = call.creation_id(self._clock.now())
        made = await self._circle.comment(call.caller, comment, body.post, body.parent, body.text)
        return _view(call, Seen(made, liked=False))

    async def withdraw(self, call: Call) -> None:
        await self._circle.withdraw_comment(call.caller, call.path["id"])

    async def said(self, call: Call) -> Any:
        query: PageQuery = call.query
        found = await self._circle.said(call.caller, marked(query), query.limit + 1)
        listed = marked_page(found, query.limit, lambda one: one[0].mark, _said)
        return {**listed, "count": await self._circle.count_said(call.caller)}


def _view(call: Call, seen: Seen[Comment]) -> CommentView:
    mine = seen.thing.by == call.caller.user
    return CommentView(**dict(comment_card(seen.thing)), liked=seen.liked, mine=mine)


def _said(one: tuple[Comment, Target]) -> SaidView:
    comment, on = one
    title = on.post and on.post.title
    return SaidView(**dict(comment_card(comment)), hidden=comment.hidden, title=title)


def comment_card(comment: Comment) -> CommentCard:
    names = {"id", "post", "post_kind", "text", "like_count", "reply_count"}
    return CommentCard(
        **comment.model_dump(include=names),
        parent=comment.parent,
        author=Speaker(id=comment.by, name=comment.name, role=comment.role),
        at=wire_time(comment.at),
    )
