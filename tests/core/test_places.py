"""What people write, and the place it means. The bundled places are the ones that are recognised."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.core.places import Gazetteer, Match, PlaceKind, postcodes
from responder.core.words import clean

DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize(
    "text",
    [
        "12347", "123 47", " 12347 ", "jag bor på 12347", "12347!", "123-47", "1 2 3 4 7", "postnr 123 47 tack",
        "١٢٣٤٧", "１２３４７", "12347 farsta", "var kan jag ladda i 123 47?", "12\u200b347",
    ],
)  # fmt: skip
def test_five_digits_are_a_postcode_however_they_are_written(stockholm: Gazetteer, text: str) -> None:
    found = stockholm.recognise(text)
    assert (found.match, found.code) == (Match.FOUND, "12347")


@pytest.mark.parametrize("text", ["0701234567", "08-123 47 00", "+46 70 123 47 00", "123456", "1234", "070-123 47 12"])
def test_a_phone_number_holds_no_postcode(text: str) -> None:
    assert postcodes(clean(text)) == []


@pytest.mark.parametrize(
    ("text", "match"),
    [("21145", Match.OUTSIDE), ("90325", Match.OUTSIDE), ("99999", Match.NO_SUCH_CODE), ("12399", Match.NO_SUCH_CODE),
     ("00000", Match.NO_SUCH_CODE)],
)  # fmt: skip
def test_a_code_that_is_not_here_is_elsewhere_or_does_not_exist(stockholm: Gazetteer, text: str, match: Match) -> None:
    assert stockholm.recognise(text) == stockholm.recognise(f" {text} ")
    assert stockholm.recognise(text).match is match
    assert stockholm.recognise(text).code == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Bagarmossen", "Bagarmossen"), ("bagis", "Bagarmossen"), ("HÖKIS", "Hökarängen"),
        ("kransen", "Midsommarkransen"),        ("ARSTA", "Årsta"), ("Arsta", "Årsta"),
        ("i Årsta", "Årsta"), ("Gullmarsplan", "Gullmarsplan"),
        ("Medis", "Medborgarplatsen"), ("T-Centralen", "T-Centralen"), ("t centralen", "T-Centralen"),
        ("S:t Eriksplan", "S:t Eriksplan"), ("st eriksplan", "S:t Eriksplan"), ("Farsta strand", "Farsta strand"),
        ("farstastrand", "Farsta strand"), ("stora essingen", "Stora Essingen"), ("Bagarmossens", "Bagarmossen"),
        ("vad är öppet nära Hornstull just nu", "Hornstull"), ("where is the nearest one in Kista please", "Kista"),
        ("är det öppet på Stora Essingen?", "Stora Essingen"), ("jag är i city", "Norrmalm"), ("Ör", "Ör"),
        ("Τensta", "Tensta"), ("Old Town", "Gamla stan"), ("Karolinska", "Karolinska sjukhuset"),
    ],
)  # fmt: skip
def test_a_name_is_known_exactly_by_alias_without_accents_and_in_a_sentence(
    stockholm: Gazetteer, text: str, name: str
) -> None:
    found = stockholm.recognise(text)
    assert (found.match, [place.name for place in found.places]) == (Match.FOUND, [name])


@pytest.mark.parametrize("name", ["Farsta", "Skarpnäck", "Älvsjö", "Bromma", "Enskede", "Södermalm", "Kungsholmen"])
def test_a_name_that_is_both_an_area_and_a_part_of_it_is_the_area(stockholm: Gazetteer, name: str) -> None:
    (place,) = stockholm.recognise(name).places
    assert (place.kind, place.name) == (PlaceKind.AREA, name)


def test_two_places_of_one_name_are_both_offered(stockholm: Gazetteer) -> None:
    found = stockholm.recognise("Bergshamra")
    assert (found.match, {p.municipality for p in found.places}) == (Match.SEVERAL, {"Solna", "Norrtälje"})


def test_the_narrower_of_two_places_wins(stockholm: Gazetteer) -> None:
    assert [p.name for p in stockholm.recognise("Hökarängen i Farsta, Stockholm").places] == ["Hökarängen"]


def test_two_districts_are_both_offered(stockholm: Gazetteer) -> None:
    assert stockholm.recognise("Bagarmossen eller Kärrtorp").match is Match.SEVERAL


@pytest.mark.parametrize("code", ["12107", "12126", "12127"])
def test_the_codes_at_globen_lie_at_globen(stockholm: Gazetteer, code: str) -> None:
    """The source has them five kilometres north, in Ekerö."""
    (place,) = stockholm.recognise(code).places
    assert (place.municipality, place.district) == ("Stockholm", "Enskede-Årsta-Vantör")
    assert 59.28 < place.lat < 59.305


@pytest.mark.parametrize(
    ("lat", "lon", "postcode", "home"),
    [
        (59.2400, 18.0900, "", ("Stockholm", "Farsta")), (59.4297, 17.947, "", ("Sollentuna", "")),
        (59.2445, 18.227, "", ("Tyresö", "")), (59.6245, 17.864, "", ("Sigtuna", "")), (59.748, 18.684, "", ("Norrtälje", "")),
        (59.2400, 18.0900, "12833", ("Stockholm", "Skarpnäck")),
    ],
)  # fmt: skip
def test_a_position_has_a_home(
    stockholm: Gazetteer, lat: float, lon: float, postcode: str, home: tuple[str, str]
) -> None:
    found = stockholm.home(lat, lon, postcode)
    assert found and (found.municipality, found.district) == home


def test_no_bundled_place_lies_outside_the_county(places: list) -> None:  # type: ignore[type-arg]
    assert all(58.6 < place.lat < 60.4 and 17.1 < place.lon < 19.6 for place in places)


def test_no_two_bundled_places_share_a_code(places: list) -> None:  # type: ignore[type-arg]
    assert len({place.code for place in places}) == len(places)


with (DATA / "misspelt.csv").open(encoding="utf-8") as _file:
    MISSPELT = [(row["text"], row["place"]) for row in csv.DictReader(_file)]
JUNK = (DATA / "junk.txt").read_text(encoding="utf-8").splitlines()


def test_the_lists_are_as_long_as_they_say() -> None:
    assert (len(MISSPELT), len(JUNK)) == (100, 60)


@pytest.mark.parametrize(("text", "names"), MISSPELT)
def test_a_misspelt_name_is_known(stockholm: Gazetteer, text: str, names: str) -> None:
    found = stockholm.recognise(text)
    assert {place.name for place in found.places} == set(names.split("|"))


@pytest.mark.parametrize("text", JUNK)
def test_what_names_no_place_is_none(stockholm: Gazetteer, text: str) -> None:
    assert stockholm.recognise(text).match is Match.NOTHING


@pytest.mark.parametrize(
    "text",
    [
        "vad händer", "vad är det som hände", "vi är utan vatten", "vi flyr från kriget", "jag kommer från Ukraina",
        "allt är sönder", "jag har ont i ryggen", "har ni sängar", "jag har djur", "måste vi flytta på oss",
        "jag bor i en husbil", "det är en massa folk", "ryssen kommer", "they are bombing us", "stay or leave?",
        "inget vatten i kranen", "vattnet är brunt", "det är det värsta jag sett",
        "Malmö", "hur är det i Västerås", "jag bor i Fagersta", "Bålsta", "Knivsta", "Visby", "jag kommer från Lund",
    ],
)  # fmt: skip
def test_a_sentence_of_fear_or_a_town_elsewhere_is_no_misspelt_place(stockholm: Gazetteer, text: str) -> None:
    assert stockholm.recognise(text).match is Match.NOTHING


@given(st.text(max_size=300))
def test_nothing_that_can_be_typed_breaks_recognition(stockholm: Gazetteer, text: str) -> None:
    found = stockholm.recognise(text)
    assert len(found.places) <= 5
    assert (found.match in (Match.FOUND, Match.UNSURE)) <= (len(found.places) == 1)


@given(st.integers(0, 4311), st.sampled_from(["{}", "i {}", "var är det öppet i {}?", "where in {} please"]))
def test_every_bundled_place_is_found_by_its_own_name(
    stockholm: Gazetteer,
    places: list,
    index: int,
    sentence: str,  # type: ignore[type-arg]
) -> None:
    place = places[index]
    found = stockholm.recognise(sentence.format(place.name))
    names = {p.name for p in found.places}
    assert place.name in names or found.match is Match.SEVERAL
