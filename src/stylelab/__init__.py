"""Neural style transfer as experiments: configured by Hydra, painted by PyTorch, tracked by MLflow."""

import os

__version__ = "0.1.0"

# Threads that wait for each other sleep instead of spinning. Read once, when torch is imported. On two cores that other
# programs use too, a step of the demo took 2.5 times as long with spinning threads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
