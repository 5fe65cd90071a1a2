"""What the module offers elsewhere in Slicer, once that has started: sample cases and a menu."""

from __future__ import annotations

from pathlib import Path

import slicer


def resourcesFolder(moduleFolder: Path) -> Path:
    """The extension's Resources: beside the module once installed, beside its folder in a source tree."""
    places = (moduleFolder / "Resources", moduleFolder.parent / "Resources")
    return next((place for place in places if (place / "SampleCases").is_dir()), places[0])


def registerSampleData(resources: Path) -> None:
    """Offer the bundled sample cases in the Sample Data module."""
    try:
        import SampleData
    except ModuleNotFoundError:  # a Slicer without that module loses the samples only
        return
    cases = resources / "SampleCases" / "hippocampus"
    for path in sorted(cases.glob("*_image.nii.gz")):
        name = path.name.removesuffix("_image.nii.gz")
        label = path.with_name(f"{name}_label.nii.gz")
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="IrisSegment",
            sampleName=name,
            uris=[path.as_uri(), label.as_uri()],
            fileNames=[path.name, label.name],
            nodeNames=[name, f"{name} manual"],
            loadFileTypes=["VolumeFile", "SegmentationFile"],
        )


def registerContextMenu() -> None:
    """Offer references and presets where a person right-clicks in the subject hierarchy."""
    plugin = slicer.qSlicerSubjectHierarchyScriptedPlugin(None)
    plugin.setPythonSource(Path(__file__).with_name("IrisSegmentSubjectHierarchyPlugin.py").as_posix())
