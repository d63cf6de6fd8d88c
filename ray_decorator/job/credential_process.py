"""What an AWS library in a job, or in a child of one, runs to get credentials: see aws_identity.py.

``python -I -S credential_process.py SOCKET`` asks the job's process, and prints its answer: a JSON document in
the form that AWS defines for ``credential_process``. Standard library only, and nothing of this project: it
is run as a file, by whatever Python the job has.
"""

from __future__ import annotations

import json
import socket
import sys

_ANSWER_SECONDS = 90.0  # longer than the job's process waits for the driver


def main(path: str) -> int:
    """Print the credentials that the server at ``path`` gives; 1, with the reason on stderr, where it has none."""
    try:
        answer = _asked(path)
        problem = json.loads(answer).get("Problem")
    except (OSError, ValueError) as exc:
        answer, problem = "", f"the job's process does not answer with AWS credentials any more ({exc})"
    print(f"ray-s3: {problem}" if problem else answer, file=sys.stderr if problem else sys.stdout)
    return 1 if problem else 0


def _asked(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_ANSWER_SECONDS)
        line.connect(path)
        with line.makefile() as answer:
            return answer.read()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
