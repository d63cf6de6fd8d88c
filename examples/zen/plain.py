"""The same app with hydra-zen alone: it runs on Ray where the command line says hydra/launcher=ray_s3."""

from __future__ import annotations

from app import train  # the import stores its config as well
from hydra_zen import store, zen

if __name__ == "__main__":
    store.add_to_hydra_store()
    zen(train).hydra_main(config_name="app", config_path=None, version_base="1.3")
