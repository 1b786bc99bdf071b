"""Neural style transfer as experiments: configured by Hydra, painted by PyTorch, tracked by MLflow."""

import os

__version__ = "0.1.0"

# Threads that wait for each other sleep, after some microseconds of spinning. Read once, when torch is imported. On two
# cores that other programs use too, a step of the demo took 2.5 times as long with threads that spin as they would by
# themselves; on cores that nothing else uses, waking threads at once from sleep took a quarter of an evaluation's time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# Large tensors take pages of 2 MB where the system offers them, read once too: fresh memory then costs little time, so
# that `stylelab.devices` can let go of what is freed.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
