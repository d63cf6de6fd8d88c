"""What of a project is no code to DVC: what a ``.dvcignore`` names, and the data of a repository that has no git.

With git, DVC has git ignore the data that it tracks (it writes a ``.gitignore`` beside it), and so that is no code.
Without, nothing but DVC's own files tells data from code.
"""

from __future__ import annotations

import functools
import os

from .ignore import Ignores, git_of
from .repository import root_of
from .tracked.outputs import Outputs


class NoCode:
    """Tells it of one look at a project; each of DVC's files is read once."""

    def __init__(self) -> None:
        self._ignores, self._outputs = Ignores(), Outputs()
        self._root_of, self._git_of = functools.cache(root_of), functools.cache(git_of)

    def stays(self, path: str, is_folder: bool) -> bool:
        """Whether the real path stays at home. Raises InputError for a file of DVC's that cannot be read."""
        return self._ignores.line(path, is_folder) is not None or self.is_data(path, is_folder)

    def is_data(self, path: str, is_folder: bool) -> bool:
        """Whether it is data that DVC tracks, and that git does not ignore since there is none. Raises as `stays`."""
        root = self._root_of(os.path.dirname(path))
        return root is not None and self._git_of(root) is None and self._outputs.is_data(path, root)
