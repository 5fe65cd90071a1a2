"""The panel on a server: asked once, used from the next click on, and told of in words."""

import os
import stat
import time

import numpy as np
import pytest
import SlicerRuntime
from radiologist import ROOT, choose, dices, encode, load, mark, results, segment, voxels
from serverbench import SERVED, TOKEN, Running

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
SERVER = 3  # the row


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("server") / "temporary", SERVED, TOKEN)
    yield running
    running.stop()
    assert not running.left()


def agree(panel, address, token=TOKEN):
    dialog = panel.network.device.consent
    dialog.address.text, dialog.token.text = address, token
    dialog.agreeButton.click()


def told(panel, seconds=30):
    SlicerRuntime.waitFor(lambda: not panel.logic.busy, seconds)
    SlicerRuntime.processEvents(0.05)
    return panel.ui.statusLabel.text


def test_nothing_is_sent_to_a_server_before_the_person_agreed(panel, server, tmp_path):
    from IrisSegmentLib.slicer import settings

    volume, target = load("023", "Patient A"), load("035", "Patient B")
    choose(panel, volume, mark("023"))
    assert panel.ui.deviceBox.currentText == "Automatic" and not panel.ui.serverLabel.text
    panel.ui.deviceBox.setCurrentIndex(SERVER)
    dialog = panel.network.device.consent.dialog
    words = " ".join(child.text for child in dialog.children() if child.className() == "QLabel")
    for word in ("voxels of your scans", "stay on this computer", "recognized by its face", "forgets"):
        assert word in " ".join(words.split()), words
    SlicerRuntime.screenshot(dialog, os.environ.get("IRIS_SERVER_CONSENT", tmp_path / "consent.png"))
    panel.network.device.consent.declineButton.click()
    assert not dialog.visible and panel.ui.deviceBox.currentText == "Automatic" and settings.server() is None

    panel.ui.serverButton.click()
    agree(panel, "http://gpu.example:8765")
    assert "for everyone to read" in panel.ui.statusLabel.text and settings.server() is None
    panel.ui.serverButton.click()
    agree(panel, server.address)
    assert told(panel) == "The server is ready."
    assert panel.ui.deviceBox.currentText == "Server" and settings.server()[0] == server.address
    said = f"Scans are sent to {server.address}: network small on processor, no job waits."
    assert panel.ui.serverLabel.text == said
    assert panel.ui.networkLabel.text == "Network in use: the one that the server has"
    kept = settings.personalFolder() / "server.token"
    assert kept.read_text() == TOKEN and stat.S_IMODE(kept.stat().st_mode) == 0o600

    panel.ui.deviceBox.setCurrentIndex(1)
    assert not panel.ui.serverLabel.text and settings.device() == "cpu" and settings.server() is None
    encode(panel)
    segment(panel)
    here = voxels(results()["Patient B"])
    panel.ui.deviceBox.setCurrentIndex(SERVER)
    assert told(panel) == "The server is ready.", "it is not asked again, for it was agreed to"
    encode(panel)
    assert len(panel.logic.presets) == 2 and panel.logic.presets[1].segments == panel.logic.presets[0].segments
    segment(panel)
    assert all(map(np.array_equal, here, voxels(results()["Patient B"])))
    assert min(dices(results()["Patient B"], target, mark("035"))) > 0.5
    assert panel.ui.statusLabel.text == "1 of 1 volumes segmented."
    panel.ui.segmentButton.click()
    SlicerRuntime.waitFor(lambda: panel.ui.progressBar.value > 0, 20)
    began = time.monotonic()
    panel.ui.cancelButton.click()
    SlicerRuntime.waitFor(lambda: not panel.logic.busy, 2)
    assert time.monotonic() - began < 1.0 and panel.ui.statusLabel.text == "Stopped."
    server.until_nothing_is_left()
    panel.ui.advancedSection.collapsed = False
    panel.parent.resize(430, 2000)
    SlicerRuntime.processEvents(0.05)
    SlicerRuntime.screenshot(panel.parent, os.environ.get("IRIS_SERVER_PANEL", tmp_path / "panel.png"))
    again = SlicerRuntime.loadModule(ROOT / "IrisSegment" / "IrisSegment.py")
    assert again.ui.deviceBox.currentText == "Server" and server.address in again.ui.serverLabel.text
    again.cleanup()


def test_a_server_that_is_gone_is_a_sentence_and_this_computer_goes_on(panel, tmp_path, tmp_path_factory):
    server = Running(tmp_path_factory.mktemp("gone") / "temporary", SERVED, TOKEN)
    panel.ui.serverButton.click()
    agree(panel, server.address, "the-wrong-token-for-this")
    assert "knows another token" in told(panel)
    panel.ui.serverButton.click()
    assert panel.network.device.consent.address.text == server.address
    agree(panel, server.address)
    assert told(panel) == "The server is ready."
    choose(panel, load("023", "A"), mark("023"))
    load("035", "B")
    SlicerRuntime.processEvents(0.05)
    encode(panel)
    server.stop()
    panel.ui.segmentButton.click()
    assert "cannot be reached" in told(panel) and "\n" not in panel.ui.statusLabel.text
    assert "cannot be reached" in panel.ui.targetsTable.item(1, panel.targets.RESULT).text() and not results()
    panel.ui.deviceBox.setCurrentIndex(0)
    segment(panel)
    assert set(results()) == {"B"}


def test_time_in_which_others_are_served_does_not_count_as_work(monkeypatch):
    from IrisSegmentLib.slicer.panels import timeleft

    clock = timeleft.TimeLeft()
    for now, share, left in (
        (100.0, 0.0, None), (103.0, 0.3, 7.0), (113.0, 0.3, None), (143.0, 0.3, None), (146.0, 0.6, 4.0),
    ):  # fmt: skip
        monkeypatch.setattr(timeleft.time, "monotonic", lambda now=now: now)
        assert clock.seconds(share) == (left if left is None else pytest.approx(left))
