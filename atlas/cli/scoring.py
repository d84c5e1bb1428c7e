"""`atlas score`: how good names are."""

from pathlib import Path

import click

from atlas.cli.group import atlas_argument, main, set_option


@main.command()
@atlas_argument
@set_option
def score(atlas_dir: Path, overrides: tuple[str, ...]) -> None:
    """Test the names of ATLAS on patches that they were not made from.

    Beside each score stands that of another channel's name on the same patches.
    """
    from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)
    from atlas.recipe import recorded  # noqa: PLC0415
    from atlas.store import open_store  # noqa: PLC0415

    store = open_store(atlas_dir)
    asked = pipeline.score(store, recorded(store.manifest(), overrides))
    table = store.table("channels").select(["score_detection", "score_borrowed"]).to_pydict()
    pairs = [pair for pair in zip(*table.values(), strict=True) if None not in pair]
    if not pairs:
        click.echo("No name could be tested: the pictures of the atlas are too few.")
        return
    own, other = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    better = sum(a > b for a, b in pairs) / len(pairs)
    click.echo(
        f"{len(pairs)} names tested ({asked} of them now): mean average precision {own:.2f}, of "
        f"other channels' names {other:.2f}; {better:.0%} of the names score above the other."
    )
