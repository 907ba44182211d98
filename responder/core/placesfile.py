"""Places files: our own tables of names and of postcodes, and GeoNames' postal format, to places."""

from collections.abc import Iterator

from responder.core.places import Place, PlaceKind
from responder.core.rows import Row, TableError, csv_rows, five_digits
from responder.core.words import fold, words

NAMES = ("name", "kind", "aliases", "lat", "lon", "accuracy", "district", "municipality")
POSTCODES = ("postcode", "place", "lat", "lon", "accuracy", "municipality", "district", "stadsdel", "method")
METHODS = (
    "address", "interpolated", "zone_median", "place_median", "municipality_median", "geonames_place", "box_city",
    "box_place",
)  # fmt: skip
GEONAMES = (
    "country", "postal code", "place name", "admin name1", "admin code1", "admin name2", "admin code2", "admin name3",
    "admin code3", "latitude", "longitude", "accuracy",
)  # fmt: skip
GEONAMES_ACCURACY = 3000  # metres: measured against street addresses, half of its Swedish points are worse than 1.9 km


def read_places_file(text: str) -> list[Place]:
    """The places of `text`, whichever of the three formats it is in. Raises TableError."""
    first = text.removeprefix("\ufeff").split("\n", 1)[0]
    if first.count("\t") >= len(GEONAMES) - 2:
        rows, read = list(_geonames_rows(text)), _geonames
    elif "postcode" in first.lower():
        rows, read = list(csv_rows(text, POSTCODES, ("postcode", "lat", "lon"))), _postcode
    else:
        rows, read = list(csv_rows(text, NAMES, ("name", "kind", "lat", "lon"))), _name
    places = [read(row) for row in rows]
    lines: dict[str, str] = {}
    for row, place in zip(rows, places, strict=True):
        if place.code in lines and read is not _geonames:  # GeoNames has a row a post town
            row.fault("name" if read is _name else "postcode", f"{place.name} is also in {lines[place.code]}")
        lines.setdefault(place.code, row.line)
    faults = [fault for row in rows for fault in row.faults]
    if not rows:
        faults = ["the file holds no places"]
    if faults:
        raise TableError(faults)
    return list({place.code: place for place in reversed(places)}.values())


def _name(row: Row) -> Place:
    name, municipality = row.text("name", 60, needed=True), row.text("municipality", 40)
    kind = row.parsed("kind", _kind, PlaceKind.OTHER)
    return Place(
        code=f"{kind}:{'-'.join(words(fold(name)))}:{'-'.join(words(fold(municipality)))}",
        name=name,
        kind=kind,
        lat=row.number("lat", -90, 90),
        lon=row.number("lon", -180, 180),
        accuracy=round(row.number("accuracy", 0, 50_000, default=1500)),
        district=row.text("district", 40),
        municipality=municipality,
        aliases=tuple(alias.strip() for alias in row.text("aliases", 400).split("|") if alias.strip()),
    )


def _kind(text: str) -> PlaceKind:
    try:
        kind = PlaceKind(text.lower())
    except ValueError:
        kind = PlaceKind.POSTCODE
    if kind is PlaceKind.POSTCODE:
        raise ValueError(f"{text!r} is not one of {', '.join(k for k in PlaceKind if k is not PlaceKind.POSTCODE)}")
    return kind


def _postcode(row: Row) -> Place:
    code = row.parsed("postcode", five_digits, "")
    if not code and not row.values.get("postcode", "").strip():
        row.fault("postcode", "missing")
    return Place(
        code=code,
        name=code,
        kind=PlaceKind.POSTCODE,
        lat=row.number("lat", -90, 90),
        lon=row.number("lon", -180, 180),
        accuracy=round(row.number("accuracy", 0, 50_000, default=1500)),
        district=row.text("district", 40),
        municipality=row.text("municipality", 40),
        near=row.text("stadsdel", 40) or row.text("place", 40),
        method=row.parsed("method", _method, "address"),
    )


def _method(text: str) -> str:
    if text not in METHODS:
        raise ValueError(f"{text!r} is not one of {', '.join(METHODS)}")
    return text


def _geonames_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        if line.strip():
            yield Row(f"line {number}", dict(zip(GEONAMES, line.split("\t"), strict=False)))


def _geonames(row: Row) -> Place:
    code = row.parsed("postal code", five_digits, "")
    return Place(
        code=code,
        name=code,
        kind=PlaceKind.POSTCODE,
        lat=row.number("latitude", -90, 90),
        lon=row.number("longitude", -180, 180),
        accuracy=GEONAMES_ACCURACY,
        municipality=row.text("admin name2", 40),
        near=row.text("place name", 80),
        method="geonames_place",
    )
