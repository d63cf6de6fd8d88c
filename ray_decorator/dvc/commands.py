"""What a stage's ``cmd`` starts, and in which folders: as a shell reads it, as far as that shows beforehand."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

_OPERATORS = ";&|()<>\n"
_BEFORE = {"{", "then", "do", "else", "!", "time"}
_SHELLS = {"sh", "bash", "dash", "zsh"}
_COMMAND_FOLLOWS = re.compile(r"-[a-z]*c")


class Started(NamedTuple):
    """One program with its arguments, without redirections, and the folder that it is started in."""

    folder: str
    words: tuple[str, ...]


def started(command: str, folder: str) -> list[Started]:
    """What a command that runs in ``folder`` starts; ``cd`` changes the folder of what comes after it."""
    found: list[Started] = []
    folders, words, is_target = [folder], list[str](), False
    for token in (*_tokens(command), ";"):
        if not set(token) <= set(_OPERATORS):
            if not is_target:
                words.append(token)
            is_target = False
        elif set(token) & {"<", ">"}:  # what follows is a file, or another number
            is_target = True
            if words and words[-1] in ("1", "2"):
                words.pop()
        else:
            while words and words[0] in _BEFORE:
                del words[0]
            if words:
                found += _inner(words, folders[-1])
            if len(words) == 2 and words[0] == "cd":
                folders[-1] = os.path.join(folders[-1], os.path.expanduser(words[1]))
            elif words:
                found.append(Started(folders[-1], tuple(words)))
            words = []
            for each in token:
                if each == "(":
                    folders.append(folders[-1])
                elif each == ")" and len(folders) > 1:
                    folders.pop()
    return found


def _inner(words: list[str], folder: str) -> Iterator[Started]:
    """Of ``bash -c '…'``, what is in the quotes."""
    for shell, option, command in zip(words, words[1:], words[2:], strict=False):
        if os.path.basename(shell) in _SHELLS and _COMMAND_FOLLOWS.fullmatch(option):
            yield from started(command, folder)


def _tokens(command: str) -> list[str]:
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    tokens, is_comment = list[str](), False
    try:
        for token in lexer:
            is_comment = "\n" not in token and (is_comment or token.startswith("#"))
            if not is_comment:
                tokens.append(token)
    except ValueError:  # a quote that is open at the end
        return command.split()
    return tokens
