"""A reference and its targets shown otherwise, all of them alike: axes exchanged, grays inverted.

The reference is as good as before, so the answer should be the same. Where it is not, the network went by what it
knows. Of anatomy that it was trained on, what it knows is right, and altered looks only harm. Of anatomy that it never
saw, each look errs in its own way, and together they err less: hearts and atria that were kept from training were found
by 4 to 8 points more of Dice (Resources/Network/MODEL_CARD.md). This is task augmentation (UniverSeg, 2023), not in
training but at test time; whether a preset gains by it is tried on its reference's own scan.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Alteration:
    """
    :param axes: which of the network's axes D, H, W each comes from.
    :param inverted: dark is bright and bright is dark; of z-scored grays the negative.

    Example::

        altered = Alteration((1, 2, 0), inverted=True)
        features = network.encoder(altered.of_image(image))     # (1, 1, D, H, W)
        logits = altered.back(logits)                           # (K, D, H, W), as without it
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    inverted: bool = False

    def of_image(self, image: Tensor) -> Tensor:
        turned = self.of_masks(image)
        return -turned if self.inverted else turned

    def of_masks(self, masks: Tensor) -> Tensor:
        """(..., D, H, W), whose last three axes are exchanged."""
        return self._permuted(masks, self.axes)

    def back(self, values: Tensor) -> Tensor:
        """What was answered of an altered image, on the axes that it had before."""
        return self._permuted(values, tuple(self.axes.index(n) for n in range(3)))

    @staticmethod
    def _permuted(values: Tensor, axes: tuple[int, ...]) -> Tensor:
        before = values.ndim - 3
        return values.permute(*range(before), *(before + n for n in axes)).contiguous()


AS_IS = Alteration()
# Two looks more: with as many as nine, such hearts and atria gained no more.
ALTERATIONS = (Alteration((1, 2, 0), inverted=True), Alteration((2, 0, 1)))
