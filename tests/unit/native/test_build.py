"""The compiled part is built where that is possible, and its absence is no failure."""

import shutil
import sysconfig
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from streamgauge import native

ROOT = Path(__file__).parents[3]
HAS_COMPILER = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]) is not None
HAS_HEADERS = (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of what a wheel is made of, without what was built in it."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return tmp_path


def wheel_of(source: Path) -> tuple[str, list[str]]:
    (made,) = WheelBuilder(str(source)).build(directory=str(source / "dist"), versions=["standard"])
    with zipfile.ZipFile(made) as wheel:
        return Path(made).name, wheel.namelist()


@pytest.mark.skipif(not (HAS_COMPILER and HAS_HEADERS), reason="there is no compiler or no Python.h")
def test_a_machine_with_a_compiler_builds_it(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMGAUGE_NATIVE", "require")
    name, files = wheel_of(source)
    assert not name.endswith("any.whl")
    assert any(each.endswith(".so") for each in files)
    assert native.compiled is not None, "it is not built in this environment: run `make setup` once more"


@pytest.mark.parametrize("setting", [{"CC": "/nowhere/cc"}, {"CC": "false"}, {"STREAMGAUGE_NATIVE": "skip"}])
def test_a_machine_without_one_installs_a_package_in_python_alone(
    source: Path, monkeypatch: pytest.MonkeyPatch, setting: dict[str, str]
) -> None:
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    name, files = wheel_of(source)
    assert name.endswith("-py3-none-any.whl")
    assert not any(each.endswith(".so") for each in files)
    assert "streamgauge/native/__init__.py" in files
