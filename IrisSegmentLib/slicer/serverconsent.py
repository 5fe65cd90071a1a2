"""The question before scans are sent to a server: where to, and what of them."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

WORDS = """\
<p>A server computes what you click, on a graphics card of its own. For that, <b>the voxels of your scans and
segmentations are sent to it</b>, with their size and position in space.</p>
<p>Names of patients, volumes, segments and presets, identifiers, dates and paths stay on this computer. The server
forgets a scan when its answer is given. Whoever runs it could still look at the voxels, and a head can be recognized by
its face: send scans only where you may.</p>"""


class ServerConsentDialog:
    """Shown without holding the application up.

    :param known: the server asked about before: its address, token and certificate file; empty where there is none.
    :param onAgreed: called with these three when the person agrees.
    """

    def __init__(self, known: tuple[str, str, str], onAgreed: Callable[[str, str, str], None]) -> None:
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.windowTitle = "Compute on a server"
        self.dialog.minimumWidth = 560
        words = qt.QLabel(WORDS)
        words.wordWrap = True
        self.address, self.token, self.certificate = (qt.QLineEdit(text) for text in known)
        self.address.placeholderText = "https://HOST:8765, or http://localhost:8765 at the end of an SSH tunnel"
        self.token.echoMode = qt.QLineEdit.Password
        self.token.placeholderText = "from whoever runs the server"
        self.certificate.placeholderText = "a file; only for a server that made its certificate itself"
        form = qt.QFormLayout()
        form.addRow("Address:", self.address)
        form.addRow("Token:", self.token)
        form.addRow("Certificate:", self.certificate)
        buttons = qt.QDialogButtonBox()
        self.agreeButton = buttons.addButton("Send scans there", qt.QDialogButtonBox.AcceptRole)
        self.declineButton = buttons.addButton(qt.QDialogButtonBox.Cancel)
        layout = qt.QVBoxLayout()
        layout.addWidget(words)
        layout.addLayout(form)
        layout.addWidget(buttons)
        self.dialog.setLayout(layout)
        buttons.connect("accepted()", self.dialog.accept)
        buttons.connect("rejected()", self.dialog.reject)
        fields = (self.address, self.token, self.certificate)
        self.dialog.connect("accepted()", lambda: onAgreed(*(field.text.strip() for field in fields)))

    def show(self) -> None:
        self.dialog.open()
