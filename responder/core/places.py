"""Recognising a place in what somebody typed or said.

Order of belief: a postcode, then a name exactly (longest first, å ä ö kept before folded), then a name
misspelt. A misspelling is measured twice, as written and as it sounds, over every short run of words; words
that merely look like places (`not_places`) never count as a misspelling. Where two places are as likely,
both come back and the dialogue asks.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

from rapidfuzz import fuzz, process

from responder.core.nearest import Grid, unit_vector, unit_vectors
from responder.core.words import clean, fold, swedish, words


class PlaceKind(StrEnum):
    """What sort of place a name or code stands for."""

    POSTCODE = "postcode"
    AREA = "area"  # stadsdelsområde
    STADSDEL = "stadsdel"
    MUNICIPALITY = "municipality"
    LOCALITY = "locality"
    STATION = "station"
    SQUARE = "square"
    OTHER = "other"


_BOX = ("box_city", "box_place")
_COARSE = ("zone_median", "place_median", "municipality_median", "geonames_place")


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere a resident can be: WGS84 degrees, `accuracy` in metres, `code` unique in the gazetteer."""

    code: str
    name: str
    kind: PlaceKind
    lat: float
    lon: float
    accuracy: int
    district: str = ""  # stadsdelsområde, in Stockholm city
    municipality: str = ""
    aliases: tuple[str, ...] = ()
    near: str = ""  # a postcode's stadsdel or post town
    method: str = ""  # how a postcode's coordinate was made

    @property
    def is_area(self) -> bool:
        """Whether the name covers so much ground that a distance from it would mislead."""
        return self.kind in (PlaceKind.AREA, PlaceKind.MUNICIPALITY)

    @property
    def is_box(self) -> bool:
        """A PO box or company code: nobody lives there."""
        return self.method in _BOX

    @property
    def is_coarse(self) -> bool:
        """A postcode known only by its town or zone."""
        return self.method in _COARSE


class Match(StrEnum):
    """How a text was understood."""

    FOUND = "found"
    UNSURE = "unsure"  # one place, misspelt so much that a caller should confirm it
    SEVERAL = "several"
    OUTSIDE = "outside"  # a postcode of another county
    NO_SUCH_CODE = "no_such_code"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Recognised:
    """`places` has one place for FOUND and UNSURE, at most five for SEVERAL; `code` is the postcode that was said."""

    match: Match
    places: tuple[Place, ...] = ()
    code: str = ""


NOTHING = Recognised(Match.NOTHING)
MAX_CANDIDATES = 5
_MAX_TOKENS = 60
_WHOLE = 4  # points that each further word of a misspelt name is worth: `Enskedde gård` is not Enskede
_WINDOW = 4
_RUN = re.compile(r"(?<!\d)\d+(?:[ \-]\d+)*(?!\d)")
_COUNTY_PREFIXES = frozenset({*(str(n) for n in range(10, 20)), "76"})
_STREET = re.compile(r"(vägen|vagen|gatan|gränd|grand|stigen|backen|allén|allen|gången|gangen|väg|vag|gata)$")
_PREPOSITIONS = frozenset(
    ["i", "in", "at", "near", "vid", "från", "from", "till", "to", "på", "kring", "runt", "utanför", "around"]
)
# Real names that are also everyday words: in a sentence they need a preposition in front.
_ALSO_WORDS = frozenset(
    ("bro", "ör", "rö", "skå", "or", "ro", "ska", "klara", "city", "vega", "söder", "soder", "brunn", "alby", "brevik",
     "värsta")
)  # fmt: skip
_SOUNDS = (
    ("sch", "sk"), ("ck", "k"), ("ph", "f"), ("qu", "kv"), ("th", "t"), ("hj", "j"), ("gj", "j"), ("lj", "j"),
    ("c", "k"), ("q", "k"), ("z", "s"), ("w", "v"), ("x", "ks"), ("å", "o"), ("ä", "e"), ("ö", "o"), ("y", "i"),
)  # fmt: skip
_TWICE = re.compile(r"(.)\1+")


def sounds(text: str) -> str:
    """Roughly how a lower-case Swedish word sounds: ck as k, w as v, ä as e, doubled letters once."""
    for written, heard in _SOUNDS:
        text = text.replace(written, heard)
    return _TWICE.sub(r"\1", text)


@dataclass(frozen=True, repr=False)
class Gazetteer:
    """All known places, indexed for recognition. Build it with `gazetteer`."""

    places: tuple[Place, ...]
    by_code: dict[str, Place]
    exact: dict[str, tuple[Place, ...]]  # swedish spelling without spaces
    folded: dict[str, tuple[Place, ...]]
    keys: list[str]  # names long enough to be misspelt: as written and folded ...
    heard: list[str]  # ... and as they sound
    not_places: frozenset[str] = frozenset()
    _by_length: dict[int, tuple[list[int], list[str], list[str]]] = field(
        default_factory=dict, init=False, compare=False
    )

    @cached_property
    def spoken(self) -> tuple[str, ...]:
        """Names that callers are likely to say, the districts first."""
        kinds = (PlaceKind.AREA, PlaceKind.STADSDEL, PlaceKind.MUNICIPALITY, PlaceKind.STATION, PlaceKind.SQUARE)
        return tuple(dict.fromkeys(place.name for kind in kinds for place in self.places if place.kind is kind))

    @cached_property
    def divided(self) -> frozenset[str]:
        """Municipalities that have areas: their name alone does not tell where somebody is."""
        return frozenset(place.municipality for place in self.places if place.kind is PlaceKind.AREA)

    @cached_property
    def districts(self) -> frozenset[str]:
        """The names of all areas."""
        return frozenset(place.district for place in self.places if place.kind is PlaceKind.AREA)

    @cached_property
    def _homes(self) -> tuple[tuple[Place, ...], Grid]:
        """The places whose municipality can be trusted for what lies beside them, and where they lie."""
        trusted = tuple(p for p in self.places if p.municipality and not (p.is_area or p.is_box or p.is_coarse))
        return trusted, Grid(unit_vectors([p.lat for p in trusted], [p.lon for p in trusted]))

    def home(self, lat: float, lon: float, postcode: str = "") -> Place | None:
        """The known place that tells in which municipality and district a position is: its postcode, or the nearest."""
        known = self.by_code.get(postcode)
        if known and not known.is_coarse:
            return known
        trusted, grid = self._homes
        return trusted[int(grid.metres(unit_vector(lat, lon)).argmin())] if trusted else None

    def recognise(self, raw: str) -> Recognised:
        """The place, or places, that `raw` names."""
        text = clean(raw)
        by_code = self._postcode(text)
        if by_code and by_code.match is Match.FOUND and not by_code.places[0].is_box:
            return by_code
        by_name = self._name(text)
        return by_name if by_name.match is not Match.NOTHING else by_code or NOTHING

    def _postcode(self, text: str) -> Recognised | None:
        codes = postcodes(text)
        known = tuple(self.by_code[code] for code in codes if code in self.by_code)
        if len(known) > 1:
            return Recognised(Match.SEVERAL, known[:MAX_CANDIDATES])
        if known:
            return Recognised(Match.FOUND, known, known[0].code)
        if not codes:
            return None
        code = codes[0]
        outside = "20000" <= code <= "98999" and code[:2] not in _COUNTY_PREFIXES
        return Recognised(Match.OUTSIDE if outside else Match.NO_SUCH_CODE, code=code)

    def _name(self, text: str) -> Recognised:
        tokens = tuple(swedish(word) for word in words(text))[:_MAX_TOKENS]
        if not tokens:
            return NOTHING
        found = self._exact(tokens)
        if found:
            return self._settle([places for _, _, places in found])
        return self._misspelt(tokens)

    def _exact(self, tokens: tuple[str, ...]) -> list[tuple[int, int, tuple[Place, ...]]]:
        """(start, end, places) of every name in `tokens`, the longest runs first, without overlaps."""
        taken = [False] * len(tokens)
        found = []
        for size in range(min(_WINDOW, len(tokens)), 0, -1):
            for start in range(len(tokens) - size + 1):
                end = start + size
                if any(taken[start:end]):
                    continue
                places = self._look_up(tokens[start:end])
                if not places or (size == 1 and self._is_just_a_word(tokens, start)):
                    continue
                start, end, places = self._longer(tokens, start, end, places)
                taken[start:end] = [True] * (end - start)
                found.append((start, end, places))
        return sorted(found, key=lambda item: item[0])

    def _look_up(self, run: tuple[str, ...]) -> tuple[Place, ...]:
        joined = "".join(run)
        for key in (joined, joined[:-1] if joined.endswith("s") and len(joined) > 5 else joined):
            if key in self.exact:
                return self.exact[key]
            plain = fold(key)
            if len(plain) > 3 and plain in self.folded:
                return self.folded[plain]
        return ()

    def _is_just_a_word(self, tokens: tuple[str, ...], at: int) -> bool:
        if tokens[at] not in _ALSO_WORDS and not (len(tokens[at]) < 4 and len(tokens) > 1):
            return False
        return len(tokens) > 1 and not (at and tokens[at - 1] in _PREPOSITIONS)

    def _longer(
        self, tokens: tuple[str, ...], start: int, end: int, places: tuple[Place, ...]
    ) -> tuple[int, int, tuple[Place, ...]]:
        """`Farsta stran` is Farsta strand, not Farsta: a longer name that nearly fits beats a shorter that does."""
        if end >= len(tokens) or len(tokens[end]) < 3 or tokens[end] in self.not_places:
            return start, end, places
        short, joined = fold("".join(tokens[start:end])), fold("".join(tokens[start : end + 1]))
        scored = [
            (fuzz.ratio(joined, key), key) for key in self.folded if key.startswith(short) and len(key) > len(short) + 1
        ]
        best, key = max(scored, default=(0.0, ""))
        return (start, end + 1, self.folded[key]) if best >= 85 else (start, end, places)

    def _settle(self, found: list[tuple[Place, ...]]) -> Recognised:
        """One place if all that was named agree; the narrower wins over the area or municipality around it."""
        distinct = list(dict.fromkeys(place for places in found for place in places))
        narrow = [
            place for place in distinct if not any(other is not place and _contains(place, other) for other in distinct)
        ]
        match = Match.FOUND if len(narrow) == 1 else Match.SEVERAL
        return Recognised(match, tuple(narrow[:MAX_CANDIDATES]))

    def _misspelt(self, tokens: tuple[str, ...]) -> Recognised:
        alone = len(tokens) <= 2
        best: dict[int, float] = {}
        tried: set[tuple[str, ...]] = set()
        for size in range(1, min(3, len(tokens)) + 1):
            for start in range(len(tokens) - size + 1):
                run = tokens[start : start + size]
                joined = "".join(run)
                common = [token in self.not_places for token in run]
                if run in tried or len(joined) < 4 or all(common) or any(not token.isalpha() for token in run):
                    continue
                tried.add(run)
                if size > 1 and any(len(token) == 1 for token in run):
                    continue
                cutoff = 92 if any(common) or _STREET.search(run[-1]) else 78 if alone else 82
                for index, score in self._alike(joined, cutoff):
                    whole = score + _WHOLE * (size - 1)
                    best[index] = max(best.get(index, 0), whole)
        if not best:
            return NOTHING
        top = max(best.values())
        likely = sorted((index for index, score in best.items() if score >= top - 2), key=lambda i: -best[i])
        settled = self._settle([self.folded.get(self.keys[i]) or self.exact[self.keys[i]] for i in likely])
        if settled.match is Match.FOUND and top < 88:
            return replace(settled, match=Match.UNSURE)
        return settled

    def _alike(self, joined: str, cutoff: int) -> Iterable[tuple[int, float]]:
        plain, heard = fold(joined), sounds(joined)
        indices, written, spoken = self._about_as_long(len(plain))
        for choices, query, penalty in ((written, plain, 0.0), (spoken, heard, 1.0)):
            for _, score, found in process.extract(query, choices, scorer=fuzz.ratio, score_cutoff=cutoff, limit=6):
                index = indices[found]
                name = self.keys[index]
                same_start = name[0] == plain[0] or self.heard[index][0] == heard[0]
                if not same_start and (score < 83 or len(name) < 6):
                    continue
                if len(name) <= 4 and score < 85:
                    continue
                yield index, score - penalty

    def _about_as_long(self, length: int) -> tuple[list[int], list[str], list[str]]:
        """(index, `keys`, `heard`) of the names that a word of `length` letters may be: comparing it with all of them
        would make a text of many unknown words dear.
        """
        known = self._by_length.get(length)
        if known is None:
            indices = [i for i, name in enumerate(self.keys) if abs(len(name) - length) <= max(2, len(name) // 4)]
            known = indices, [self.keys[i] for i in indices], [self.heard[i] for i in indices]
            self._by_length[length] = known
        return known


def postcodes(text: str) -> list[str]:
    """Five-digit codes in a cleaned text: `12347`, `123 47` or digit by digit; never a part of a phone number."""
    out = []
    for run in _RUN.findall(text):
        groups = re.split(r"[ \-]", run)
        digits = "".join(groups)
        if len(digits) == 5:
            out.append(digits)
            continue
        whole = [group for group in groups if len(group) == 5]
        pairs = [a + b for a, b in pairwise(groups) if len(a) == 3 and len(b) == 2]
        if whole:
            out.extend(whole)
        elif len(pairs) == 1 and len(digits) <= 7 and not digits.startswith("0"):
            out.extend(pairs)
    return list(dict.fromkeys(out))


def _contains(outer: Place, inner: Place) -> bool:
    if inner.is_area and outer.kind is not PlaceKind.MUNICIPALITY:
        return False
    if outer.kind is PlaceKind.AREA:
        return outer.district == inner.district
    return (
        outer.kind is PlaceKind.MUNICIPALITY
        and inner.kind is not PlaceKind.MUNICIPALITY
        and outer.municipality == inner.municipality
    )


def gazetteer(places: Sequence[Place], not_places: Iterable[str] = ()) -> Gazetteer:
    """Index `places` (unique codes) for recognition. `not_places`: words that are never a misspelt name."""
    exact: dict[str, list[Place]] = {}
    folded: dict[str, list[Place]] = {}
    by_code = {place.code: place for place in places}
    for place in places:
        if place.kind is PlaceKind.POSTCODE:
            continue
        for name in (place.name, *place.aliases):
            key = "".join(words(swedish(name)))
            if key:
                _add(exact, key, place)
                _add(folded, fold(key), place)
    settled_exact = {key: _readings(key, named) for key, named in exact.items()}
    settled = {key: _readings(key, named) for key, named in folded.items()}
    for named in (*settled_exact.values(), *settled.values()):
        by_code.update((place.code, place) for place in named)
    keys = sorted(key for key in settled if len(key) >= 4)
    spelling = {fold(key): key for key in settled_exact}
    return Gazetteer(
        places=tuple(places),
        by_code=by_code,
        exact=settled_exact,
        folded=settled,
        keys=keys,
        heard=[sounds(spelling[key]) for key in keys],
        not_places=frozenset(swedish(word) for word in not_places),
    )


def _add(index: dict[str, list[Place]], key: str, place: Place) -> None:
    if place not in index.setdefault(key, []):
        index[key].append(place)


def _readings(key: str, named: list[Place]) -> tuple[Place, ...]:
    """What one name can mean. Both an area and something in it: the area, but seen from the smaller place."""
    areas = [place for place in named if place.kind is PlaceKind.AREA]
    inside = [place for place in named if not place.is_area and any(_contains(area, place) for area in areas)]
    if areas and inside:
        centre = min(inside, key=lambda place: (place.kind is not PlaceKind.STADSDEL, place.accuracy))
        said = next((n for n in (centre.name, *centre.aliases) if fold("".join(words(n))) == fold(key)), centre.name)
        seen_from = replace(areas[0], code=f"{areas[0].code}@{key}", name=said, lat=centre.lat, lon=centre.lon)
        return (seen_from, *(place for place in named if place not in inside and place not in areas))
    by_name = [place for place in named if fold("".join(words(place.name))) == fold(key)]
    main = [place for place in by_name if place.kind in (PlaceKind.STADSDEL, PlaceKind.MUNICIPALITY)]
    return tuple(main if len(main) == 1 and len(by_name) > 1 and _close(by_name) else by_name or named)


def _close(named: list[Place]) -> bool:
    """Whether all are within about 2 km, so that the difference does not matter."""
    return all(abs(a.lat - named[0].lat) < 0.018 and abs(a.lon - named[0].lon) < 0.035 for a in named[1:])
