"""Who is nearest: one place against all points, or every place at once, by numpy.

Positions are unit vectors on a sphere of the IUGG mean radius; a chord gives the great-circle distance to
well under a metre at every length in use. Ties are broken by name, then id, after rounding to whole metres.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
import numpy.typing as npt

EARTH_RADIUS = 6_371_008.8  # metres, IUGG mean

Vectors = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


def unit_vectors(lat: Sequence[float], lon: Sequence[float]) -> Vectors:
    """(n, 3) unit vectors of n positions in WGS84 degrees."""
    phi, lam = np.radians(np.asarray(lat, dtype=float)), np.radians(np.asarray(lon, dtype=float))
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def unit_vector(lat: float, lon: float) -> Vectors:
    """The (3,) unit vector of one position in WGS84 degrees."""
    phi, lam = radians(lat), radians(lon)
    return np.array((cos(phi) * cos(lam), cos(phi) * sin(lam), sin(phi)))


@dataclass(frozen=True)
class Grid:
    """Positions of n points, sorted by (name, id) so that a stable sort breaks ties by name."""

    vectors: Vectors

    def metres(self, place: Vectors) -> npt.NDArray[np.float64]:
        """(n,) whole metres from one (3,) place to every point."""
        gaps = self.vectors - place
        chord = np.sqrt(np.einsum("ij,ij->i", gaps, gaps))
        metres: Vectors = np.rint(2 * EARTH_RADIUS * np.arcsin(np.minimum(chord / 2, 1)))
        return metres

    def distances(self, places: Vectors) -> Vectors:
        """(m, n) whole metres from m (m, 3) places to every point."""
        squared = np.maximum(2 - 2 * (places @ self.vectors.T), 0)
        metres: Vectors = np.rint(2 * EARTH_RADIUS * np.arcsin(np.minimum(np.sqrt(squared) / 2, 1)))
        return metres

    def order(self, place: Vectors, allowed: Mask) -> list[tuple[int, float]]:
        """(index, whole metres) of every allowed point, nearest first."""
        indices = np.flatnonzero(allowed)
        if not len(indices):
            return []
        metres = self.metres(place)[indices]
        ranks = np.argsort(metres, kind="stable")
        return list(zip(indices[ranks].tolist(), metres[ranks].tolist(), strict=True))

    def near(self, place: Vectors, allowed: Mask, reach: float, always: Mask) -> tuple[Indices, Vectors]:
        """(indices, whole metres) of the allowed points within `reach` metres, or in `always`, nearest first."""
        gaps = self.vectors - place
        squared = np.einsum("ij,ij->i", gaps, gaps)
        surely = (2 * sin((reach + 1) / (2 * EARTH_RADIUS))) ** 2  # most points are too far to be worth an arcsine
        indices = np.flatnonzero(allowed & ((squared <= surely) | always))
        metres: Vectors = np.rint(2 * EARTH_RADIUS * np.arcsin(np.minimum(np.sqrt(squared[indices]) / 2, 1)))
        ranks = np.argsort(metres, kind="stable")
        ranks = ranks[(metres[ranks] <= reach) | always[indices[ranks]]]
        return indices[ranks], metres[ranks]

    def table(self, places: Vectors, allowed: Mask, count: int, chunk: int = 4096) -> npt.NDArray[np.intp]:
        """(m, count) indices of the nearest allowed points of m places, nearest first; -1 where there are fewer."""
        indices = np.flatnonzero(allowed)
        out = np.full((len(places), count), -1, dtype=np.intp)
        k = min(count, len(indices))
        if not k:
            return out
        targets = Grid(self.vectors[indices])
        for start in range(0, len(places), chunk):
            metres = targets.distances(places[start : start + chunk])
            ranks = np.argsort(metres, axis=1, kind="stable")[:, :k]
            out[start : start + chunk, :k] = indices[ranks]
        return out
