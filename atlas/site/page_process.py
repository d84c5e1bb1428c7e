"""A process that writes a part of the pages of channels; `workers` begins it.

It reads lines of JSON: first what to write pages of, then lists of rows of channels. It answers
each list with a line: the pages that it wrote, or what the user has to mend.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from atlas.errors import UserError
from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.site.output import BuildCache, Tree
from atlas.site.pages import Pages
from atlas.site.reference_images import ReferenceImages
from atlas.site.terminology import Terminology
from atlas.store import Store
from atlas.store.joined import joined


def main() -> None:
    """Answer until there is nothing to read any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends this process
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = sys.stderr  # nothing that a library says is an answer
    asked = iter(sys.stdin.readline, "")
    pages: Pages | None = None
    task = next(asked, "")
    for line in asked:
        answer: dict[str, Any]
        try:
            pages = pages or pages_of(json.loads(task))
            written = [pages.channel(row) for row in json.loads(line)]
            answer = {"pages": [(page.link, page.rows, page.sizes) for page in written]}
        except UserError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def pages_of(task: dict[str, Any]) -> Pages:
    """Return what writes the pages of an atlas whose pictures are there.

    Parameters
    ----------
    task : dict
        As `Pages.task` has it.
    """
    store = Store(Path(task["root"]))
    catalogue, cache = Catalogue(joined(store)), BuildCache(None, "", ())
    tree = Tree(store.root / "pages")
    reference_images = ReferenceImages(
        catalogue, tree, cache, Terminology(catalogue), task["images"], dict(task["pictures"])
    )
    citing = Citing(store)
    return Pages(
        catalogue, tree, cache, reference_images, citing, task["title"], task["description"]
    )
