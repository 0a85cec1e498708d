"""Whether a step and the weights can be divided among ranks; asked before any is started."""

from __future__ import annotations

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig


def refuse_uneven(config: RunConfig, ranks: int) -> None:
    """Raises ConfigError where ranks cannot share the rows of a step, with the nearest numbers of
    ranks that can, or the groups of `parallel.shard` do not divide them."""
    group = config.parallel.shard
    if ranks > 1 and group.isdecimal() and (int(group) > ranks or ranks % int(group)):
        raise ConfigError(
            "parallel.shard: {size} ranks cannot be divided into groups of {group}; take a "
            "divisor of {size}, or all",
            size=ranks,
            group=group,
        )
    rows = config.train.batch_size * config.train.grad_accum
    if rows % ranks == 0:
        return
    fitting = [count for count in range(1, rows + 1) if rows % count == 0]
    below = max(count for count in fitting if count < ranks)
    above = next((count for count in fitting if count > ranks), None)
    raise ConfigError(
        "parallel.ranks: a step has {rows} rows (train.batch_size x train.grad_accum), which "
        "{ranks} ranks cannot share evenly; take {below} ranks, or other rows"
        if above is None
        else "parallel.ranks: a step has {rows} rows (train.batch_size x train.grad_accum), which "
        "{ranks} ranks cannot share evenly; take {below} or {above} ranks, or other rows",
        rows=rows,
        ranks=ranks,
        below=below,
        above=above,
    )


if __name__ == "__main__":
    try:
        refuse_uneven(RunConfig(), 3)
    except ConfigError as error:
        print(error)
    print("=== 自测通过 ===")
