"""The parts of a server that can be looked at one by one."""

import json
import random
import time

import numpy as np
import pytest
from webserver import Server as WebServer

from IrisSegmentLib import __version__
from IrisSegmentLib.cli import main
from IrisSegmentLib.engine.call import Call
from IrisSegmentLib.engine.elsewhere import Server
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.server.inbox import Claim, Refusal, check_array
from IrisSegmentLib.server.limits import Limits, Pace
from IrisSegmentLib.server.turns import Full, Turns


def test_clients_take_turns_and_know_how_many_come_before_them():
    turns = Turns(Limits(of_one=4))
    a = [turns.enter("a") for _ in range(4)]
    b = [turns.enter("b") for _ in range(2)]
    c = turns.enter("c")
    everyone = {"a1": a[0], "a2": a[1], "a3": a[2], "a4": a[3], "b1": b[0], "b2": b[1], "c1": c}
    names = {id(turn): name for name, turn in everyone.items()}
    expected = ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    for n, name in enumerate(expected):
        waiting = sorted(everyone.values(), key=turns.before)
        assert [names[id(turn)] for turn in waiting] == expected[n:]
        assert [turns.before(turn) for turn in waiting] == list(range(len(waiting)))
        assert everyone[name].moved.is_set()
        turns.leave(everyone.pop(name))
    assert len(turns) == 0


def test_who_leaves_while_waiting_holds_nobody_up_and_too_many_are_refused():
    turns = Turns(Limits(jobs=5, of_one=2))
    first, second, third = (turns.enter("a") for _ in range(3))
    with pytest.raises(Full):
        turns.enter("a")
    other = turns.enter("b")
    assert turns.before(other) == 2
    turns.leave(second)
    turns.leave(first)
    assert turns.before(third) == 0 or turns.before(other) == 0
    for client in ("c", "d", "e"):
        turns.enter(client)
    with pytest.raises(Full):
        turns.enter("f")


def test_an_address_may_ask_so_often_and_no_more():
    pace = Pace(Limits(rate=2, burst=5))
    assert [pace.allows("a") for _ in range(7)] == [True] * 5 + [False] * 2 and pace.allows("b")
    time.sleep(0.6)
    assert pace.allows("a") and not all(pace.allows("a") for _ in range(5))


@pytest.mark.parametrize("address", [
    "http://gpu.example:8765", "gpu:8765", "https://", "ftp://a", "https://a/b", "https://me@a", "http://[::1", "http://a:x",
])  # fmt: skip
def test_scans_are_sent_to_nobody_over_an_open_line(address):
    with pytest.raises(IrisError, match="https://"):
        Server(address, "token")


def test_what_would_be_an_open_line_is_not_listened_on(tmp_path, capsys):
    (tmp_path / "short").write_text("guess")
    (tmp_path / "no.pem").write_text("no certificate")
    pem = tmp_path / "no.pem"
    for arguments, words in (
        (["--host", "0.0.0.0"], "for everyone to read"),
        (["--host", "gpu.example"], "for everyone to read"),
        (["--certificate", pem], "belong together"),
        (["--host", "0.0.0.0", "--certificate", pem, "--key", pem], "are no certificate"),
        (["--token-file", tmp_path / "short"], "can be guessed"),
        (["--token-file", tmp_path / "none"], "cannot be read"),
        (["--port", "99999"], "choose another --port"),
        (["--port", "0", "--network", tmp_path / "none.safetensors", "--device", "cpu"], "none.safetensors"),
    ):
        assert main(["serve", *map(str, arguments)]) == 2
        told = capsys.readouterr().err
        assert words in told and "\n" not in told.strip(), told


def test_another_version_or_another_program_is_a_sentence():
    for content, words in (
        ({"program": "IrisSegment", "version": "9.9"}, f"has IrisSegment 9.9, this computer {__version__}; install"),
        ({"program": "Word"}, "is not a server of IrisSegment"),
        ([], "is not a server of IrisSegment"),
    ):
        with WebServer(json.dumps(content).encode()) as web, pytest.raises(IrisError, match=words):
            Call(Server(f"http://127.0.0.1:{web.server_port}", "token"), "client").status()


def test_whatever_is_said_of_a_job_is_a_job_or_a_refusal():
    """Each value of a right claim is replaced by something else: no other failure, and no file but its own."""
    image = {"file": "0.npy", "affine": [[1, 0], [0, 1]], "name": "#0#"}
    arrays = [{**image, "file": f"{n}.npy"} for n in range(4)]
    scans = [{"image": arrays[n], "segmentation": arrays[n + 1]} for n in (0, 2)]
    message = {"verb": "tune", "scans": scans, "preset": "4.iris", "steps": 10}
    files = [*([f"{n}.npy", 100] for n in range(4)), ["4.iris", 50]]
    right = {"version": __version__, "message": message, "files": files}
    line = json.dumps(right).encode()
    assert Claim.of(line, len(line) + 1 + 450).message == message
    words = line.decode()
    random.seed(0)
    odd = ["null", "-1", "1e999", "[]", "{}", '"../0.npy"', '"1.npy"', "9" * 30, '"x"', "[" * 3000, "true"]
    odd += ['"4.iris"', '"/etc/passwd"', '"segment"', '"get network"', "[" * 500 + "]" * 500]
    kept = 0
    for _ in range(3000):
        start = random.choice([n for n, c in enumerate(words) if c in '"[{0123456789'])
        forged = words[:start] + random.choice(odd) + words[start + random.randint(1, 12) :]
        line = forged.encode()
        try:
            claim = Claim.of(line, len(line) + 1 + 450)
        except Refusal as refusal:
            assert refusal.status in (400, 409)
        else:
            kept += 1
            assert set(claim.sizes) == {"0.npy", "1.npy", "2.npy", "3.npy", "4.iris"}
    assert kept < 1000


def test_whatever_an_array_says_of_itself_it_is_as_large_as_its_file():
    begin = np.lib.format.header_data_from_array_1_0(np.zeros((4, 5, 6), np.int16))
    for shape, kind, fits in (
        ((4, 5, 6), "<i2", True), ((4, 5, 6, 1), ">i2", True), ((240,), "|u1", False), ((-4, -5, 6), "<i2", False),
        ((4, 5, 7), "<i2", False), ((2**40, 2**40, 2**40), "<f8", False), ((4, 5, 6), "|O", False),
        ((15, 2, 2), "<U1", False), ((15, 1, 1), "<c16", False), ((True, 5, 24), "<i2", False),
    ):  # fmt: skip
        header = str({**begin, "shape": shape, "descr": kind}).encode()
        header += b" " * (117 - len(header)) + b"\n"
        data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        try:
            check_array(data, len(data) + 240)
        except Refusal:
            assert not fits, (shape, kind)
        else:
            assert fits, (shape, kind)
