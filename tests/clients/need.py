"""What a machine may lack: a test is skipped with a loud word, or fails where it was installed."""

import os
import shutil
from typing import NoReturn

import pytest


def browser_program() -> str:
    """Find Chromium, or skip the test."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    return found or missing("BROWSERS", "no chromium on PATH: NOT tested in a browser")


def missing(what: str, why: str) -> NoReturn:
    """Skip; fail where REQUIRE_<what> says that it must be there."""
    if os.environ.get(f"REQUIRE_{what}") == "1":
        pytest.fail(why)
    pytest.skip(why)
