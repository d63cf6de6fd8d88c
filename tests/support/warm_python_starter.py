"""See `warm_python`: has the server run a program with what this process was given, and ends as it does."""

import array
import json
import os
import signal
import socket
import sys

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGABRT, signal.SIGQUIT)


def main(place: str, arguments: list[str]) -> None:
    wanted = {"arguments": arguments, "environ": dict(os.environ), "cwd": os.getcwd()}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)  # until there is someone to hand them on to
        server.connect(place)
        streams = array.array("i", [0, 1, 2])
        server.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
        answers = server.makefile("rw")
        answers.write(json.dumps(wanted) + "\n")
        answers.flush()
        pid = int(answers.readline())

        def hand_on(number: int, frame: object) -> None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # its status is on the way
                return

        for number in _FORWARDED:
            signal.signal(number, hand_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        code = os.waitstatus_to_exitcode(int(answers.readline()))
    if code < 0:  # the signal that has ended it
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
