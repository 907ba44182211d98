"""What is rendered before anybody calls."""

from datetime import timedelta

from responder.core.answer import board
from responder.core.flow import Flow
from responder.core.places import Gazetteer
from responder.core.points import Point, Status
from responder.core.repertoire import fixed, of_points
from responder.core.reply import Manner, Voiceover, answer_speech
from responder.core.telling import Spoken
from tests.conftest import NOW, STALE, ZONE, a_point

MANNER = Manner("Stockholms stad", "113 13", ZONE, STALE, 7)


def told(flow: Flow, stockholm: Gazetteer, *points: Point) -> list[Spoken]:
    stand = board(points, NOW, ZONE, STALE)
    return of_points(flow, stand, stockholm, Voiceover(MANNER, NOW))


def test_fixed_sentences_are_there_in_every_language_and_filled_with_what_the_settings_say(flow: Flow) -> None:
    sentences = fixed(flow, MANNER)
    assert {sentence.language for sentence in sentences} == set(flow.languages)
    texts = {sentence.text for sentence in sentences}
    for said in (
        "Närmaste öppna trygghetspunkt är:", "För att höra igen, tryck 1.", "For hearing it again, press 1.",
        flow.languages["sv"].voice["say.not_spoken"], flow.languages["sv"].voice["say.unavailable"],
        flow.languages["sv"].text["say.silence"], flow.languages["sv"].voice["news.stop"],
    ):  # fmt: skip
        assert said in texts
    assert any("Här svarar Stockholms stad om trygghetspunkter" in text for text in texts)
    assert not any("{" in text for text in texts)
    assert len(sentences) == len(set(sentences))


def test_nothing_is_rendered_that_only_a_text_says(flow: Flow) -> None:
    texts = {sentence.text for sentence in fixed(flow, MANNER)}
    for key in ("more", "open.subscribe", "broadcast.exercise", "say.test"):
        assert flow.languages["sv"].text[key] not in texts


def test_each_activated_point_is_told_as_to_somebody_beside_it_and_as_closed(flow: Flow, stockholm: Gazetteer) -> None:
    hall = a_point("hall", name="Hallen", postcode="12347", closes=NOW + timedelta(hours=5))
    sentences = told(flow, stockholm, hall)
    place = stockholm.by_code["12347"]
    heard = answer_speech(board([hall], NOW, ZONE, STALE).answer(place), flow.languages["sv"], Voiceover(MANNER, NOW))
    for part in heard:
        assert part.text in {sentence.text for sentence in sentences}
    texts = " ".join(sentence.text for sentence in sentences)
    assert "Hallen, Testgatan 36, Farsta är stängd. Gå inte dit." in texts
    assert "1 2 3 4 7" in texts
    assert "It is open" not in texts
    assert "Open until 19.20" in texts


def test_points_that_nobody_is_sent_to_need_nothing(flow: Flow, stockholm: Gazetteer) -> None:
    for status in (Status.PLANNED, Status.CLOSED, Status.CANDIDATE, Status.MOVED):
        assert told(flow, stockholm, a_point(status=status)) == []


def test_the_address_of_a_hidden_point_is_not_rendered(flow: Flow, stockholm: Gazetteer) -> None:
    sentences = told(flow, stockholm, a_point(hidden=True, address="Hemliga gatan 1"))
    assert sentences
    assert not any("Hemliga" in sentence.text for sentence in sentences)
