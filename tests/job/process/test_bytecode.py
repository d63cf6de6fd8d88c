"""Code that is imported, here and by children, has no bytecode beside it; other modules have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ray_decorator.job.process import bytecode

PROGRAM = f"""
import subprocess, sys
from {bytecode.__name__} import leave_unwritten

code, packages = sys.argv[1:]
leave_unwritten(code)
sys.path[:0] = [code + "/root", code + "/links", packages]
import other, linked.deep, single, package.part
print(other.NAME, linked.deep.NAME, single.NAME, package.part.NAME)
assert package.part.__spec__.loader.path_stats(package.part.__file__)["size"] > 0
child = "import sys; sys.path[:0] = sys.argv[1:]; import other, another, single; print(other.__cached__)"
print(subprocess.check_output([sys.executable, "-c", child, code + "/root", packages], text=True), end="")
"""


def test_bytecode_stays_out_of_the_code_alone(tmp_path: Path) -> None:
    code, packages = tmp_path / "code", tmp_path / "packages"
    modules = {
        code / "root/single.py", code / "root/package/__init__.py", code / "root/package/part.py",
        code / "other_root/linked/deep.py", packages / "other.py", packages / "another.py",
    }  # fmt: skip
    for module in modules:
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(f"NAME = {module.stem!r}\n")
    (code / "links").mkdir()
    (code / "links/linked").symlink_to(code / "other_root/linked")
    environ = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(code), str(packages)], env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said, of_child = done.stdout.splitlines()
    assert said == "other deep single part"
    assert list(tmp_path.rglob("*.pyc")) == [Path(of_child)]  # of `other`, which the child has read
    assert {path for path in code.rglob("*") if path.is_file()} == {m for m in modules if code in m.parents}
