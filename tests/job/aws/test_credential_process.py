"""The program that AWS libraries run: it prints what the job's process answers, or says why there is nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ray_decorator.job.aws import credential_process


def asked(answer: bytes | None, directory: Path) -> subprocess.CompletedProcess[str]:
    """What the program says of a server that answers so; of none at all where that is None."""
    command = [sys.executable, "-I", "-S", credential_process.__file__, "s"]
    if answer is None:
        return subprocess.run(command, capture_output=True, text=True, cwd=directory, timeout=60)
    with socket.socket(socket.AF_UNIX) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(directory)  # a path that is relative is short
            server.bind("s")
        server.listen()

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        done = subprocess.run(command, capture_output=True, text=True, cwd=directory, timeout=60)
        thread.join(60)
    return done


def test_it_prints_what_it_is_told(tmp_path: Path) -> None:
    told = {"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "secret"}
    done = asked(json.dumps(told).encode(), tmp_path)
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, told, "")


def test_a_problem_is_an_error(tmp_path: Path) -> None:
    done = asked(b'{"Problem": "log in again"}', tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "ray-s3: log in again\n")


@pytest.mark.parametrize("answer", [None, b""], ids=["nobody", "nothing"])
def test_where_nobody_answers_it_says_so(tmp_path: Path, answer: bytes | None) -> None:
    done = asked(answer, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the job's process does not answer with AWS credentials any more" in done.stderr


def in_file(directory: Path, section: str) -> subprocess.CompletedProcess[str]:
    file = directory / "credentials"
    file.write_text("[lab]\naws_access_key_id = a\naws_secret_access_key = b%\n[none]\n")
    command = [sys.executable, "-I", "-S", credential_process.__file__, str(file), section]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_it_prints_the_keys_of_a_profile(tmp_path: Path) -> None:
    done = in_file(tmp_path, "lab")
    told = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b%"}
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, told, "")


@pytest.mark.parametrize("section", ["none", "gone"])
def test_a_profile_without_keys_is_an_error(tmp_path: Path, section: str) -> None:
    done = in_file(tmp_path, section)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"has no keys in [{section}] any more" in done.stderr
