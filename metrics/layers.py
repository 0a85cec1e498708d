"""The layer that a parameter or module belongs to, from its dotted name.

Works for any model that numbers its blocks, without torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_checkpoint_wrapped_module)\.")
_BLOCK = re.compile(r"(?:.*?\.)??\d+(?=\.|$)")
_OUTSIDE = (
    ("head", re.compile(r"head|(^|\.)(output|embed_out)(\.|$)")),
    ("embed", re.compile(r"embed|(^|\.)w[tp]e(\.|$)")),
    ("norm", re.compile(r"norm|(^|\.)ln_f(\.|$)")),
)


def strip_wrappers(name: str) -> str:
    """The name without the parts that DDP, torch.compile and checkpoint wrappers add."""
    return _WRAPPERS.sub("", name)


def group_by_layer(names: Iterable[str]) -> dict[str, str]:
    """The layer of each parameter (or module) name, in the order given.

    `model.layers.3.mlp.up_proj.weight` is in `layers.3`; outside the numbered blocks the layers are
    `embed`, `norm` and `head`, else the module itself. If short labels would be ambiguous, as for
    an encoder and a decoder, blocks keep their full paths.
    """
    paths = {name: _layer_path(strip_wrappers(name)) for name in names}
    short = {path: _short(path) for path in paths.values()}
    unique = len(set(short.values())) == len(short)
    return {name: short[path] if unique else path for name, path in paths.items()}


def _layer_path(name: str) -> str:
    if block := _BLOCK.match(name):
        return block[0]
    for label, pattern in _OUTSIDE:
        if pattern.search(name):
            return label
    return name.rpartition(".")[0] or name


def _short(path: str) -> str:
    parts = path.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() else path


if __name__ == "__main__":
    shown = group_by_layer(["model.embed_tokens.weight", "model.layers.11.mlp.up_proj.weight"])
    print(shown)
    assert list(shown.values()) == ["embed", "layers.11"]
    print("=== 自测通过 ===")
