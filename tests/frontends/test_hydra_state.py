"""Hydra's global state, taken along and put back: singletons, resolvers, and what was there before."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.utils import get_original_cwd
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from ray_decorator.core.errors import PicklingError
from ray_decorator.frontends import hydra_state
from ray_decorator.job.process import workplace


def app_state(start: Path = Path("/")) -> bytes:
    """The state of a process in which a Hydra app runs that was started in ``start``."""
    before = Singleton.get_state()
    try:
        with contextlib.chdir(start), initialize(config_path=None, version_base="1.3"):
            config = compose(overrides=["+x=3"], return_hydra_config=True)
            HydraConfig.instance().set_config(config)
            return hydra_state.captured()
    finally:
        Singleton.set_state(before)


def test_the_app_is_there_for_the_time_being(tmp_path: Path) -> None:
    state = app_state(tmp_path)
    before = Singleton._instances
    with hydra_state.installed(state):
        assert get_original_cwd() == str(tmp_path)
        assert HydraConfig.get().overrides.task == ["+x=3"]
        assert OmegaConf.create({"d": "${hydra:runtime.cwd}"}).d == str(tmp_path)
    assert Singleton._instances is before


def test_what_was_there_is_back_after_an_exception_too() -> None:
    OmegaConf.register_new_resolver("mine", lambda: "mine")
    try:
        with pytest.raises(KeyError), hydra_state.installed(app_state()):
            OmegaConf.register_new_resolver("the_jobs", lambda: "the job's")
            raise KeyError
        assert OmegaConf.has_resolver("mine") and not OmegaConf.has_resolver("the_jobs")
    finally:
        OmegaConf.clear_resolver("mine")


def test_this_processs_plugins_are_its_own() -> None:
    state = app_state()
    plugins = Plugins.instance()
    with hydra_state.installed(state):
        assert Plugins.instance() is plugins
        assert "ray_s3.yaml" in ConfigStore.instance().list("hydra/launcher")


def test_on_another_machine_the_app_was_started_where_its_code_is(monkeypatch: pytest.MonkeyPatch) -> None:
    state = app_state()
    monkeypatch.setattr(workplace, "_start", Path("/code/here"))
    with hydra_state.installed(state):
        assert get_original_cwd() == "/code/here"


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_variable_that_is_not_set_gives_an_error_that_says_what_helps(wrapped: bool) -> None:
    def task() -> None:
        try:
            print(OmegaConf.create({"path": "${oc.env:NOT_SET_ANYWHERE}/x"}).path)
        except InterpolationResolutionError as exc:
            if wrapped:
                raise ValueError("no model") from exc
            raise

    state = app_state()
    with (
        pytest.raises(ValueError if wrapped else InterpolationResolutionError) as caught,
        hydra_state.installed(state),
        hydra_state.installed(state),
    ):
        task()
    [note] = caught.value.__notes__
    assert note.startswith(
        "NOT_SET_ANYWHERE is not set where the job runs. One of these helps: set it before you start"
    )
    assert "hydra.job.env_copy=[NOT_SET_ANYWHERE]" in note and "hydra.job.env_set.NOT_SET_ANYWHERE=" in note
    assert "runtime_env.env_vars.NOT_SET_ANYWHERE=" in note


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(KeyError) as caught, hydra_state.installed(app_state()):
        raise KeyError("PATH")
    assert not hasattr(caught.value, "__notes__")


def test_a_resolver_that_cannot_travel_is_named() -> None:
    lock = threading.Lock()
    OmegaConf.register_new_resolver("locked", lambda: lock)
    try:
        with pytest.raises(PicklingError) as caught:
            hydra_state.captured()
    finally:
        OmegaConf.clear_resolver("locked")
    assert "Hydra's state, with the registered resolvers and configs," in str(caught.value)
    assert "lock" in str(caught.value)


def test_causes_that_lead_in_a_circle_come_to_an_end() -> None:
    error, other = ValueError("the one"), KeyError("the other")
    error.__cause__, other.__context__ = other, error
    with pytest.raises(ValueError, match="the one"), hydra_state.installed(hydra_state.captured()):
        raise error
