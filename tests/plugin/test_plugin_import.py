"""What the plugin costs Hydra apps that do not use it: Hydra imports it in every one of them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAVY = ("ray", "boto3", "botocore", "obstore", "cloudpickle", "rich", "ray_decorator")

DISCOVERY = """
    import sys
    from hydra.core.plugins import Plugins

    names = [launcher.__name__ for launcher in Plugins.instance().discover()]
    assert "RayS3Launcher" in names, names
    """

APP = """
    import sys
    import hydra

    @hydra.main(version_base="1.3", config_path=None)
    def main(cfg):
        pass

    sys.argv[1:] = ["hydra.run.dir=run"]
    main()
    """


def imported(source: str, cwd: Path) -> set[str]:
    """The top-level packages that a fresh Python holds after running the source."""
    script = textwrap.dedent(source) + "\nprint(*{name.partition('.')[0] for name in sys.modules})\n"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


@pytest.mark.app
@pytest.mark.parametrize("source", [DISCOVERY, APP], ids=["discovery", "app"])
def test_an_app_that_does_not_use_the_plugin_imports_nothing_heavy(source: str, tmp_path: Path) -> None:
    found = imported(source, tmp_path)
    assert "hydra_plugins" in found
    assert found.isdisjoint(HEAVY)
