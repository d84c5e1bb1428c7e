# ruff: noqa: E501 (the shapes are shown as they are)
"""Shapes of answers of vision-language models, and what is right to make of each."""

from atlas.vlm import CutOff
from tests.naming.outcomes import (
    ANYTHING,
    EXAMPLES,
    FORM,
    GOOD,
    PROMPT,
    bad,
    cut,
    named,
    none,
    sure,
)

SHAPES = [
    # Plain.
    (GOOD, named()),
    ('{"name":"red stripes","description":"Stripes of red on white.","confidence":0.9}', named()),
    (
        '{\n  "name": "red stripes",\n  "description": "Stripes of red on white.",\n  "confidence": 0.9\n}',
        named(),
    ),
    (
        '{"confidence": 0.9, "description": "Stripes of red on white.", "name": "red stripes"}',
        named(),
    ),
    ("  \n\n" + GOOD + "\n\n\n", named()),
    ('{"name": "red stripes"}', named(description=None, confidence=None)),
    ('{"name": "red stripes", "confidence": 0.9}', named(description=None)),
    (
        '{"name": "red stripes", "description": null, "confidence": null}',
        named(description=None, confidence=None),
    ),
    ('{"name": "red stripes", "description": "", "confidence": 0.9}', named(description=None)),
    (
        '{"name": "red stripes", "description": ["Stripes", "of red"], "confidence": 0.9}',
        named(description=None),
    ),
    (
        '{"name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9, "note": "seen in all"}',
        named(),
    ),
    (
        '{"name": "Red stripes.", "description": "Stripes of red on white.", "confidence": 0.9}',
        named("Red stripes"),
    ),
    (
        '{"name": "  red   stripes ", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    ('{"name": "red", "confidence": 1}', named("red", None, 1.0)),
    (
        '{"name": "person\'s left hand", "description": "Stripes of red on white.", "confidence": 0.9}',
        named("person's left hand"),
    ),
    ('{"name": "5 o\'clock shadow", "confidence": 0.9}', named("5 o'clock shadow", None)),
    (
        '{"name": "black-and-white stripes", "confidence": 0.5}',
        named("black-and-white stripes", None, 0.5),
    ),
    ('{"name": "A4 paper, folded", "confidence": 0.5}', named("A4 paper, folded", None, 0.5)),
    # Fenced.
    ("```\n" + GOOD + "\n```", named()),
    ("```JSON\n" + GOOD + "```", named()),
    (
        '```python\nanswer = {"name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9}\n```',
        named(),
    ),
    (
        "```yaml\nname: red stripes\ndescription: Stripes of red on white.\nconfidence: 0.9\n```",
        named(),
    ),
    ("````json\n```json\n" + GOOD + "\n```\n````", named()),
    # Prose around.
    ('The patches share a "name": it is given below.\n' + GOOD, named()),
    ("Final answer: $\\boxed{" + GOOD + "}$", named()),
    ("<|begin_of_box|>" + GOOD + "<|end_of_box|>", named()),
    (GOOD + "<|im_end|>", named()),
    (GOOD + "<end_of_turn>\n", named()),
    ("ASSISTANT: " + GOOD, named()),
    # Thinking.
    ("<think>Stripes. Red ones.</think>" + GOOD, named()),
    (
        '<think>\nThe first image shows stripes. {"name": "zebra", "description": "x", "confidence": 0.4} Hmm, wait',
        cut("thinking"),
    ),
    ("<think>The patches", cut("thinking")),
    ("<think>All red.</think>", bad("no name")),
    ('<think>{"name": "zebra", "confidence": 0.4}</think>', bad("no name")),
    ('<think>{"name": "zebra", "confidence": 0.4}</think>\n{"name": "red str', cut()),
    ('<thinking>{"name": "zebra", "confidence": 0.4}</thinking>' + GOOD, named()),
    ('<reasoning>{"name": "zebra", "confidence": 0.4}</reasoning>\n' + GOOD, named()),
    (
        '<thought>{"name": "zebra", "confidence": 0.4}</thought>\n<answer>\n'
        + GOOD
        + "\n</answer>",
        named(),
    ),
    ('◁think▷{"name": "zebra", "confidence": 0.4} or', cut("thinking")),
    ('[THINK]{"name": "zebra", "confidence": 0.4}[/THINK]' + GOOD, named()),
    (
        '<|channel|>analysis<|message|>Perhaps {"name": "zebra"}.<|end|><|start|>assistant<|channel|>final<|message|>'
        + GOOD,
        named(),
    ),
    ('<think>a</think>{"name": "zebra", "confidence": 0.2}<think>no: red</think>' + GOOD, named()),
    (GOOD + '\n<think>Was that right? {"name": "zebra"', named()),
    ("<think>name: zebra\n</think>\nI cannot say.", bad("no name")),
    (
        '{"name": "red stripes", "description": "It looks like a <think> tag.", "confidence": 0.9}',
        named(description="It looks like a <think> tag."),
    ),
    # The question echoed.
    (FORM + "\n" + GOOD, named()),
    (PROMPT, bad("repeats")),
    (EXAMPLES[0] + "\n" + EXAMPLES[1] + "\n" + GOOD, named()),
    (
        "Examples of answers:\n" + EXAMPLES[0] + "\n\nMy answer:\n```json\n" + GOOD + "\n```",
        named(),
    ),
    (EXAMPLES[0], bad("repeats")),
    ("```json\n" + EXAMPLES[0] + "\n```", bad("repeats")),
    (EXAMPLES[0] + "\n" + EXAMPLES[1], bad("repeats")),
    (FORM, bad("repeats")),
    (
        '{"name": "dogs running on grass", "description": "Brown dogs that run over a meadow.", "confidence": 0.8}',
        named("dogs running on grass", "Brown dogs that run over a meadow.", 0.8),
    ),
    (
        '{"name": "one to five words in plain English", "description": "one sentence about what the patches share and what varies", "confidence": 0.5}',
        bad("repeats"),
    ),
    ('{"name": ..., "description": ..., "confidence": ...}', bad("repeats")),
    ('{"name": "string", "description": "string", "confidence": 0.0}', bad("repeats")),
    (
        '{"name": "violin string", "description": "Strings of violins.", "confidence": 0.7}',
        named("violin string", "Strings of violins.", 0.7),
    ),
    (
        '{"name": "blue", "description": "Blue things of every kind.", "confidence": 0.8}',
        named("blue", "Blue things of every kind.", 0.8),
    ),
    (
        '{"name": "words", "description": "Printed words.", "confidence": 0.8}',
        named("words", "Printed words.", 0.8),
    ),
    (
        '{"type": "object", "properties": {"name": {"type": "string"}, "description": {"type": "string"}}}\n'
        + GOOD,
        named(),
    ),
    (EXAMPLES[0].replace('"', "'") + "\n" + GOOD, named()),
    (EXAMPLES[0].replace('"', "'"), bad("repeats")),
    (PROMPT[:-60], cut()),
    # Several objects.
    ('{"name": "zebra", "description": "A zebra.", "confidence": 0.4}\n' + GOOD, named()),
    ('{"name": "zebra", "confidence": 0.4}\nOn second thought:\n' + GOOD, named()),
    (GOOD + "\n" + GOOD + "\n" + GOOD, named()),
    (GOOD + "\n" + GOOD + '\n{"name": "red str', named()),
    (GOOD + '\n{"na', named()),
    (GOOD + "\n{", named()),
    ('{"name": "zebra", "confidence": 0.4}\nCorrected:\n{"name": "red str', cut()),
    (GOOD + '\n{"thoughts": "done"}', named()),
    ('{"thoughts": "red things"}\n' + GOOD, named()),
    ('{"image": 1, "shows": "a flag"}\n{"image": 2, "shows": "a shirt"}\n' + GOOD, named()),
    ('{"name": null, "confidence": 0.2}\n' + GOOD, named()),
    ("{}\n" + GOOD, named()),
    # Python and loose JSON.
    (
        "{'name': \"a dog's ears\", 'description': 'Stripes of red on white.', 'confidence': 0.9}",
        named("a dog's ears"),
    ),
    (
        "{'name': 'a dog's ears', 'description': 'Stripes of red on white.', 'confidence': 0.9}",
        named("a dog's ears"),
    ),
    (
        "{'name': 'a dog\\'s ears', 'description': 'Stripes of red on white.', 'confidence': 0.9}",
        named("a dog's ears"),
    ),
    (
        '{"name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9,}',
        named(),
    ),
    (
        '{"name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9, "clear": True}',
        named(),
    ),
    (
        "{'name': 'red stripes', 'description': 'Stripes of red on white.', 'confidence': 0.9, 'others': ['flags', 'shirts',],}",
        named(),
    ),
    ('{name: "red stripes", description: "Stripes of red on white.", confidence: 0.9}', named()),
    (
        "{name: red stripes, description: Stripes of red on white., confidence: 0.9}",
        named(description="Stripes of red on white"),
    ),
    (
        '{"name": "red stripes"\n"description": "Stripes of red on white."\n"confidence": 0.9}',
        named(),
    ),
    (
        '{"name": "red stripes", // what they share\n"description": "Stripes of red on white.", /* more */ "confidence": 0.9}',
        named(),
    ),
    (
        "{“name”: “red stripes”, “description”: “Stripes of red on white.”, “confidence”: 0.9}",
        named(),
    ),
    (
        '{"name": "red stripes", "description": "Stripes\nof red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '{"name": "red stripes", "description": "Stripes of "red" on white.", "confidence": 0.9}',
        named(description='Stripes of "red" on white'),
    ),
    (
        '{"name": "the letter "A"", "description": "Stripes of red on white.", "confidence": 0.9}',
        named('the letter "A"'),
    ),
    (
        '{"name": "red stripes", "description": "Stripes of red on white.", "confidence": high}',
        named(confidence=None),
    ),
    (
        '{"name": "red stripes", "description": "Stripes of red on white.", "confidence": 90%}',
        named(),
    ),
    (
        '{"name": "red stripes", "description": "Stripes of red on white.", "confidence": .9}',
        named(),
    ),
    ('{"name": None, "description": None, "confidence": None}', none()),
    ('{"name": undefined, "description": "Nothing."}', none()),
    (
        '"name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9',
        named(),
    ),
    (
        '"name": "red stripes",\n"description": "Stripes of red on white.",\n"confidence": 0.9\n}',
        named(),
    ),
    (
        'name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '("name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9)',
        named(),
    ),
    (
        '{"name": "red stripes", "description": "Stripes of red on white", "confidence": 0.9}}}',
        named(),
    ),
    # Keys.
    (
        '{"NAME": "red stripes", "DESCRIPTION": "Stripes of red on white.", "CONFIDENCE": 0.9}',
        named(),
    ),
    (
        '{"concept": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '{"concept_name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '{"conceptName": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    ('{"label": "red stripes", "explanation": "Stripes of red on white.", "score": 0.9}', named()),
    (
        '{"Concept Name": "red stripes", "Description": "Stripes of red on white.", "Confidence Level": 0.9}',
        named(),
    ),
    (
        '{"nombre": "rayas rojas", "descripción": "Rayas rojas sobre blanco.", "confianza": 0.9}',
        named("rayas rojas", "Rayas rojas sobre blanco."),
    ),
    (
        '{"名称": "红色条纹", "描述": "白底红色条纹", "置信度": 0.9}',
        named("红色条纹", "白底红色条纹"),
    ),
    ('{"name": "red stripes", "name": "red stripes", "confidence": 0.9}', named(description=None)),
    ('{"title": "red stripes", "text": "Stripes of red on white."}', bad("no name")),
    ('{"description": "Stripes of red on white.", "confidence": 0.9}', bad("no name")),
    ('{"color": "red", "pattern": "stripes"}', bad("no name")),
    ('{"filename": "red.png", "username": "model"}', bad("no name")),
    # Nested.
    ('{"result": {"answer": ' + GOOD + ', "ok": true}}', named()),
    ('{"answers": [' + GOOD + "]}", named()),
    (
        '{"name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9, "alternative": {"name": "zebra", "confidence": 0.1}}',
        named(),
    ),
    ('{"name": "concept_naming", "arguments": ' + GOOD + "}", named()),
    ('<tool_call>\n{"name": "answer", "arguments": ' + GOOD + "}\n</tool_call>", named()),
    ('{"name": {"text": "red stripes"}, "confidence": 0.9}', bad("no text")),
    ('{"name": ["red", "stripes"], "confidence": 0.9}', bad("no text")),
    ('{"name": 7, "confidence": 0.9}', bad("no text")),
    ('"' + GOOD.replace('"', '\\"') + '"', named()),
    ('{"role": "assistant", "content": ' + GOOD + "}", named()),
    # Quotes and escapes.
    (
        '{"name": "\\"red\\" stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named('"red" stripes'),
    ),
    (
        '{"name": "red \\u0073tripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    ('{"name": "caf\\u00e9 tables", "confidence": 0.9}', named("café tables", None)),
    (
        '{"name": "red\\nstripes", "description": "Stripes\\tof red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '{"name": "red \\ud83d stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '{\\n  "name": "red stripes",\\n  "description": "Stripes of red on white.",\\n  "confidence": 0.9\\n}',
        named(),
    ),
    (
        '{"name": "**red stripes**", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '{"name": "`red stripes`", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        "{&quot;name&quot;: &quot;red stripes&quot;, &quot;description&quot;: &quot;Stripes of red on white.&quot;, &quot;confidence&quot;: 0.9}",
        named(),
    ),
    # Cut off.
    ("{", cut()),
    ('{"', cut()),
    ('{"name', cut()),
    ('{"name":', cut()),
    ('{"name": "red str', cut()),
    ('{"name": "red stripes"', cut()),
    ('{"name": "red stripes", "description": "stripes of', cut()),
    ('```json\n{"name": "red stripes", "description": "stripes of', cut()),
    ("{'name': 'red stripes', 'description': 'stripes of", cut()),
    ("{'name': 'red stri", cut()),
    ('{"name": nul', cut()),
    ('{"name": null, "description": "The patches', cut()),
    ('Here is my answer:\n\n{"name": "red stripes", "description": "stri', cut()),
    ('{"answer": {"name": "red stripes", "description": "x"', cut()),
    ('{"description": "Red stripes on whi', cut()),
    ('"name": "red str', cut()),
    (CutOff("name: red str"), cut()),
    (
        CutOff(
            "name: red stripes\ndescription: Stripes of red on white.\nconfidence: 0.9\n\nquestion: what"
        ),
        named(),
    ),
    (CutOff(GOOD + "\n\nThe patches show"), named()),
    (CutOff("<answer> I see"), cut()),
    ('[{"name": "red stripes", "confidence": 0.9}, {"name": "zeb', cut()),
    # Lines.
    ("name: red stripes\ndescription: Stripes of red on white.\nconfidence: 0.9", named()),
    ("Name: red stripes\nDescription: Stripes of red on white.\nConfidence: 90%", named()),
    (
        "**Name:** red stripes\n**Description:** Stripes of red on white.\n**Confidence:** 0.9",
        named(),
    ),
    ("**Name:** red stripes", named(description=None, confidence=None)),
    (
        '* **Name:** "red stripes"\n* **Description:** "Stripes of red on white."\n* **Confidence:** 0.9',
        named(),
    ),
    ("1. Name: red stripes\n2. Description: Stripes of red on white.\n3. Confidence: 0.9", named()),
    ('name: "red stripes",\ndescription: "Stripes of red on white.",\nconfidence: 0.9', named()),
    (
        "---\nname: red stripes\ndescription: Stripes of red on white.\nconfidence: 0.9\n---",
        named(),
    ),
    (
        "**Name:**\nred stripes\n**Description:**\nStripes of red on white.\n**Confidence:**\n0.9",
        named(),
    ),
    (
        "Shared concept: red stripes\nDescription: Stripes of red on white.\nConfidence score: 0.9",
        named(),
    ),
    ("Name：red stripes\nDescription：Stripes of red on white.\nConfidence：0.9", named()),
    ("名称：红色条纹\n描述：白底红色条纹\n置信度：0.9", named("红色条纹", "白底红色条纹")),
    ("Name: N/A\nDescription: Nothing shared.", none("Nothing shared.")),
    ("name: ~", none()),
    ("Name: dogs of many breeds running on grass\nConfidence: 0.9", bad("5 words")),
    ("NAME: red stripes\r\nDESCRIPTION: Stripes of red on white.\r\nCONFIDENCE: 0.9\r\n", named()),
    (
        "The patches share this.\n\nName: red stripes\nDescription: Stripes of red on white.\nConfidence: 0.9\n\nI hope that helps.",
        named(),
    ),
    ("> name: red stripes\n> description: Stripes of red on white.\n> confidence: 0.9", named()),
    ("{name}: red stripes", ANYTHING),
    (
        "Name: zebra\nConfidence: 0.2\n\nCorrected:\nName: red stripes\nDescription: Stripes of red on white.\nConfidence: 0.9",
        named(),
    ),
    # HTML and XML.
    ("<pre><code>" + GOOD + "</code></pre>", named()),
    (
        "<name>red stripes</name>\n<description>Stripes of red on white.</description>\n<confidence>0.9</confidence>",
        named(),
    ),
    (
        "<answer><name>red stripes</name><description>Stripes of red on white.</description><confidence>0.9</confidence></answer>",
        named(),
    ),
    ("<name>red str", cut()),
    ("<html><body>Stripes</body></html>", bad("no name")),
    ('{"name": "<b>red</b> stripes", "confidence": 0.9}', named("<b>red</b> stripes", None)),
    # Other languages in values.
    (
        '{"name": "红色条纹", "description": "白底红色条纹。", "confidence": 0.9}',
        named("红色条纹", "白底红色条纹。"),
    ),
    (
        '{"name": "красные полосы", "description": "Красные полосы.", "confidence": 0.9}',
        named("красные полосы", "Красные полосы."),
    ),
    ('{"name": "خطوط حمراء", "confidence": 0.9}', named("خطوط حمراء", None)),
    ('{"name": "赤い縞模様", "confidence": "0.9"}', named("赤い縞模様", None)),
    ('{"name": "keine", "confidence": 0.2}', none()),
    ('{"name": "kein klares Konzept", "confidence": 0.2}', none()),
    # Refusals and prose.
    ("I'm sorry, but I can't help with that.", bad("no name")),
    ("I cannot identify people in images.", bad("no name")),
    ("red stripes", bad("no name")),
    ("Yes.", bad("no name")),
    ('{"error": "I cannot see the images."}', bad("no name")),
    ("!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!", bad("no name")),
    ("assistant", bad("no name")),
    ("[1, 2, 3]", bad("no name")),
    ("In the name of all: this shows stripes.", bad("no name")),
    # No clear concept.
    ('{"name": null, "description": "Nothing.", "confidence": 0.7}', none("Nothing.", 0.7)),
    ('{"name": "none."}', none()),
    ('{"name": "n.a."}', none()),
    ('{"name": "unclear"}', none()),
    ('{"name": "no clear shared concept"}', none()),
    ('{"name": "no shared concept among the patches"}', none()),
    ('{"name": "There is no clear concept"}', none()),
    ('{"name": "null (no clear concept)"}', none()),
    ('{"name": "not clear"}', none()),
    ('{"name": "undefined"}', none()),
    ('{"name": "no obvious commonality"}', none()),
    ('{"name": "no consistent visual theme"}', none()),
    ('{"name": "lack of clear concept"}', none()),
    ('{"name": "indeterminate"}', none()),
    ('{"name": "nothing"}', none()),
    ("null", none()),
    ("There is no clear concept at first, but most patches show red stripes.", bad("no name")),
    ('{"name": "no smoking signs", "confidence": 0.9}', named("no smoking signs", None)),
    ('{"name": "nothing but sky", "confidence": 0.9}', named("nothing but sky", None)),
    # Empty, and characters nobody sees.
    ("\ufeff", bad("empty")),
    ("\u200b\u200b", bad("empty")),
    ("\u00a0", bad("empty")),
    (GOOD.replace(" ", "\u00a0"), named()),
    (
        '\u200b{\u200b"na\u200bme": "red\u200b stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (
        '{"name": "\\u202ered stripes", "description": "Stripes of red on white.", "confidence": 0.9}',
        named(),
    ),
    (GOOD.replace('"', "＂"), ANYTHING),
    ('{"name": "\\u200b", "confidence": 0.9}', none()),
    ('{"name": "???", "confidence": 0.9}', bad()),
    ('{"name": "---", "confidence": 0.9}', bad()),
    ("ΩΩ\ufffd\ufffd\ufffd", bad("no name")),
    # Very long.
    ("x" * 10_001, bad("no name")),
    ("{" * 5_000, cut()),
    ('{"a":' * 5_000, cut()),
    ("[" * 5_000, bad()),
    ('"' * 5_000, bad()),
    ("<think>" + '{"name": "zebra"} ' * 10_000 + "</think>" + GOOD, named()),
    ((GOOD + "\n") * 3_000, named()),
    (
        '{"name": "red stripes", "confidence": ' + "9" * 5_000 + "}",
        named(description=None, confidence=None),
    ),
    ('{"name": ' * 3_000 + '"red"' + "}" * 3_000, bad()),
    # Confidence.
    (sure('"90 %"'), named()),
    (sure('"0.9"'), named()),
    (sure('"0.9/1"'), named()),
    (sure('"9/10"'), named()),
    (sure('"9 out of 10"'), named()),
    (sure("Infinity"), named(confidence=None)),
    (sure("-0.5"), named(confidence=None)),
    (sure('"150%"'), named(confidence=None)),
    (sure("true"), named(confidence=None)),
    (sure("null"), named(confidence=None)),
    (sure("[0.9]"), named(confidence=None)),
    (sure('{"value": 0.9}'), named(confidence=None)),
    (sure("1e400"), named(confidence=None)),
    (sure('"0,9"'), named()),
    (sure('"0.9 (high)"'), named()),
    (sure('"~0.9"'), named()),
    (sure('""'), named(confidence=None)),
    (sure("0"), named(confidence=0.0)),
    (sure("1"), named(confidence=1.0)),
    (sure('"very confident"'), named(confidence=None)),
    # Names that are too long, and edges.
    ('{"name": "dogs of many breeds running on grass", "confidence": 0.9}', bad("5 words")),
    ('{"name": "one two three four five six"}', bad("5 words")),
    ('{"name": "' + "x" * 61 + '"}', bad("60 characters")),
    ('{"name": "' + "x" * 60 + '"}', named("x" * 60, None, None)),
    (
        '{"name": "aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbb ccccccccccccccccccc", "confidence": 0.9}',
        bad("60 characters"),
    ),
    ('{"name": "{{ 7*7 }}"}', named("{{ 7*7 }}", None, None)),
    ('{"name": "](javascript:alert(1))"}', named("](javascript:alert(1))", None, None)),
    ('{"name": "red stripes\\", \\"description\\": \\"stripes of"}', bad()),
    ('{"name": "👁 eyes"}', named("👁 eyes", None, None)),
    # Calls, and all on one line.
    ('dict(name="red stripes", description="Stripes of red on white.")', bad("no name")),
    ("name: red stripes, description: Stripes of red on white., confidence: 0.9", named()),
    ("**Name:** red stripes **Description:** Stripes of red on white.", named(confidence=None)),
]
