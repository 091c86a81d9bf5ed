"""Logs: one event name and its fields a line, to the real stderr (Faust redirects `sys.stderr`)."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

from domain.personal_data import masked_line

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# All control characters but those that lines and stack traces are made of.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class _OwnEventsOrTrouble(logging.Filter):
    """Faust's services write a line at every start and stop, under the name of the module of their class."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or isinstance(record.msg, dict)


def _without_control_characters(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A terminal obeys escape sequences, and callers choose paths and names; JSON escapes them itself."""
    return {name: value.translate(_ESCAPES) if isinstance(value, str) else value for name, value in event.items()}


def _without_personal_data(_: object, __: str, line: Any) -> str:  # noqa: ANN401 - structlog types no last step
    """Whatever says it: a field, a library, the message or the stack trace of an error."""
    return masked_line(str(line))


def configure(*, level: str = "INFO", json: bool | None = None, worker: str = "") -> None:
    """Send structlog and the standard library's loggers through one formatter.

    `json` is the default where stderr is no terminal: what a log collector reads.
    """
    stream = sys.__stderr__
    assert stream is not None
    as_json = not stream.isatty() if json is None else json
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    finish: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if not as_json:
        finish.append(_without_control_characters)
    if as_json:
        finish.append(structlog.processors.dict_tracebacks)
    handler = logging.StreamHandler(stream)
    handler.addFilter(_OwnEventsOrTrouble())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=SHARED, processors=[*finish, renderer, _without_personal_data]
        ),
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # A rebalance makes aiokafka and Faust write dozens of lines; what matters of them we log ourselves.
    for noisy in ("aiokafka", "faust", "mode", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )
    if worker:
        structlog.contextvars.bind_contextvars(worker=worker)
