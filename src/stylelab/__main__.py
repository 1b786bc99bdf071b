"""The command line: Hydra's entry, one run or a sweep."""

import os

import hydra
from omegaconf import DictConfig

from stylelab.configuration import CONF, plain, register_resolvers


def paint(config: DictConfig) -> None:
    """One run of a resolved configuration."""
    from stylelab import bundles, console

    if runs := bundles.bundled(os.environ):
        from stylelab.batch import paint_together

        paint_together(runs)
        return
    with console.one_line_errors_of_a_job():
        from stylelab.job import prepare
        from stylelab.sweep import check_unchanged

        job = prepare(plain(config))
        check_unchanged(job)
        from stylelab.runner import run  # imports torch: after everything that can be wrong with the configuration
        from stylelab.shelves import share_between_runs
        from stylelab.trial import watchers

        if console.is_of_a_sweep():
            share_between_runs()
        console.report(run(job, hydra_record=console.hydra_record(config), watchers=watchers(job)))


def main() -> None:
    """Run `stylelab [overrides]`; errors of the user's end in one line and exit code 1."""
    from stylelab.console import one_line_errors

    register_resolvers()
    with one_line_errors():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(paint)()


if __name__ == "__main__":
    main()
