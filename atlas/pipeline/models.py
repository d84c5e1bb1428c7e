"""Models that a recipe names, made ready for naming, scoring and explaining."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from atlas import vlm
from atlas.pipeline import sharing
from atlas.prepass.processes import ALONE, Team
from atlas.recipe import Naming
from atlas.store import ANSWERS, Store
from atlas.vlm.files import Exchange, FilesVlm, OpenExchange
from atlas.vlm.kept import Answers, Kept

ModelOf = Callable[[Callable[[vlm.Loading], vlm.Vlm], vlm.Loading], Kept]
"""Gives a model by what would load it, and which one it is."""


@contextmanager
def asked(
    store: Store, settings: Naming, exchange: Exchange | None = None, team: Team = ALONE
) -> Iterator[vlm.Vlm]:
    """Yield the model that is asked about an atlas, with what it has answered already.

    Parameters
    ----------
    store : Store
        The atlas.
    settings : Naming
        Which model, and how it is loaded.
    exchange : Exchange, optional
        Files by which it is asked. Open questions are written when all is well in the end.
    team : Team
        Processes that have the model too, each of them in `help_out`.

    Raises
    ------
    UserError
        The model cannot be had, or the files cannot be read or written.
    """
    if exchange is not None:
        with by_files(store, exchange) as model_of:
            yield model_of(loading(settings))
        return
    answers = Answers(store.root / ANSWERS)
    model = _loaded(settings, team)
    if team.size == 1:
        yield Kept(model, answers)
        return
    shared = sharing.Shared(model, team)
    try:
        yield Kept(shared, answers)
    finally:
        shared.end()


@contextmanager
def by_files(
    store: Store, exchange: Exchange, about: str = "this atlas"
) -> Iterator[Callable[[vlm.Loading], Kept]]:
    """Yield what gives models that are asked by files; nothing is loaded.

    Parameters
    ----------
    store : Store
        The atlas, which keeps every answer.
    exchange : Exchange
        The files. Open questions are written when all is well in the end.
    about : str
        What the questions are about, for the line about answers to others.

    Raises
    ------
    UserError
        The files cannot be read or written.
    """
    answers = Answers(store.root / ANSWERS)
    files = OpenExchange(exchange, about)
    try:
        yield lambda asked_for: Kept(FilesVlm(asked_for, files), answers, every=True)
        files.close(answers)
    finally:
        files.discard()


@contextmanager
def explaining(store: Store, exchange: Exchange | None = None) -> Iterator[ModelOf]:
    """Yield what gives the models of explanations, with what they have answered already.

    Questions are known by the model's name, whichever way they are asked; every answer is kept.

    Parameters
    ----------
    store : Store
        The atlas.
    exchange : Exchange, optional
        Files by which models are asked. Open questions are written when all is well in the end.

    Raises
    ------
    UserError
        The files cannot be read or written.
    """
    if exchange is not None:
        with by_files(store, exchange, "these pictures") as model_of:
            yield lambda _, asked_for: model_of(asked_for)
        return
    answers = Answers(store.root / ANSWERS)

    def loaded(load: Callable[[vlm.Loading], vlm.Vlm], asked_for: vlm.Loading) -> Kept:
        with reaching(asked_for.name):
            model = Kept(load(asked_for), answers, every=True)
        model.revision = asked_for.revision or None  # files cannot know the commit
        return model

    yield loaded


def sharing_with(team: Team, settings: Naming, exchange: Exchange | None) -> Team:
    """Return the processes that share the questions: all of them if the model runs in them."""
    elsewhere = exchange is not None or settings.vlm.startswith(vlm.SERVER)
    return ALONE if elsewhere else team


def help_out(settings: Naming, team: Team) -> None:
    """Answer, in a process that is not the first, what the first one asks."""
    sharing.answer_others(_loaded(settings, team), team)


def _loaded(settings: Naming, team: Team) -> vlm.Vlm:
    with reaching(settings.vlm):
        return vlm.load(sharing.loaded_here(loading(settings), team))


def loading(settings: Naming) -> vlm.Loading:
    """Return how the recipe's vision-language model is loaded."""
    return vlm.Loading(
        settings.vlm,
        settings.revision,
        settings.dtype,
        settings.device,
        settings.quantization,
        settings.batch_size,
        settings.max_tokens,
        settings.constrained,
    )


def reaching(model: str) -> AbstractContextManager[None]:
    """Return a context in which the Hub is left alone if it does not answer within seconds."""
    if model.startswith(("demo/", vlm.SERVER)) or Path(model).expanduser().exists():
        return nullcontext()
    from atlas.data.access import offline_if_unreachable  # noqa: PLC0415 (slow to import)

    return offline_if_unreachable()
