"""Ray's own switches, as drivers of ours need them: variables that Ray reads when it is imported."""

from __future__ import annotations

import os
import sys


def set_switches(patience: float) -> None:
    """Set Ray's environment switches, which it reads when it is imported; what the user has set stays.

    A Ray that does not know one of them does without it: that cannot be noticed, and does no harm.
    ``patience`` is for how many seconds a Ray that does not answer may still come back.
    """
    switches = {
        "RAY_DEDUP_LOGS": "0",  # folded lines lose jobs' output
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # Ray's own answer to `uv run` is one `uv run` more for each worker, of a project that is not there
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        # else Ray ends this very process a minute after a GCS has died, while results are still coming home
        "RAY_gcs_rpc_server_reconnect_timeout_s": f"{max(600, 2 * patience):.0f}",
        # else Ray Client gives up after 30 s
        "RAY_CLIENT_RECONNECT_GRACE_PERIOD": f"{max(30, patience):.0f}",
        "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",  # direct drivers': else "patch"
        **({} if sys.stderr.isatty() else {"RAY_COLOR_PREFIX": "0"}),
    }
    for name, value in switches.items():
        os.environ.setdefault(name, value)
