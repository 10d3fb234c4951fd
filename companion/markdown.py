"""Markdown to HTML that is safe to show wherever it lands."""

from html import unescape

import nh3
from markdown_it import MarkdownIt

from care.circle import Writing

SUMMARY_MAX = 60

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_TAGS = {
    "h1", "h2", "h3", "h4", "p", "br", "hr", "strong", "em", "code", "pre", "blockquote",
    "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "a",
}  # fmt: skip


def to_html(text: str) -> str:
    """Render; what isn't text, structure or a link to the web is left out.

    Pictures too: one of another host would tell it who reads what.
    """
    return nh3.clean(
        _MARKDOWN.render(text),
        tags=_TAGS,
        attributes={"a": {"href", "title"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    )


def write_up(
    title: str,
    summary: str,
    body: str,
    author: str,
    *,
    category: str | None = None,
    cover: str | None = None,
) -> Writing:
    """Make what is published of what was written; a summary that is missing is its beginning."""
    html = to_html(body)
    return Writing(
        title=title, summary=summary or _beginning(html), body=body, html=html, author=author,
        category=category, cover=cover,
    )  # fmt: skip


def _beginning(html: str) -> str:
    text = " ".join(unescape(nh3.clean(html, tags=set())).split())
    return text if len(text) <= SUMMARY_MAX else f"{text[:SUMMARY_MAX]}…"
