"""A hydra-zen app whose task runs on Ray: ``ray_zen`` where ``zen`` stood."""

from __future__ import annotations

from pathlib import Path

from hydra_zen import builds, store
from markov import Markov, train

from ray_decorator import ray_zen

HERE = Path(__file__).resolve().parent

store(
    train,
    name="app",
    model=builds(Markov, order=3),
    text=str(HERE / "text.txt"),
    model_path="${hydra:runtime.output_dir}/model.json",
)

if __name__ == "__main__":
    store.add_to_hydra_store()
    ray_zen(train, deps=["text"], outs=["model_path"]).hydra_main(
        config_name="app", config_path=None, version_base="1.3"
    )
