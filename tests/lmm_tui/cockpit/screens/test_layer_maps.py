"""Deep probes in the cockpit: layers over time, a map each, on a page of their own."""

from fake_run import FakeRun
from looking import cockpit, screen_text, until_read

from lmm_tui.charts.heatmap import HeatMap


async def test_deep_probes_have_a_page_of_maps_with_layers_as_rows(tmp_path):
    run = FakeRun(tmp_path / "deep")
    for step in range(50, 501, 50):
        layers = {f"deep/act_rms/layers.{layer}": 0.1 * step + layer for layer in range(4)}
        heads = {f"deep/attn_logit_max/layers.{layer}": 4.0 + layer for layer in range(4)}
        run.metrics.write({"step": step, "train/loss": 3.0, **layers, **heads})
    async with cockpit(run, (160, 44)) as (app, pilot):
        titles = [page.title for page in app.screen.pages]
        await pilot.press(*["right_square_bracket"] * titles.index("layers over time"))
        await until_read(pilot, "activation RMS by layer")
        assert "largest attention logit by layer" in screen_text(app)
        shown = {heat_map.id for heat_map in app.screen.query(HeatMap) if heat_map.size.area}
        assert shown == {"layers-act_rms", "layers-attn_logit_max"}
        await pilot.press("slash", *"act_rms 2", "enter")
        await until_read(pilot, "activation RMS · layers.2")
    run.close()


async def test_a_run_without_them_has_no_such_page(tmp_path):
    run = FakeRun(tmp_path / "plain")
    run.train(1, 60)
    async with cockpit(run, (160, 44)) as (app, _):
        assert "layers over time" not in [page.title for page in app.screen.pages]
    run.close()
