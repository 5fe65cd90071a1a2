"""The section where the network and who computes are chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import slicer
from slicer.i18n import tr as _

from .. import settings
from .common import Teller, enable, fileToOpen, running
from .device import DevicePanel

if TYPE_CHECKING:
    from ...engine.client import Description
    from ...engine.networks import NetworkFile
    from ..consent import ConsentDialog

NETWORK_FILES = _("Networks (*.safetensors *.pth)")


class NetworkSource(Protocol):
    """Who gets other networks, and computes."""

    @property
    def busy(self) -> bool: ...
    @property
    def fetching(self) -> bool: ...
    def ensurePackages(self) -> None: ...
    def fetchNetwork(
        self,
        source: str,
        checksum: str,
        onProgress: Callable[[float, str], None],
        onDone: Callable[[NetworkFile], None],
        onError: Callable[[str], None],
    ) -> None: ...
    def describe(self, onDone: Callable[[Description], None], onError: Callable[[str], None]) -> object: ...
    def close(self) -> None: ...


class NetworkPanel:
    """The network in use, ways to another, and who computes.

    :param onChanged: called when something changed that buttons depend on.
    """

    def __init__(self, ui: Any, source: NetworkSource, teller: Teller, onChanged: Callable[[], None]) -> None:
        self.ui, self._source, self._teller, self._onChanged = ui, source, teller, onChanged
        self.consent: ConsentDialog | None = None
        self.device = DevicePanel(ui, source, teller, self.show)
        ui.publicNetworkButton.connect("clicked(bool)", self._askConsent)
        ui.otherNetworkButton.connect("clicked(bool)", self._askAndFetch)
        ui.bundledNetworkButton.connect("clicked(bool)", self.useBundled)
        ui.removeDownloadsButton.connect("clicked(bool)", self._askAndRemove)

    def show(self) -> None:
        own = settings.networkWords() or _("bundled, small, for any computer")
        network = own if settings.server() is None else _("the one that the server has")
        self.ui.networkLabel.text = _("Network in use: {network}").format(network=network)
        self.ui.networkLabel.toolTip = str(settings.network() or "")
        self._onChanged()

    def updateButtons(self) -> None:
        wait = running(self._source.busy or self._source.fetching)
        tip = _("Download the large network of the method's authors, for computers with a graphics card.")
        enable(self.ui.publicNetworkButton, [wait], tip)
        enable(self.ui.otherNetworkButton, [wait], _("Use a network from a file."))
        bundled = [wait, (settings.network() is None, _("The bundled network is in use."))]
        enable(self.ui.bundledNetworkButton, bundled, _("Go back to the network that came with the extension."))
        downloads = [wait, (not settings.hasDownloads(), _("Nothing was downloaded."))]
        enable(self.ui.removeDownloadsButton, downloads, _("Remove downloaded networks from this computer."))
        self.device.updateButtons()

    def fetch(self, source: str, checksum: str = "") -> None:
        """Get a network from a web address or a file, and use it from then on."""
        tell = self._teller.begin()

        def onProgress(fraction: float, words: str) -> None:
            if not self._source.busy:  # scans that are segmented meanwhile have the bar
                tell(fraction, words)

        with self._teller.errorsInWords():
            self._source.fetchNetwork(source, checksum, onProgress, self._onReady, self._teller.fail)

    def useBundled(self) -> None:
        settings.useNetwork(None)
        self.show()
        self._teller.end(_("The bundled network is in use."))

    def removeDownloads(self) -> None:
        with self._teller.errorsInWords():
            self._source.close()  # a running worker may hold the file
            settings.removeDownloads()
            self.show()
            self._teller.end(_("The downloaded files are removed."))

    def _onReady(self, found: NetworkFile) -> None:
        words = _("{name}, {count} million parameters").format(
            name=found.path.stem, count=round(found.parameters / 1e6)
        )
        settings.useNetwork(found.path, words)
        self.show()
        checksum = found.source_sha256
        grouped = " ".join(checksum[n : n + 8] for n in range(0, len(checksum), 8))
        words = _("The network '{name}' is in use. SHA-256: {checksum}")
        self._teller.end(words.format(name=found.path.stem, checksum=grouped))

    def _askConsent(self) -> None:
        with self._teller.errorsInWords():
            self._source.ensurePackages()
            from ..consent import ConsentDialog

            self.consent = ConsentDialog(self.fetch)
            self.consent.show()

    def _askAndFetch(self) -> None:
        path = fileToOpen(_("Use another network"), "", NETWORK_FILES)
        if path:
            self.fetch(path)

    def _askAndRemove(self) -> None:
        if slicer.util.confirmOkCancelDisplay(_("Remove the downloaded networks from this computer? Presets stay.")):
            self.removeDownloads()
