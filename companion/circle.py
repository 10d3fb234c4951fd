"""The health circle: reading, publishing, commenting, liking, and what staff hides (H1–H3, D5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from care.accounts import Caller
from care.circle import Comment, Like, LikeKind, Post, PostKind, WordList, Writing
from care.errors import BadRequest, Forbidden
from care.policy import CirclePolicy
from care.ports import Audit, Clock
from care.record import new_id, to_millisecond
from storage.comments import Comments
from storage.likes import Likes
from storage.posts import Posts

REFUSED = "内容含有不允许发布的词语，请修改后再试"

Thing = TypeVar("Thing", Post, Comment)


@dataclass(frozen=True, slots=True)
class Seen(Generic[Thing]):
    """A post or a comment, and whether who asks likes it."""

    thing: Thing
    liked: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What somebody likes or commented on; nothing where it can't be seen any more."""

    post: Post | None
    comment: Comment | None = None


class Circle:
    def __init__(
        self,
        posts: Posts,
        comments: Comments,
        likes: Likes,
        words: WordList,
        audit: Audit,
        clock: Clock,
        policy: CirclePolicy,
    ) -> None:
        self._posts = posts
        self._comments = comments
        self._likes = likes
        self._words = words
        self._audit = audit
        self._clock = clock
        self._policy = policy

    def categories(self) -> tuple[str, ...]:
        return self._policy.categories

    async def posts(
        self,
        kind: PostKind,
        before: str | None,
        limit: int,
        *,
        category: str | None = None,
        by: str | None = None,
    ) -> list[Post]:
        return await self._posts.page(kind, before, limit, category=category, by=by)

    async def post(self, caller: Caller, kind: PostKind, post_id: str) -> Seen[Post]:
        """Give a post that can be seen. Raises Forbidden."""
        post = await self._shown_post(post_id, kind)
        return (await self._seen(caller, [post]))[0]

    async def publish(self, by: str, kind: PostKind, post_id: str, writing: Writing) -> Post:
        """Publish an article or a topic. Raises BadRequest."""
        self._check(writing)
        if kind is PostKind.TOPIC:
            self._check_words(title=writing.title, body=writing.body)
        now = self._now()
        post = Post(id=post_id, mark=new_id(now), kind=kind, by=by, at=now, **dict(writing))
        return await self._posts.add(post)

    async def rewrite(self, caller: Caller, post_id: str, writing: Writing) -> Post:
        """Write an article anew. Raises BadRequest or Forbidden."""
        await self._posts.get(PostKind.ARTICLE, post_id)
        self._check(writing)
        await self._audit.record(caller.user, "article_rewritten", post_id, "edit")
        return await self._posts.rewrite(PostKind.ARTICLE, post_id, caller.user, writing)

    async def share(self, kind: PostKind, post_id: str) -> None:
        await self._posts.share(kind, post_id)

    async def withdraw_topic(self, caller: Caller, topic: str) -> None:
        """Take one's own topic back. Raises Forbidden."""
        if (await self._posts.get(PostKind.TOPIC, topic)).by != caller.user:
            raise Forbidden
        await self._posts.hide(PostKind.TOPIC, topic, hidden=True)

    async def comments(
        self, caller: Caller, post_id: str, parent: str | None, beyond: str | None, limit: int
    ) -> list[Seen[Comment]]:
        """List a post's comments or a comment's replies. Raises Forbidden for what is hidden."""
        await self._shown_post(post_id)
        if parent is not None:
            await self._shown_comment(parent, post_id)
        return await self._seen(caller, await self._comments.under(post_id, parent, beyond, limit))

    async def comment(
        self, caller: Caller, comment_id: str, post_id: str, parent: str | None, text: str
    ) -> Comment:
        """Comment on a post or reply to a comment. Raises BadRequest or Forbidden."""
        if len(text) > self._policy.comment_max:
            raise BadRequest.field("text", f"最多 {self._policy.comment_max} 个字符")
        self._check_words(text=text)
        post = await self._shown_post(post_id)
        above = await self._shown_comment(parent, post_id) if parent is not None else None
        now = self._now()
        made = await self._comments.add(
            Comment(
                id=comment_id, mark=new_id(now), post=post.id, post_kind=post.kind,
                ancestors=above.line if above else (), by=caller.user, name=caller.name,
                role=caller.role, text=text, at=now,
            )
        )  # fmt: skip
        if made.by != caller.user:
            raise Forbidden
        return made

    async def withdraw_comment(self, caller: Caller, comment_id: str) -> None:
        """Take one's own comment back, and with it what is below. Raises Forbidden."""
        comment = await self._comments.get(comment_id)
        if comment.by != caller.user:
            raise Forbidden
        await self._comments.hide(comment, hidden=True)

    async def like(self, caller: Caller, kind: LikeKind, subject: str) -> None:
        """Like what can be seen. Raises Forbidden."""
        if kind is LikeKind.COMMENT:
            comment = await self._comments.get(subject)
            await self._shown_post(comment.post)
            await self._shown_comment(subject, comment.post)
        await self._likes.add(caller.user, kind, subject, self._now())

    async def unlike(self, caller: Caller, kind: LikeKind, subject: str) -> None:
        await self._likes.remove(caller.user, kind, subject)

    async def liked(
        self, caller: Caller, before: str | None, limit: int
    ) -> list[tuple[Like, Target]]:
        """List one's own likes, newest first, each with what it is of."""
        likes = await self._likes.page(caller.user, before, limit)
        comments = await self._comments.all_of(
            [like.subject for like in likes if like.kind is LikeKind.COMMENT]
        )
        of_comments = {comment.post for comment in comments.values()}
        posts = await self._posts.all_of({like.subject for like in likes} | of_comments)
        return [(like, await self._target(like, posts, comments)) for like in likes]

    async def _target(
        self, like: Like, posts: dict[str, Post], comments: dict[str, Comment]
    ) -> Target:
        comment = comments.get(like.subject)
        if comment is not None and not await self._comments.is_shown(comment):
            return Target(None)
        post = posts.get(comment.post if comment else like.subject)
        return Target(post, comment) if post and not post.hidden else Target(None)

    async def count_likes(self, caller: Caller) -> int:
        return await self._likes.count(caller.user)

    async def said(
        self, caller: Caller, before: str | None, limit: int
    ) -> list[tuple[Comment, Target]]:
        """List one's own comments, newest first, each with the post it is on."""
        comments = await self._comments.by(caller.user, before, limit)
        posts = await self._posts.all_of({comment.post for comment in comments})
        return [(comment, _on(posts.get(comment.post))) for comment in comments]

    async def count_said(self, caller: Caller) -> int:
        return await self._comments.count_by(caller.user)

    async def posts_for_staff(
        self, kind: PostKind, before: str | None, limit: int, *, hidden: bool
    ) -> list[Post]:
        return await self._posts.page(kind, before, limit, hidden=hidden)

    async def post_for_staff(self, kind: PostKind, post_id: str) -> Post:
        return await self._posts.get(kind, post_id)

    async def comments_for_staff(
        self, before: str | None, limit: int, *, hidden: bool
    ) -> list[Comment]:
        return await self._comments.lately(before, limit, hidden=hidden)

    async def hide(
        self, caller: Caller, kind: LikeKind, subject: str, reason: str, *, hidden: bool
    ) -> None:
        """Hide something, or show it again, for the staff's reason. Raises Forbidden."""
        action = f"{kind}_{'hidden' if hidden else 'shown'}"
        if kind is LikeKind.COMMENT:
            comment = await self._comments.get(subject)
            await self._audit.record(caller.user, action, comment.by, reason, {"of": subject})
            await self._comments.hide(comment, hidden=hidden)
        else:
            post = await self._posts.get(PostKind(kind), subject)
            await self._audit.record(caller.user, action, post.by, reason, {"of": subject})
            await self._posts.hide(post.kind, subject, hidden=hidden)

    async def _seen(self, caller: Caller, things: Sequence[Thing]) -> list[Seen[Thing]]:
        liked = await self._likes.among(caller.user, [thing.id for thing in things])
        return [Seen(thing, thing.id in liked) for thing in things]

    async def _shown_post(self, post_id: str, kind: PostKind | None = None) -> Post:
        post = await self._posts.get(kind, post_id)
        if post.hidden:
            raise Forbidden
        return post

    async def _shown_comment(self, comment_id: str, post_id: str) -> Comment:
        comment = await self._comments.get(comment_id)
        if comment.post != post_id or not await self._comments.is_shown(comment):
            raise Forbidden
        return comment

    def _check(self, writing: Writing) -> None:
        if writing.category is not None and writing.category not in self._policy.categories:
            known = "、".join(self._policy.categories)
            raise BadRequest.field("category", f"应为 {known} 之一")

    def _check_words(self, **fields: str) -> None:
        wrong = {name: REFUSED for name, text in fields.items() if self._words.finds_in(text)}
        if wrong:
            raise BadRequest(fields=wrong)

    def _now(self) -> datetime:
        return to_millisecond(self._clock.now())


def _on(post: Post | None) -> Target:
    return Target(None if post is None or post.hidden else post)
