"""A map of a district as SVG, drawn from what the gazetteer knows: no streets, no other host, no scripts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from responder.core.coverage import COUNTED
from responder.core.frame import Frame, around
from responder.core.places import Place, PlaceKind
from responder.core.points import PROPOSED, Point
from responder.core.words import printable

SIZES = {"large": (640, 460), "small": (280, 280)}  # pixels, and so never scaled: a click must fall where it is seen
SPANS = (0, 3000, 1000)  # metres from left to right; 0: the whole district
MARGIN = 200  # metres: what somebody can point at on a map that has no streets
_NAMED = (PlaceKind.STADSDEL, PlaceKind.STATION, PlaceKind.SQUARE)
_FONT = 'font-family="sans-serif" font-size="12"'
_WIDE = 6.6  # pixels a letter takes


@dataclass(frozen=True, slots=True)
class Shown:
    """What is on the map: a district, how near (an index of SPANS), around what (None: the middle of the district)."""

    district: str
    near: int = 0
    centre: tuple[float, float] | None = None


def frame(shown: Shown, size: str, places: Iterable[Place], points: Iterable[Point]) -> Frame | None:
    """Where the picture lies; None if the district is unknown."""
    width, height = SIZES[size]
    homes = [(p.lat, p.lon) for p in places if p.district == shown.district and _exact(p)]
    homes += [(p.lat, p.lon) for p in points if p.district == shown.district]
    if not homes:
        return None
    whole = around(homes, width, height)
    if not SPANS[shown.near]:
        return whole
    lat, lon = shown.centre or (whole.lat, whole.lon)
    return Frame(lat, lon, SPANS[shown.near] / width, width, height)


def drawn(
    frame: Frame, district: str, places: Sequence[Place], points: Sequence[Point], chosen: tuple[float, float] | None
) -> str:
    """The SVG: postcodes as dots, what people name, the points, and a cross at what is `chosen`."""
    parts = [f'<rect width="{frame.width}" height="{frame.height}" fill="#f7f9fa"/>']
    for place in places:
        if place.kind is PlaceKind.POSTCODE and _exact(place) and frame.holds(place.lat, place.lon):
            x, y = frame.pixel(place.lat, place.lon)
            colour = "#9fb4c4" if place.district == district else "#dde4e9"
            parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{colour}"/>')
    labels: list[tuple[float, float, float, float]] = [(0, frame.height - 30, frame.width / 2, frame.height)]
    for point in points:
        x, y = frame.pixel(point.lat, point.lon)
        labels.append((x - 7, y - 7, x + 7, y + 7))
    for point in sorted(points, key=lambda point: point.id):
        if frame.holds(point.lat, point.lon):
            parts.append(_point(frame, point, labels))
    for kind in _NAMED:
        for place in sorted((p for p in places if p.kind is kind), key=lambda place: place.name):
            if frame.holds(place.lat, place.lon):
                x, y = frame.pixel(place.lat, place.lon)
                weight = "700" if kind is PlaceKind.STADSDEL else "400"
                parts.append(_label(x, y, place.name, f'font-weight="{weight}" fill="#3b4a56"', labels, frame))
    if chosen and frame.holds(*chosen):
        x, y = frame.pixel(*chosen)
        ring = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="11" fill="none" stroke="#a31515" stroke-width="3"/>'
        lines = f"M{x - 18:.0f} {y:.0f}H{x + 18:.0f}M{x:.0f} {y - 18:.0f}V{y + 18:.0f}"
        parts.append(f'{ring}<path d="{lines}" stroke="#a31515" stroke-width="2"/>')
    parts.append(_scale(frame))
    size = f'width="{frame.width}" height="{frame.height}" viewBox="0 0 {frame.width} {frame.height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'


def _exact(place: Place) -> bool:
    return place.kind is PlaceKind.POSTCODE and not (place.is_box or place.is_coarse)


def _point(frame: Frame, point: Point, labels: list[tuple[float, float, float, float]]) -> str:
    x, y = frame.pixel(point.lat, point.lon)
    if point.status in PROPOSED:
        shape = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="7" fill="#fff" stroke="#0b3d63" stroke-width="2"/>'
    else:
        colour = "#0b3d63" if point.status in COUNTED else "#4c5963"
        shape = f'<rect x="{x - 7:.0f}" y="{y - 7:.0f}" width="14" height="14" fill="{colour}"/>'
    return shape + _label(x, y + 22, point.name, 'font-weight="700" fill="#0b3d63"', labels, frame)


def _label(
    x: float, y: float, text: str, style: str, labels: list[tuple[float, float, float, float]], frame: Frame
) -> str:
    """The text with its middle at x, unless it would lie on another or stick out too far."""
    half = len(text) * _WIDE / 2
    x = min(max(x, half + 2), frame.width - half - 2)
    box = (x - half, y - 11, x + half, y + 4)
    if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in labels):
        return ""
    labels.append(box)
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" {_FONT} {style}>{escape(printable(text))}</text>'


def _scale(frame: Frame) -> str:
    metres = next(m for m in (5000, 2000, 1000, 500, 200, 100, 50, 10) if m / frame.scale < frame.width / 2)
    x, y = 10, frame.height - 10
    long = metres / frame.scale
    told = f"{metres} m" if metres < 1000 else f"{metres // 1000} km"
    bar = f'<path d="M{x} {y - 5}V{y}H{x + long:.0f}V{y - 5}" fill="none" stroke="#14202b" stroke-width="2"/>'
    return f'{bar}<text x="{x + 4}" y="{y - 6}" {_FONT} fill="#14202b">{told}</text>'
