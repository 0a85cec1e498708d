"""The store in which the launchers and ranks of a run meet: kept by one process, used by all."""

from __future__ import annotations

from datetime import timedelta
from typing import NoReturn

from lmm_tui.engine.parallel.rank_store import KeyStore, connect
from lmm_tui.runs.ranks.open_run import RanksError

Address = tuple[str, int]


def keep_store(address: Address, timeout_s: float) -> tuple[KeyStore, Address]:
    """Keep the store in this process; port 0 is any. Raises RanksError where it is in use."""
    from torch.distributed import DistError, TCPStore

    try:
        server = TCPStore(
            *address,
            is_master=True,
            timeout=timedelta(seconds=timeout_s),
            wait_for_workers=False,
            multi_tenant=True,  # The process group of this process opens it once more.
        )
    except (DistError, RuntimeError, OSError) as error:
        _refuse(error, address, timeout_s)
    return server, (address[0], server.port)


def join_store(address: Address, timeout_s: float) -> KeyStore:
    """Use the store of another process. Raises RanksError if it does not answer in time."""
    from torch.distributed import DistError

    try:
        return connect(address, timeout_s)
    except (DistError, RuntimeError, OSError) as error:
        _refuse(error, address, timeout_s)


def _refuse(error: Exception, address: Address, timeout_s: float) -> NoReturn:
    node, port = address
    if "EADDRINUSE" in str(error) or "address already in use" in str(error).lower():
        raise RanksError(
            "{node}: port {port} is in use by another program; set LMM_TUI_PORT (MASTER_PORT under "
            "torchrun) to a free one on all nodes",
            node=node,
            port=port,
        ) from None
    raise RanksError(
        "{node}: port {port} does not answer within {seconds:.0f} s (parallel.timeout_s); see "
        "whether lmm-tui was started there, and whether a firewall is in between",
        node=node,
        port=port,
        seconds=timeout_s,
    ) from None


if __name__ == "__main__":
    store, address = keep_store(("127.0.0.1", 0), 10.0)
    join_store(address, 10.0).set("key", "value")
    print(address, store.get("key"))
    try:
        join_store(("127.0.0.1", 1), 0.5)
    except RanksError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
