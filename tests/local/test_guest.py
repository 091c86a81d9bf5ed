"""As root, nothing is opened that somebody closed; what the database cannot reach is refused, or copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local import guest
from local.postgres import EmbeddedPostgres, PostgresDidNotStartError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def closed(database_folder: Path) -> Path:
    """A private folder, as `/root` is."""
    folder = database_folder / "closed"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    return folder


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_the_outermost_closed_folder_is_found(closed: Path) -> None:
    assert guest.closed_above(closed / "a" / "b") == closed
    assert guest.closed_above(closed) is None


def test_new_folders_can_be_passed_and_those_that_exist_stay_as_they_are(closed: Path) -> None:
    guest.make_passable(closed / "new" / "data")
    assert (mode(closed), mode(closed / "new"), mode(closed / "new" / "data")) == (0o700, 0o711, 0o711)


def test_programs_behind_a_closed_folder_are_copied_and_others_are_used_where_they_are(
    closed: Path, database_folder: Path
) -> None:
    programs = closed / "install" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "postgres").write_text("program")
    cache = database_folder / "cache"
    copies = [guest.reachable_copy(programs, cache) for _ in range(2)]
    assert copies[0] == copies[1]
    assert (copies[0] / "postgres").read_text() == "program"
    assert guest.closed_above(copies[0] / "postgres") is None
    assert guest.reachable_copy(copies[0], cache) == copies[0]
    assert mode(closed) == 0o700


def test_a_database_behind_a_closed_folder_is_refused_with_a_way_out_and_nothing_is_opened(closed: Path) -> None:
    server = EmbeddedPostgres(closed / "postgres")
    if server.user is None:
        # Whoever is not root runs the database himself, and passes his own folders.
        with server:
            assert server.is_ready(server.pid)
    else:
        with pytest.raises(PostgresDidNotStartError, match=f"chmod o\\+x {closed}"):
            server.start()
    assert mode(closed) == 0o700
