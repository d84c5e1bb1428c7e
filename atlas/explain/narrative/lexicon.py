"""The words that a narrative may use besides the names in its evidence, and what they claim.

The vocabulary is closed: a word that is not here could bring in a concept, a place or a cause
that nobody measured, so a sentence with it is refused.
"""

from atlas.evidence import Order


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
    **dict.fromkeys(_words("area heat"), "area"),
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
    "a an the of and or with share shares by at about as well also too than respectively nearly "
    "roughly around each percent per cent then respectively"
)
"""Words that say nothing by themselves: a clause of these goes on with its neighbour."""

_OTHERS = _words(
    """
    a about absolute account accounts across add adds after again aims all almost also
    although among an and another any are around as ask asked at auprc be been before being below
    between biases both but by can case cases change changes choice choices class classes close
    clear clearly comes come compared concept concepts consider considered could describes
    described deeper depth
    did difference does do down each early earlier end even ever explain explained explains
    explanation far finally finds for from further gave give given gives goes go going gone great
    had has have having here high how however in inside instead into is it its itself just kept
    known large last late later least left less like likely lie lies listed little look looks low
    makes many mass matter matters mean means measured mentioned middle mind model moment much
    must name named names near nearly network next now of on one order orders other others our out
    over own part particular parts percent per cent picture place places position positive
    probable probably question
    quite rather reading region regions respectively rest run same second seem seems set sets
    setting several show shown shows side sign single slightly small so some something somewhat
    sooner faster quicker slower spread stabilisers step steps still strong strongly such sum
    takes test tested than that the their them then there these they thing things this those
    though through thus to too tried turn turned two under unnamed nameless until up upon us use
    used uses using
    values value very via vision-language was way we weak weakly well were what where whereas
    which while who whole why will with within word words yet you language picture’s picture's
    layer layers layer’s layer's network’s network's class’s class's s zero one-by-one rest
    corner area heat map maps half quarter thirds quarters ahead behind contrast turn
    negative channel’s channel's activation relevance sides amount amounts answer
    branches parallel considerably markedly clearly considerable noticeable notable together
    """
)

VOCABULARY = frozenset().union(
    MORE, LESS, SOONER, LATER, OUTWEIGHS, MOST, LEAST, FOLLOWS, SPEAKS, FOR, AGAINST, FALLS, RISES,
    KEEPS, REASONS, CONDITIONS, ZERO, MEAN, BLUR, TAKES, SURE, UNSURE, TYPICAL, UNTYPICAL, PLACES,
    NEGATIONS, ORDINALS, CARDINALS, FRACTIONS, ORDERS, QUANTITIES, LIGHT, _OTHERS,
)  # fmt: skip
"""Everything that may stand in a sentence beside names and numbers."""
