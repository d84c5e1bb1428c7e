"""The words that a narrative may use besides the names in its evidence, and what they claim.

The vocabulary is closed: a word that is not here could bring in a concept, a place or a cause
that nobody measured, so a sentence with it is refused.
"""

from atlas.store.evidence import Order


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MORE = _words("more stronger larger bigger higher greater heavier")
LESS = _words("less weaker smaller lower fewer slighter")
SOONER = _words("sooner faster quicker earlier")
LATER = _words("later slower")
OUTWEIGHS = _words("outweighs outweigh exceeds exceed surpasses surpass")
MOST = _words(
    "most mainly chiefly primarily strongest largest biggest highest main foremost leading "
    "greatest mostly predominantly above"
)
LEAST = _words("least weakest smallest slightest")
FOLLOWS = _words("follow follows followed then")

SPEAKS = _words(
    "speak speaks spoke speaking argue argues arguing count counts counting stand stands vote "
    "votes weigh weighs evidence point points"
)
FOR = _words("support supports supported supporting favour favours favor favors")
AGAINST = _words("against contradict contradicts contradicting oppose opposes opposing opposed")

FALLS = _words(
    "fall falls fell falling drop drops dropped dropping sink sinks sank decrease decreases "
    "shrink shrinks lowers reduce reduces loses"
)
RISES = _words(
    "rise rises rose rising increase increases increased grow grows grew climb climbs raises raise"
)
KEEPS = _words("hardly barely unchanged stays stay remains remain scarcely")
REASONS = _words(
    "because cause causes caused due makes make made drives drive drove decides decided decisive "
    "responsible depends depend depended relies rely relied rests rest rested hinges needs need "
    "needed based leads lead led determines determine requires require therefore hence"
)
CONDITIONS = _words("without if would when once removing removed taking taken away")

ZERO = _words("zero removed removing without taken taking away ablated off")
MEAN = _words("mean replaced replacing")
BLUR = _words("blurred blurring blur hidden hiding covered")

TAKES = _words(
    "takes take took predicts predict predicted prediction sees see saw recognises recognizes "
    "says say said answer answers answered classifies calls thinks believes identifies"
)
SURE = _words("sure certain confident convinced")
UNSURE = _words("unsure uncertain doubts doubt hesitates hesitant")

TYPICAL = _words("typical usual common normal ordinary")
UNTYPICAL = _words("untypical atypical unusual odd uncommon rare strange")

PLACES = {
    "upper": "U", "top": "U", "lower": "D", "bottom": "D", "left": "L", "right": "R",
    "centre": "C", "center": "C", "middle": "C", "everywhere": "A",
    "spread": "A",
}  # fmt: skip

NEGATIONS = _words("not no never none nothing neither nor cannot nobody")

ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6}

_FROM_TWO = "two three four five six seven eight nine ten eleven twelve"

CARDINALS = {word: number for number, word in enumerate(_FROM_TWO.split(), 2)}

FRACTIONS = {"half": 0.5, "third": 1 / 3, "quarter": 0.25}

ORDERS: dict[str, Order] = {
    "relevance": "relevance", "random": "random", "activation": "activation",
    "reverse": "reverse", "reversed": "reverse",
}  # fmt: skip

QUANTITIES = {
    **dict.fromkeys(_words("share shares relevance carries carry carrying contributes carried"),
                    "share"),
    **dict.fromkeys(_words("probability certainty confidence sure certain confident unsure "
                    "uncertain"), "probability"),
    **dict.fromkeys(_words("logit logits"), "logit"),
    **dict.fromkeys(_words("usual usually typically average normally"), "usual"),
    **dict.fromkeys(_words("percentile percentiles"), "percentile"),
    **dict.fromkeys(_words("hold holds held coverage together"), "coverage"),
    **dict.fromkeys(_words("area heat covers cover"), "area"),
    **dict.fromkeys(_words("channels concepts channel concept"), "channels"),
    **dict.fromkeys(_words("draws draw"), "draws"),
    **dict.fromkeys(_words("pictures images"), "pictures"),
    **dict.fromkeys(_words("layers"), "layers"),
    **dict.fromkeys(_words("rank ranked ranks"), "rank"),
    **dict.fromkeys(_words("overlap overlaps overlapping"), "overlap"),
    **dict.fromkeys(_words("feeds feed fed passes pass flow flows through"), "flow"),
    **dict.fromkeys(_words("score auprc"), "score"),
    **dict.fromkeys(_words("arrives arrive reaches reach"), "arrives"),
}  # fmt: skip
"""What a number beside the word is."""

LIGHT = _words(
    "for a an the of and or with share shares by at about as well also too than nearly "
    "roughly around each percent per cent then respectively"
)
"""Words that say nothing by themselves: a clause of these goes on with its neighbour."""

_OTHERS = _words(
    """
    a again all almost also although an and another any are as ask asked at be been both but by can
    change changes choice class classes come comes concept concepts could describes described
    did do does effect each even far for from further give gives goes go had has have having here
    how however in instead into is it its itself layer layers less lie lies listed logit more much
    name named names near nearly network next now of on one order orders other others our out over
    own picture pictures probable quite rather region regions second seem seems set sets setting
    several single small so some somewhat still step steps strong strongly such take takes taking
    than that the their them then there these they this those though through thus to together too
    tried under unnamed nameless up very vision-language was we weak weakly well were what where
    whereas which while who whole will with within would yet you
    heat map maps mass half third quarter thirds quarters contrast ahead behind after larger part
    parallel branches biases stabilisers rest account s area instead arrives end finally
    model explained explain target question matters matter unlike noticeably considerably markedly
    clearly last deepest deeper depth corner side sides last left right above absolute values value
    sum mean share shares one-by-one difference mind different choose chosen word
    """
)

VOCABULARY = frozenset().union(
    MORE, LESS, SOONER, LATER, OUTWEIGHS, MOST, LEAST, FOLLOWS, SPEAKS, FOR, AGAINST, FALLS, RISES,
    KEEPS, REASONS, CONDITIONS, ZERO, MEAN, BLUR, TAKES, SURE, UNSURE, TYPICAL, UNTYPICAL, PLACES,
    NEGATIONS, ORDINALS, CARDINALS, FRACTIONS, ORDERS, QUANTITIES, LIGHT, _OTHERS,
)  # fmt: skip
"""Everything that may stand in a sentence beside names and numbers."""
