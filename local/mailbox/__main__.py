"""`python -m local.mailbox --smtp-port 2525 --port 8025`: both on loopback, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio

import uvicorn
from aiosmtpd.smtp import SMTP

from local.mailbox.app import Mailbox, web
from local.own_host import OwnHost
from local.ports import LOOPBACK

LARGEST_BYTES = 33_554_432


async def serve(smtp_port: int, port: int) -> None:
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(
        lambda: SMTP(mailbox, hostname="mailbox", ident="mailbox", loop=loop, data_size_limit=LARGEST_BYTES),
        LOOPBACK,
        smtp_port,
    )
    config = uvicorn.Config(
        OwnHost(web(mailbox)),
        host=LOOPBACK,
        port=port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
    async with smtp:
        await uvicorn.Server(config).serve()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.mailbox", description="A mailbox, on loopback only.")
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--port", type=int, required=True, help="of the web pages")
    options = parser.parse_args()
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.smtp_port, options.port))


if __name__ == "__main__":
    main()
