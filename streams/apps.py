"""The workers: one Faust app each, built from the environment when it is asked for.

`freshtrack worker NAME` runs one. `faust -A streams.apps:detection worker --without-web` works too: Faust looks up the
name, and the module builds the app.
"""

# ruff: noqa: E402 - the event loop must be chosen before Faust is imported
from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import faust

NAMES = ("detection", "notifications", "digests", "recorder")


def build(name: str) -> faust.App:
    """The app of the worker called `name`, from the `build` of its room."""
    if name not in NAMES:
        raise AttributeError(f"there is no worker {name!r}; there are {', '.join(NAMES)}")
    return cast("faust.App", import_module(f"streams.{name}.app").build())


def __getattr__(name: str) -> faust.App:
    """`streams.apps:detection` is an app: built only now, so that importing this module needs no broker."""
    return build(name)
