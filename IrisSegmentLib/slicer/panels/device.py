"""Where it is computed: on this computer's graphics card or processor, or on a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from slicer.i18n import tr as _

from .. import settings
from .common import Teller, enable, running, signalsBlocked

if TYPE_CHECKING:
    from ...engine.client import Description
    from ..serverconsent import ServerConsentDialog

SERVER = len(settings.DEVICES)  # the row below those of this computer


class Computer(Protocol):
    """Who computes, wherever that is."""

    @property
    def busy(self) -> bool: ...
    def ensurePackages(self) -> None: ...
    def describe(self, onDone: Callable[[Description], None], onError: Callable[[str], None]) -> object: ...


class DevicePanel:
    """The choice, the consent that a server needs once, and what is known of the server.

    :param onChanged: called when something was chosen.
    """

    def __init__(self, ui: Any, computer: Computer, teller: Teller, onChanged: Callable[[], None]) -> None:
        self.ui, self._computer, self._teller, self._onChanged = ui, computer, teller, onChanged
        self.consent: ServerConsentDialog | None = None
        names = {"auto": _("Automatic"), "cpu": _("Processor (CPU)"), "cuda": _("Graphics card (CUDA)")}
        for device in settings.DEVICES:
            ui.deviceBox.addItem(names[device], device)
        ui.deviceBox.addItem(_("Server"), "server")
        ui.deviceBox.connect("currentIndexChanged(int)", self._onChosen)
        ui.serverButton.connect("clicked(bool)", self._askConsent)
        self.show()

    def show(self) -> None:
        """What is chosen, which is not asked anything."""
        server = settings.server()
        with signalsBlocked(self.ui.deviceBox):
            row = SERVER if server is not None else settings.DEVICES.index(settings.device())
            self.ui.deviceBox.setCurrentIndex(row)
        words = "" if server is None else _("Scans are sent to {address}.").format(address=server[0])
        self.ui.serverLabel.text = words
        self.ui.serverLabel.setVisible(bool(words))

    def updateButtons(self) -> None:
        tip = _("Another computer that runs irissegment serve. You are asked before anything is sent there.")
        enable(self.ui.serverButton, [running(self._computer.busy)], tip)

    def _onChosen(self, row: int) -> None:
        if row < SERVER:
            settings.useDevice(settings.DEVICES[row])
        elif settings.knownServer() is None:
            self.show()  # what was chosen before stays until the person agrees
            self._askConsent()
            return
        else:
            settings.useServer()
        self._changed()

    def _changed(self) -> None:
        self.show()
        self._onChanged()
        server = settings.server()
        if server is None or self._computer.busy:  # what runs goes on where it is
            return

        def onDone(found: Description) -> None:
            if settings.server() != server:  # another was chosen meanwhile
                return
            waiting = _("no job waits") if found.waiting == 0 else _("jobs there: {n}").format(n=found.waiting)
            words = _("Scans are sent to {address}: network {network} on {device}, {waiting}.")
            self.ui.serverLabel.text = words.format(
                address=server[0], network=found.name, device=found.device, waiting=waiting
            )
            self._teller.end(_("The server is ready."))

        with self._teller.errorsInWords():
            tell = self._teller.begin()
            tell(0.0, _("Asking the server"))
            self._computer.describe(onDone, self._teller.fail)

    def _askConsent(self) -> None:
        with self._teller.errorsInWords():
            self._computer.ensurePackages()
            from ..serverconsent import ServerConsentDialog

            address, token, certificate = settings.knownServer() or ("", "", None)
            self.consent = ServerConsentDialog((address, token, str(certificate or "")), self._onAgreed)
            self.consent.show()

    def _onAgreed(self, address: str, token: str, certificate: str) -> None:
        with self._teller.errorsInWords():
            from ...engine.elsewhere import Server

            server = Server(address, token, Path(certificate) if certificate else None)
            server.connection().close()  # refuses a certificate that is none, and connects to nobody yet
            settings.keepServer(server.address, server.token, server.certificate)
            settings.useServer()
            self._changed()
