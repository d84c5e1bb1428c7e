// What a query finds: the same as `atlas lookup` does, in the same order. The rules are explained in
// atlas/searching (words and their forms) and atlas/lookup (textindex, ranking, addressing), by the
// same names; the tables are those of atlas/searching/rules.json.
"use strict";

window.ConceptFinder = (() => {
  const LEAST = 3; // letters of a form, and of what may stand inside a word
  const [SAME, FORM, BEGINNING, INSIDE, NEAR, NONE] = [0, 1, 2, 3, 4, 9];
  const [NAME, SENSE, DESCRIPTION, FIRST_CLASS] = [0, 1, 2, 3];
  const COMPOUND = 3;
  const LONGEST_ADDRESS = 200;

  const unique = (list) => [...new Set(list)];

  class Analyser {
    constructor(rules) {
      this.rules = rules;
      this.little = new Set(rules.little);
      const set = (ranges) => `[${ranges.map(([first, last]) => `${first}-${last}`).join("")}]`;
      const unspaced = set(rules.unspaced);
      this.unspaced = new RegExp(`^${unspaced}`, "u");
      this.dropped = new RegExp(set(rules.dropped), "gu");
      this.folded = new RegExp(`[${Object.keys(rules.folded).join("")}]`, "gu");
      this.runs = new RegExp(
        `${unspaced}+|\\p{So}|(?:(?!${unspaced})[\\p{L}\\p{M}\\p{N}])+`, "gu",
      );
    }

    words(text) {
      const plain = text.normalize("NFKC").toLowerCase()
        .replace(this.folded, (letter) => this.rules.folded[letter])
        .normalize("NFD").replace(this.dropped, "").normalize("NFC");
      return (plain.match(this.runs) ?? []).flatMap((run) => {
        const letters = this.unspaced.test(run) ? [...run] : [];
        return letters.length < 2 ? run : letters.slice(1).map((next, n) => letters[n] + next);
      });
    }

    telling(words) {
      const every = unique(words);
      const some = every.filter((word) => !this.little.has(word));
      return some.length ? some : every;
    }

    forms(word) {
      if (Object.hasOwn(this.rules.irregular, word)) return [word, ...this.rules.irregular[word]];
      const [ending, instead] = this.rules.endings.find(([end]) => word.endsWith(end)) ?? ["", []];
      const rest = word.slice(0, word.length - ending.length);
      const others = instead.map((end) => rest + end);
      const kept = others.filter((form) => [...form].length >= LEAST && !this.little.has(form));
      return [word, ...kept];
    }
  }

  // Mistakes between two words (optimal string alignment); more than `most` count as `most + 1`.
  const mistakes = (one, other, most) => {
    if (Math.abs(one.length - other.length) > most) return most + 1;
    let [before, last] = [[], other.map((_, n) => n)];
    last.push(other.length);
    for (let i = 1; i <= one.length; i++) {
      const next = [i];
      for (let j = 1; j <= other.length; j++) {
        const differs = one[i - 1] === other[j - 1] ? 0 : 1;
        next[j] = Math.min(last[j] + 1, next[j - 1] + 1, last[j - 1] + differs);
        if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1])
          next[j] = Math.min(next[j], before[j - 2] + 1);
      }
      [before, last] = [last, next];
    }
    return last[other.length];
  };

  class TextIndex {
    constructor(analyser) {
      this.analyser = analyser;
      this.texts = [];
      this.lengths = [];
      this.numbers = new Map();
      this.textsOf = new Map(); // by word
      this.wordsOf = new Map(); // by form
      this.split = []; // the words of each text
    }

    add(text) {
      if (this.numbers.has(text)) return this.numbers.get(text);
      const number = this.texts.push(text) - 1;
      this.numbers.set(text, number);
      const every = this.analyser.words(text);
      for (const word of new Set(every)) {
        if (!this.textsOf.has(word)) {
          this.textsOf.set(word, []);
          for (const form of this.analyser.forms(word)) {
            if (!this.wordsOf.has(form)) this.wordsOf.set(form, []);
            this.wordsOf.get(form).push(word);
          }
        }
        this.textsOf.get(word).push(number);
      }
      this.split.push(every);
      this.lengths.push(this.analyser.telling(every).length);
      return number;
    }

    // What a query is taken for; each reading has the fits of all texts to each of its words.
    read(query) {
      const plain = this.analyser.telling(this.analyser.words(query));
      const joined = [];
      for (const word of plain) {
        const both = joined.at(-1) + word;
        const apart = this.known(joined.at(-1) ?? "") && this.known(word);
        // Two words of the texts are no form of a third: star red is not starred.
        const one = this.textsOf.has(both) || (this.known(both) && !apart);
        if (joined.length && one) joined[joined.length - 1] = both;
        else joined.push(word);
      }
      const several = joined.length < plain.length ? [joined, plain] : [plain];
      const readings = several.map((words) => this.readWords(words));
      const whole = readings.filter(({ nearest }) => !nearest.size);
      return whole.length ? whole : readings.slice(0, 1);
    }

    readWords(words) {
      const terms = [];
      const nearest = new Map();
      for (const word of words) {
        const term = this.term(word);
        const parts = term ? [] : this.parts(word);
        if (term) terms.push(term);
        else if (parts.length) terms.push(...parts.map((part) => this.whole(this.empty(), part)));
        else {
          const near = this.nearest(word);
          nearest.set(word, near);
          const fits = near.reduce((some, one) => this.whole(some, one), this.empty());
          if (near.length) terms.push(fits.map((fit) => (fit === NONE ? NONE : NEAR + fit)));
        }
      }
      return { terms, nearest };
    }

    empty() {
      return new Uint8Array(this.texts.length).fill(NONE);
    }

    term(word) {
      const fits = this.empty();
      const inside = [...word].length >= LEAST || this.analyser.unspaced.test(word);
      let some = false;
      for (const [other, texts] of this.textsOf) {
        const fit = other.startsWith(word) ? BEGINNING : inside && other.includes(word) ? INSIDE : NONE;
        if (fit === NONE) continue;
        some = true;
        for (const text of texts) if (fit < fits[text]) fits[text] = fit;
      }
      return some || this.known(word) ? this.whole(fits, word) : null;
    }

    whole(fits, word) {
      for (const form of this.analyser.forms(word)) {
        for (const other of this.wordsOf.get(form) ?? []) {
          const fit = other === word ? SAME : FORM;
          for (const text of this.textsOf.get(other)) if (fit < fits[text]) fits[text] = fit;
        }
      }
      return fits;
    }

    known(word) {
      return this.analyser.forms(word).some((form) => this.wordsOf.has(form));
    }

    // The words that stand in a row somewhere, by what they are written together.
    get compounds() {
      if (this.madeCompounds) return this.madeCompounds;
      const compounds = new Map();
      for (const every of this.split) {
        for (let count = 2; count <= COMPOUND; count++) {
          for (let at = 0; at + count <= every.length; at++) {
            const several = every.slice(at, at + count);
            const one = several.join("");
            if (!compounds.has(one)) compounds.set(one, several);
          }
        }
      }
      this.madeCompounds = compounds;
      return compounds;
    }

    parts(word) {
      const form = this.analyser.forms(word).find((one) => this.compounds.has(one));
      if (form) return this.compounds.get(form);
      if (this.nearest(word).length) return [];
      const letters = [...word];
      for (let at = letters.length - LEAST; at >= LEAST; at--) {
        const pair = [letters.slice(0, at).join(""), letters.slice(at).join("")];
        if (pair.every((half) => this.known(half))) return pair;
      }
      return [];
    }

    nearest(word) {
      const letters = [...word];
      const { mistakes: table, most_nearest: many } = this.analyser.rules;
      const most = Math.max(0, ...table.map(([least, n]) => (letters.length >= least ? n : 0)));
      let [least, found] = [most, []];
      for (const other of most ? this.textsOf.keys() : []) {
        const count = mistakes(letters, [...other], least);
        if (count < least) [least, found] = [count, []];
        if (count === least) found.push(other);
      }
      return found.slice(0, many);
    }
  }

  // The best fit of some texts to a word, and where it stands.
  const best = (texts, term) => {
    let found = null;
    for (const [text, place] of texts) {
      const fit = term[text];
      if (fit !== NONE && better({ fit, place }, found)) found = { fit, place, text };
    }
    return found;
  };
  const isWhole = (fit) => fit <= FORM || (fit >= NEAR && fit !== NONE);
  const better = (one, other) =>
    !other || one.fit < other.fit || (one.fit === other.fit && one.place < other.place);

  // How well an entry fits, as one number (less is better); nothing if it has none of the words.
  const rank = (entry, terms, lengths) => {
    const found = terms.map((term) => best(entry.texts, term));
    const options = [[null, found]];
    for (const label of entry.labels) {
      if (terms.every((term) => term[label[0]] === NONE)) continue;
      const withIt = found.map((one, n) => {
        const other = best([label], terms[n]);
        return other && better(other, one) ? other : one;
      });
      options.push([label[0], withIt]);
    }
    let least = null;
    for (const [label, words] of options) {
      const there = words.filter(Boolean);
      if (!there.length) continue;
      const fit = Math.max(...there.map((one) => one.fit));
      const place = there.reduce((sum, one) => sum + one.place, 0);
      const texts = unique(there.map((one) => one.text));
      const length = texts.reduce((sum, text) => sum + lengths[text], 0);
      const lacking = words.length - there.length;
      const key = (16 * lacking + fit) * 1e8 + place * 1e4 + length;
      if (!least || key < least.key) least = { key, lacking, label, texts };
    }
    if (!least) return null;
    const called = entry.texts.some(([text, place]) =>
      place <= SENSE && lengths[text] <= terms.length && terms.every((term) => isWhole(term[text])));
    return { ...least, key: least.key + (called ? 0 : 8e8) }; // being called so goes before the fit
  };

  const entry = (index, texts, labels = []) => {
    const numbered = (list) => list.map(([text, place]) => [index.add(text), place]);
    return { texts: numbered(texts), labels: numbered(labels) };
  };

  class Addresses {
    constructor(layers, rules) {
      this.layers = layers; // [name, rows by number] in the order of the forward pass
      const one = rules.channel.join("|");
      const marks = rules.around.join("");
      this.around = new RegExp(`^[\\[${marks}]+|[${marks}]+$`, "gu");
      this.number = new RegExp(
        `^(?:(?:${one})\\s*#?|#)\\s*([0-9]{1,9})(?:,?\\s+(?:of|in)\\s+(layer\\s*)?(\\S.*))?$`,
      );
      this.address = new RegExp(
        `^(layer\\s*)?(\\S.*?)\\s*(?:[:/#[]|[\\s,]+)\\s*(?:(?:${one})\\b)?\\s*#?\\s*([0-9]{1,9})\\s*\\]?$`,
      );
    }

    // Without the marks and spaces around it, wide characters as plain ones, a page as its address.
    bare(query) {
      const text = query.normalize("NFKC").trim().replace(this.around, "");
      const [, layer, number] =
        /^(?:\S*\/)?channels\/(\S+)\/([0-9]{1,9})(?:\.html|\.json)?(?:[?#]\S*)?$/.exec(text) ?? [];
      return layer ? `${this.unslugged(layer)}:${number}` : text.replace(
        /(?<![\p{L}\p{N}_])([0-9]{1,9})(?:st|nd|rd|th)\s+layer(?![\p{L}\p{N}_])/giu, "layer $1",
      );
    }

    // The name that stands in an address of a page.
    unslugged(text) {
      const decoded = (some, otherwise) => {
        try {
          return decodeURIComponent(some);
        } catch {
          return otherwise;
        }
      };
      return decoded(text, text).replace(
        /~([0-7][0-9a-f]|[cd][0-9a-f]{3}|e[0-9a-f]{5}|f[0-9a-f]{7})/gi,
        (own, digits) => decoded(digits.replace(/../g, "%$&"), own),
      );
    }

    // With the names of the layers that it counts, unless layers are called so.
    spelled(query, known) {
      return query.toLowerCase().replace(/(?<![\p{L}\p{N}_])layer\s*#?\s*([0-9]{1,9})(?![\p{L}\p{N}_])/gu, (own, number) =>
        known(`layer${+number}`) ? own : this.layers[number - 1]?.[0] ?? own);
    }

    small(query) {
      const text = query.toLowerCase();
      return [...text].length <= LONGEST_ADDRESS ? text : "";
    }

    channels(query) {
      const text = this.small(query);
      let [found, number, said, name] = this.number.exec(text) ?? [];
      if (!found) [found, said, name, number] = this.address.exec(text) ?? [];
      if (!found) return this.dotted(text);
      const layers = name ? this.called(name, Boolean(said)) : this.layers;
      return layers.map(([, rows]) => rows.get(+number)).filter((row) => row !== undefined);
    }

    // `features.40.49`, unless the name of a layer begins like that.
    dotted(text) {
      const [, name, number] = /^(\S+)\.([0-9]{1,9})$/.exec(text) ?? [];
      const low = ([layer]) => layer.toLowerCase();
      if (!name || this.layers.some((layer) => low(layer).startsWith(text))) return [];
      const rows = this.layers.filter((layer) => low(layer) === name).map((layer) => layer[1].get(+number));
      return rows.filter((row) => row !== undefined);
    }

    layersOf(query) {
      const [, name] = /^layer\s*(\S.*)$/.exec(this.small(query)) ?? [];
      return name ? this.called(name, true) : [];
    }

    called(name, said) {
      const names = said ? [name, `layer${name}`] : [name];
      const low = ([layer]) => layer.toLowerCase();
      const plain = (text) => text.replace(/[^a-z0-9]+/g, "");
      const bare = names.map(plain).filter(Boolean);
      const same = this.layers.filter((layer) => names.includes(low(layer)));
      const alike = this.layers.filter((layer) => bare.includes(plain(low(layer))));
      if (same.length || alike.length) return same.length ? same : alike;
      const ends = this.layers.filter((layer) => low(layer).endsWith(`.${name}`));
      const counted = said && /^[0-9]{1,9}$/.test(name)
        ? this.layers.slice(Math.max(0, name - 1), +name) : [];
      return unique([...ends, ...counted]);
    }

    // What is wrong with an address in its own form that no channel has; nothing for other texts.
    problem(text) {
      const [, name, number] = /^(\S*\S):(\d+)$/.exec(text) ?? [];
      if (!name) return "";
      const [, rows] = this.layers.find(([layer]) => layer === name) ?? [];
      const near = [...(rows?.keys() ?? [])]
        .sort((x, y) => Math.abs(x - number) - Math.abs(y - number)).slice(0, 3);
      const others = near.map((other) => `${name}:${other}`).join(", ");
      return `no channel “${text}”${others && `: the nearest are ${others}`}`;
    }
  }

  // Entries that fit one of the readings, best first: those that lack least, by rank, then by order.
  const fitting = (entries, index, readings, allowed, standing) => {
    const found = new Map();
    for (const { terms } of readings) {
      entries.forEach((entry, at) => {
        if (!allowed(at)) return;
        const fits = rank(entry, terms, index.lengths);
        if (fits && !(found.get(at)?.key <= fits.key)) found.set(at, { at, terms, ...fits });
      });
    }
    const every = [...found.values()];
    const least = every.reduce((few, one) => Math.min(few, one.lacking), Infinity);
    return every.filter((one) => one.lacking === least)
      .sort((x, y) => x.key - y.key || standing(x.at) - standing(y.at));
  };
  const complete = (found) => (found[0]?.lacking ? [] : found).map(({ at }) => at);

  // A list of cards, each with a name and classes: those that have all words of a query, in order.
  class List {
    constructor(rules, cards) {
      this.index = new TextIndex(new Analyser(rules));
      this.cards = cards.map(([name, labels]) => entry(
        this.index, [[name, NAME]], labels.map((label) => [label, FIRST_CLASS]),
      ));
    }

    search(query) {
      const readings = this.index.read(query);
      const found = fitting(this.cards, this.index, readings, () => true, (at) => at);
      return { places: complete(found), nearest: readings[0].nearest };
    }
  }

  return class {
    static List = List;

    constructor(data, rules = window.conceptRules) {
      const layers = data.layers.map(([name]) => [name, new Map()]);
      this.data = data;
      this.rules = rules;
      this.analyser = new Analyser(rules);
      this.index = new TextIndex(this.analyser);
      this.addresses = new Addresses(layers, rules);
      this.rows = new Map();
      this.channels = [];
      const layerPlace = FIRST_CLASS + rules.classes;
      data.layers.forEach(([layer, , , count], position) => {
        for (let n = 0; n < count; n++) {
          const at = this.channels.length;
          layers[position][1].set(data.numbers[at], at);
          this.rows.set(`${layer}:${data.numbers[at]}`, at);
          const senses = (data.senses[at] ?? []).map((sense) => [sense, SENSE]);
          const others = [[data.descriptions[at], DESCRIPTION], [layer, layerPlace]];
          this.channels.push(entry(
            this.index,
            [[data.names[at], NAME], ...senses, ...others],
            data.classes[at].map((label, place) => [data.labels[label], FIRST_CLASS + place]),
          ));
        }
      });
      for (const label of Object.values(data.labels)) this.index.add(label);
      const card = (name) => entry(this.index, [[name, NAME]]);
      this.layers = data.layers.map(([name]) => card(name));
      this.classes = data.seen.map((label) => card(data.labels[label]));
      const order = [...this.channels.keys()].sort((x, y) =>
        data.scores[y] - data.scores[x] || data.shares[y] - data.shares[x] || x - y);
      this.best = order; // channels by score, then share
      this.standing = [];
      order.forEach((at, place) => { this.standing[at] = place; });
      // Words of explanations are their own: a picture's name must not hide a mistake.
      this.others = new TextIndex(this.analyser);
      this.explanations = data.explanations.map(([, target, picture, concepts]) => {
        const names = concepts.map((at) => [data.names[at], SENSE]);
        const texts = [[target, NAME], [picture, DESCRIPTION]];
        return [entry(this.others, texts), entry(this.others, [...texts, ...names])];
      });
    }

    // Channels (with the class and texts that have the words), layers and classes by their numbers;
    // what was taken for words that stand nowhere; or what is wrong with the query.
    search(query, allowed = () => true) {
      const text = this.addresses.bare(query);
      const result = { channels: [], layers: [], classes: [], nearest: new Map(), problem: "" };
      const rows = (list) => list.filter(allowed).map((at) => ({ at, label: null, texts: [] }));
      const own = this.rows.get(text);
      const direct = own === undefined ? this.addresses.channels(text) : [own];
      if (direct.length) return { ...result, channels: rows(direct) };
      const layers = this.addresses.layersOf(text);
      if (layers.length) {
        const inside = layers.flatMap((layer) =>
          [...layer[1].values()].sort((x, y) => this.standing[x] - this.standing[y]));
        const numbers = layers.map((layer) => this.addresses.layers.indexOf(layer));
        return { ...result, channels: rows(inside), layers: numbers };
      }
      const state = this.data.states.indexOf(this.rules.states[this.analyser.words(text).join(" ")]);
      const called = this.best.filter((at) => this.data.state[at] === state);
      if (called.length) return { ...result, channels: rows(called) };
      const problem = this.addresses.problem(text) || this.wordless(text);
      if (problem) return { ...result, problem };
      const spelled = this.addresses.spelled(text, (word) => this.index.known(word));
      const readings = this.index.read(spelled);
      const find = (entries, may, standing) => fitting(entries, this.index, readings, may, standing);
      const every = () => true;
      const order = (at) => at;
      return {
        ...result,
        channels: find(this.channels, allowed, (at) => this.standing[at]),
        layers: complete(find(this.layers, every, order)),
        classes: complete(find(this.classes, every, order)),
        nearest: readings[0].nearest,
      };
    }

    // What of a hit the words stand in: a class, or a sentence. Also a class that has them without
    // need, since names are seen anyway; nothing where there is neither.
    shows({ at, label, terms = [], texts }) {
      const { labels, texts: own } = this.channels[at];
      const has = (text) => terms.length && terms.every((term) => term[text] !== NONE);
      const [sentence] = own.find(([text, place]) => place === DESCRIPTION && texts.includes(text)) ?? [];
      const text = label ?? sentence ?? labels.map(([text]) => text).find(has);
      return text === undefined ? "" : this.index.texts[text];
    }

    // Explanations by target and picture, with `concepts` also by the names of their channels.
    searchExplanations(query, concepts) {
      if (this.wordless(query)) return [];
      const readings = this.others.read(query).filter(({ nearest }) => !nearest.size);
      const entries = this.explanations.map(([plain, all]) => (concepts ? all : plain));
      return complete(fitting(entries, this.others, readings, () => true, (at) => at));
    }

    wordless(text) {
      const some = this.analyser.words(text).length;
      return some && [...text].length <= this.rules.longest_query ? ""
        : `the query has ${some ? "too many" : "no"} words`;
    }
  };
})();
