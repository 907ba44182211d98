"""`responder audio`: what is said in calls through a provider that plays files."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta

import click

from responder.cli import _plainly
from responder.core.flow import Flow
from responder.core.repertoire import fixed, of_points, spoken_keys
from responder.core.reply import Manner, Voiceover
from responder.core.telling import Spoken
from responder.core.wording import Channel
from responder.flowfiles import load as load_flow
from responder.gateways.manifest import stretches
from responder.gateways.recordings import Recordings, recordings
from responder.settings import load_settings
from responder.wiring import Service, utc_now, wire


@click.group()
def audio() -> None:
    """Calls through a provider that plays files and speaks nothing itself: recordings, and what espeak-ng says."""


@audio.command()
@_plainly
def render() -> None:
    """Make ahead what callers hear: every fixed sentence, and what is said of the activated points as they stand."""
    service = wire(load_settings())
    with closing(service.database):
        flow = service.flow.keys_only
        made = recordings(service.settings, flow, utc_now)
        made.check()
        begun = time.monotonic()
        missing = _render("fixed", fixed(flow, service.manner), made)
        missing += _render("points", _of_points(service, flow), made)
    files, size = made.size
    click.echo(
        f"in {time.monotonic() - begun:.1f} s; {service.settings.audio_folder}: {files} files, {size / 1e6:.1f} MB"
    )
    if missing:
        click.echo(f"{missing} sentences cannot be spoken; callers are asked for a text instead", err=True)
        sys.exit(1)


def _of_points(service: Service, flow: Flow) -> list[Spoken]:
    now = service.clock()
    view = service.snapshot.read_if_changed(now)
    return of_points(flow, view.board, view.gazetteer, Voiceover(service.manner, now, keys_only=True))


def _render(what: str, sentences: list[Spoken], made: Recordings) -> int:
    """Render them, say how many and how long, and return how many could not be."""
    done = [(sentence, made.render(sentence)) for sentence in sentences]
    there = Counter(sentence.language for sentence, rendered in done if rendered.there)
    languages = ", ".join(f"{language} {count}" for language, count in there.items()) or "none"
    new = sum(rendered.made for _, rendered in done)
    minutes = sum(rendered.seconds for _, rendered in done) / 60
    click.echo(f"{what}: {len(done)} sentences ({languages}), {new} new, {minutes:.1f} minutes of sound")
    return sum(not rendered.there for _, rendered in done)


@audio.command()
@_plainly
def check() -> None:
    """What the manifests in RECORDINGS_DIR lack, by language, and which of their files are broken or sound empty.
    Exit 1 if a manifest is wrong or a sentence can be spoken by nobody.
    """
    settings = load_settings()
    flow = load_flow(settings.flows_dir).keys_only
    made = recordings(settings, flow, utc_now)
    manner = Manner(
        settings.sender_name, settings.helpline_number, settings.timezone,
        timedelta(hours=settings.stale_after), settings.retain_days,
    )  # fmt: skip
    faults = [fault for manifest in made.manifests.values() for fault in (*manifest.faults, *manifest.unheard())]
    for fault in faults:
        click.echo(f"BAD {fault}")
    mute = sum(_check(language, flow, manner, made) for language in flow.languages)
    if faults or mute:
        sys.exit(1)


def _check(language: str, flow: Flow, manner: Manner, made: Recordings) -> int:
    """Say what is not recorded in `language`; how many fixed sentences nobody can speak."""
    manifest = made.manifests.get(language)
    lacking = [text for text in _wanted(language, flow, manner) if not (manifest and manifest.has(text))]
    mute = [s for s in fixed(flow, manner) if s.language == language and not made.plan(s).pieces]
    voice = made.voice(language) or "no voice"
    recorded = len(manifest.files) if manifest else 0
    click.echo(
        f"{language}: {recorded} recordings, {len(lacking)} to be recorded; what is not: {voice}; mute: {len(mute)}"
    )
    for text in lacking if recorded else ():
        click.echo(f"  - {text}")
    return len(mute)


def _wanted(language: str, flow: Flow, manner: Manner) -> Iterable[str]:
    """What a full set of recordings says: the fixed sentences, and the stretches of words of the others."""
    wording = flow.languages[language]
    whole = [sentence.text for sentence in fixed(flow, manner) if sentence.language == language]
    pieces = [p for key in spoken_keys(wording) for p in stretches(wording.template(key, Channel.VOICE), language)]
    return dict.fromkeys([*whole, *pieces])
