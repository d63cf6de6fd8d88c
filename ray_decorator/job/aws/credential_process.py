"""What an AWS library in a job, or in a child of one, runs to get credentials: see identity.py.

``python -I -S credential_process.py SOCKET`` asks the job's process, and prints its answer: a JSON document in
the form that AWS defines for ``credential_process``. ``credential_process.py FILE SECTION`` prints the keys that a
profile has in a file of the node's own. Standard library only, and nothing of this project: it is run as a file,
by whatever Python the job has.
"""

from __future__ import annotations

import configparser
import json
import socket
import sys

_ANSWER_SECONDS = 90.0  # longer than the job's process waits for the driver


def main(path: str, section: str | None = None) -> int:
    """Print the credentials that the server at ``path`` gives, or those that a section of the file ``path`` has.

    1, with the reason on stderr, where there are none.
    """
    try:
        answer = _asked(path) if section is None else _in_file(path, section)
        problem = json.loads(answer).get("Problem")
    except (OSError, ValueError) as exc:
        answer, problem = "", f"the job's process does not answer with AWS credentials any more ({exc})"
    except (configparser.Error, KeyError) as exc:
        answer, problem = "", f"{path} has no keys in [{section}] any more ({exc})"
    print(f"ray-s3: {problem}" if problem else answer, file=sys.stderr if problem else sys.stdout)
    return 1 if problem else 0


def _in_file(path: str, section: str) -> str:
    file = configparser.RawConfigParser(strict=False)
    file.read(path)
    keys = file[section]
    found = {
        "Version": 1,
        "AccessKeyId": keys["aws_access_key_id"],
        "SecretAccessKey": keys["aws_secret_access_key"],
        "SessionToken": keys.get("aws_session_token"),
    }
    return json.dumps({name: value for name, value in found.items() if value is not None})


def _asked(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_ANSWER_SECONDS)
        line.connect(path)
        with line.makefile() as answer:
            return answer.read()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
