"""The question before anything is downloaded: what, how large, under which license, from where, and what it needs."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from ..engine.networks import PUBLIC_ADDRESS, PUBLIC_LICENSE, PUBLIC_PAGE

# Once kept: 120 million numbers of four bytes. Without a GPU: 25 s and 3.1 GB on one core that has bfloat16.
WORDS = f"""\
<p>The authors of the method offer a much larger network than the bundled one, trained on fifteen sets of CT, MR and
PET scans. It is downloaded once and kept on this computer. <b>Your scans never leave this computer.</b></p>
<table cellspacing="4">
<tr><td><b>Size</b></td><td>120 million parameters. The download takes 0.5 to 2 GB and 0.5 GB stay.</td></tr>
<tr><td><b>License</b></td><td>{PUBLIC_LICENSE}, as stated on
<a href="{PUBLIC_PAGE}">its page</a>; please read it there.</td></tr>
<tr><td><b>Needs</b></td><td>An NVIDIA GPU with 8 GB of memory is advised. Without one, a scan takes from half a minute
to some minutes, and 4 GB of memory or more.</td></tr>
</table>"""


class ConsentDialog:
    """Shown without holding the application up.

    :param onAgreed: called with the address and the checksum (which may be empty) when the person agrees.
    """

    def __init__(self, onAgreed: Callable[[str, str], None]) -> None:
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.windowTitle = "Get the public network"
        self.dialog.minimumWidth = 560
        words = qt.QLabel(WORDS)
        words.wordWrap = True
        words.openExternalLinks = True
        self.address = qt.QLineEdit(PUBLIC_ADDRESS)
        self.address.toolTip = "A web address, or a file that you got in another way."
        self.address.cursorPosition = 0
        self.checksum = qt.QLineEdit()
        self.checksum.placeholderText = "SHA-256, if you know it"
        form = qt.QFormLayout()
        form.addRow("Address:", self.address)
        form.addRow("Checksum:", self.checksum)
        buttons = qt.QDialogButtonBox()
        self.agreeButton = buttons.addButton("Download", qt.QDialogButtonBox.AcceptRole)
        self.declineButton = buttons.addButton(qt.QDialogButtonBox.Cancel)
        layout = qt.QVBoxLayout()
        layout.addWidget(words)
        layout.addLayout(form)
        layout.addWidget(buttons)
        self.dialog.setLayout(layout)
        buttons.connect("accepted()", self.dialog.accept)
        buttons.connect("rejected()", self.dialog.reject)
        self.dialog.connect("accepted()", lambda: onAgreed(self.address.text.strip(), self.checksum.text.strip()))

    def show(self) -> None:
        self.dialog.open()
