"""The health circle (健康圈): articles, topics, comments, likes, forbidden words (H1–H3)."""

import unicodedata
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from pydantic import NonNegativeInt

from care.record import Record

DEEPEST = 30
"""How far replies go below each other; what comes later answers the last of them."""


class PostKind(StrEnum):
    ARTICLE = "article"
    TOPIC = "topic"


class LikeKind(StrEnum):
    """What can be liked."""

    ARTICLE = "article"
    TOPIC = "topic"
    COMMENT = "comment"


class Writing(Record):
    """What the hospital's staff or a doctor writes; `body` is Markdown, `html` safe to show."""

    title: str
    summary: str
    body: str
    html: str
    author: str
    category: str | None = None
    cover: str | None = None
    """An uploaded image."""


class Post(Writing):
    """An article of the hospital or a doctor's topic (话题)."""

    id: str
    mark: str
    """Sorts by the time it was published at."""
    kind: PostKind
    by: str
    """The account: of a topic its doctor's."""
    at: datetime
    hidden: bool = False
    like_count: NonNegativeInt = 0
    comment_count: NonNegativeInt = 0
    """On every level; what is hidden doesn't count, nor what is below it."""
    share_count: NonNegativeInt = 0


class Comment(Record):
    """A comment on a post, or a reply: `ancestors` leads from the comment above all to its own."""

    id: str
    mark: str
    post: str
    post_kind: PostKind
    ancestors: tuple[str, ...] = ()
    by: str
    name: str
    role: str
    text: str
    at: datetime
    hidden: bool = False
    like_count: NonNegativeInt = 0
    reply_count: NonNegativeInt = 0
    """Below it on every level; what is hidden doesn't count, nor what is below that."""

    @property
    def parent(self) -> str | None:
        return self.ancestors[-1] if self.ancestors else None

    @property
    def line(self) -> tuple[str, ...]:
        """Give the ancestors of a reply to it."""
        return (*self.ancestors, self.id)[:DEEPEST]


class Like(Record):
    kind: LikeKind
    subject: str
    mark: str
    at: datetime


class WordList:
    """Words that nobody may publish (敏感词), however they are spaced or dressed up."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(filter(None, map(_bare, words)))

    def finds_in(self, text: str) -> bool:
        bare = _bare(text)
        return any(word in bare for word in self._words)


def _bare(text: str) -> str:
    """Keep letters and digits alone, of one width and case."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())
