"""What ``${…}`` in a ``dvc.yaml`` stands for, by the rules of dvc itself (``dvc/parsing``).

Values come from the ``params.yaml`` beside it, and from ``vars``: files (``more.yaml``, or ``more.yaml:key,other``)
and mappings.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import yaml

from ...core.errors import InputError
from . import python_params

PARAMS = "params.yaml"

_EXPRESSION = re.compile(r"(?<!\\)\$\{([^}\n]*)\}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2, as ruamel.yaml reads it for dvc: ``yes`` and ``1:30`` are texts, ``1e-3`` and ``010`` numbers."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  without those of YAML 1.1


_FLOAT = (
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
for _tag, _form, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("float", _FLOAT, list("-+0123456789.")),
    ("int", "[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+", list("-+0123456789")),
    ("merge", "<<", ["<"]),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_form})$"), _first)


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    digits = node.value.replace("_", "")
    return int(digits) if digits.lstrip("+-").isdigit() else int(digits, 0)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def load(file: str) -> Mapping[str, Any]:
    """A file of mappings in YAML, JSON, TOML or Python; empty where it is. Raises InputError for what is none."""
    try:
        with open(file, encoding="utf-8") as text:
            data = _parsed(text.read(), file)
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise InputError(f"{file}: cannot be read as DVC would ({exc}); correct it") from exc
    if not isinstance(data or {}, dict):
        raise InputError(
            f"{file}: holds a {type(data).__name__}; expected a mapping, as DVC does; correct it"
        )
    return data or {}


def _parsed(text: str, file: str) -> Any:
    kind = os.path.splitext(file)[1]
    if kind == ".py":
        return python_params.parsed(text)
    if kind in (".json", ".toml"):
        return json.loads(text) if kind == ".json" else tomllib.loads(text)
    return yaml.load(text, _Loader)


def variables(folder: str, named: Iterable[Any], known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What ``${…}`` can name: the ``vars`` of a ``dvc.yaml``, or with ``known``, of one of its stages as well.

    ``folder`` is where their files are. Raises InputError.
    """
    found: dict[str, Any] = {}
    if known is not None:
        _merge(found, known)
    elif os.path.exists(params := os.path.join(folder, PARAMS)):
        _merge(found, load(params))
    for each in named:
        _merge(found, _from_file(folder, each) if isinstance(each, str) else each)
    return dict(visible(found))


def _from_file(folder: str, named: str) -> Mapping[str, Any]:
    file, _, keys = named.partition(":")
    data = load(os.path.join(folder, file))
    return {key: data[key] for key in keys.split(",") if key in data} if keys else data


def _merge(into: dict[str, Any], update: Mapping[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, Mapping):
            into[key] = dict(into[key]) if isinstance(into.get(key), Mapping) else {}
            _merge(into[key], value)
        else:
            into[key] = value


def visible(value: Any) -> Any:
    """``value`` without the keys that are no texts: ``${…}`` does not see them (dvc: ``CtxDict``)."""
    if isinstance(value, Mapping):
        return {key: visible(each) for key, each in value.items() if isinstance(key, str)}
    return [visible(each) for each in value] if isinstance(value, list) else value


def resolved(value: Any, known: Mapping[str, Any], written: Callable[[Any], str] | None = None) -> Any:
    """``value``, with what ``known`` has in place of each ``${…}`` in its texts.

    ``written`` writes a value into a longer text, `text` where it is None. Raises InputError.
    """
    if isinstance(value, Mapping):
        return {resolved(key, known): resolved(each, known, written) for key, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, known, written) for each in value]
    if not isinstance(value, str):
        return value
    if whole := _EXPRESSION.fullmatch(value):
        return _selected(whole[1], known)  # which keeps its type
    write = written or text
    return _EXPRESSION.sub(lambda match: write(_selected(match[1], known)), value).replace(r"\${", "${")


def _selected(key: str, known: Mapping[str, Any]) -> Any:
    at: Any = known
    for name in key.replace("[", ".").replace("]", "").split("."):
        try:
            at = at[int(name)] if isinstance(at, list) else at[name.strip()]
        except (LookupError, TypeError, ValueError) as exc:
            raise InputError(f"${{{key}}} names nothing that is in {PARAMS} or in vars") from exc
    return at


def text(value: Any) -> str:
    """As dvc writes a value into a text or a stage's name. Raises InputError for a list or a mapping."""
    if isinstance(value, list | dict):
        raise InputError(f"a ${{…}} in a text stands for a {type(value).__name__}; expected one value")
    return str(value).lower() if isinstance(value, bool) else str(value)


def options(value: Mapping[str, Any], style: Mapping[str, str]) -> str:
    """As dvc writes a mapping into a command: ``--lr 0.1 --model.name svm --on`` (``dvc/parsing/interpolate.py``).

    ``style`` is the section ``parsing`` of DVC's configuration. Raises InputError for a list in a list.
    """
    return " ".join(word for name, each in _flat(value) for word in _option(name, each, style))


def _flat(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _flat(each, f"{above}{key}.")
        else:
            yield f"{above}{key}", each


def _option(name: str, value: Any, style: Mapping[str, str]) -> list[str]:
    if isinstance(value, bool):
        negated = [f"--no-{name}"] if style.get("bool", "").lower() == "boolean_optional" else []
        return [f"--{name}"] if value else negated
    if not isinstance(value, list):
        return [f"--{name}", _quoted(value)]
    if any(isinstance(each, list | dict) for each in value):
        raise InputError(f"{name!r} is a list of lists or mappings, which a command cannot take")
    if style.get("list", "").lower() == "append":
        return [word for each in value for word in (f"--{name}", _quoted(each))]
    return [f"--{name}", *map(_quoted, value)] if value else []


def _quoted(value: Any) -> str:
    return shlex.quote(value) if isinstance(value, str) else str(value)
