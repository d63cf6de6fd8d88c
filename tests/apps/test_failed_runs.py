"""What an app prints whose jobs fail, beside the same app with Hydra's basic launcher: many runs in one process."""

from __future__ import annotations

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import warm_python

pytestmark = pytest.mark.usefixtures("ray_session_address")

APP = """
import json, os, sys, traceback
import hydra
from hydra.core.config_store import ConfigStore

def deep(cfg):
    match cfg.fate:
        case "raise": raise ValueError("a reason")
        case "key": return cfg.no
        case "variable": return cfg.e
        case "value": return cfg.m
        case "instantiate": return hydra.utils.instantiate({"_target_": "builtins.int", "_args_": ["q"]})
        case "local":
            class Kind(Exception, metaclass=type("Meta", (type,), {"__reduce_ex__": None})): pass
            raise Kind("of its own")
        case "cause":
            try:
                {}["a"]
            except KeyError as exc:
                raise ExceptionGroup("x", [ValueError("y")]) from exc

@hydra.main(version_base="1.3", config_path=None, config_name="c")
def main(cfg):
    return deep(cfg)

if __name__ == "__main__":
    ConfigStore.instance().store(name="c", node={"fate": "ok", "e": "${oc.env:NOPE}", "m": "???"})
    for name, line in json.loads(os.environ["LINES_TO_RUN"]).items():
        sys.argv[1:] = line.split()
        os.environ["HYDRA_FULL_ERROR"] = str(int("in full" in name))
        try:
            main()
            code = 0
        except SystemExit as exc:
            code = exc.code
        except ValueError:
            traceback.print_exc()
            code = "raised"
        sys.stdout.flush()
        print(f"=== {name}: {code}", file=sys.stderr, flush=True)
"""
ALONE = ["key", "variable", "value", "instantiate", "cause"]
LINES = {
    **{each: f"fate={each}" for each in ALONE},
    "local": "fate=local",
    "sweep": "-m fate=ok,raise,cause",
    "sweep of instantiate": "-m fate=instantiate",
    "batches": "-m fate=ok,raise hydra.sweeper.max_batch_size=1",
    "in full": "-m fate=raise",
    "alone in full": "fate=raise",
    "another sweeper": "-m fate=raise hydra.sweeper._target_=hydra_plugins.own.Own",
}
OWN = """
import sys
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

class Own(BasicSweeper):
    def sweep(self, arguments):
        try:
            return super().sweep(arguments)
        except ValueError as exc:
            print("caught", repr(exc), file=sys.stderr)
"""
NOT_THE_USERS = ("site-packages", "ray_decorator/", "hydra_plugins/", "RemoteTraceback")


def run(home: Path, launcher: str, lines: dict[str, str]) -> dict[str, tuple[str, str]]:
    """For each line, how it ended and what it wrote to stderr."""
    (home / launcher / "hydra_plugins/own").mkdir(parents=True)
    (home / launcher / "app.py").write_text(APP)
    (home / launcher / "hydra_plugins/own/__init__.py").write_text(OWN)
    given = {name: f"{line} hydra/launcher={launcher}" for name, line in lines.items()}
    done = subprocess.run(
        [*warm_python.starter(), "app.py"],
        cwd=home / launcher, env={**os.environ, "LINES_TO_RUN": json.dumps(given)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parts = re.split(r"^=== (.*): (.*)\n", done.stderr.replace(f"/{launcher}/", "/"), flags=re.MULTILINE)
    return {
        name: (code, text) for text, name, code in zip(parts[0::3], parts[1::3], parts[2::3], strict=False)
    }


def test_they_print_what_the_basic_launcher_prints_and_a_table(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as both:
        ours, basic = both.map(lambda launcher: run(tmp_path, launcher, LINES), ("ray_s3", "basic"))
    assert list(ours) == list(LINES)
    for name in [*ALONE, "sweep", "sweep of instantiate", "batches"]:
        (code, text), (known_code, known) = ours[name], basic[name]
        assert code == known_code == "1", name
        assert not any(part in text for part in NOT_THE_USERS), text
        assert text.count("Traceback") == known.count("Traceback"), text
        assert known[known.index("Error executing") :].partition("\n\nSet the")[0].strip() in text, text
        assert "HYDRA_FULL_ERROR=1" in text
        assert len(text.splitlines()) <= len(known.splitlines()) + 10, text
    assert ours["sweep"][1].count("Traceback") == 1
    code, text = ours["local"]  # its class cannot travel: the traceback does
    assert code == "1" and text.count("Traceback") == 1 and "in deep\n" in text and "Kind: of its own" in text
    for name in ("in full", "alone in full"):
        code, text = ours[name]
        assert code == basic[name][0] == "raised"
        assert "hydra/_internal/utils.py" in text and "RemoteTraceback" in text and "in deep\n" in text
    for code, text in (ours["another sweeper"], basic["another sweeper"]):
        assert code == "0" and "caught ValueError('a reason')" in text, text
