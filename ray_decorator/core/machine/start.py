"""What this process's environment was when this package was imported.

It is of use where the system does not tell what the process was started with: see `project.environ`.
"""

from __future__ import annotations

import os

ENVIRON = dict(os.environ)
