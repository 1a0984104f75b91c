"""Build hook: compiles `src/streamgauge/native` where there is a C compiler and Python's headers.

Where there is none, or it fails, the package is installed without: everything then runs in Python, slower and with the
same results. STREAMGAUGE_NATIVE=require makes it an error instead, =skip leaves it out.
"""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("src/streamgauge/native")
# -O3 because the loops over columns are short and plain; warnings, since every one of them is looked at.
FLAGS = ["-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"]


class NativeBuildHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        wanted = os.environ.get("STREAMGAUGE_NATIVE", "")
        # One that was made of other sources must not stay behind.
        for left in (Path(self.root) / FOLDER).glob("*.so"):
            left.unlink()
        if wanted == "skip":
            return
        try:
            made = compile_native(Path(self.root))
        except (OSError, subprocess.CalledProcessError) as error:
            why = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            if wanted == "require":
                raise RuntimeError(f"the compiled part could not be built: {why}") from error
            self.app.display_warning(f"Installed without the compiled part, which makes it faster: {why}")
            return
        build_data["artifacts"].append(f"/{made}")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def compile_native(root: Path) -> Path:
    """The module beside its sources, relative to `root`. Raises CalledProcessError or OSError."""
    made = FOLDER / f"_columns{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = sysconfig.get_paths()["include"]
    if not (Path(include) / "Python.h").exists():
        raise FileNotFoundError(f"{include}: Python.h is not there")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    sources = sorted(str(path.relative_to(root)) for path in (root / FOLDER).glob("*.c"))
    # Made under another name first: a process that runs has the old file mapped.
    new = root / made.with_suffix(".new")
    subprocess.run(
        [*compiler, *FLAGS, f"-I{include}", *sources, "-o", str(new)],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    new.replace(root / made)
    return made
