"""`hydra/launcher=joblib`, `submitit_local`, `submitit_slurm` and `ray`: their presets are in conf/hydra/launcher/."""
