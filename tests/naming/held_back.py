# ruff: noqa: E501 (the shapes are shown as they are)
"""Shapes of answers of vision-language models, and what is right to make of each: the third held back.

They were chosen by lot before the parser was written, and not looked at until it was done:
129 of 130 were understood then (and 262 of the 262 others); the last one's keys began with a space.
"""

from atlas.vlm import CutOff
from tests.naming.outcomes import (
    ANYTHING,
    EXAMPLES,
    GOOD,
    PROMPT,
    bad,
    cut,
    named,
    none,
    sure,
)

HELD_BACK = [
    # Plain.
    (
        '{"reasoning": "Most show {red} stripes.", "name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    ('{"name": "text: white on red", "confidence": 0.5}', named("text: white on red", None, 0.5)),
    # Fenced.
    ("```json\n" + GOOD + "\n```", named()),
    ("```json\n" + GOOD, named()),
    ("`" + GOOD + "`", named()),
    ("~~~json\n" + GOOD + "\n~~~", named()),
    # Prose around.
    ("Here is the JSON object:\n\n" + GOOD, named()),
    ("Sure! " + GOOD + " Let me know if you need anything else!", named()),
    ("Based on the images {1 to 9}, I would say:\n" + GOOD, named()),
    (GOOD + "\n\nNote: the last images {10-12} do not have this feature.", named()),
    (GOOD + '\n\nExplanation: "name" says what the patches share.', named()),
    ("**Answer:** " + GOOD, named()),
    ("<answer>" + GOOD + "</answer>", named()),
    ("assistant\n" + GOOD, named()),
    (GOOD + "</s>", named()),
    ("Step 1: look. Step 2: {compare}. Step 3: answer.\n" + GOOD, named()),
    # Thinking.
    (
        '<think>\nMaybe {"name": "zebra crossing", "description": "A crossing.", "confidence": 0.4}? No.\n</think>\n\n'
        + GOOD,
        named(),
    ),
    ("<think>\n\n</think>\n\n" + GOOD, named()),
    ('Maybe {"name": "zebra", "confidence": 0.4}? No, red.\n</think>\n\n' + GOOD, named()),
    (
        '<think>Draft: {"name": "zebra crossing", "description": "A crossing.", "confi',
        cut("thinking"),
    ),
    ("<think>", cut("thinking")),
    ('<THINK>{"name": "zebra", "confidence": 0.4}</THINK>' + GOOD, named()),
    ('◁think▷{"name": "zebra", "confidence": 0.4}◁/think▷' + GOOD, named()),
    (
        '<|begin_of_thought|>{"name": "zebra"}<|end_of_thought|><|begin_of_solution|>'
        + GOOD
        + "<|end_of_solution|>",
        named(),
    ),
    (
        '<think>outer <think>inner {"name": "zebra"}</think> {"name": "horse"}</think>' + GOOD,
        named(),
    ),
    (
        '<think>It may be unclear: {"name": null}</think>\nname: red stripes\ndescription: Stripes of red on white.\nconfidence: 0.9',
        named(),
    ),
    (
        'Let me think. A first try is {"name": "zebra", "confidence": 0.4}. But the colour counts.\n\nFinal: '
        + GOOD,
        named(),
    ),
    # The question echoed.
    (PROMPT + "\n" + GOOD, named()),
    (GOOD + "\n\nExamples of answers:\n" + EXAMPLES[0] + "\n" + EXAMPLES[1], named()),
    (
        '{"name": "one to five words", "description": "one sentence", "confidence": "a number from 0 to 1"}',
        bad("repeats"),
    ),
    ('{"name": "<name>", "description": "<description>", "confidence": 0.5}', bad("repeats")),
    ('{"name": "...", "description": "...", "confidence": 0.0}\n\n' + GOOD, named()),
    (
        '{{"name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9}}',
        named(),
    ),
    ("user\n" + PROMPT + "\nassistant\n" + GOOD, named()),
    # Several objects.
    (
        '{"name": "red stripes"}\n{"description": "Stripes of red on white."}\n{"confidence": 0.9}',
        named(description=None, confidence=None),
    ),
    ("[" + GOOD + "]", named()),
    (GOOD + '\n{"name": null, "description": "Nothing.", "confidence": 0.2}', none()),
    # Python and loose JSON.
    (
        "{'name': 'red stripes', 'description': 'Stripes of red on white.', 'confidence': 0.9}",
        named(),
    ),
    (
        "{'name': None, 'description': 'Nothing shared.', 'confidence': 0.3}",
        none("Nothing shared.", 0.3),
    ),
    (
        '{"name": red stripes, "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '{"name": "red stripes" "description": "Stripes of red on white." "confidence": 0.9}',
        named(),
    ),
    (
        '{"name": "red stripes"; "description": "Stripes of red on white."; "confidence": 0.9}',
        named(),
    ),
    (
        '{"name" = "red stripes", "description" = "Stripes of red on white.", "confidence" = 0.9}',
        named(),
    ),
    ('{"name": nil}', none()),
    (
        '{"name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9]',
        bad(),
    ),
    # Keys.
    (
        '{"Name": "red stripes", "Description": "Stripes of red on white.", "Confidence": 0.9}',
        named(),
    ),
    (
        '{" name ": "red stripes", "description ": "Stripes of red on white.", " confidence": 0.9}',
        named(),
    ),
    (
        '{"**name**": "red stripes", "**description**": "Stripes of red on white.", "**confidence**": 0.9}',
        named(),
    ),
    (
        '{"shared_concept": "red stripes", "description": "Stripes of red on white.", "confidence_score": 0.9}',
        named(),
    ),
    (
        '{"Name": "rote Streifen", "Beschreibung": "Rote Streifen auf Weiß.", "Konfidenz": 0.9}',
        named("rote Streifen", "Rote Streifen auf Weiß."),
    ),
    (
        '{"nom": "rayures rouges", "description": "Des rayures.", "confiance": 0.9}',
        named("rayures rouges", "Des rayures."),
    ),
    ('{"name": "flag", "concept": "country", "confidence": 0.9}', named("flag", None)),
    # Nested.
    ('{"answer": ' + GOOD + "}", named()),
    ('{"name": true}', bad("no text")),
    ('{"answer": "' + GOOD.replace('"', '\\"') + '"}', named()),
    (GOOD.replace('"', '\\"'), named()),
    (
        '{"images": [{"id": 1, "label": null}], "name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    # Quotes and escapes.
    (
        '{"name": "the word \\"STOP\\" painted", "confidence": 0.9}',
        named('the word "STOP" painted', None),
    ),
    ('{"name": "red\\/white stripes", "confidence": 0.9}', named("red/white stripes", None)),
    ('{"name": "C:\\path stripes", "confidence": 0.9}', ANYTHING),
    (
        '{"name": "\'red stripes\'", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    # Cut off.
    ('{"name": "', cut()),
    ('{"name": "red stripes", "descr', cut()),
    ('{"name": "red stripes", "description": "stripes of red", "confidence": 0', cut()),
    ('{"name": "red stripes", "description": "stripes of red", "confidence": 0.9', cut()),
    ("```json", cut()),
    ('name: "red str', cut()),
    ('name: red stripes\ndescription: "Stripes of red on wh', cut()),
    (CutOff("**Name:** red stripes\n**Description:** stri"), cut()),
    (CutOff("The patches show stripes that"), cut()),
    ('{"name": "red stripes", "description": "' + "very " * 2_000, cut()),
    # Lines.
    (
        "**Name**: red stripes\n\n**Description**: Stripes of red on white.\n\n**Confidence**: 0.9",
        named(),
    ),
    ("- Name: red stripes\n- Description: Stripes of red on white.\n- Confidence: 0.9", named()),
    ("• name: red stripes\n• description: Stripes of red on white.\n• confidence: 0.9", named()),
    ("name = red stripes\ndescription = Stripes of red on white.\nconfidence = 0.9", named()),
    (
        "### Name\nred stripes\n\n### Description\nStripes of red on white.\n\n### Confidence\n0.9",
        named(),
    ),
    ("Concept: red stripes\nExplanation: Stripes of red on white.\nConfidence: 0.9", named()),
    ("name: null\ndescription: Nothing shared.\nconfidence: 0.3", none("Nothing shared.", 0.3)),
    ("Filename: red.png\nUsername: somebody", bad("no name")),
    # HTML and XML.
    (
        "<p><b>Name:</b> red stripes</p>\n<p><b>Description:</b> Stripes of red on white.</p>\n<p><b>Confidence:</b> 0.9</p>",
        named(),
    ),
    (
        "<ul><li>Name: red stripes</li><li>Description: Stripes of red on white.</li><li>Confidence: 0.9</li></ul>",
        named(),
    ),
    ("Name: red stripes<br>Description: Stripes of red on white.<br/>Confidence: 0.9", named()),
    ('<img src="red.png" name="picture">', bad("no name")),
    # Other languages in values.
    (
        '{"name": "rote Streifen", "description": "Rote Streifen auf Weiß.", "confidence": 0.9}',
        named("rote Streifen", "Rote Streifen auf Weiß."),
    ),
    ('{"name": "无", "confidence": 0.2}', none()),
    # Refusals and prose.
    ("As an AI language model I cannot see images. Please provide a description.", bad("no name")),
    ("The patches share red stripes on a white ground.", bad("no name")),
    ("The concept is **red stripes**.", bad("no name")),
    ("the the the the the the the the the", bad("no name")),
    ("0.9", bad("no name")),
    # No clear concept.
    ('{"name": "null", "confidence": 0.7}', none()),
    ('{"name": "None"}', none()),
    ('{"name": ""}', none()),
    ('{"name": "N/A"}', none()),
    ('{"name": "Unknown"}', none()),
    ('{"name": "no clear concept"}', none()),
    ('{"name": "No Clear Concept."}', none()),
    ('{"name": "no common concept"}', none()),
    ('{"name": "no discernible pattern"}', none()),
    ('{"name": "no single common feature"}', none()),
    ('{"name": "nothing in common"}', none()),
    ("No clear concept.", none()),
    ("None", none()),
    ("There is no clear concept shared by the patches.", none()),
    ("```json\nnull\n```", none()),
    ('{"name": "no entry sign", "confidence": 0.9}', named("no entry sign", None)),
    (
        '{"name": "unknown soldier monument", "confidence": 0.9}',
        named("unknown soldier monument", None),
    ),
    ('{"name": "clear sky", "confidence": 0.9}', named("clear sky", None)),
    # Empty, and characters nobody sees.
    ("", bad("empty")),
    ("   ", bad("empty")),
    ("\n\t\r\n", bad("empty")),
    ("\x00", bad("empty")),
    ("\ufeff" + GOOD, named()),
    (
        '{"name": "red\x00 stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '{"name": "red\\u0000stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    ("\x1b[1m" + GOOD + "\x1b[0m", named()),
    # Very long.
    ("blah " * 40_000 + GOOD, named()),
    ('{"name": "' + "red " * 5_000 + '", "confidence": 0.9}', bad("5 words")),
    (
        '{"name": "red stripes", "description": "' + "word " * 300 + '", "confidence": 0.9}',
        named(description=("word " * 300)[:400].strip()),
    ),
    # Confidence.
    (sure('"90%"'), named()),
    (sure('"high"'), named(confidence=None)),
    (sure("1.5"), named(confidence=None)),
    (sure("NaN"), named(confidence=None)),
    (sure("-1"), named(confidence=None)),
    (sure("9e-1"), named()),
    (sure('"9/0"'), named(confidence=None)),
    (sure('"0.8-0.9"'), named(confidence=None)),
    # Names that are too long, and edges.
    ('{"name": "one two three four five"}', named("one two three four five", None, None)),
    (
        '{"name": "red stripes, flags, shirts, awnings and barber poles", "confidence": 0.9}',
        bad("5 words"),
    ),
    ('{"name": "=HYPERLINK(1)"}', named("=HYPERLINK(1)", None, None)),
]
