"""The staff's routes of the health circle: articles written, anything hidden (H1, H3)."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from pydantic import StringConstraints

from care.accounts import STAFF, Caller, Name
from care.circle import LikeKind, Post, PostKind
from care.ports import Clock, FileUrls
from companion.circle import Circle
from companion.markdown import write_up
from companion.rest.circle import Markdown, PostCard, Title, post_card, post_page
from companion.rest.comments import CommentCard, comment_card
from companion.rest.consultations import Id
from companion.rest.kernel import Body, Call, Route
from companion.rest.operator import Reason
from companion.rest.paging import HiddenQuery, Listed, marked, marked_page


class ArticleText(Body):
    category: Annotated[str, StringConstraints(max_length=20)]
    title: Title
    summary: Annotated[str, StringConstraints(max_length=200)] = ""
    """Empty: the beginning of the text."""
    author: Name
    body: Markdown
    cover: Id | None = None
    """An image uploaded by who writes."""


class PostForStaff(PostCard):
    body: str
    html: str
    hidden: bool


class CircleStaffRoutes:
    def __init__(self, circle: Circle, files: FileUrls, clock: Clock) -> None:
        self._circle = circle
        self._files = files
        self._clock = clock

    def routes(self) -> list[Route]:
        articles, article = "/operator/articles", "/operator/articles/{id}"
        rows = [
            Route("GET", articles, partial(self.list, PostKind.ARTICLE), query=HiddenQuery,
                  answer=Listed[PostCard], summary="Articles, newest first"),
            Route("POST", articles, self.publish, body=ArticleText, status=201,
                  answer=PostForStaff, summary="Publish an article, in Markdown"),
            Route("GET", article, self.read, answer=PostForStaff,
                  summary="Show an article as it was written"),
            Route("PUT", article, self.rewrite, body=ArticleText, answer=PostForStaff,
                  summary="Write an article anew"),
            Route("GET", "/operator/topics", partial(self.list, PostKind.TOPIC),
                  query=HiddenQuery, answer=Listed[PostCard], summary="Topics, newest first"),
            Route("GET", "/operator/comments", self.comments, query=HiddenQuery,
                  answer=Listed[CommentCard], summary="Comments anywhere, newest first"),
        ]  # fmt: skip
        for kind in LikeKind:
            one = f"/operator/{kind}s/{{id}}"
            rows += [
                Route("POST", f"{one}/hide", partial(self.hide, kind, True), body=Reason,
                      status=204, summary="Hide it, with what is below"),
                Route("POST", f"{one}/show", partial(self.hide, kind, False), body=Reason,
                      status=204, summary="Show it again"),
            ]  # fmt: skip
        return [replace(row, tag="circle", roles=STAFF) for row in rows]

    async def list(self, kind: PostKind, call: Call) -> Any:
        query: HiddenQuery = call.query
        found = await self._circle.posts_for_staff(
            kind, marked(query), query.limit + 1, hidden=query.hidden
        )
        return post_page(self._files, call.caller, found, query.limit)

    async def comments(self, call: Call) -> Any:
        query: HiddenQuery = call.query
        found = await self._circle.comments_for_staff(
            marked(query), query.limit + 1, hidden=query.hidden
        )
        return marked_page(found, query.limit, lambda comment: comment.mark, comment_card)

    async def publish(self, call: Call) -> Any:
        made = await self._circle.publish(
            call.caller.user,
            PostKind.ARTICLE,
            call.creation_id(self._clock.now()),
            write_up(**dict(call.body)),
        )
        return self._view(call.caller, made)

    async def read(self, call: Call) -> Any:
        found = await self._circle.post_for_staff(PostKind.ARTICLE, call.path["id"])
        return self._view(call.caller, found)

    async def rewrite(self, call: Call) -> Any:
        writing = write_up(**dict(call.body))
        written = await self._circle.rewrite(call.caller, call.path["id"], writing)
        return self._view(call.caller, written)

    async def hide(self, kind: LikeKind, hidden: bool, call: Call) -> None:
        await self._circle.hide(call.caller, kind, call.path["id"], call.body.reason, hidden=hidden)

    def _view(self, caller: Caller, post: Post) -> PostForStaff:
        card = post_card(self._files, caller, post)
        return PostForStaff(**dict(card), body=post.body, html=post.html, hidden=post.hidden)
