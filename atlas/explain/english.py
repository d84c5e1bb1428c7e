"""English words by what they say, as far as claims say it; for the guard of other words.

Most words of a rephrasing that could make it false are of classes that are small: those that deny,
turn, compare, count, measure, judge, or place in time and space. These are listed. Words of other
classes are too many for any list.
"""

import re
from collections.abc import Iterator

_BY_FAMILY = """
neg: not no never neither nor none nothing nobody cannot hardly barely scarcely; fall: plunge
tumble slide plummet weaken narrow cut hurt fall fell fallen drop slip slide dip sink sank sunk
decline decrease lower low shrink reduce lose lost cost down; rise: gain lift recover jump soar
boost improve grew up rise rose risen climb increase raise grow grew higher high; stay: stay
remain keep kept unchanged same; more: more further larger greater; less: less fewer smaller;
most: most chiefly mainly mostly; least: least; first: first lead leads leading ahead top tops
largest strongest greatest biggest heaviest highest; best: best; one: one; half: half; fifth:
fifth; only: only just sole solely alone single merely mere exclusively; all: all every everything
always each whole entire entirely; any: any; both: both; even: even; cause: because cause due
thanks reason therefore hence so since owing prove why; against: against oppose opposes
contradict; speaks: speak argue count weigh matter carry hold bear vote favour account contribute
important; usual: tend usual usually typical typically normally mean average; other: other others;
picture: picture image photo photograph; pictures: pictures images photos photographs scenes
cases; networks: networks models; than: than; test: test; poor: poorly badly poor bad; right:
right rightly correct correctly good well; wrong: wrong wrongly incorrect false; name: name names;
part: part; earlier: earlier early before; weight: weight; probability: probability; score: score;
logit: logit; share: share; relevance: relevance; chance: chance random; region: region; blur:
blur; channel: channel; place: place rank; concept: concept; decide: decide decisive; class:
class; last: last; map: heat map; take: take taken took; judge: say said give gave given assign
identify classify see believe think recognise call named choose; become: become became change turn
switch move tip make made go goes went gone come came
"""
"""Words that say something, by what they say; each may be used where its family is."""

_WORDS = """
a an the this that these those it its itself they them their which what who whose there here is
are was were be been being has have had having do does did done get got of in on at to from
by for with into over under upon out as then when where while if once and or but yet however
though although whereas whether too also rather network model answer according follow divide
spread lie lay flow between among fare perform explain explanation after behind order
output scales instead evidence remaining rest reach own now such way means set cent
would leave left back brought bring
"""

FREE = frozenset(_WORDS.split())
"""Words that say nothing by themselves, also with the endings of `forms`."""

_CLASSES = """
almost nearly about roughly approximately around barely hardly quite rather very really too far
slightly somewhat much many few several lot lots little bit more less most least enough exactly
precisely only just even still yet again anyway maybe perhaps possibly probably surely can could
may might must should shall ought will won need needs have sure certain certainty confident
confidence doubt doubtful clear unclear obvious evident true truth false fine good better worst
worse bad accurate accuracy error errors mistake performance trust trusted reliable valid
calibrated always often rarely seldom sometimes usually never once twice thrice later earlier
before after during until while since soon now then already above below beside near nearby outside
inside within between middle bottom top left right edge centre corner background foreground object
region area people person human humans you your we our us i they anybody anyone nobody someone
everybody training train trained epochs epoch learned learn retrained data dataset accident luck
noise another other others else different same equal double doubled half third quarter tie
activation gradient pixels layer layers score loss percent points colour shape size texture show
shows shown know knows known found used appear maximum minimum limit general usual whole
belong belongs twin lag close neighbour neighbours vain fail fails failed avoid avoids refuse cease
bypass lack lacks miss misses ignore prevent stop deny anything anywhere something somewhere nothing
nowhere everything everywhere away next past with without except unless unlike despite
"""
"""Words that deny, compare, count, place, measure or judge, beside those of families."""

CLOSED = frozenset(_CLASSES.split())

_SHAPES = re.compile(
    r"(?:un|in|im|ir|dis|mis|non|anti|over|under|re)(?=[a-z]{3})|.*(?:ly|less|n’t|’d|’ll|est|er)$"
)
"""Words that are made to deny, to compare or to judge."""

_FAMILIES = (one.split(":") for one in _BY_FAMILY.split(";"))
_BY_WORD = dict.fromkeys(FREE, "free") | {
    word: name.strip() for name, words in _FAMILIES for word in words.split()
}


def closed(word: str) -> bool:
    """Return whether a word denies, compares, counts, places, measures or judges."""
    return any(form in CLOSED for form in forms(word)) or bool(_SHAPES.match(word))


def families(word: str) -> Iterator[str]:
    """Yield the family of a word, also by its ending; `free` for what says nothing by itself."""
    for form in forms(word):
        if form in _BY_WORD:
            yield _BY_WORD[form]
            return


def forms(word: str) -> Iterator[str]:
    """Yield a word, and what it can be without its ending."""
    yield word
    if word in FREE:
        return
    for ending in ("s", "es", "ed", "d", "ing"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word[: -len(ending)]
            yield from (stem, f"{stem}e", f"{stem[:-1]}y" if stem[-1] == "i" else stem)
            if len(stem) > 2 and stem[-1] == stem[-2]:
                yield stem[:-1]
