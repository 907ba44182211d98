"""`responder readiness` and `responder export geojson`: how well each district is covered, and its points on a map."""

import click

from responder.cli import _plainly
from responder.core.coverage import RADII, Coverage, districts, total
from responder.core.pointsfile import write_points_geojson
from responder.settings import load_settings
from responder.store.engine import Database
from responder.store.queries import read_places, read_points

_COLUMNS = ("district", "points", "postcodes", *(f"<= {r} m (uncertain)" for r in RADII), "median m", "missing")


@click.command()
@_plainly
def readiness() -> None:
    """How much of each district has a planned or open point near, by its postcodes. Uncertain: the postcode's
    coordinate is coarser than the distance.
    """
    with Database(load_settings().database_url).read() as connection:
        places = read_places(connection)
        points = [point for point, _ in read_points(connection)]
    found = districts(places, points)
    click.echo("\t".join(_COLUMNS))
    for district in found:
        missing = ", ".join(district.missing_services) or "-"
        click.echo("\t".join((district.name, str(len(district.counted)), *_figures(district.coverage), missing)))
    whole = total([district.coverage for district in found], places, points)
    count = sum(len(district.counted) for district in found)
    click.echo("\t".join(("all", str(count), *_figures(whole), "")).rstrip())
    if not found:
        click.echo("no districts; `responder init` loads the places")


@click.command()
@_plainly
def geojson() -> None:
    """All points as GeoJSON on standard output; `import points` reads it back."""
    with Database(load_settings().database_url).read() as connection:
        points = [point for point, _ in read_points(connection)]
    click.echo(write_points_geojson(points), nl=False)


def _figures(coverage: Coverage) -> tuple[str, ...]:
    shares = (f"{coverage.share(w.near):.0%} ({coverage.share(w.uncertain):.0%})" for w in coverage.within)
    median = "-" if coverage.median is None else f"{coverage.median:.0f}"
    return str(coverage.postcodes), *shares, median
