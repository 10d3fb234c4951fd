"""What a run prints: who sent what, what came back, and where it broke. No secret is in it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

SECRETS = frozenset(
    {"password", "token", "access_token", "refresh_token", "code", "id_card", "credential"}
)
SIGNED = frozenset({"url", "thumbnail_url"})
WIDTH = 160


class Transcript:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()

    def heading(self, text: str) -> None:
        print(f"\n── {text}")

    def sent(self, actor: str, what: str, data: Any = None) -> None:
        self._line(actor, "→", what, data)

    def received(self, actor: str, what: str, data: Any = None) -> None:
        self._line(actor, "←", what, data)

    def passed(self, text: str) -> None:
        print(f"{'':8}  ✓ {text}")

    def failed(self, number: int, differences: tuple[str, ...]) -> None:
        print(f"{'':8}  ✗ step {number}")
        for line in differences:
            print(f"{'':12}{line}")

    def _line(self, actor: str, arrow: str, what: str, data: Any) -> None:
        offset = f"{self._now() - self._began:7.3f}s"
        print(f"{offset}  {arrow} {actor}  {what}{_brief(data)}")


def hide(value: Any) -> Any:
    """Leave out what a reader of the transcript must not have: tokens, passwords, signatures."""
    if isinstance(value, Mapping):
        return {key: _hide_field(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [hide(item) for item in value]
    return value


def _hide_field(key: str, value: Any) -> Any:
    # an error's `code` is a word for programs, a log-in's `code` is a secret of digits
    if key in SECRETS and not (key == "code" and isinstance(value, str) and not value.isdigit()):
        return "***"
    if key in SIGNED and isinstance(value, str):
        return value.partition("?")[0]
    return hide(value)


def _brief(data: Any) -> str:
    if data is None:
        return ""
    text = json.dumps(hide(data), ensure_ascii=False)
    return f"  {text if len(text) <= WIDTH else text[:WIDTH] + '…'}"
