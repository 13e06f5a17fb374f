"""How deeply a JSON text is nested."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openapi.protocol.nesting import nested_deeper_than

TRICKY = st.text(alphabet='[]{}"\\,: \n\u20acax')
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TRICKY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    """What the name says, the slow way."""
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
@example({'"': ["\\"]}, True, None)
def test_the_depth_is_the_one_that_a_parser_finds(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    depth = depth_of(json.loads(text))

    assert not nested_deeper_than(depth, text)
    assert depth == 0 or nested_deeper_than(depth - 1, text)


@given(st.integers(0, 3), st.text(alphabet='[]{}"\\a\u20ac\n'))
def test_any_text_has_an_answer(depth: int, text: str) -> None:
    assert isinstance(nested_deeper_than(depth, text), bool)


@pytest.mark.parametrize("depth", [1, 64, 1000, 30_000])
def test_the_limit_passes_and_one_more_does_not(depth: int) -> None:
    text = "[" * depth + "]" * depth

    assert not nested_deeper_than(depth, text)
    assert nested_deeper_than(depth - 1, text)


def test_brackets_side_by_side_are_not_inside_each_other() -> None:
    assert not nested_deeper_than(2, "[" + ",".join(["[]", "{}"] * 1000) + "]")


def test_a_text_of_nothing_but_backslashes_and_quotes_takes_no_longer_than_another() -> None:
    # Quadratic backtracking would take minutes, and the test its time-out.
    for text in ("\\" * 200_000, '\\"' * 200_000, '\\"' * 200_000 + "\\", "x" * 200_000):
        assert nested_deeper_than(1, '[["' + text)
        assert not nested_deeper_than(2, '[["' + text + "[[[")
