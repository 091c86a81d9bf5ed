"""What root does for a program that runs as `nobody`: no folder of anybody else is opened for it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYBODY_PASSES = 0o001
# Root's own, so that nobody else can put other programs there.
CACHE = Path("/var/cache/freshtrack")


def closed_above(path: Path) -> Path | None:
    """The outermost folder above `path` that others may not pass through, or None."""
    for folder in reversed(path.absolute().parents):
        if folder.exists() and not folder.stat().st_mode & EVERYBODY_PASSES:
            return folder
    return None


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder for as long as the block runs, which others may pass through and not list."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def make_passable(folder: Path) -> None:
    """Make `folder` and what is missing above it, passable whatever the umask; existing ones stay as they are."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        one.chmod(0o711)


def reachable_copy(programs: Path, cache: Path = CACHE) -> Path:
    """`programs` (a `bin` with its `lib` and `share` beside it), or a copy that others can reach."""
    if closed_above(programs / "x") is None:
        return programs
    whole = programs.parent
    stamp = f"{whole} {whole.stat().st_mtime_ns}"
    kept = cache / f"postgresql-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        cache.chmod(0o755)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".copy-") as scratch:
            made = shutil.copytree(whole, Path(scratch) / "programs", symlinks=True)
            made.chmod(0o755)
            try:
                made.rename(kept)
            except OSError:
                if not kept.exists():  # else another start was quicker
                    raise
    return kept / programs.name
