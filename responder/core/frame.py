"""A small map: positions to pixels and back, north up, exact enough over a city."""

from dataclasses import dataclass
from math import cos, radians

_METRES = 111_195.0  # of a degree of latitude, on the sphere of core.nearest


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of `width` by `height` pixels around a centre in WGS84 degrees; `scale` in metres a pixel."""

    lat: float
    lon: float
    scale: float
    width: int
    height: int

    def pixel(self, lat: float, lon: float) -> tuple[float, float]:
        """(x, y) of a position, from the upper left corner."""
        x = self.width / 2 + (lon - self.lon) * _METRES * cos(radians(self.lat)) / self.scale
        return x, self.height / 2 - (lat - self.lat) * _METRES / self.scale

    def position(self, x: float, y: float) -> tuple[float, float]:
        """(lat, lon) of a pixel."""
        lat = self.lat + (self.height / 2 - y) * self.scale / _METRES
        return lat, self.lon + (x - self.width / 2) * self.scale / (_METRES * cos(radians(self.lat)))

    def holds(self, lat: float, lon: float) -> bool:
        """Whether a position is in the picture."""
        x, y = self.pixel(lat, lon)
        return 0 <= x <= self.width and 0 <= y <= self.height


def around(positions: list[tuple[float, float]], width: int, height: int) -> Frame:
    """The frame that holds all `positions` (lat, lon; at least one) with a little room around them."""
    lats, lons = [lat for lat, _ in positions], [lon for _, lon in positions]
    lat, lon = (min(lats) + max(lats)) / 2, (min(lons) + max(lons)) / 2
    tall = (max(lats) - min(lats)) * _METRES
    broad = (max(lons) - min(lons)) * _METRES * cos(radians(lat))
    return Frame(lat, lon, max(tall / height, broad / width, 0.5) * 1.1, width, height)
