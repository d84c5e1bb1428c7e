"""Vision-language models that a recipe names, made ready for naming and scoring."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from atlas import vlm
from atlas.recipe import Naming
from atlas.store import ANSWERS, Store
from atlas.vlm.files import Exchange, FilesVlm
from atlas.vlm.kept import Answers, Kept


@contextmanager
def asked(store: Store, settings: Naming, exchange: Exchange | None = None) -> Iterator[vlm.Vlm]:
    """Yield the model that is asked about an atlas, with what it has answered already.

    Parameters
    ----------
    store : Store
        The atlas.
    settings : Naming
        Which model, and how it is loaded.
    exchange : Exchange, optional
        Files by which it is asked. Open questions are written when all is well in the end.

    Raises
    ------
    UserError
        The model cannot be had, or the files cannot be read or written.
    """
    answers = Answers(store.root / ANSWERS)
    if exchange is None:
        with reaching(settings.vlm):
            model = vlm.load(loading(settings))
        yield Kept(model, answers)
        return
    by_file = FilesVlm(loading(settings), exchange)
    try:
        yield Kept(by_file, answers, every=True)
        by_file.close(answers)
    finally:
        by_file.discard()


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
