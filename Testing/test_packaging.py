"""What Slicer's build takes for granted: every file is listed, and the two descriptions of the extension agree."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import advisories
import licences
import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "IrisSegmentLib"


def listed(cmake: str, keyword: str) -> set[str]:
    """Of all modules that a folder builds."""
    lists = re.findall(rf"\b{keyword}\s+([^()]*?)\s*(?=[A-Z_]{{5,}}|\))", cmake)
    assert lists, keyword
    return {name for names in lists for name in names.split()}


@pytest.mark.parametrize("folder", ["IrisSegment", "IrisSegmentLib"])
def test_every_file_is_listed_and_every_listed_file_is_there(folder):
    """Slicer's macro leaves out an unlisted file without a word."""
    cmake = (ROOT / folder / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", folder)
    found = {p.relative_to(ROOT / folder).as_posix() for p in (ROOT / folder).rglob("*") if p.is_file()}
    found = {name for name in found if "__pycache__" not in name and name != "CMakeLists.txt"}
    scripts = {name for name in found if name.endswith(".py")}
    assert listed(cmake, "SCRIPTS") == scripts
    assert (listed(cmake, "RESOURCES") if "RESOURCES" in cmake else set()) == found - scripts


def test_every_module_is_built():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    modules = {path.parent.name for path in ROOT.glob("*/CMakeLists.txt")}
    assert set(re.findall(r"add_subdirectory\((\w+)\)", cmake)) == modules


def test_the_descriptions_of_the_extension_agree():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    lines = (ROOT / "IrisSegment.s4ext").read_text().splitlines()
    words = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    for key in ("homepage", "category", "contributors", "description", "iconurl", "screenshoturls", "depends"):
        assert re.search(rf'EXTENSION_{key.upper()} "([^"]*)"', cmake).group(1) == words[key], key


def test_the_entry_in_the_catalog_agrees_with_the_extension():
    """As the Extensions Index checks it: these keys and no others, dependencies as the build has them."""
    entry = json.loads((ROOT / "IrisSegment.json").read_text())
    required = {"$schema", "category", "scm_url"}
    allowed = required | {"scm_type", "scm_revision", "build_dependencies", "build_subdirectory", "enabled", "tier"}
    assert required <= set(entry) <= allowed
    cmake = (ROOT / "CMakeLists.txt").read_text()
    lines = (ROOT / "IrisSegment.s4ext").read_text().splitlines()
    words = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert " ".join(entry["build_dependencies"]) == re.search(r'EXTENSION_DEPENDS "([^"]*)"', cmake).group(1)
    assert entry["category"] == re.search(r'EXTENSION_CATEGORY "([^"]*)"', cmake).group(1)
    assert (entry["scm_url"], entry["scm_revision"]) == (words["scmurl"], words["scmrevision"])
    assert (entry["build_subdirectory"], str(entry["tier"])) == (words["build_subdirectory"], words["tier"])
    name = re.search(r"project\((\w+)\)", cmake).group(1)
    assert entry["scm_url"].endswith(f"/Slicer{name}") and (ROOT / f"{name}.s4ext").is_file()


def test_pictures_that_the_descriptions_name_exist():
    for url in re.findall(r"main/(\S+\.png)", (ROOT / "CMakeLists.txt").read_text()):
        assert (ROOT / url.rstrip('"')).is_file(), url


MODULES = ("IrisSegment/IrisSegment.py", "IrisSegment/SegmentEditorIris.py")
PLUGINS = (
    "IrisSegment/SegmentEditorIrisLib/SegmentEditorEffect.py",
    "IrisSegmentLib/slicer/IrisSegmentSubjectHierarchyPlugin.py",
)
SLICERS_OWN = {"slicer", "vtk", "qt", "ctk", "numpy", "SimpleITK", "SegmentEditorEffects", "SubjectHierarchyPlugins"}


@pytest.mark.parametrize("path", MODULES + PLUGINS)
def test_what_slicer_loads_imports_nothing_that_must_be_installed(path):
    names = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    ours = {"IrisSegmentLib"} if path in PLUGINS else set()  # loaded when Slicer has started, and light (see below)
    assert names <= set(sys.stdlib_module_names) | SLICERS_OWN | ours


@pytest.mark.parametrize("path", MODULES + PLUGINS)
def test_nothing_runs_when_a_module_is_imported(path):
    harmless = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)
    for node in ast.parse((ROOT / path).read_text()).body:
        isText = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert isText or isinstance(node, harmless), ast.unparse(node)


def test_what_slicer_shows_before_anything_is_installed_needs_no_torch():
    """The panel, the menu and what they use at once: followed from import to import, within functions left out."""
    room = LIBRARY / "slicer"
    waiting = [room / "IrisSegmentSubjectHierarchyPlugin.py", *(room / "panels").glob("*.py")]
    seen = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                base = path.parents[node.level - 1] if node.level else ROOT
                target = base.joinpath(*(node.module or "").split("."))
                assert (node.module or "").split(".")[0] not in {"torch", "monai", "safetensors"}, path
                for place in (target.with_suffix(".py"), target / "__init__.py", target.parent / "__init__.py"):
                    waiting += [place] if place.is_file() and LIBRARY in place.parents else []
                waiting += [p for a in node.names if (p := target / f"{a.name}.py").is_file() and LIBRARY in p.parents]
            elif isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & {"torch", "monai", "safetensors"}, path


def test_imports_point_one_way():
    """network <- imaging <- context <- engine <- slicer; training and evaluation are imported by the command line."""
    allowed = {
        "network": {"errors"},
        "imaging": {"errors", "__init__"},
        "context": {"errors", "imaging", "network"},
        "engine": {"errors", "imaging", "network", "context", "__init__"},
        "batch": {"errors", "imaging", "network", "context", "engine"},
        "slicer": {"errors", "imaging", "network", "context", "engine", "__init__"},
        "training": {"errors", "imaging", "network", "context", "engine"},
        "evaluation": {"errors", "imaging", "network", "context", "engine", "training"},
        "server": {"errors", "context", "engine", "__init__"},
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
        if package not in ("training", "evaluation", "commands", "cli.py", "__main__.py"):
            assert not set(imported(path)) & {"training", "evaluation", "commands", "cli"}, path
        if package not in ("server", "commands"):
            assert "server" not in imported(path), path
        if package not in ("batch", "commands"):
            assert "batch" not in imported(path), path


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
        "IrisSegmentLib/engine/worker.py", "SegmentEditorIris.py", "SegmentEditorIrisLib/SegmentEditorEffect.py",
        "IrisSegmentLib/slicer/IrisSegmentSubjectHierarchyPlugin.py",
    ):  # fmt: skip
        assert (home / name).is_file(), name


def test_nothing_that_is_needed_or_allowed_has_a_hole_that_is_known():
    assert advisories.installed() == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = [*project["dependencies"], *(line for part in project["optional-dependencies"].values() for line in part)]
    for_slicer = advisories.listed(ROOT / "IrisSegment/Resources/requirements.txt")
    torch = re.search(r'TORCH = "([^"]+)"', (LIBRARY / "slicer/install.py").read_text()).group(1)
    assert advisories.allowed([*ours, *for_slicer, f"torch{torch}"]) == {}


def test_a_hole_is_told_by_its_name():
    assert advisories.open_holes("Torch", "2.9.1") == ["CVE-2026-24747"]
    assert advisories.open_holes("torch", "2.10.0") == advisories.open_holes("unheard-of", "0.1") == []
    assert advisories.allowed(["starlette>=1.0.1", "ray", "numpy>=2", "irissegment[batch]"]) == {
        "starlette": ["GHSA-82w8-qh3p-5jfq"], "ray": ["any version will do"],
    }  # fmt: skip


def test_the_license_of_every_package_is_said_and_none_at_run_time_binds_who_passes_the_program_on():
    used = licences.needed("irissegment")
    all_of_them = used | licences.needed("irissegment", ("test",))
    assert {"torch", "monai", "numpy"} <= used and {"pytest", "ray"} <= all_of_them - used
    said = {package: licences.license_of(package) for package in all_of_them}
    assert [package for package, words in said.items() if words in ("", "not said")] == []
    assert [package for package in used if re.search(r"\b[AL]?GPL|GNU", said[package])] == []
