"""A patient's name in every field that a header has, and in every path: it is in nothing that is kept or logged."""

import gzip
import struct
import time

import numpy as np
import pytest
import SimpleITK as sitk
from dicommaker import series_header, write_contours, write_series

from IrisSegmentLib.cli import main
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.engine.client import EngineClient
from IrisSegmentLib.engine.transport import ProcessTransport
from IrisSegmentLib.imaging.files import read_segmentation, read_volume

SECRET = "Xaverinovic"
FIELDS = ("0010|0010", "0010|0020", "0020|000d", "0008|0050", "PatientName", "patient_id", "Comment", "space", "NRRD_x",
          "ITK_InputFilterName", "intent_name", "db_name", "aux_file", "descrip")  # fmt: skip


def found_in(path):
    data = path.read_bytes()
    forms = [data, gzip.decompress(data) if data[:2] == b"\x1f\x8b" else b""]
    words = [SECRET.lower().encode(), SECRET.lower().encode("utf-16-le")]
    return any(word in form.lower() for form in forms for word in words) or SECRET.lower() in path.name.lower()


@pytest.fixture(scope="module")
def patients(samples, tmp_path_factory):
    """Two cases under paths and headers full of the name."""
    folder = tmp_path_factory.mktemp("data") / SECRET
    (folder / "other").mkdir(parents=True)
    for case in ("023", "035"):
        for what, ending in (("image", "nrrd"), ("other", "nii"), ("other", "mha"), ("label", "nrrd")):
            source = "label" if what == "label" else "image"
            image = sitk.ReadImage(str(samples / "hippocampus" / f"hippocampus_{case}_{source}.nii.gz"))
            for key in FIELDS:
                image.SetMetaData(key, f"{SECRET} {key}")
            path = (folder / "other" if what == "other" else folder) / f"{SECRET}{case}_{what}.{ending}"
            sitk.WriteImage(image, str(path))
            if ending == "nii":  # what SimpleITK does not set: descrip, aux_file, intent_name
                data = bytearray(path.read_bytes())
                for place, length in ((148, 80), (228, 24), (328, 16)):
                    struct.pack_into(f"{length}s", data, place, SECRET.encode())
                path.write_bytes(data)
            assert found_in(path)
    return folder


def test_no_preset_pool_result_or_output_of_the_command_line_names_a_patient(patients, tiny_network, tmp_path, capfd):
    case, other = patients / f"{SECRET}023", patients / "other" / f"{SECRET}023_other.nii"
    preset, label = tmp_path / "a.iris", f"{case}_label.nrrd"
    for command in [
        ["encode", "--image", f"{case}_image.nrrd", "--segmentation", label, "--output", preset],
        ["pool", "--data", patients, "--output", tmp_path / "a.irispool"],
        ["segment", "--preset", preset, "--image", other, "--output", tmp_path / "out.seg.nrrd"],
    ]:
        assert main([*map(str, command), "--network", str(tiny_network), "--device", "cpu"]) == 0
    assert SECRET.lower() not in "".join(capfd.readouterr()).lower()
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert kept == ["a.iris", "a.irispool", "out.seg.nrrd"]
    assert not [name for name in kept if found_in(tmp_path / name)]


def test_of_a_dicom_series_only_the_dicom_seg_names_the_patient(
    hippocampi, tiny_network, tmp_path, capfd, recwarn
):
    """And not where on the disk it lay. Names of contours that name the patient, and UIDs, go nowhere else."""
    image = hippocampi[0][0]
    folder, out = tmp_path / f"{SECRET}in" / "T1", tmp_path / "out"
    out.mkdir()
    header = series_header(patient=SECRET)  # not as DICOM wants it, which libraries warn of, name and all
    header.PatientID = header.AccessionNumber = header.StudyID = f"{SECRET}1"
    header.SeriesDescription = header.StudyDescription = header.InstitutionName = f"MR {SECRET}"
    files = write_series(folder, np.rint(image.array).astype(np.int16), image.affine, header)
    corners = np.array([[-12.0, -14, 14], [-22, -14, 14], [-22, -32, 14], [-12, -32, 14]])
    contours = [corners + np.array([0, 0, k]) for k in range(6)]
    write_contours(folder / "contours.dcm", {f"GTV {SECRET}^Anna 1.2.34.5.6.789": contours, "Liver": contours})
    preset = out / "a.iris"
    for command in [
        ["encode", "--image", folder, "--segmentation", folder / "contours.dcm", "--output", preset],
        ["segment", "--preset", preset, "--image", folder, "--output", out / "a.seg.nrrd"],
        ["segment", "--preset", preset, "--image", files[0], "--output", out / "a.dcm"],
    ]:
        assert main([*map(str, command), "--network", str(tiny_network), "--device", "cpu"]) == 0
    printed = "".join([*capfd.readouterr(), *(str(warning.message) for warning in recwarn)])
    uids = {str(element.value) for element in header if element.VR == "UI" and "StorageSOP" not in element.name}
    uids = {uid.encode() for uid in uids if len(uid) > 30}
    assert len(uids) == 3
    assert SECRET.lower() not in printed.lower().replace(str(tmp_path).lower(), "")
    for name in ("a.iris", "a.seg.nrrd"):
        assert not found_in(out / name) and not any(uid in (out / name).read_bytes() for uid in uids), name
    seg = (out / "a.dcm").read_bytes()
    assert SECRET.encode() in seg and f"{SECRET}in".encode() not in seg and b"contours.dcm" not in seg


def test_neither_the_worker_nor_its_log_keeps_a_patients_name(patients, tiny_network, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    image = read_volume(patients / "other" / f"{SECRET}035_other.mha")
    segmentation = read_segmentation(patients / f"{SECRET}035_label.nrrd")
    assert SECRET in image.name
    transport, made = ProcessTransport(), []
    client = EngineClient(transport, network=tiny_network, device="cpu")
    jobs = [client.encode(image, segmentation, name="h", on_done=made.append)]
    jobs.append(client.segment(image, Engine(tiny_network, "cpu").encode(image, segmentation, name="h")))
    until = time.monotonic() + 60
    while not all(job.ended for job in jobs):
        assert time.monotonic() < until
        transport.pump(0.05)
    client.close()
    assert [job.state for job in jobs] == ["done", "done"] and not list(tmp_path.iterdir())
    (tmp_path / "kept.iris").write_bytes(made[0].to_bytes())
    assert not found_in(tmp_path / "kept.iris")
    assert SECRET not in "".join(capfd.readouterr())
