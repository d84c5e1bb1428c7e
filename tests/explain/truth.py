"""Whether a claim is true of evidence: by formulas of its own, from evidence.json alone.

Nothing here is taken from the package: numbers are read from the JSON, written again, and the
conditions under which each sentence may be said are stated anew.
"""

import re
from decimal import ROUND_HALF_EVEN, Decimal


def problems(claim: dict, evidence: dict) -> list[str]:
    """Return what is false about a claim, as claims.json has it."""
    found = []
    for audience, wording in claim["wordings"].items():
        slots = {slot["key"]: slot for slot in wording["slots"]}
        used = re.findall(r"\{([a-z]+\d*)\}", wording["text"])
        if not set(re.findall(r"\{([a-z]+\d*)\}", wording["joined"] or "")) <= set(slots):
            found.append(f"{audience}: {wording['joined']} has other slots")
        if set(used) != set(slots):
            found.append(f"{audience}: {set(used) ^ set(slots)} are slots or placeholders alone")
        for slot in slots.values():
            if slot["text"] not in texts(slot, evidence):
                found.append(f"{audience}: {slot} is not {texts(slot, evidence)}")
        values = {key: value(slot["source"], evidence) for key, slot in slots.items()
                  if "name" not in slot["source"]}  # fmt: skip
        for problem in condition(claim, audience, wording["text"], values, evidence):
            found.append(f"{audience}: {problem}: {wording['text']}")
    known = ids(evidence)
    found += [f"{id_} is no evidence" for id_ in claim["evidence"] if id_ not in known]
    return found


def ids(evidence: dict) -> set[str]:
    parts = ("layers", "concepts", "overlaps", "flow", "effects", "curves", "context", "together")
    found = {one["id"] for part in parts for one in evidence[part]}
    asked = {"counterfactual", "leave", "become"} if evidence.get("counterfactual") else set()
    return found | asked | {"prediction", "target", "contrast", "truth"}


# Numbers and names.


def value(source: str, evidence: dict):  # noqa: PLR0911, PLR0912
    """Look a source up: `target probability`, `effect:c3 zero.logit`, `1 − c1 share − c2 share`."""
    if source.startswith("1 − "):
        parts = source.split(" − ")[1:]
        return max(1 - sum(abs(value(part, evidence)) for part in parts), 0.0)
    place, _, field = source.partition(" ")
    if place.startswith("prediction."):
        return evidence["prediction"][int(place[11:]) - 1][field]
    if place in ("target", "truth"):
        return evidence[place][field]
    if place in ("counterfactual", "source", "leave", "become"):
        return asked(place, field, evidence["counterfactual"])
    if place == "contrast":
        if "." not in field:
            return evidence["contrast"][field]
        address, _, field = field.rpartition(".")
        return next(d for d in evidence["contrast"]["differences"] if d["address"] == address)[
            field
        ]
    if place == "concepts":
        if field == "named":
            return len([one for one in evidence["concepts"] if one["name"]])
        if field == "deciding":
            return len([one for one in evidence["concepts"] if decides(one, evidence)])
        return len([one for one in evidence["concepts"] if field in ("all", state(one))])
    if source == "claims caveat":  # but what sums up others
        return len([one for one in evidence["claims"] if one["caveat"] and one["kind"] != "names"])
    if source in ("more others", "beside others", "earlier others", "fewer others"):
        own = next(one for one in evidence["claims"] if one["kind"] == place)
        cited = [one for one in evidence["concepts"] if one["id"] in own["evidence"]]
        slots = own["wordings"]["everyone"]["slots"]
        said = {slot["text"] for slot in slots if slot["kind"] == "concept"}
        return len({called(one, place == "more", evidence) for one in cited} - said)
    if place == "context" and " " in source:
        known = {one["id"]: one for one in evidence["concepts"]}
        last = evidence["concepts"][-1]["layer"]
        return len(
            [
                one
                for one in evidence["context"]
                if one["by"] == field
                and one["shows"] is False
                and known[one["concept"]]["layer"] == last
            ]
        )
    if place.startswith("layer:"):
        place, _, field = source.rpartition(" ")
        if field == "deciding":
            own = [c for c in evidence["concepts"] if c["layer"] == place.partition(":")[2]]
            return len([one for one in own if decides(one, evidence)])
        return by_id(evidence["layers"], place)[field]
    if place.startswith("effect:"):
        kind, _, field = field.partition(".")
        effects = by_id(evidence["effects"], place)["effects"]
        return next(one for one in effects if one["kind"] == kind)[field]
    if place.startswith("curve:"):
        courses = by_id(evidence["curves"], place)["courses"]
        if field == "steps":
            return len(courses[0]["logit"]) - 1
        order, _, field = field.partition(".")
        return next(one for one in courses if one["order"] == order)[field]
    if place.startswith("flow:"):
        address, _, field = field.rpartition(".")
        return next(f for f in by_id(evidence["flow"], place)["feeds"] if f["address"] == address)[
            field
        ]
    for part in ("concepts", "overlaps", "together", "context"):
        for one in evidence[part]:
            if one["id"] == place:
                return one["region"]["where"] if field == "region.where" else (
                    one["region"]["area"] if field == "region.area" else one[field])  # fmt: skip
    raise AssertionError(source)


def asked(place: str, field: str, found: dict):
    """Look up what it would take: `leave count − 3`, `become 2.probability`, `source image`."""
    if place == "counterfactual":
        return found[field]
    number, _, name = field.rpartition(".")
    if number:
        return found[place]["steps"][int(number) - 1][name]
    name, _, less = field.partition(" − ")
    return found[place][name] - int(less or 0)


def steps(evidence: dict) -> list[dict]:
    """Return all steps to other answers."""
    found = evidence.get("counterfactual") or {}
    changes = [found.get("leave"), found.get("become")]
    return [step for one in changes if one for step in one["steps"]]


def called(one: dict, beside: bool, evidence: dict) -> str:
    """Return a name as a list of others has it: with its address where a twin stands beside it."""
    if not one["name"]:
        return one["address"]
    twins = [c for c in evidence["concepts"] if c["layer"] == one["layer"] and c["name"]
             and quoted(c["name"]) == quoted(one["name"])]  # fmt: skip
    return quoted(one["name"]) + (f" ({one['address']})" if beside and len(twins) > 1 else "")


def host(layer: str | None, evidence: dict) -> str | None:
    """Return the layer that concepts are of: of factors the one that they are directions of."""
    return next((one["of"] or layer for one in evidence["layers"] if one["layer"] == layer), None)


def decides(one: dict, evidence: dict) -> bool:
    zero = next(e for e in by_id(evidence["effects"], f"effect:{one['id']}")["effects"]
                if e["kind"] == "zero")  # fmt: skip
    less = zero["probability"] < 0.8 * evidence["target"]["probability"]
    return less or changed(zero, evidence)


def changed(then: dict, evidence: dict) -> bool:
    """Whether the answer is another one, or as many classes do not tie for it."""
    first = evidence["prediction"][0]
    return then["answer"] != first["label"] or then["tied"] != first["tied"]


def state(one: dict) -> str:
    if not one["name"]:
        return "unnamed"
    kinds = {"not told from chance": "doubtful", "one-sided": "sided", "by a person": "tested",
             "none found": "tested", None: "untested"}  # fmt: skip
    return kinds.get(one["state"], one["state"])


def by_id(parts: list, id_: str) -> dict:
    return next(one for one in parts if one["id"] == id_)


def classes(evidence: dict) -> set[tuple[int, str]]:
    """Return the numbers and names of all classes of the evidence."""
    guesses = [*evidence["prediction"], evidence["target"], evidence["contrast"], evidence["truth"],
               evidence["counterfactual"]]  # fmt: skip
    changed = [*(e for one in evidence["effects"] for e in one["effects"]), *evidence["together"],
               *steps(evidence)]  # fmt: skip
    return {(one["label"], one["name"]) for one in guesses if one} | {
        (one["answer"], one["answer_name"]) for one in changed
    }


def quoted(name: str, most: int = 6) -> str:
    return quotation(cut(name, most))


def quotation(text: str) -> str:
    return "“" + " ".join(re.sub(r'[“”"„‟]', "’", text).split()) + "”"


def cut(name: str, most: int) -> str:
    """Of a name of many words, the first four."""
    words = name.split()
    return name if len(words) <= most else " ".join(words[:4]) + "…"


def texts(slot: dict, evidence: dict) -> set[str]:  # noqa: PLR0911, PLR0912
    """Return how a slot may be written."""
    kind, source = slot["kind"], slot["source"]
    if kind == "concept":
        place = source.removesuffix(" name")
        channels = [
            *evidence["concepts"],
            *(f for flow in evidence["flow"] for f in flow["feeds"]),
            *((evidence["contrast"] or {}).get("differences", [])),
            *steps(evidence),
        ]
        named = [one for one in channels if place in (one.get("id"), one["address"])]
        found = set()
        for one in named:
            if one["name"]:
                found |= {quoted(one["name"]), f"{quoted(one['name'])} ({one['address']})"}
            else:
                found.add(one["address"])
        return found
    wanted = value(source, evidence)
    if kind == "class":
        label = value(re.sub(r"answer_name$", "answer", re.sub(r" name$", " label", source)),
                      evidence)  # fmt: skip
        shared = len({n for n, name in classes(evidence) if quoted(name) == quoted(wanted)}) > 1
        return {quoted(f"{cut(wanted, 4)} (class {label})" if shared else wanted)}
    if kind == "quote":
        return {quotation(wanted)}
    if kind in ("layer", "model"):
        return {wanted}
    if kind == "place":
        return {"in the centre" if wanted == "centre" else f"at the {wanted}"}
    if kind == "count":
        return {str(wanted)}
    if kind == "logit":
        return {rounded(wanted, 3)}
    size = abs(wanted)
    if kind == "probability" or 0.99 <= size < 1:
        if size >= 0.9995:
            return {"more than 99.9 %"}
        if size < 0.0005:
            return {"less than 0.05 %"}
        if size >= 0.99:
            return {f"{size * 100:.1f} %"}
    return {f"{rounded(size * 100, 2)} %"}


def rounded(number: float, digits: int) -> str:
    """Write a number with so many significant digits, as a decimal of at most nine places."""
    if abs(number) <= 5e-10:
        return "0"
    places = min(max(digits - 1 - Decimal(f"{number:e}").adjusted(), 0), 9)
    exact = Decimal(number).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    return f"{exact:f}".replace("-", "−")


METHOD = {
    "A probability tells how sure the network is, not how often it is right.",
    "The page of this explanation shows each concept with other pictures that it responds to, "
    "and says what happens without it.",
    "The table has every concept with its share, with what it does to the logit and to the "
    "answer when it is set to zero, and with how its name did in tests.",
    "A share is relevance as a part of its layer’s Σ |relevance|, with its sign: for or "
    "against {class}.",
    "What is set to zero is the output of a channel at every position, while the rest of the "
    "network stays as it is.",
    "A heat map is the relevance of the picture’s pixels for {class}, as far as it comes "
    "through one channel.",
    "A factor is a direction of a layer’s output, a mixture of its channels; set to zero, what it "
    "adds to them is taken away.",
    "A name, where there is one, was given before this picture was explained, and none was "
    "made for it.",
}
"""What holds of every explanation."""


# Conditions: what has to hold for the words of each kind.


def condition(claim, audience, text, values, evidence):  # noqa: PLR0912, PLR0915
    """Yield what does not hold of the fixed words of a claim."""
    kind, about = claim["kind"], claim["id"].partition(":")[2]
    first, target = evidence["prediction"][0], evidence["target"]
    concepts = {one["id"]: one for one in evidence["concepts"]}
    zero = {one["concept"]: next(e for e in one["effects"] if e["kind"] == "zero")
            for one in evidence["effects"]}  # fmt: skip
    cited = [concepts[id_] for id_ in claim["evidence"] if id_ in concepts]
    own_layers = [one["layer"] for one in concepts.values()]
    last_layer = own_layers[-1] if own_layers else None
    last_host = host(last_layer, evidence)
    factors = {one["layer"] for one in evidence["layers"] if one["of"]}
    unit = "factors" if about in factors else "channels"

    def before(one):
        return host(one["layer"], evidence) != last_host

    def must(holds, what):
        if not holds:
            yield what

    if "this answer" in text:
        yield from must(target["label"] == first["label"], "the target is not the answer")
        yield from must(first["tied"] == 1, "there is no answer")
    yield from named_answers(claim, audience, text, evidence, must)
    if kind in ("changes", "ties", "falls", "rises", "keeps") and not {"answer", "tied"} & {
        w["key"] for w in claim["wordings"][audience]["slots"]
    }:
        yield from must(not changed(zero[about], evidence), "a new answer is kept quiet")
    alone = first["tied"] == 1
    if kind == "answer":
        yield from must(("{class}" in text) == alone, "whether there is an answer")
    elif kind == "second":
        yield from must(value("prediction.2 rank", evidence) == 2, "it is not second")
        yield from must(alone, "there is no first")
        yield from must(
            ("{class}" in text) == (value("prediction.2 tied", evidence) == 1), "whether it ties"
        )
    elif kind == "wrong":
        yield from must(evidence["truth"]["label"] != first["label"], "it is right")
        yield from must(alone or evidence["truth"]["rank"] > 1, "it ties")
        yield from must(("the answer is" in text) == alone, "whether there is an answer")
    elif kind == "unsure":
        yield from must(first["probability"] < 0.5, "the best has one half")
        yield from must(alone, "there is no best")
    elif kind == "asked":
        yield from must(target["label"] != first["label"] or not alone, "it is the answer")
        one_of = not alone and target["rank"] == 1
        yield from must(("is one of those" in text) == one_of, "whether it ties")
        yield from must("{best}" not in text or alone, "there is no best")
    elif kind == "sign":
        yield from must(target["logit"] <= 0, "the logit is positive")
    elif kind == "words":
        has = "Concepts are what" in text
        yield from must(has == evidence["named"], "whether there are names")
        if has:
            yield from must(("mixtures" in text) == bool(factors), "whether there are factors")
    elif kind in ("changes", "ties", "falls", "rises", "keeps"):
        if "each" in text:  # the class is one of those that tie
            yield from must(target["label"] == first["label"], "it does not tie")
        elif audience == "everyone":
            down = "falls from {before} to"
            if zero[about]["probability"] < 0.0005 > target["probability"]:
                down = "falls by more than a fifth, to {after}"
            word = {"changes": down, "ties": down, "falls": down, "rises": "rises from {before} to",
                    "keeps": "stays at"}[kind]  # fmt: skip
            yield from must(word in text, "another verb")
        else:
            word = {"rises": "raises the probability", "keeps": "leaves the probability"}.get(
                kind, "lowers the probability"
            )
            yield from must(word in text, "another verb")
        before, after = target["probability"], zero[about]["probability"]
        if kind in ("changes", "ties", "falls"):
            yield from must(after < before, "it does not fall")
        elif kind == "rises":
            yield from must(after > before, "it does not rise")
        else:
            yield from must(abs(after - before) < 0.011, "it moves")
    elif kind == "together":
        pair = by_id(evidence["together"], f"together:{about}")
        change = pair["probability"] - target["probability"]
        if "falls" in text:
            yield from must(change < 0, "it does not fall")
        elif "rises" in text:
            yield from must(change > 0, "it does not rise")
    elif kind == "disagree":
        own = [c for c in concepts.values() if c["layer"] == last_layer and c["share"] > 0]
        names = {w["key"]: w["source"].split()[0] for w in claim["wordings"][audience]["slots"]}
        lead, strong = names["first"], names["strongest"]
        yield from must(concepts[lead]["share"] == max(c["share"] for c in own), "is not first")
        after = {c["id"]: zero[c["id"]]["probability"] for c in own}
        yield from must(after[strong] == min(after.values()) < after[lead], "no lower without it")
    elif kind in ("contrast", "whynot"):
        yield from contrast(kind, audience, claim, text, evidence, must)
    elif kind in ("more", "beside", "earlier", "fewer", "decide"):
        others = [c for c in concepts.values() if decides(c, evidence) and c["layer"] != last_layer]
        limit = target["probability"] * 0.8
        falls = [c for c in cited if zero[c["id"]]["probability"] < limit]
        yield from must(cited and all(decides(c, evidence) for c in cited), "one does not decide")
        yield from must(bool(falls) == ("a fifth" in text), "a fifth")
        yield from must((len(falls) < len(cited)) == ("changes" in text), "the answer changes")
        if kind == "more":
            yield from must(all(c["layer"] == last_layer for c in cited), "not of the last")
        else:
            yield from must(all(c["layer"] != last_layer for c in cited), "of the last")
        if kind == "decide":
            yield from must({c["layer"] for c in cited} == {about}, "another layer")
            most = min(zero[c["id"]]["probability"] for c in cited)
            yield from must(values["after"] == most, "another costs more")
            new = [changed(zero[c["id"]], evidence) for c in cited
                   if zero[c["id"]]["probability"] == most]  # fmt: skip
            said = "{answer}" in text or "{tied}" in text
            yield from must(any(new) if said else not all(new), "whether the answer stays")
        else:
            names = {quoted(c["name"]) if c["name"] else c["address"] for c in cited}
            said = {
                w["text"] for w in claim["wordings"][audience]["slots"] if w["kind"] == "concept"
            }
            if kind == "more":  # an address behind the name tells two of one name apart
                ends = tuple(f" ({c['address']})" for c in cited)
                said = {text[: text.rfind(" (")] if text.endswith(ends) else text for text in said}
            if left := values.get("others"):
                yield from must(said < names, "others than are cited")
                most = sum(len(called(c, kind == "more", evidence).split()) for c in cited)
                yield from must(most > 20 or kind == "fewer", "few are counted")
                words = "{others} other." if left == 1 else "one of {others} others."
                yield from must(text.endswith(f"or {words}"), "one other, or several")
            else:
                yield from must(names == said, "not all are named")
            if kind in ("earlier", "fewer", "beside"):
                mine = [c for c in others if before(c) == (kind != "beside")]
                yield from must({c["id"] for c in cited} == {c["id"] for c in mine}, "not all")
    elif kind == "listed":
        part = [one for one in evidence["layers"] if one["chosen"] < one["channels"]]
        yield from must(part and any(decides(c, evidence) for c in concepts.values()), "all are")
    elif kind == "spread":
        limit = target["probability"] * 0.8
        yield from must(all(one["probability"] >= limit and not changed(one, evidence)
                            for one in zero.values()), "one decides")  # fmt: skip
        yield from must(("the answer stays" in text) == alone, "whether there is an answer")
    elif kind == "silent":
        yield from must(not cited, "there are concepts")
        layers = [by_id(evidence["layers"], i) for i in claim["evidence"] if i.startswith("layer:")]
        yield from must(all(not layer["chosen"] for layer in layers), "there is relevance")
        if audience == "everyone":
            yield from must(evidence["layers"][-1] in layers, "not the last step")
    elif kind == "carries":
        listed = [w["source"].split()[0] for w in claim["wordings"][audience]["slots"]
                  if w["key"].startswith("concept")]  # fmt: skip
        yield from must(all(concepts[i]["share"] > 0 for i in listed), "not for")
        yield from must({concepts[i]["layer"] for i in listed} == {about}, "another layer")
        yield from must(audience == "everyone" or f"}} {unit} hold" in text, "channels or factors")
        shares = [w["source"].split()[0] for w in claim["wordings"][audience]["slots"]
                  if w["key"].startswith("share")]  # fmt: skip
        yield from must(shares == listed, "shares of others")
        if audience == "everyone":  # of factors, shares are of what all of them hold
            mixed = about in factors
            yield from must(("that mixtures of parts hold," in text) == mixed, "shares of what")
            rest = "lies in other mixtures" if mixed else "lies elsewhere"
            yield from must("{rest}" not in text or f"{{rest}} {rest}" in text, "where the rest is")
            left = mixed and by_id(evidence["layers"], f"layer:{about}")["residual"] > 0.01
            yield from must(
                ("{residual} of all weight lies in none" in text) == left, "what is left"
            )
    elif kind == "against":
        yield from must(cited and all(c["share"] <= 0 for c in cited), "not against")
        yield from must({c["layer"] for c in cited} == {about}, "another layer")
    elif kind == "typical":
        for one in cited:
            holds = one["share"] > 0 and one["usual"] is not None and one["usual"] > 0
            near = one["share"] / 3 * (1 - 1e-5)  # written with six digits
            yield from must(holds and one["usual"] >= near, "not usual")
    elif kind == "odd":
        one = concepts[about]
        if "though it usually speaks" in text:
            sides = ("for", "against") if one["share"] > 0 else ("against", "for")
            yield from must(f"speaks {sides[0]} {{class}} here" in text, "side here")
            yield from must(f"usually speaks {sides[1]} it" in text, "side usually")
            yield from must(one["share"] * one["usual"] < 0, "same side")
        else:
            yield from must(abs(one["share"]) > abs(one["usual"]), "not more than usual")
            yield from must(one["share"] * one["usual"] >= 0, "other side")
    elif kind == "place":
        yield from must(concepts[about]["region"]["where"] != "all over", "all over")
    elif kind == "flow":
        flow = by_id(evidence["flow"], f"flow:{about}")
        shares = [feed["share"] for feed in flow["feeds"] if feed["share"] > 0]
        yield from must(("mostly" in text) == (sum(shares) > 0.5), "mostly")
    elif kind in ("seen", "unseen"):
        own = [one for one in evidence["context"] if one["id"] in claim["evidence"]]
        yield from must(own and all(one["shows"] is (kind == "seen") for one in own), "not so")
        yield from must(len({one["by"] for one in own}) == 1, "several models")
        if kind == "seen":
            yield from must(len(own) == 1, "several")
            yield from must(("as {quote}" in text) == bool(own[0]["text"]), "quote")
        else:
            yield from must(("{count}" in text) == (len(own) > 3), "names or a count")
            last = [c for c in evidence["concepts"] if c["layer"] == cited[0]["layer"]]
            yield from must("{count}" not in text or values["all"] == len(last), "of others")
    elif kind in ("kept", "failed"):
        curve = next(one for one in evidence["curves"] if one["layer"] == about)
        area = {one["order"]: one["area_logit"] for one in curve["courses"]}
        lower = area["relevance"] < area["random"]
        if kind == "kept":
            yield from must(lower and "no lower than in random" not in text, "not lower")
            relevance = next(one for one in curve["courses"] if one["order"] == "relevance")
            moved = "fell more" if area["relevance"] < relevance["logit"][0] else "rose less"
            words = f"{moved} than in random order"
            others = [one for one in evidence["curves"] if one is not curve and failed(one)]
            words += ", but not everywhere." if others else "."
            yield from must(audience == "expert" or text.endswith(words), "words")
            told = about != evidence["layers"][-1]["layer"] or {one["id"] for one in others} <= {
                *claim["evidence"]
            }
            yield from must(told, "the others that failed are not cited")
        else:
            yield from must(failed(curve), "it is lower")
            words = "no lower than" if audience == "expert" else "fell no more than"
            yield from must(f"{words} in random order" in text, "words")
        if audience == "expert":
            one_of = f"{{steps}} {unit[:-1]} of" if values["steps"] == 1 else f"{{steps}} {unit} of"
            yield from must(one_of in text, "channels or factors")
            if "it is lower still" in text:
                yield from must(area["activation"] < area["relevance"], "activation is not lower")
            elif "it is no lower" in text:
                yield from must(area["activation"] >= area["relevance"], "activation is lower")
        else:
            yield from must(about == evidence["layers"][-1]["layer"], "not the last")
    elif kind == "coverage":
        yield from must(by_id(evidence["layers"], f"layer:{about}")["coverage"] < 0.4, "covered")
        yield from must(audience == "everyone" or f"in {unit} that" in text, "channels or factors")
    elif kind in ("residual", "complete"):
        layer = by_id(evidence["layers"], f"layer:{about}")
        yield from must(about in factors, "no factors")
        if kind == "residual":
            yield from must(0 < layer["residual"] <= 1, "nothing is left")
            yield from must(claim["caveat"] == (layer["residual"] > 0.5), "how much is left")
            much = layer["residual"] > 0.5 and about == last_layer
            yield from must(audience == "expert" or much, "not for everyone")
        else:
            yield from must(layer["same_answer"] is not None and layer["tested"], "not tested")
    elif kind == "conservation":
        yield from must(about not in factors, "factors leave a residual")
        gap = abs(by_id(evidence["layers"], f"layer:{about}")["conserved"] - 1)
        yield from must(gap > (0.5 if audience == "everyone" else 0.02), "conserved")
    elif kind in ("unnamed", "untested", "doubtful", "sided"):
        for one in cited:
            holds = {
                "unnamed": not one["name"],
                "untested": bool(one["name"]) and one["state"] in (None, "untested"),
                "doubtful": bool(one["name"]) and one["state"] == "not told from chance",
                "sided": bool(one["name"]) and one["state"] == "one-sided",
            }[kind]
            yield from must(holds, f"{one['id']} is not {kind}")
        counted = "{count}" in text
        if audience == "everyone" and counted:  # of many, how many: the count is looked up above
            spoken = [one for one in cited if one["layer"] == last_layer or decides(one, evidence)]
            names = {one["name"] or one["address"] for one in spoken}
            yield from must(len(names) > 3, "few are not counted")
            yield from named(kind, claim["wordings"][audience], text, evidence, must)
        elif audience == "everyone":  # whose name it is, and whether others share it
            for slot in claim["wordings"][audience]["slots"]:
                mine = concepts[slot["source"].removesuffix(" name")]
                group = [c for c in concepts.values() if c["name"] == mine["name"] is not None
                         and before(c) == before(mine)]  # fmt: skip
                partly = f"{{{slot['key']}}} (at some places)" in text
                yield from must(partly == any(c not in cited for c in group), "in part")
            ends = [not before(concepts[w["source"].removesuffix(" name")])
                    for w in claim["wordings"][audience]["slots"]]  # fmt: skip
            yield from must(ends == sorted(ends, reverse=True), "the last layer is not first")
            if kind != "unnamed":
                yield from must("earlier" in text if not all(ends) else "earlier" not in text,
                                "earlier")  # fmt: skip
    elif kind == "names":
        reasons = ("unnamed", "untested", "doubtful", "sided")
        wanted = {s for c in cited if (s := state(c)) in reasons}
        keys = {slot["key"] for slot in claim["wordings"][audience]["slots"]}
        keys = {key for key in keys if "name" not in key.replace("unnamed", "")}
        for reason in wanted:
            yield from named(reason, claim["wordings"][audience], text, evidence, must)
        yield from must(wanted == keys - {"all"} and len(wanted) > 1, "other reasons")
        for reason, verb in (("untested", "tested"), ("doubtful", "poorly"), ("sided", "in part"),
                             ("unnamed", "no name")):  # fmt: skip
            yield from must((verb in text.replace("when tested", "")) == (reason in wanted), verb)
    elif kind == "below":
        for key in ("deciding", "cares"):
            yield from must(
                (f"{{{key}}}" in text)
                or not value(
                    {"deciding": "concepts deciding", "cares": "claims caveat"}[key], evidence
                ),
                key,
            )
    elif kind == "method":
        yield from must(text in METHOD, "another method")
    elif kind in ("leaves", "lasts", "becomes", "misses", "unstored"):
        yield from another(kind, audience, claim, text, evidence, must)
    elif kind != "blurred":
        yield f"a kind that nobody checks: {kind}"


def named_answers(claim, audience, text, evidence, must):
    """Yield where a class is said to be the answer that is none, or a tie is not what is said."""
    first = evidence["prediction"][0]
    sources = {w["key"]: w["source"] for w in claim["wordings"][audience]["slots"]}
    if "{answer}" in text:
        then = value(sources["answer"].removesuffix("_name"), evidence)
        tied = value(sources["answer"].replace("answer_name", "tied"), evidence)
        yield from must(tied == 1, "a class of several that tie is named")
        yield from must((then, 1) != (first["label"], first["tied"]), "the answer does not change")
    if "{end}" in text:
        tied = value(sources["end"].replace("answer_name", "tied"), evidence)
        yield from must(tied == 1, "a class of several that tie is named")
    if "{tied}" in text:
        tied = value(sources["tied"], evidence)
        yield from must(tied > 1, "nothing ties")
        if claim["kind"] in ("answer", "second"):
            return
        then = value(re.sub("tied$", "answer", sources["tied"]), evidence)
        own = then == first["label"]
        yield from must((then, tied) != (first["label"], first["tied"]), "it does not change")
        if claim["kind"] != "misses":
            others = first["tied"] == 1 and not own
            yield from must(("{tied} other classes" in text) == others, "others, or itself too")
        if "among them" in text or "{class} too" in text:
            yield from must(own and first["tied"] == 1, "the answer is not among them")


def named(reason, wording, text, evidence, must):
    """Yield what does not hold of the names in brackets behind a count."""
    last = evidence["concepts"][-1]["layer"]
    doubted = [one for one in evidence["concepts"] if state(one) == reason]
    own = [one["id"] for one in doubted
           if one["name"] and one["layer"] == last and decides(one, evidence)]  # fmt: skip
    slots = [one for one in wording["slots"] if one["key"].startswith(f"{reason}name")]
    if slots:
        said = [one["source"].removesuffix(" name") for one in slots]
        yield from must(said == own, "others than those that decide")
        bracket = text.partition(f"{{{slots[-1]['key']}}}")[2].partition(")")[0]
        yield from must(bracket == (" among them" if len(own) < len(doubted) else ""), "all")
    else:
        known = {one["id"]: one for one in evidence["concepts"]}
        long = sum(len(called(known[id_], True, evidence).split()) for id_ in own)
        reasons = [
            one for one in wording["slots"] if one["kind"] == "count" and one["key"] != "all"
        ]
        few = long <= 4 and len(reasons) <= 2
        yield from must(not own or not few, "who decides is not named")


def failed(curve):
    """Return whether the order by relevance did no better than chance, as far as is written."""
    area = {one["order"]: one["area_logit"] for one in curve["courses"]}
    same = rounded(area["relevance"], 3) == rounded(area["random"], 3)
    return curve["kind"] == "zero" and (area["relevance"] >= area["random"] or same)


def contrast(kind, audience, claim, text, evidence, must):
    found = evidence["contrast"]
    slot = next(w for w in claim["wordings"][audience]["slots"] if w["key"] == "concept")
    place = slot["source"].removesuffix(" name")
    one = next(d for d in found["differences"] if place in (d["address"], d["concept"]))
    sign = 1 if kind == "contrast" else -1
    differences = [sign * (d["relevance"] - d["other_relevance"]) for d in found["differences"]]
    own = sign * (one["relevance"] - one["other_relevance"])
    yield from must(own > 0 and own == max(differences), "another weighs more")
    if "{other} would be ahead" in text:
        yield from must(one["margin"] < 0 < found["margin"], "not ahead")
    if "{class} would be ahead" in text:
        yield from must(one["margin"] > 0 >= found["margin"], "not ahead")
    neither = one["margin"] == 0 != found["margin"]
    yield from must(audience == "expert" or ("neither" in text) == neither, "whether they tie")


def another(kind, audience, claim, text, evidence, must):
    """Yield what does not hold of the words about another class."""
    found, first = evidence["counterfactual"], evidence["prediction"][0]["label"]
    if kind == "unstored":
        yield from must(found["become"] is None and found["source"] is None, "there are maps")
        return
    changes = found["leave" if kind in ("leaves", "lasts") else "become"]
    end = changes["steps"][-1]
    last = (end["answer"], end["tied"])
    done = last != (first, 1) if changes is found["leave"] else last == (found["label"], 1)
    yield from must(done == (kind in ("leaves", "becomes")), "the answer in the end")
    slots = claim["wordings"][audience]["slots"]
    listed = [one["source"].removesuffix(" name") for one in slots if one["kind"] == "concept"]
    steps_ = [one["concept"] or one["address"] for one in changes["steps"]]
    others = next((value(one["source"], evidence) for one in slots if one["key"] == "others"), 0)
    yield from must(listed == steps_[: len(listed)], "other steps, or another order")
    yield from must(len(listed) + others == len(steps_), "not all")
    yield from must(audience == "everyone" or not others, "experts read all")
    names = [one["text"] for one in slots if one["kind"] == "concept"]
    own = [one["name"] for one in changes["steps"][: len(names)]]
    yield from must(len(set(names)) == len(names) or None in own, "two of one name")
    if audience == "expert":
        chances = [one["source"] for one in slots if one["key"].startswith("after")]
        which = "own" if changes is found["leave"] else "probability"
        wanted = [f"{changes['id']} {n}.{which}" for n in range(1, changes["count"] + 1)]
        yield from must(chances == wanted, "other probabilities")
        yield from must(
            ("no fewer" in text) == (changes["fewest"] and changes["count"] > 1), "fewest"
        )
        yield from must(("at most" in text) == (done and not changes["fewest"]), "at most")
    else:
        yield from must(("ven " in text[:6]) == (not done), "even")
        yield from must("still" not in text or kind == "lasts", "still")
