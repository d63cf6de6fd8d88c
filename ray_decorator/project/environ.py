"""Which of the driver's environment variables travel with a job.

    named      those that the config names: ``${oc.env:NAME}``
    changed    those that the app has set, changed or unset since it was started
    DVC_*      those that DVC gives to a stage's command: DVC_ROOT, DVC_STAGE, DVC_EXP_NAME, …
    neither    what belongs to a machine, or to this process alone: `_NODES_OWN`, `_NOTEBOOKS`

Those of AWS are apart, since who a job is to AWS is a question of its own: see `Inherited.aws`.
Another variable of a node's own travels by Hydra's ``hydra.job.env_copy`` or ``env_set``, or by ``runtime_env``.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterable, Mapping

from ..core.machine import start
from ..core.values.inherited import Inherited, Variable
from .imports import loaded_by_path
from .roots import installation_folders

_NODES_OWN = re.compile(
    """
    HOME | PATH | PWD | OLDPWD | SHELL | SHLVL | _ | HOSTNAME | HOST | TMPDIR | TEMP | TMP | XDG_.*
    | TERM.* | COLUMNS | LINES | DISPLAY | WAYLAND_.* | DBUS_.* | SSH_.*
    | LD_.* | DYLD_.* | PYTHON.* | VIRTUAL_ENV.* | CONDA_.* | UV_.* | PIP_.*
    | SSL_CERT_.* | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE
    | CUDA_.* | NVIDIA_.* | HIP_.* | ROCR_.*
    | RAY_.* | SLURM_.* | PBS_.* | SGE_.* | LSB_.* | KUBERNETES_.*
    | LC_CTYPE  # Python sets it for itself at its start (PEP 538)
    | AWS_.*    # they travel apart
    | DVC_SITE_CACHE_DIR | DVC_.*_CONFIG_DIR | DVC_DAEMON.* | DVC_PAGER
    # what kernels, debuggers and IDEs tell this process alone
    | JPY_.* | IPYTHON.* | PYDEV_.* | PYDEVD_.* | DEBUGPY_.* | BUNDLED_DEBUGPY_PATH
    | VSCODE_.* | PYCHARM_.* | COLAB_.*
    # what imports set for themselves, and set again in a job: sklearn, cv2; and the address of wandb's own server
    | KMP_INIT_AT_FORK | QT_QPA_PLATFORM_PLUGIN_PATH | QT_QPA_FONTDIR | WANDB_SERVICE
    """,
    re.VERBOSE,
)
_NOTEBOOKS = "module://"
"""ipykernel sets MPLBACKEND to such a backend, which draws into its own notebook."""

_TOLD = "/proc/self/environ"
_NAMED = re.compile(rb"""oc\.env\s*:\s*['"]?([^\s'"\\,:${}]+)""")


def inherited(func: bytes, payload: bytes) -> Inherited:
    """What a job takes over of this process as it is now. Both are pickled: the configs that are in them count."""
    named = (_named_by_all(func) | _named(payload)) & os.environ.keys()
    stages = {name for name in os.environ if name.startswith("DVC_")}
    changed = {name for name in _changed() if not os.environ.get(name, "").startswith(_NOTEBOOKS)}
    travels = [name for name in changed | named | stages if not _NODES_OWN.fullmatch(name)]
    by_app = frozenset(name for name in changed | named if _is_of_aws(name))
    aws = variables(by_app.union(filter(_is_of_aws, os.environ)))
    modules = loaded_by_path(installation_folders(), tuple(sys.path), len(sys.modules))
    return Inherited(variables(travels), tuple(sys.argv), aws, by_app, modules)


def _is_of_aws(name: str) -> bool:
    return name.startswith("AWS_")


def variables(names: Iterable[str]) -> dict[str, Variable]:
    """These variables of this process, whoever they belong to."""
    return {name: variable_of(os.environ.get(name)) for name in names}


def variable_of(value: str | None) -> Variable:
    """One of this value, which may be a path."""
    # a list of paths is none; a path may hold a colon
    is_path = value is not None and os.path.isabs(value)
    if value is None or not is_path or (os.pathsep in value and not os.path.lexists(value)):
        return Variable(value)
    return Variable(value, os.path.realpath(value))


def _changed() -> set[str]:
    return {name for name, _ in dict(os.environ).items() ^ at_start().items()}


@functools.lru_cache(maxsize=4)  # they are the same bytes for all calls of a batch
def _named_by_all(func: bytes) -> frozenset[str]:
    return frozenset(_named(func))


def _named(pickled: bytes) -> set[str]:
    # strings are whole in a pickle, also in one that is inside of another
    if b"oc.env" not in pickled:
        return set()
    return {os.fsdecode(name) for name in _NAMED.findall(pickled)}


@functools.cache
def at_start() -> Mapping[str, str]:
    """The environment that this process was started with, as Linux tells it; else that of our import."""
    try:
        with open(_TOLD, "rb") as file:
            items = file.read().removesuffix(b"\0").split(b"\0")
    except OSError:  # no Linux
        return start.ENVIRON
    if not all(b"=" in item[1:] for item in items):  # a library has put the process's title there
        return start.ENVIRON
    return {
        os.fsdecode(name): os.fsdecode(value) for name, _, value in (each.partition(b"=") for each in items)
    }
