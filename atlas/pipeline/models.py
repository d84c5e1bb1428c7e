"""Vision-language models that a recipe names, made ready for naming and scoring."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from atlas import vlm
from atlas.pipeline import sharing
from atlas.prepass.processes import ALONE, Team
from atlas.recipe import Naming
from atlas.store import ANSWERS, Store
from atlas.vlm.files import Exchange, FilesVlm
from atlas.vlm.kept import Answers, Kept


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
    answers = Answers(store.root / ANSWERS)
    if exchange is None:
        model = _loaded(settings, team)
        if team.size == 1:
            yield Kept(model, answers)
            return
        shared = sharing.Shared(model, team)
        try:
            yield Kept(shared, answers)
        finally:
            shared.end()
        return
    by_file = FilesVlm(loading(settings), exchange)
    try:
        yield Kept(by_file, answers, every=True)
        by_file.close(answers)
    finally:
        by_file.discard()


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
