"""The databases that tests of the recorder use, and its flows over one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.streams.recorder.records import World

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture
def world(database: AsyncEngine) -> World:
    return World(database)
