"""What a reader has put into a store, as a test compares it."""

from lmm_tui.metrics.series.series import SeriesStore


def points(store: SeriesStore, name: str) -> dict[int, float]:
    series = store.get(name)
    assert series is not None, (name, store.names())
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
