"""The texts users agree to, each in the version that is in force.

A file holds one version of one text, its title in the first line. Files of earlier versions stay:
an account and a consultation keep the number of the version that was agreed to.
"""

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

from care.record import Record

CURRENT: Mapping[str, str] = MappingProxyType(
    {"terms": "1", "informed_consent": "1", "recording": "1"}
)


class Consent(Record):
    kind: str
    version: str
    title: str
    text: str


def load() -> list[Consent]:
    """Read the texts in force."""
    return [_read(kind, version) for kind, version in CURRENT.items()]


def _read(kind: str, version: str) -> Consent:
    content = (files("companion") / "texts" / f"{kind}.{version}.md").read_text("utf-8")
    title, _, text = content.partition("\n")
    return Consent(kind=kind, version=version, title=title.lstrip("# "), text=text.strip())
