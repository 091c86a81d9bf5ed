"""The demo's digest: sends the fleet's readings of yesterday and asks for their digest while everything else runs."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from local.children import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

USER = "harbor/ada"
RECORDED_WITHIN_S = 60
COMMANDS = (
    ("digest", "backfill", "--days", "1"),
    ("digest", "send-now", USER, "--wait-s", str(RECORDED_WITHIN_S)),
)


async def send_digest(environment: Mapping[str, str], mailbox_url: str, say: Callable[[str], None]) -> bool:
    """Send yesterday's readings and ask for their digest. Returns False if a command fails, and says why."""
    for command in COMMANDS:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli",
            *command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if process.returncode != 0:
            words = output.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
            say(f"No digest of yesterday: `{' '.join(command)}` ended with {process.returncode}: {words[0]}")
            return False
    say(f"Yesterday's digest is on its way to the mailbox: {mailbox_url}")
    return True
