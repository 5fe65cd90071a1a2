"""A server and clients on this computer: what they get, and what becomes of those who break off, lie or dawdle."""

import io
import json
import os
import random
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from serverbench import STRICT, TOKEN, Running, answered

from IrisSegmentLib import __version__
from IrisSegmentLib.cli import main
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.engine.call import Call
from IrisSegmentLib.engine.elsewhere import Server
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.files import read_segmentation
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.network import build, save_network


@pytest.fixture(scope="module")
def engine(tiny_network):
    return Engine(tiny_network, "cpu")


@pytest.fixture(scope="module")
def preset(engine, hippocampi):
    return engine.encode(*hippocampi[0], name="h")


def same(a, b):
    return a.segments == b.segments and a.name == b.name and _numbers(a) == _numbers(b)


def _numbers(preset):
    words = preset.words()
    assert words.pop("created")
    return json.dumps(words), preset.references[0].levels["fine"].tokens[0].half().numpy().tobytes()


def large(side):
    """A scan that takes a while."""
    values = np.random.default_rng(0).normal(size=(side, side, side)).astype(np.float32)
    return Volume(values, np.eye(4), "large")


def job_of(*arrays, verb="look", **words):
    """The bytes of a job as a client of anybody's making sends them."""
    files = []
    for array in arrays:
        file = io.BytesIO()
        np.save(file, array)
        files.append(file.getvalue())
    image = {"file": "0.npy", "affine": np.eye(4).tolist(), "name": "a"}
    message = {"verb": verb, "image": image, **words}
    named = [[f"{n}.npy", len(file)] for n, file in enumerate(files)]
    head = {"version": __version__, "message": message, "files": named}
    return json.dumps(head).encode() + b"\n" + b"".join(files)


def test_three_clients_at_once_get_what_they_would_get_here(secure, certificate, client_of, engine, preset, hippocampi):
    benches = [client_of(secure, certificate[0]) for _ in range(3)]
    for bench in benches:
        bench.jobs = [bench.ask("encode", *hippocampi[0], name="h")]
        bench.jobs += [bench.ask("segment", image, preset) for image, _ in hippocampi[1:3]]
        bench.jobs.append(bench.ask("describe"))
    benches[0].jobs.append(benches[0].ask("look", hippocampi[1][0]))
    benches[1].jobs.append(benches[1].ask("measure", *hippocampi[1], preset))
    until = time.monotonic() + 100
    while not all(job.ended for bench in benches for job in bench.jobs):
        assert time.monotonic() < until
        for bench in benches:
            bench.transport.pump(0.01)
    expected = [engine.segment(image, preset) for image, _ in hippocampi[1:3]]
    for bench in benches:
        assert not bench.errors and [job.state for job in bench.jobs] == ["done"] * len(bench.jobs)
        made, first, second, described, *_ = [told[1] for told in bench.told if told[0] == "done"]
        assert same(made, preset) and made.network == preset.network
        for found, right in ((first, expected[0]), (second, expected[1])):
            assert np.array_equal(found.segmentation.layers, right.segmentation.layers)
            assert found.segmentation.segments == right.segmentation.segments
            assert found.segmentation.name == right.segmentation.name
            assert (found.confidence, found.volumes_ml) == (right.confidence, right.volumes_ml)
            assert np.array_equal(found.doubt.values, right.doubt.values) and found.doubt.places == right.doubt.places
        assert described.network == engine.network.hash and described.device == "processor"
        shares = [told[1] for told in bench.told if told[0] == "progress"]
        words = " ".join(told[2] for told in bench.told if told[0] == "progress")
        assert max(shares) <= 1 and "Sending the scan" in words and f"Finding h in {hippocampi[1][0].name}" in words
        assert "Learning from the whole scan" in words, "as for the first: nothing of it is kept for the next"
    assert any("Waiting at the server" in told[-1] for bench in benches for told in bench.told if told[0] == "progress")
    assert np.array_equal(benches[0].answer.vector, engine.scan_vector(hippocampi[1][0]))
    assert benches[1].answer == engine.measure(*hippocampi[1], preset)
    secure.until_nothing_is_left()


def test_a_server_that_is_not_trusted_or_not_there_or_does_not_know_one_is_a_sentence(secure, certificate):
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    for server, words in (
        (Server(secure.address, secure.token), "is not trusted here"),
        (Server(secure.address, "w" * 20, certificate[0]), "knows another token"),
        (Server(f"https://127.0.0.1:{port}", secure.token, certificate[0]), "cannot be reached"),
        (Server(f"http://127.0.0.1:{secure.port}", secure.token), "broke"),
    ):
        call = Call(server, "client")
        with pytest.raises(IrisError, match=words) as told:
            call.status()
        assert "\n" not in str(told.value)
        call.close()
    assert not secure.left()


class Wiretap:
    """Passes everything on to a server, and keeps a copy of what the client says.

    :ivar pause: seconds before every piece of 64 kB that goes to the server.
    """

    def __init__(self, port):
        self.listening, self.port, self.heard, self.pause = socket.create_server(("127.0.0.1", 0)), port, b"", 0.0
        self.address = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            client, _ = self.listening.accept()
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source, target, kept):
        try:
            while piece := source.recv(65536):
                if kept:
                    self.heard += piece
                    time.sleep(self.pause)
                target.sendall(piece)
        except OSError:
            pass
        for end in (source, target):
            end.close()


def test_no_name_leaves_the_computer_and_all_names_come_back(strict, client_of, engine, hippocampi):
    secret = "Xaverinovic"
    words = Segment(f"{secret} left", (0.9, 0.3, 0.2), f"Category~{secret}"), Segment(f"{secret} right", (0.2, 0.5, 1))
    scans = []
    for image, truth in hippocampi[:3]:
        pairs = zip(words, truth.segments, strict=True)
        named = tuple(Segment(w.name, w.color, w.terminology, s.layer, s.label) for w, s in pairs)
        scans.append((
            Volume(image.array, image.affine, f"{secret}^Jan 1.2.840.113619.2.55.3"),
            Segmentation(truth.layers, truth.affine, named, f"drawn on {secret}"),
        ))  # fmt: skip
    tap, curves = Wiretap(strict.port), []
    bench = client_of(strict, address=tap.address)
    bench.wait(bench.ask("encode", *scans[0], name=f"hippocampus of {secret}"))
    made = bench.answer
    assert made.name == f"hippocampus of {secret}" and [s.name for s in made.segments] == [s.name for s in words]
    assert [s.terminology for s in made.segments] == [s.terminology for s in words] and made.segments[0].color[0] == 0.9
    kept = made.after(Preset(**{**vars(made), "notes": f"of {secret}"}), f"{secret} added")
    bench.wait(bench.ask("segment", scans[1][0], kept))
    found = bench.answer.segmentation
    assert secret in found.name and found.segments == made.segments
    bench.wait(bench.ask("tune", kept, scans[1:3], steps=10, on_curve=curves.append))
    tuned, outcome = engine.tune(kept, scans[1:3], steps=10)
    assert same(bench.answer.preset, tuned) and bench.answer.preset.notes == f"of {secret}"
    assert bench.answer.words == outcome.words and bench.answer.curve == outcome.curve and curves
    bench.wait(bench.ask("measure", *scans[1], kept))
    empty = Segmentation(0 * scans[0][1].layers, scans[0][1].affine, scans[0][1].segments, f"drawn on {secret}")
    bench.wait(bench.ask("encode", scans[0][0], empty, name="x"))
    assert f"The segment '{secret} left' of 'drawn on {secret}' is empty" in bench.errors[0]
    assert len(tap.heard) > 5 * scans[0][0].array.nbytes, "something was heard"
    lower = tap.heard.lower()
    names = [secret.lower(), "hippocampus", "1.2.840", "drawn", "category", os.uname().nodename.lower(), os.getcwd()]
    for name in names:
        assert name.encode() not in lower and name.encode("utf-16-le") not in lower, name
    assert secret not in Path(strict.log.name).read_text()
    strict.until_nothing_is_left()


def test_claims_are_refused_before_room_is_made_for_them(strict, client_of):
    forged = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1, 1)))
    forged["shape"] = (2000, 2000, 3000)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, forged)
    lie = job_of(np.zeros((8, 8, 8)))
    lie = lie[: lie.index(b"\n") + 1] + file.getvalue() + lie[lie.index(b"\n") + 1 + len(file.getvalue()) :]
    objects = job_of(np.array([[["x"]]], "U400"))
    foreign = job_of(np.zeros((8, 8, 8))).replace(b'"0.npy", "affine"', b'"../x.npy", "affine"')
    passwords = job_of(np.zeros((8, 8, 8)), verb="get network", source="/etc/passwd", folder="/tmp", sha256="")
    old = job_of(np.zeros((8, 8, 8))).replace(__version__.encode(), b"0.0.0")
    cases = [
        (strict.asked(10 * 2**30), 413, "no more than"),
        (strict.asked("18446744073709551616"), 411, "not a job"),
        (strict.asked(len(lie)) + lie, 400, "not what it says"),
        (strict.asked(len(objects)) + objects, 400, "not what it says"),
        (strict.asked(len(foreign)) + foreign, 400, "not a job"),
        (strict.asked(len(passwords)) + passwords, 400, "not a job"),
        (strict.asked(len(old)) + old, 409, f"has IrisSegment {__version__}"),
        (strict.asked(9) + b"gibberish", 400, "not a job"),
        (strict.asked(9, token="wrong") + b"gibberish", 401, "token"),
    ]
    for request, status, words in cases:
        with strict.connect() as connected:
            connected.sendall(request)
            found, sentence = answered(connected)
            assert (found, words in sentence) == (status, True), (request[:300], sentence)
    bench = client_of(strict)
    bench.wait(bench.ask("look", large(200)))
    assert "This scan takes 0.0 GB, and the server" in bench.errors[0]
    assert not strict.left()


def test_a_client_that_breaks_off_or_dawdles_leaves_nothing(strict):
    job = job_of(np.zeros((100, 100, 100)))
    with strict.connect() as connected:
        connected.sendall(strict.asked(len(job)) + job[: len(job) // 2])
        until = time.monotonic() + 5
        while not strict.left():
            assert time.monotonic() < until, "half of it should have come"
            time.sleep(0.01)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # killed, not closed
    strict.until_nothing_is_left()
    with strict.connect() as slow, strict.connect() as mute:
        slow.sendall(strict.asked(len(job)) + job[:3000])
        began = time.monotonic()
        assert answered(slow)[0] == 408 and time.monotonic() - began < 4
        assert not strict.left()
        mute.sendall(b"POST /wo")
        assert mute.recv(100) == b"" and time.monotonic() - began < 6, "closed, for it says nothing"


def test_connections_that_break_at_any_moment_harm_nobody(strict, client_of, engine):
    random.seed(1)
    job = job_of(np.random.default_rng(0).normal(size=(60, 60, 60)).astype(np.float32))
    request, held = strict.asked(len(job)) + job, []
    for n in range(60):
        connected = strict.connect()
        sent = request[: random.choice([random.randrange(len(request)), random.randrange(400), len(request)])]
        connected.sendall(sent)
        time.sleep(random.choice([0, 0.01, 0.1]))
        if n % 3 == 0:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if n % 3 == 1:
            connected.shutdown(socket.SHUT_WR)
            held.append(connected)
        else:
            connected.close()
    bench, scan = client_of(strict), large(40)
    bench.wait(bench.ask("look", scan))
    assert np.array_equal(bench.answer.vector, engine.scan_vector(scan))
    strict.until_nothing_is_left()
    for connected in held:
        connected.close()
    log = Path(strict.log.name).read_text()
    assert "Traceback" not in log, log


def test_a_client_that_asks_for_too_much_at_once_is_told_to_wait(strict, client_of, engine):
    """One asks for five jobs at once, and two may wait; another has its own one done as well."""
    job = job_of(np.random.default_rng(0).normal(size=(120, 120, 120)).astype(np.float32))
    refused, ended = [], []

    def ask(client):
        while True:
            with strict.connect() as connected:
                connected.sendall(strict.asked(len(job), client=client) + job)
                said = connected.recv(65536)
                if b" 503 " not in said[:20]:
                    while b'"done"' not in said:
                        said += connected.recv(65536)
                    ended.append(client)
                    return
            refused.append(client)
            time.sleep(0.2)

    threads = [threading.Thread(target=ask, args=("greedy",), daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    bench, scan = client_of(strict), large(40)
    bench.wait(bench.ask("look", scan))
    assert np.array_equal(bench.answer.vector, engine.scan_vector(scan))
    for thread in threads:
        thread.join(60)
    assert len(ended) == 5 and refused
    strict.until_nothing_is_left()


def test_cancel_takes_less_than_a_second_while_sending_waiting_and_computing(strict, client_of, preset, engine):
    tap = Wiretap(strict.port)
    tap.pause = 0.05
    scan, bench, slow = large(120), client_of(strict), client_of(strict, address=tap.address)
    bench.wait(bench.ask("describe"))
    slow.wait(slow.ask("describe"))
    for moment, asking in (("Sending the scan", slow), ("Finding", bench)):
        asking.told.clear()
        job = asking.ask("segment", scan, preset)
        until = time.monotonic() + 20
        while not any(told[0] == "progress" and moment in told[2] for told in asking.told):
            assert time.monotonic() < until, asking.told
            asking.transport.pump(0.01)
        began = time.monotonic()
        job.cancel()
        asking.wait(job)
        assert job.state == "cancelled" and time.monotonic() - began < 1.0 and not asking.errors
    strict.until_nothing_is_left()
    bench.wait(bench.ask("look", scan))
    assert np.array_equal(bench.answer.vector, engine.scan_vector(scan)), "the next click works"


def test_a_killed_server_is_one_sentence_leaves_nothing_and_serves_again(
    tmp_path, tiny_network, client_of, preset, hippocampi
):
    running = Running(tmp_path / "temporary", ["-c", STRICT, tiny_network, 0], TOKEN)
    bench = client_of(running)
    job = bench.ask("segment", large(120), preset)
    bench.until_progress()
    while not running.left():
        bench.transport.pump(0.01)
    running.stop(signal.SIGKILL)
    bench.wait(job, seconds=10)
    assert job.state == "failed" and len(bench.errors) == 1
    assert "broke" in bench.errors[0] and "try again" in bench.errors[0] and "\n" not in bench.errors[0]
    running.until_nothing_is_left()
    again = Running(tmp_path / "temporary", ["-c", STRICT, tiny_network, running.port], TOKEN)
    try:
        bench.wait(bench.ask("segment", hippocampi[1][0], preset))
        assert bench.answer.segmentation.shape == hippocampi[1][0].shape
        again.until_nothing_is_left()
    finally:
        again.stop()
    assert not list((tmp_path / "temporary").glob("irissegment*"))


def test_the_command_line_computes_there_when_a_server_is_named(strict, tiny_network, samples, tmp_path, capsys):
    folder, there = samples / "hippocampus", ["--server", strict.address]
    image = folder / "hippocampus_023_image.nii.gz"
    encode = ["encode", "--image", image, "--segmentation", folder / "hippocampus_023_label.nii.gz"]
    segment = ["segment", "--image", folder / "hippocampus_035_image.nii.gz", folder / "hippocampus_038_image.nii.gz"]

    def iris(*arguments):
        return main([str(argument) for argument in arguments])

    assert iris(*encode, "--output", tmp_path / "a.iris", *there) == 2
    assert "put it into IRISSEGMENT_TOKEN" in capsys.readouterr().err
    (tmp_path / "token").write_text(f"{strict.token}\n")
    there += ["--token-file", tmp_path / "token"]
    assert iris(*encode, "--output", tmp_path / "a.iris", *there, "--device", "cpu") == 2
    assert iris(*encode, "--output", tmp_path / "a.iris", *there) == 0
    assert iris(*segment, "--preset", tmp_path / "a.iris", "--output", tmp_path / "there", *there) == 0
    here = ["--network", tiny_network, "--device", "cpu"]
    assert iris(*segment, "--preset", tmp_path / "a.iris", "--output", tmp_path / "here", *here) == 0
    for name in ("hippocampus_035_image.seg.nrrd", "hippocampus_038_image.seg.nrrd"):
        ours, theirs = (read_segmentation(tmp_path / where / name) for where in ("here", "there"))
        assert np.array_equal(ours.layers, theirs.layers) and ours.segments == theirs.segments
    save_network(build("tiny", seed=5), tmp_path / "other.safetensors")
    other = ["--network", tmp_path / "other.safetensors", "--device", "cpu"]
    assert iris(*encode, "--output", tmp_path / "b.iris", *other) == 0
    capsys.readouterr()
    assert iris(*segment, "--preset", tmp_path / "b.iris", "--output", tmp_path / "no", *there) == 2
    told = capsys.readouterr().err
    assert "The preset 'b' was made by another network than the one of the server" in told and "\n" not in told.strip()
    assert not strict.left()
