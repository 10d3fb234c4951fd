"""What a scenario's expectations accept and refuse, and what they say when they refuse."""

from typing import Any

import pytest

from bot.matching import differences, matches, unknown_matchers


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": "x"}}, {"a": {"b": "x", "c": 0}}),
        ([{"a": 1}, {"a": 2}], [{"a": 1, "z": 0}, {"a": 2}]),
        ({"n": {"$gt": 0, "$lte": 3}}, {"n": 3}),
        ({"n": {"$any": True}}, {"n": None}),
        ({"n": {"$any": False}}, {}),
        ({"at": {"$regex": "Z$"}}, {"at": "2026-11-22T08:00:00.123Z"}),
        ({"list": {"$len": 2}}, {"list": [1, 2]}),
        ({"list": {"$len": {"$gte": 1}}}, {"list": [1, 2]}),
        ({"list": {"$contains": {"a": 2}}}, {"list": [{"a": 1}, {"a": 2, "b": 0}]}),
        (None, None),
        ({}, {"anything": 1}),
    ],
)
def test_a_subset_with_matchers_is_accepted(expected: Any, got: Any) -> None:
    assert matches(expected, got)


@pytest.mark.parametrize(
    ("expected", "got", "said"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b: expected 1, got 2"),
        ({"a": 1}, {}, "a: expected 1, got nothing"),
        ({"a": 1}, {"a": True}, "a: expected 1, got True"),
        ([1], [1, 2], "the answer: expected 'a list of 1', got [1, 2]"),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 3}], "[1].a: expected 2, got 3"),
        ({"a": {"b": 1}}, {"a": "text"}, "a: expected 'an object', got 'text'"),
        ({"n": {"$gt": 0}}, {"n": 0}, "n: expected {'$gt': 0}, got 0"),
        ({"n": {"$gt": 0}}, {"n": "many"}, "n: expected {'$gt': 0}, got 'many'"),
        ({"n": {"$regex": "^a"}}, {"n": 5}, "n: expected {'$regex': '^a'}, got 5"),
        ({"l": {"$len": 1}}, {"l": []}, "l.length: expected 1, got 0"),
        ({"l": {"$contains": 1}}, {}, "l: expected {'$contains': 1}, got nothing"),
    ],
)
def test_a_difference_is_told_with_its_path(expected: Any, got: Any, said: str) -> None:
    assert differences(expected, got) == [said]


def test_every_difference_is_told() -> None:
    found = differences({"a": 1, "b": {"c": 2}}, {"a": 0, "b": {"c": 0}})

    assert found == ["a: expected 1, got 0", "b.c: expected 2, got 0"]


@pytest.mark.parametrize(
    ("expected", "unknown"),
    [
        ({"a": {"$gt": 1}}, set()),
        ({"a": [{"$greater": 1}]}, {"$greater"}),
        ({"a": {"$gt": 1, "b": 2}}, {"$gt"}),
    ],
)
def test_a_mistyped_matcher_is_found(expected: Any, unknown: set[str]) -> None:
    assert unknown_matchers(expected) == unknown
