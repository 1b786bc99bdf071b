"""A sweep's runs are composed to exactly what Hydra itself would make of them."""

import time
from collections.abc import Callable, Sequence

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode

from stylelab.composition import Composer, runs_of
from stylelab.configuration import CONF, in_one_line, plain, register_resolvers

RUNS = [
    [],
    ["seed=3", "images.long_side=96", "seed=4", "sweep='a \\'quoted\\' name'"],  # the pyramid follows the long side
    ["images.long_side=128", "pyramid=coarse_to_fine", "pyramid.steps=[1,2,3]", "optimizer=adam", "optimizer=lbfgs"],
    ["experiment=pooling", "pooling=max", "weights.alpha_over_beta=2", "tracking.uri=null", "checkpoint_seconds=1e-3"],
    ["experiment=preview", "size=small", "images.style=[a.png,'b, c = ${root:}.png']", "outputs=${root:}/elsewhere"],
    ["images={long_side: 48}", "images.long_side=64"],
    ["images.long_side=64", "images={long_side: 48}"],
    ["seed=5", "~seed", "+seed=6", "++added=7"],
    ["hydra.job.name=other", "seed=1", "sweep=${experiment_name:x}"],
]
FAULTY = [
    ["images.longside=3"],
    ["images=no_such_pair"],
    ["seed.deeper=3"],
    ["seed=[1"],
    ["+seed=3"],
    ["optimizer@other=adam"],
]


@pytest.fixture(scope="module")
def sweep():
    """A sweep's configuration, Hydra's loader and a composer."""
    from omegaconf import OmegaConf

    register_resolvers()
    OmegaConf.register_new_resolver("experiment_name", lambda name: f"{name}!", replace=True)
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="stylelab"):
        hydra = GlobalHydra.instance().hydra
        config = hydra.compose_config("config", ["seed=range(3)"], run_mode=RunMode.MULTIRUN)
        yield config, hydra.config_loader, Composer(config, hydra.config_loader)


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_a_run_is_composed_to_what_hydra_makes_of_it(sweep, run: list[str]) -> None:
    config, loader, compose = sweep
    expected = plain(loader.load_sweep_config(config, run))
    for _ in range(2):  # the second time from what was put together for the first
        assert list(plain(compose(run)).items()) == list(expected.items())


@pytest.mark.parametrize("run", FAULTY, ids=" ".join)
def test_a_faulty_run_gets_hydra_s_own_error(sweep, run: list[str]) -> None:
    config, loader, compose = sweep
    with pytest.raises(HydraException) as expected:
        loader.load_sweep_config(config, run)
    with pytest.raises(type(expected.value)) as found:
        compose(run)
    assert in_one_line(found.value) == in_one_line(expected.value)


def test_an_experiment_s_runs_are_composed_to_what_hydra_makes_of_them(sweep) -> None:
    _, loader, _ = sweep
    arguments = ["experiment=gatys2015_figure3", "images.long_side=64"]
    config = loader.load_configuration("config", arguments, RunMode.MULTIRUN)
    runs = runs_of(arguments, params=config.hydra.sweeper.params, config_loader=loader)
    compose = Composer(config, loader)
    assert len(runs) > 9
    for run in (runs[0], runs[7], runs[-1]):
        assert plain(compose(run)) == plain(loader.load_sweep_config(config, list(run)))


def test_one_run_s_values_do_not_reach_the_next(sweep) -> None:
    _, _, compose = sweep
    before = plain(compose(["seed=1"]))
    compose(["seed=2", "images.style=[x.png]", "weights.beta=7"])
    assert plain(compose(["seed=1"])) == before


def test_composing_takes_a_fraction_of_what_hydras_own_takes(sweep) -> None:
    """Side by side, by the processor's time: measured at a sixteenth, 4 ms a run, so that hundreds take a second."""
    config, loader, compose = sweep
    overrides = [["images.long_side=64", "optimizer.steps=3", f"seed={seed}"] for seed in range(12)]

    def took(composing: Callable[[Sequence[str]], object]) -> float:
        composing(["seed=99"])
        began = time.process_time()
        for each in overrides:
            plain(composing(each))
        return time.process_time() - began

    assert took(compose) < 0.25 * took(lambda each: loader.load_sweep_config(config, each))
