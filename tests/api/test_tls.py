"""HTTPS by the API itself: with its certificate, TLS 1.2 at least, and no plain HTTP beside it."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from api.settings import ApiSettings
from local.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Eventually

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    own = authority.issue_cert(LOOPBACK)
    own.private_key_pem.write_to_path(folder / "key.pem")
    for part in own.cert_chain_pems:
        part.write_to_path(folder / "cert.pem", append=True)
    return folder


@pytest.fixture(scope="module")
def port(certificates: Path) -> Iterator[int]:
    chosen = free_port()
    command = [sys.executable, "-m", "cli", "api", "--port", str(chosen)]
    settings = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "API_TLS_CERT_FILE": str(certificates / "cert.pem"),
        "API_TLS_KEY_FILE": str(certificates / "key.pem"),
    }
    with subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.DEVNULL) as process:
        yield chosen
        process.terminate()


def health(url: str, context: ssl.SSLContext | None = None) -> int | None:
    try:
        return httpx.get(url, verify=context or ssl.create_default_context(), trust_env=False).status_code
    except httpx.TransportError:
        return None


def test_the_api_speaks_https_and_nothing_else(port: int, certificates: Path, eventually: Eventually) -> None:
    trusted = ssl.create_default_context(cafile=certificates / "authority.pem")
    eventually(lambda: health(f"https://{LOOPBACK}:{port}/healthz", trusted) == 200, within_s=40)
    assert health(f"https://{LOOPBACK}:{port}/healthz") is None
    assert health(f"http://{LOOPBACK}:{port}/healthz") is None
    old = ssl.create_default_context(cafile=certificates / "authority.pem")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert health(f"https://{LOOPBACK}:{port}/healthz", old) == 200
    assert trusted.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_half_of_a_certificate_is_refused(certificates: Path) -> None:
    with pytest.raises(ValueError, match="belong together"):
        ApiSettings(tls_cert_file=certificates / "cert.pem")
    with pytest.raises(ValueError, match="cannot be read"):
        ApiSettings(tls_cert_file=certificates / "cert.pem", tls_key_file=certificates / "missing.pem")
