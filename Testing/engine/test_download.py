"""Downloads from a real server on this machine, which breaks connections, changes its file and refuses."""

import hashlib
import os
import shutil
import time

import numpy as np
import pytest
from webserver import Server

from IrisSegmentLib.engine import Cancelled, Progress
from IrisSegmentLib.engine import download as module
from IrisSegmentLib.engine.download import download, file_name
from IrisSegmentLib.engine.networks import get_network
from IrisSegmentLib.errors import IrisError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "PAUSES", (0.05, 0.05, 0.05))
    with Server(CONTENT) as server:
        yield server


def test_a_file_arrives_whole_under_its_own_name_and_tells_how_far_it_is(server, tmp_path):
    seen = []
    server.pause = 0.03
    path = download(server.address, tmp_path / "new", progress=Progress(lambda f, text: seen.append((f, text))))
    assert path == tmp_path / "new" / "net work.pth" and path.read_bytes() == CONTENT
    assert os.listdir(tmp_path / "new") == ["net work.pth"]
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1 and len(set(fractions)) > 5
    assert seen[3][1].startswith("Downloading net work.pth: ") and seen[3][1].endswith(" of 3 MB")


def test_broken_connections_are_taken_up_where_they_broke(server, tmp_path):
    server.breaks = [1_000_000, 700_000, 0, 0, 200_000, 0, 0]  # many in all, never four without a byte
    assert download(server.address, tmp_path, sha256=CHECKSUM).read_bytes() == CONTENT
    assert server.asked[:3] == [None, "bytes=1000000-", "bytes=1700000-"] and server.asked[-1] == "bytes=1900000-"


def test_what_came_yesterday_is_not_asked_for_again(server, tmp_path):
    server.breaks = [1_000_000, 0, 0, 0]
    with pytest.raises(IrisError, match="what came so far is kept"):
        download(server.address, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["net work.pth.part", "net work.pth.part.version"]
    server.asked.clear()
    assert download(server.address, tmp_path, sha256=CHECKSUM.upper()).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000000-"] and os.listdir(tmp_path) == ["net work.pth"]


def test_all_of_it_had_come_when_the_computer_went_down(server, tmp_path):
    (tmp_path / "net work.pth.part").write_bytes(CONTENT)
    (tmp_path / "net work.pth.part.version").write_text(f'{server.address}\n"1"')
    assert download(server.address, tmp_path).read_bytes() == CONTENT and server.asked == ["bytes=3000000-"]


@pytest.mark.parametrize("version", ['"2"', "", 'W/"1"'])
def test_halves_of_two_files_are_never_joined(server, tmp_path, version):
    server.breaks = [1_000_000, 0, 0, 0]
    if version != '"2"':
        server.version = version
    with pytest.raises(IrisError):
        download(server.address, tmp_path)
    server.content, server.version = CONTENT[::-1], version
    assert download(server.address, tmp_path).read_bytes() == CONTENT[::-1]


def test_a_wrong_checksum_throws_the_file_away(server, tmp_path):
    with pytest.raises(IrisError, match=f"has the checksum {CHECKSUM[:8]}"):
        download(server.address, tmp_path, sha256="0" * 64)
    assert not os.listdir(tmp_path)
    with pytest.raises(IrisError, match="64 digits"):
        download(server.address, tmp_path, sha256="12ab")


def test_a_cancelled_download_keeps_what_came_and_goes_on_later(server, tmp_path):
    server.pause = 0.02

    def show(fraction, text):
        if fraction > 0.4:
            progress.cancel()

    progress = Progress(show)
    with pytest.raises(Cancelled):
        download(server.address, tmp_path, progress=progress)
    kept = (tmp_path / "net work.pth.part").stat().st_size
    assert 0.4 < kept / len(CONTENT) < 0.9 and not (tmp_path / "net work.pth").exists()
    server.asked.clear()
    assert download(server.address, tmp_path).read_bytes() == CONTENT and server.asked == [f"bytes={kept}-"]


def test_offline_or_refused_is_one_sentence_at_once(server, tmp_path):
    server.code = 404
    with pytest.raises(IrisError, match=r"refused the file \(404 Not Found\); check the address"):
        download(server.address, tmp_path)
    server.code = 503
    with pytest.raises(IrisError, match=r"cannot be reached \(503 Service Unavailable\)"):
        download(server.address, tmp_path)
    server.close()
    started = time.monotonic()
    for address in (server.address, "https://no-such-host.invalid/a.pth"):
        with pytest.raises(IrisError, match="try again when you are online, or get the file on another computer"):
            download(address, tmp_path)
    assert time.monotonic() - started < 5 and not os.listdir(tmp_path)


def test_a_full_disk_is_told_before_anything_is_written(server, tmp_path, monkeypatch):
    nearly_full = shutil._ntuple_diskusage(total=10**9, used=996 * 10**6, free=4 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: nearly_full)
    with pytest.raises(IrisError, match="has 4 MB left and 6 MB are needed"):
        download(server.address, tmp_path)
    assert not (tmp_path / "net work.pth").exists()


@pytest.mark.parametrize(
    "address",
    [
        "ftp://a/b.pth", "/etc/hostname", "file:///etc/hostname", "https://a.b/", "https://a/..", "https://a/b c.pth",
        "https://a/%2e%2e", "https://a/x%2F..%2F.hidden",
    ],
)  # fmt: skip
def test_only_web_addresses_of_files_are_followed(address, tmp_path):
    with pytest.raises(IrisError, match="not the web address of a file"):
        file_name(address)


def test_the_public_network_comes_from_its_page_or_from_a_file(server, public_checkpoint, tiny_network, tmp_path):
    server.content = public_checkpoint.read_bytes()
    server.breaks = [20_000_000]
    checksum = hashlib.sha256(server.content).hexdigest()
    for source in (server.address, str(public_checkpoint)):
        found = get_network(source, tmp_path / "kept", sha256=checksum)
        assert (found.name, found.parameters, found.source_sha256) == ("mass-tiny", 13443301, checksum)
        assert found.path.parent == tmp_path / "kept"
    assert sorted(os.listdir(tmp_path / "kept")) == ["net work.safetensors", "public.safetensors"]
    ours = get_network(str(tiny_network), tmp_path / "kept")
    assert ours.path == tiny_network and ours.name == "tiny"
    server.content = b"a page that asks to sign in"
    for source, words in ((server.address, "not the public Iris checkpoint"), (str(tmp_path / "no.pth"), "no.pth")):
        with pytest.raises(IrisError, match=words):
            get_network(source, tmp_path / "new")
    with pytest.raises(IrisError, match="has the checksum"):
        get_network(str(tiny_network), tmp_path / "new", sha256="0" * 64)
    assert not list((tmp_path / "new").iterdir())
