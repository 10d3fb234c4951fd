"""Range headers as RFC 9110 reads them."""

import pytest

from companion.rest.ranges import NotSatisfiable, Span, matches, read_range


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=2-5", Span(2, 6)),
        ("bytes=5-", Span(5, 10)),
        ("bytes=0-99", Span(0, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=-99", Span(0, 10)),
        ("BYTES = 1-2", Span(1, 3)),
        (None, None),
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=１-２", None),
    ],
)
def test_one_range_is_read_and_everything_else_ignored(
    header: str | None, span: Span | None
) -> None:
    assert read_range(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_behind_the_end_is_not_satisfiable(header: str) -> None:
    with pytest.raises(NotSatisfiable):
        read_range(header, 10)


@pytest.mark.parametrize("header", [f"bytes=0-{'9' * 8000}", f"bytes={'9' * 8000}-"])
def test_a_number_no_file_is_long_enough_for_is_ignored(header: str) -> None:
    assert read_range(header, 10) is None


def test_an_etag_is_found_in_a_list() -> None:
    assert matches('"a", W/"b"', '"b"')
    assert matches("*", '"b"')
    assert not matches('"a"', '"b"')
    assert not matches(None, '"b"')
