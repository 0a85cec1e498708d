"""`lmm-tui pipeline [RECIPE]`: train all stages of a recipe, one run each; or list the recipes."""

from __future__ import annotations

import click

from lmm_tui.cli.settings import allow, foreign, trust_option
from lmm_tui.engine.config.assignments import parse_assignment
from lmm_tui.engine.config.recipe import load_recipe, recipe_file, recipe_names
from lmm_tui.i18n.language import tr


@click.command("pipeline")
@click.argument("recipe", required=False)
@click.option("--name", "prefix", help="Runs are called NAME-STEP; by default the recipe's name")
@click.option("--runs-dir", help="Folder that holds the runs")
@click.option("--device", help="Device of all steps")
@click.option(
    "--set",
    "assignments",
    metavar="SECTION.KEY=VALUE",
    multiple=True,
    help="A setting of all steps; may be repeated",
)
@trust_option
def command(
    recipe: str | None,
    prefix: str | None,
    runs_dir: str | None,
    device: str | None,
    assignments: tuple[str, ...],
    trust: bool,
) -> int:
    """Train all the stages of RECIPE in order, each as a run of its own.

    RECIPE is a name or the path of a TOML file; without one, the recipes are listed. The same
    command resumes where it was interrupted.
    """
    if recipe is None:
        for name in recipe_names():
            click.echo(f"{name:<12} {tr(load_recipe(name).about)}")
        return 0
    loaded = load_recipe(recipe)
    given = {"runs_dir": runs_dir, "device": device}
    assigned = dict(parse_assignment(text) for text in assignments)
    assigned |= {key: value for key, value in given.items() if value is not None}
    from lmm_tui.cli import recipe_runner

    source = foreign([recipe_file(recipe)])
    return recipe_runner.run_recipe(
        loaded,
        prefix or loaded.name,
        assigned,
        lambda config: allow(config, source, assigned, trusted=trust),
    )


if __name__ == "__main__":
    assert command([], standalone_mode=False) == 0
    print("=== 自测通过 ===")
