"""The list of words nobody may publish, as a hospital gives it (H3)."""

from pathlib import Path

import pytest

from care.policy import CirclePolicy
from companion.words import read_words
from realtime import app
from realtime.secrets import MAKERS, ConfigError, parse
from realtime.settings import Settings


def test_a_hospitals_own_list_stands_in_place_of_the_shipped_one(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\ufeff# 本院\n神药  # 广告\n\n  ＡＢＣ诊所\n！！\n", encoding="utf-8")
    words = read_words(str(file))
    assert words.finds_in("本院推荐：神 - 药")
    assert words.finds_in("abc 诊所")
    # a comment is no word, nor is what has no letter
    assert not words.finds_in("本院的广告！！包治百病")


def test_the_shipped_list_has_words() -> None:
    assert read_words(None).finds_in("祖传秘方")
    assert not read_words(None).finds_in("早睡早起，多喝水")


async def test_a_list_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    secrets = parse({name: make() for name, make in MAKERS.items()}, optional={})
    settings = Settings(circle=CirclePolicy(forbidden_words=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match=r"circle\.forbidden_words"):
        app.Hub(app.Runtime(settings, secrets, "mongodb://unused.invalid"))
