"""Neural style transfer as experiments: configured by Hydra, painted by PyTorch, tracked by MLflow."""

import os

__version__ = "0.1.0"

# Threads that wait for each other sleep instead of spinning. Read once, when torch is imported. On two cores that other
# programs use too, a step of the demo took 2.5 times as long with spinning threads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Large tensors take pages of 2 MB where the system offers them, read once too: fresh memory then costs little time, so
# that `stylelab.devices` can let go of what is freed.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
