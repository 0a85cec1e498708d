"""How many FLOPs a run spends on a token, by which runs of different models are compared."""

from __future__ import annotations

from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError

_SAME_MODEL = 0.02


def flops_a_token(session: Reader) -> float | None:
    """Forward and backward, as `--flops` counts them; of another model 6 N (arXiv 2001.08361).

    Another model is one whose parameters are not as many as those of the configured shape. None
    where not even that number is known, as of most logs of other programs.
    """
    parameters = session.view.info.parameters
    if session.foreign:
        return 6.0 * parameters or None
    from lmm_tui.engine.config.run_settings import settings_of

    try:
        config = settings_of(session.run_dir)
        shape = config.model.shape()
    except LmmError:
        return 6.0 * parameters or None
    if parameters and abs(shape.parameters / parameters - 1) > _SAME_MODEL:
        return 6.0 * parameters
    return shape.flops_per_token(config.data.seq_len)


if __name__ == "__main__":
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("step: 1, loss: 2.5\n")
        print(flops_a_token(Reader(log.name)))
    print("=== 自测通过 ===")
