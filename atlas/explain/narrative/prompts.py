"""What a language model is told before it writes a narrative.

The examples teach what relevance means and what it does not: a share of the layer's relevance
is no probability, and a reason is only what was tried.
"""

from collections.abc import Sequence

from atlas.store.narrative import Audience

VERSION = 1

_TASK = """\
You write about how a neural network came to its answer for one picture. You know nothing but \
the EVIDENCE below: do not describe the picture, do not guess, do not add names.

Write one sentence per line. Begin each line with the ids that it uses, in square brackets: \
[c1, target]. Put names of concepts and classes in quotation marks, as “red”. An unnamed \
concept is called by its address, as features.28:79.

What the numbers mean:
- `share` is the concept's part of its layer's relevance. It is not a probability, and shares of \
different layers cannot be compared.
- `direction` says whether the concept speaks for the target or against it.
- `usual` is the mean share of the concept in pictures of the target class.
- `effects` say what the probability and the logit of the target were after the concept was \
taken away (zero, mean) or its region blurred (blur). Only then may you say that something \
falls, rises or would change, and you must cite effect:ID.

Good:
[c3] “pointed ears” speaks for it with a share of 31 %.
[target, c3, effect:c3] Without “pointed ears”, the probability falls from 93 % to 41 %.
[c5] “cushion” speaks against it.
Bad:
[c3] The network decided so because of “pointed ears”.     (a reason, and no effect is cited)
[c3] “pointed ears” has a probability of 31 %.             (a share is no probability)
[c3, c4] “fur” and “pointed ears” are equally important.   (not what the shares say)
[c3] It sees a cat on a sofa.                              (not in the evidence)
"""

_AUDIENCES: dict[Audience, str] = {
    "expert": "Write 8 to 15 sentences for a machine learning researcher: the answer, each layer "
    "with its concepts and shares, the effects, the curves, and what to doubt.",
    "everyone": "Write 3 to 6 short sentences for somebody who has never heard of neural "
    "networks: the answer, what speaks for it and against it, what changes without the most "
    "important concept. No jargon; numbers only where they help.",
}


def prompt(audience: Audience, evidence: str, refused: Sequence[str]) -> str:
    """Return the request for one draft.

    Parameters
    ----------
    audience : {"everyone", "expert"}
        Who reads it.
    evidence : str
        As JSON.
    refused : sequence of str
        Why the draft before was refused, if there was one.
    """
    again = ""
    if refused:
        reasons = "\n".join(f"- {one}" for one in refused[:20])
        again = f"\n\nYour last draft was refused. Write it anew without these faults:\n{reasons}"
    return f"{_TASK}\n{_AUDIENCES[audience]}\n\nEVIDENCE:\n{evidence}{again}\n"
