"""What an unfinished pass leaves on the disk."""

import torch

from atlas.prepass import checkpoint
from atlas.prepass.tally import Seen, Tally


def test_a_checkpoint_holds_more_pictures_than_the_header_of_its_file_could():
    """Readers of safetensors refuse headers above 100 MB; ImageNet's keys can make more."""
    key = "k" * 120_000
    state = Tally(k=1, outputs=2, modes=("activation",))
    state.seen = {index: Seen(f"{index}/{key}", None, 0) for index in range(1000)}
    content = checkpoint.pack(state, {"inputs": "these"})
    assert len(content) > 100_000_000
    unpacked, facts = checkpoint.unpack(content, torch.device("cpu"))
    assert unpacked.seen == state.seen
    assert facts["inputs"] == "these"
