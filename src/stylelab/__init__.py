"""Neural style transfer as experiments: configured by Hydra, painted by PyTorch, tracked by MLflow."""

__version__ = "0.1.0"
