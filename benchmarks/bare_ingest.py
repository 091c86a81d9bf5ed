"""What `benchmarks.ingest` compares the API with: a bare FastAPI endpoint with the same producer."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response

from api.ingest import Acknowledgements, Waiter
from broker.settings import KafkaSettings
from producers.kafka import ReadingsProducer
from schemas.messages import ReadingBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

decode = msgspec.json.Decoder(ReadingBatch).decode


def bare(kafka: KafkaSettings) -> FastAPI:
    """Decodes one unit's readings, sends them, waits for the broker: no key, no owner, no limits, no headers."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.acknowledgements = Acknowledgements(asyncio.get_running_loop())
        with ReadingsProducer(kafka.librdkafka() | {"linger.ms": 2}, prefix=kafka.topic_prefix) as producer:
            app.state.producer = producer
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/readings", status_code=202)
    async def ingest(request: Request) -> Response:
        waiter = Waiter(request.app.state.acknowledgements)
        request.app.state.producer.send_batch(decode(await request.body()), on_delivery=waiter.on_delivery, wait_s=0)
        waiter.sent()
        await waiter.wait(5)
        return Response(b"{}", 202, media_type="application/json")

    return app


if __name__ == "__main__":
    port = int(sys.argv[1])
    uvicorn.run(
        bare(KafkaSettings()), port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
