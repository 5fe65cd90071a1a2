"""What Slicer's build takes for granted: every file is listed, and the two descriptions of the extension agree."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "IrisSegmentLib"


def listed(cmake: str, keyword: str) -> set[str]:
    return set(re.search(rf"{keyword}\s+([^()]*?)\s*(?=[A-Z_]{{5,}}|\))", cmake).group(1).split())


def test_every_library_file_is_installed():
    """Slicer's macro leaves out an unlisted file without a word."""
    found = {str(p.relative_to(LIBRARY)) for p in LIBRARY.rglob("*.py")}
    cmake = (LIBRARY / "CMakeLists.txt").read_text()
    assert listed(cmake, "SCRIPTS") == found


def test_the_descriptions_of_the_extension_agree():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    lines = (ROOT / "IrisSegment.s4ext").read_text().splitlines()
    words = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    for key in ("homepage", "category", "contributors", "description", "iconurl", "screenshoturls", "depends"):
        assert re.search(rf'EXTENSION_{key.upper()} "([^"]*)"', cmake).group(1) == words[key], key


def test_pictures_that_the_descriptions_name_exist():
    for url in re.findall(r"main/(\S+\.png)", (ROOT / "CMakeLists.txt").read_text()):
        assert (ROOT / url.rstrip('"')).is_file(), url


def test_the_module_imports_nothing_heavy_when_slicer_starts():
    tree = ast.parse((ROOT / "IrisSegment" / "IrisSegment.py").read_text())
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    assert names <= {"importlib", "logging", "sys", "time", "pathlib", "slicer", "vtk", "qt", "ctk"}


def test_imports_point_one_way():
    """network <- imaging <- context <- engine <- slicer; training and evaluation are imported by the command line."""
    allowed = {
        "network": {"errors"},
        "imaging": {"errors"},
        "context": {"errors", "imaging", "network"},
        "engine": {"errors", "imaging", "network", "context"},
        "slicer": {"errors", "imaging", "network", "context", "engine", "__init__"},
        "training": {"errors", "imaging", "network", "context", "engine"},
        "evaluation": {"errors", "imaging", "network", "context", "engine", "training"},
    }
    for package, others in allowed.items():
        for path in (LIBRARY / package).rglob("*.py"):
            out = len(path.relative_to(LIBRARY).parts)  # as many dots lead out of the package
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.level == out:
                    target = (node.module or "__init__").split(".")[0]
                    assert target in others, f"{path.relative_to(ROOT)} imports {target}"


def imported(path):
    """The parts of the library that a file imports, from anywhere in it, as `network` or `errors`."""
    inside = path.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level] if node.level else ()
            whole = [*base, *(node.module or "").split(".")] if node.module else [*base]
            names = [[*whole, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        yield from (name[1] for name in names if name[0] == "IrisSegmentLib" and len(name) > 1)


def test_the_module_knows_no_network_and_nothing_imports_training_or_evaluation():
    """Whether named from the root or by dots; the command line alone knows everything."""
    for path in (ROOT / "IrisSegment").rglob("*.py"):
        assert set(imported(path)) <= {"slicer", "engine", "errors", "context"}, path
    for path in LIBRARY.rglob("*.py"):
        package = path.relative_to(LIBRARY).parts[0]
        if package not in ("training", "evaluation", "cli.py", "__main__.py"):
            assert not set(imported(path)) & {"training", "evaluation", "cli"}, path


def test_only_the_slicer_room_knows_slicer():
    for path in LIBRARY.rglob("*.py"):
        if path.relative_to(LIBRARY).parts[0] == "slicer":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            assert not {n.split(".")[0] for n in names} & {"slicer", "vtk", "qt", "ctk", "PySide6"}, path


def test_weights_are_few_and_small():
    networks = list((ROOT / "Resources" / "Network").glob("*.safetensors"))
    assert networks and sum(p.stat().st_size for p in networks) <= 40 * 2**20
    samples = sum(p.stat().st_size for p in (ROOT / "Resources" / "SampleCases").rglob("*") if p.is_file())
    assert samples <= 15 * 2**20


MACROS = ROOT.parent / "shared" / "slicer" / "source" / "CMake"


@pytest.mark.skipif(not MACROS.is_dir() or not shutil.which("cmake"), reason="Slicer's CMake macros are not here")
def test_cmake_installs_the_library_and_the_resources_beside_the_module(tmp_path):
    """Slicer's own macro, with the rest of Slicer stubbed, installs what the module needs where it looks for it."""
    (tmp_path / "SlicerConfig.cmake").write_text(f"""
set(Slicer_USE_FILE "{tmp_path}/use.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "{tmp_path}/nothing.cmake")
set(Slicer_EXTENSION_CPACK "{tmp_path}/nothing.cmake")
set(Slicer_USE_PYTHONQT ON)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/qt-scripted-modules)
""")
    (tmp_path / "nothing.cmake").write_text("")
    (tmp_path / "use.cmake").write_text(f"""
function(ctkMacroCompilePythonScript)
  cmake_parse_arguments(MY "NO_INSTALL_SUBDIR" "TARGET_NAME;DESTINATION_DIR;INSTALL_DIR" "SCRIPTS;RESOURCES" ${{ARGN}})
  if(NOT MY_NO_INSTALL_SUBDIR)
    get_filename_component(subdir ${{CMAKE_CURRENT_SOURCE_DIR}} NAME)
    set(MY_INSTALL_DIR ${{MY_INSTALL_DIR}}/${{subdir}})
  endif()
  foreach(file ${{MY_SCRIPTS}} ${{MY_RESOURCES}})
    get_filename_component(folder ${{file}} DIRECTORY)
    install(FILES ${{file}} DESTINATION ${{MY_INSTALL_DIR}}/${{folder}})
  endforeach()
endfunction()
include("{MACROS}/SlicerMacroBuildScriptedModule.cmake")
set(BUILD_TESTING OFF)
""")
    build, installed = tmp_path / "build", tmp_path / "installed"
    options = [f"-DSlicer_DIR={tmp_path}", "-DBUILD_TESTING=OFF", f"-DCMAKE_INSTALL_PREFIX={installed}"]
    subprocess.run(["cmake", "-S", ROOT, "-B", build, *options], check=True, capture_output=True)
    subprocess.run(["cmake", "--install", build], check=True, capture_output=True)
    home = installed / "lib" / "qt-scripted-modules"
    for name in (
        "IrisSegment.py", "Resources/UI/IrisSegment.ui", "Resources/requirements.txt",
        "Resources/Network/iris-small.safetensors", "Resources/SampleCases/hippocampus/dataset.json",
        "IrisSegmentLib/engine/worker.py",
    ):  # fmt: skip
        assert (home / name).is_file(), name
