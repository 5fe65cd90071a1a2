"""What does not learn: the reference's scan registered to the target, and its mask carried along.

An affine by mutual information (Mattes et al., 2003), started from both the middles of the scans and their centers of
mass, then diffeomorphic demons (Vercauteren et al., 2009) on equalized histograms, coarse to fine, all by SimpleITK.
Scans are turned into the canonical orientation and given the network's intensities, on a grid of 96 cells; the mask is
carried in one step from the reference's own voxels to the target's.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..imaging.orientation import Orientation
from ..imaging.volume import Segmentation, Volume
from ..imaging.window import Window

CELLS = 96  # along a scan's longest side
LEVELS = ((4, 40), (2, 30), (1, 20))  # of the demons: how many times coarser, and iterations
SMOOTHNESS = 1.5  # cells by which the demons' field is smoothed after each iteration


def registered_labels(image: Volume, segmentation: Segmentation, target: Volume) -> NDArray[np.uint8]:
    """The reference's segments on the target's voxels: labels (I, J, K), 1 + the segment's place in the list; 0 where
    the reference's scan does not reach."""
    fixed, moving = _sampled(target), _sampled(image)
    place = sitk.CompositeTransform(3)
    affine = _affine(fixed, moving)
    place.AddTransform(affine)
    place.AddTransform(_demons(fixed, sitk.Resample(moving, fixed, affine, sitk.sitkLinear, _lowest(moving))))
    labels = np.zeros(segmentation.shape, np.uint8)
    for n in range(len(segmentation.segments)):
        labels[segmentation.mask(n)] = n + 1
    carried = sitk.Resample(
        _on_voxels(labels, segmentation), _on_voxels(np.zeros(target.shape, np.uint8), target), place,
        sitk.sitkNearestNeighbor, 0,
    )  # fmt: skip
    orientation = Orientation.of(target.affine)
    return np.ascontiguousarray(orientation.from_canonical(sitk.GetArrayFromImage(carried).T))


def _affine(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """The better, by mutual information, of what two starts lead to; a start without overlap leads nowhere."""
    found: list[tuple[float, sitk.Transform]] = []
    initial = sitk.CenteredTransformInitializerFilter
    for start in (initial.GEOMETRY, initial.MOMENTS):
        # Centers of mass need weights that are not negative.
        heavy = (fixed - _lowest(fixed), moving - _lowest(moving))
        transform = sitk.CenteredTransformInitializer(*heavy, sitk.AffineTransform(3), start)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(0.25, seed=1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetShrinkFactorsPerLevel([4, 2])
        method.SetSmoothingSigmasPerLevel([2, 1])
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100, 0.6, 1e-6)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform)
        try:
            end = method.Execute(fixed, moving)
        except RuntimeError:  # the scans came apart
            found.append((0.0, transform))
            continue
        found.append((method.GetMetricValue(), end))
    return min(found, key=lambda pair: pair[0])[1]


def _demons(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """The displacement that brings a scan on the same cells onto another."""
    moving = sitk.HistogramMatching(moving, fixed, 256, 16, True)
    field: sitk.Image | None = None
    for coarser, iterations in LEVELS:
        small, other = (_coarser(image, coarser) for image in (fixed, moving))
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(SMOOTHNESS)
        field = demons.Execute(small, other) if field is None else demons.Execute(small, other, _onto(field, small))
    assert field is not None
    return sitk.DisplacementFieldTransform(sitk.Cast(_onto(field, fixed), sitk.sitkVectorFloat64))


def _coarser(image: sitk.Image, times: int) -> sitk.Image:
    if times == 1:
        return image
    variance = (times / 2 * image.GetSpacing()[0]) ** 2
    return sitk.Shrink(sitk.DiscreteGaussian(image, variance), [times] * 3)


def _onto(field: sitk.Image, grid: sitk.Image) -> sitk.Image:
    return sitk.Resample(field, grid, sitk.Transform(), sitk.sitkLinear, 0.0, field.GetPixelID())


def _sampled(scan: Volume) -> sitk.Image:
    """The scan on cells of equal size, as the network sees it, without the cells beyond it."""
    window = Window.whole_scan(scan, CELLS)
    array, inside, first = window.sample_image(scan)[0, 0].numpy(), [], []
    for origin, size, voxels, spacing in zip(
        window.origin, window.shape, window.scan_shape, window.scan_spacing, strict=True
    ):
        places = origin + window.step * np.arange(size)
        held = np.flatnonzero((places > -spacing / 2) & (places < spacing * (voxels - 0.5)))
        inside.append(slice(held[0], held[-1] + 1))
        first.append(float(places[held[0]]))
    return _image(array[tuple(inside)], [window.step] * 3, first)


def _on_voxels(array: NDArray, scan: Volume | Segmentation) -> sitk.Image:
    """An array (I, J, K) on a scan's voxels, in mm from its first canonical one, as `Window` measures."""
    orientation = Orientation.of(scan.affine)
    return _image(orientation.to_canonical(array), [scan.spacing[n] for n in orientation.order], [0.0] * 3)


def _image(canonical: NDArray, spacing: list[float], origin: list[float]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(canonical.T))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def _lowest(image: sitk.Image) -> float:
    return float(sitk.GetArrayViewFromImage(image).min())
