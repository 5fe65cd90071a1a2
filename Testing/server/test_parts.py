"""The parts of a server that can be looked at one by one."""

import json
import time

import pytest
from webserver import Server as WebServer

from IrisSegmentLib import __version__
from IrisSegmentLib.cli import main
from IrisSegmentLib.engine.call import Call
from IrisSegmentLib.engine.elsewhere import Server
from IrisSegmentLib.errors import IrisError
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
