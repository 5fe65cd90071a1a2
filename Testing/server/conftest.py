"""Real servers, and clients of theirs."""

import subprocess

import pytest
from serverbench import SERVED, STRICT, TOKEN, Running
from workerbench import Bench

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate of this computer that nobody trusts by himself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    try:
        subprocess.run([*command.split(), "-out", folder / "c.pem", "-keyout", folder / "k.pem"], check=True,
                       capture_output=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl that can make a certificate")
    return folder / "c.pem", folder / "k.pem"


@pytest.fixture(scope="module")
def secure(tmp_path_factory, tiny_network, certificate):
    """As `irissegment serve` starts it, by TLS, with a token that it made itself."""
    command = [*SERVED, "--network", tiny_network, "--certificate", certificate[0], "--key", certificate[1]]
    running = Running(tmp_path_factory.mktemp("secure") / "temporary", command)
    yield running
    running.stop()
    assert not running.left()


@pytest.fixture(scope="module")
def strict(tmp_path_factory, tiny_network):
    """On the loopback address, with small limits and little patience."""
    running = Running(tmp_path_factory.mktemp("strict") / "temporary", ["-c", STRICT, tiny_network, 0], TOKEN)
    yield running
    running.stop()
    assert not running.left()


@pytest.fixture
def client_of():
    """Makes benches whose jobs a server does."""
    from IrisSegmentLib.engine.elsewhere import Server

    benches = []

    def make(running, certificate=None, address=None, token=None):
        server = Server(address or running.address, token or running.token, certificate)
        benches.append(Bench(None, server=server))
        return benches[-1]

    yield make
    for bench in benches:
        bench.client.close()
