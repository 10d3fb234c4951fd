"""How saved values go into steps and get out of answers."""

import pytest

from bot.errors import Broken
from bot.values import pick, resolve

ANSWER = {
    "items": [{"name": "小傅", "id": "d1"}, {"name": "华佗", "id": "d3"}],
    "room": {"last_seq": 4},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("room.last_seq", 4),
        ("items[0].id", "d1"),
        ("items[-1].name", "华佗"),
        ("items[name=华佗].id", "d3"),
        ("room", {"last_seq": 4}),
    ],
)
def test_a_path_reaches_fields_elements_and_the_first_of_a_kind(path: str, value: object) -> None:
    assert pick(ANSWER, path) == value


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("room.title", "there is no 'title'"),
        ("items[name=神农].id", r"there is no '\[name=神农\]'"),
        ("items[9]", r"there is no '\[9\]'"),
        ("room.last_seq.x", "there is no 'x'"),
        ("items[", "cannot be read"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: str, why: str) -> None:
    with pytest.raises(Broken, match=why):
        pick(ANSWER, path)


def test_a_lone_name_keeps_its_type_and_one_in_a_text_becomes_text() -> None:
    names = {"seq": 7, "room": {"id": "r1"}}

    assert resolve({"after": "${seq}", "path": "/x/${room.id}?n=${seq}"}, names) == {
        "after": 7,
        "path": "/x/r1?n=7",
    }


def test_a_name_nobody_saved_breaks_the_run() -> None:
    with pytest.raises(Broken, match="'nobody'"):
        resolve(["${nobody}"], {})
