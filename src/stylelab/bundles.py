"""Several runs of a sweep as one of Hydra's jobs, which any launcher carries to where they are painted."""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence

VARIABLE = "STYLELAB_BATCH"  # of the job's environment
SETTING = f"++hydra.job.env_set.{VARIABLE}"

Run = tuple[int, tuple[str, ...]]  # its number among those launched, its overrides


def bundle(runs: Sequence[Run]) -> tuple[str, ...]:
    """The overrides of a job that stands for these runs: the first one's, and all of them in a word without quotes."""
    text = base64.urlsafe_b64encode(zlib.compress(json.dumps(runs).encode())).decode()
    return (*runs[0][1], f"{SETTING}='{text}'")


def bundled(environment: Mapping[str, str]) -> list[Run]:
    """The runs that a job stands for; none where it is a run itself."""
    text = environment.get(VARIABLE)
    if not text:
        return []
    return [(number, tuple(run)) for number, run in json.loads(zlib.decompress(base64.urlsafe_b64decode(text)))]
