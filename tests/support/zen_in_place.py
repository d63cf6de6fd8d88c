"""A pytest plugin (``-p zen_in_place``): hydra_zen's ``zen`` is ``ray_zen`` for the tests of this run."""

from __future__ import annotations

import hydra_zen
import hydra_zen.wrapper
from hypothesis import HealthCheck, settings

from ray_decorator import RayZen, ray_zen

for module in (hydra_zen, hydra_zen.wrapper):
    module.zen = ray_zen  # type: ignore[assignment]
hydra_zen.wrapper.Zen = RayZen  # type: ignore[misc]

# a call through Ray takes milliseconds where zen's takes none
settings.register_profile("ray", deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
settings.load_profile("ray")
