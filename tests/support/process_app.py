"""An app as the most copied template has it: its root is a variable that it sets when it is imported."""

APP = """\
import json, os, subprocess, sys
from pathlib import Path

os.environ["PROJECT_ROOT"] = str(Path(__file__).resolve().parent)  # as rootutils does
os.environ["TOKEN"] = "hunter2"  # as dotenv does
os.environ["DATA_DIR"] = os.path.join(os.environ["PROJECT_ROOT"], "data")
os.environ["ELSEWHERE"] = "/opt/models"
os.environ.pop("UNSET_BY_THE_APP", None)

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import to_absolute_path

NAMES = ("TOKEN", "ELSEWHERE", "UNSET_BY_THE_APP", "HOME", "PROJECT_ROOT", "DATA_DIR")


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    h = HydraConfig.get()
    told = {name: os.environ.get(name) for name in NAMES}
    told |= {
        "user": cfg.user, "root": cfg.root, "default": cfg.default, "argv": sys.argv,
        "data": Path(cfg.data, "a.txt").read_text(),
        "itself": Path(cfg.root, "conf", "config.yaml").is_file(),
        "by the variable": Path(os.environ["PROJECT_ROOT"], "conf", "config.yaml").is_file(),
        "script": Path(to_absolute_path(sys.argv[0])).is_file(),
        "dirs": [h.runtime.output_dir, h.sweep.dir, h.run.dir],
        "child": subprocess.run(["printenv", "TOKEN"], capture_output=True, text=True).stdout,
    }
    Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
    Path(cfg.out).write_text(json.dumps(told))
    if "late" in cfg:
        print(cfg.late)
    if "child" in cfg:
        done = subprocess.run(
            [sys.executable, to_absolute_path(sys.argv[0]), *cfg.child], capture_output=True, text=True
        )
        print("the child's code:", done.returncode, done.stderr)


if __name__ == "__main__":
    main()
"""

CONFIG = """\
root: ${oc.env:PROJECT_ROOT}
user: ${oc.env:USER}
default: ${oc.env:NOT_SET,a default}
data: ${oc.env:PROJECT_ROOT}/data
out: ${oc.env:PROJECT_ROOT}/results/told${hydra:job.num}.json
x: 0
hydra:
  job: {num: 0}
  run: {dir: "${oc.env:PROJECT_ROOT}/logs/run"}
  sweep: {dir: "${oc.env:PROJECT_ROOT}/logs/sweep"}
"""
