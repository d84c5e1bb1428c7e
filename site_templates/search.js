// The search: everything stands in window.conceptAtlas (search-data.js), so that it works without
// a server. Text reaches the page as text only.
"use strict";

(() => {
  const data = window.conceptAtlas;
  const form = document.querySelector("form.search");
  if (!data || !form) return;

  const up = form.dataset.root;
  const box = form.querySelector("input");
  const pages = form.querySelector(".hits.pages");
  const hits = form.querySelector(".hits.channels");
  const found = form.querySelector(".found");
  const facets = form.querySelector(".facets");
  const MOST = 24; // shown at once: more would take longer than a keystroke may
  const STATUS = ["not asked", "named", "no clear concept", "unusable answer", "named by a person"];

  const channels = [];
  data.layers.forEach(([layer, slug, depth, count], position) => {
    for (let n = 0; n < count; n++) {
      const at = channels.length;
      const number = data.numbers[at];
      const address = `${layer}:${number}`;
      const senses = data.senses[at] ?? [];
      const labels = data.classes[at].map((label) => data.labels[label] ?? "");
      channels.push({
        at, position, slug, depth, number, address, labels,
        name: data.names[at],
        status: data.status[at],
        score: data.scores[at],
        share: data.shares[at],
        strip: data.strips[at],
        sense: senses.join(" · "),
        title: `${data.names[at]} ${senses.join(" ")}`.toLowerCase(),
        rest: `${labels.join(" ")} ${address}`.toLowerCase(),
        link: `${up}channels/${encodeURIComponent(slug)}/${number}.html`,
      });
    }
  });
  const byShare = [...channels].sort((x, y) => y.share - x.share);
  const classes = data.seen.map((label) => ({
    name: data.labels[label],
    text: data.labels[label].toLowerCase(),
    link: `${up}classes/${label}.html`,
  }));
  const explanations = data.explanations.map(([id, target, picture, concepts]) => ({
    target,
    picture,
    text: `${target} ${picture}`.toLowerCase(),
    concepts: concepts.map((at) => channels[at].title).join(" "),
    link: `${up}explanations/${id}.html`,
    image: `${up}explanations/${id}/picture.webp`,
  }));

  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Facets: kind of page, layer, state of the name, several senses, least score. All but the first
  // speak of channels alone.

  const select = (label, options) => {
    const holder = make("label", "", `${label} `);
    const input = make("select");
    for (const [value, text] of options) {
      const option = make("option", "", text);
      option.value = value;
      input.append(option);
    }
    holder.append(input);
    facets.append(holder);
    return input;
  };
  const kind = select("Find", [
    ["", "everything"], ["channels", "channels"], ["classes", "classes"],
    ...(explanations.length ? [["explanations", "explanations"]] : []),
  ]);
  const layer = select("Layer", [["", "all"], ...data.layers.map(([name], n) => [n, name])]);
  const states = [...new Set(data.status)].sort();
  const state = states.length > 1
    ? select("Name", [["", "any"], ...states.map((s) => [s, STATUS[s]])])
    : null;
  const several = Object.keys(data.senses).length
    ? select("Senses", [["", "any"], ["1", "several"]])
    : null;
  const least = data.scores.some((score) => score >= 0)
    ? select("Detection", [["", "any"], [50, "0.5 or more"], [70, "0.7 or more"], [90, "0.9 or more"]])
    : null;

  // `12:7`: channel 7 of each layer whose name is 12 or ends in .12
  const jump = (query) => {
    const [, name, number] = /^(.+):(\d+)$/.exec(query.trim()) ?? [];
    if (!name) return [];
    return channels.filter((c) => {
      const own = data.layers[c.position][0].toLowerCase();
      return c.number === +number && (own === name || own.endsWith(`.${name}`));
    });
  };

  // 0: not found; higher is better. Words at the start of a word of the name count most.
  const rank = (channel, words, query) => {
    let sum = 0;
    for (const word of words) {
      const place = channel.title.indexOf(word);
      if (place === 0 || (place > 0 && channel.title[place - 1] === " ")) sum += 3;
      else if (place > 0) sum += 2;
      else if (channel.rest.includes(word)) sum += 1;
      else return 0;
    }
    return words.length > 1 && channel.title.includes(query) ? sum + 2 : sum;
  };

  // Parts of words are found as well, so that without the plural's ending both forms are.
  const singular = (word) =>
    word.length < 4 ? word : word
      .replace(/(ss|sh|ch|x|z)es$/, "$1")
      .replace(/ies$/, "y")
      .replace(/([^su])s$/, "$1");

  const search = () => {
    const query = box.value.toLowerCase().trim();
    const words = query.split(/\s+/).filter(Boolean).map(singular);
    const direct = jump(query);
    const filtered = layer.value || state?.value || several?.value || least?.value;
    if (!words.length && !filtered && !kind.value) {
      return { words, direct, list: [], labels: [], explained: [], idle: true };
    }
    const allowed = (c) =>
      (!layer.value || c.position === +layer.value) &&
      (!state?.value || c.status === +state.value) &&
      (!several?.value || c.sense) &&
      (!least?.value || c.score >= +least.value);
    const wanted = (name) => !kind.value || kind.value === name;
    const ranks = []; // of each rank the channels, by falling share
    for (const channel of !wanted("channels") ? [] : direct.length ? direct : byShare) {
      if (!allowed(channel)) continue;
      const sum = direct.length || !words.length ? 1 : rank(channel, words, query);
      if (sum) (ranks[sum] ??= []).push(channel);
    }
    // Every other explanation speaks of a common concept: only who asks for them gets them all.
    const said = kind.value ? ({ text, concepts = "" }) => `${text} ${concepts}` : ({ text }) => text;
    const others = (name, list) =>
      wanted(name) && !direct.length && !filtered && (words.length || kind.value)
        ? list.filter((page) => words.every((word) => said(page).includes(word)))
        : [];
    return {
      words,
      direct,
      list: ranks.reverse().flat(),
      labels: others("classes", classes),
      explained: others("explanations", explanations),
    };
  };

  const item = (channel, words) => {
    const link = make("a", "channel-card");
    link.href = channel.link;
    link.style.setProperty("--d", channel.depth);
    if (channel.strip) {
      const image = make("img");
      image.src = `${up}channels/${encodeURIComponent(channel.slug)}/${channel.number}s-${channel.strip}.webp`;
      image.width = 256;
      image.height = 64;
      image.loading = "lazy";
      image.alt = "";
      link.append(image);
    } else link.append(make("span", "none", "no reference"));
    if (channel.name) {
      const name = make("b", "name");
      name.append(make("bdi", "", channel.name));
      link.append(name);
    }
    link.append(make("b", "", channel.address), " ");
    if (channel.score >= 0) {
      const score = make("span", "", (channel.score / 100).toFixed(2));
      score.title = "detection of its name";
      link.append(score, " ");
    }
    const meant = (label) => words.some((word) => label.toLowerCase().includes(word));
    const about = channel.sense || (channel.labels.find(meant) ?? channel.labels[0]);
    if (about) link.append(make("bdi", "about", about));
    return link;
  };

  const more = make("button", "more", "Show more");
  more.type = "button";
  more.hidden = true;
  hits.after(more);
  const line = (entry) => {
    const holder = make("li");
    holder.append(entry);
    return holder;
  };

  const card = (what, name, link) => {
    const holder = make("a", "label");
    holder.href = link;
    holder.append(make("span", "", what), " ", make("bdi", "", name));
    return holder;
  };
  const explanation = ({ target, picture, link, image }) => {
    const holder = card("Explanation", target, link);
    const shown = make("img");
    Object.assign(shown, { src: image, width: 64, height: 64, loading: "lazy", alt: "" });
    holder.prepend(shown);
    holder.title = picture;
    return holder;
  };

  const all = (count, name) => {
    const button = make("button", "more", `All ${count} ${name}`);
    button.type = "button";
    button.addEventListener("click", () => {
      kind.value = name;
      show();
      pages.querySelector("a").focus();
    });
    return button;
  };

  const show = () => {
    const { words, list, labels, explained, idle } = search();
    const most = kind.value ? 500 : 4;
    const rest = (found, name) => found.length > most && !kind.value ? [all(found.length, name)] : [];
    pages.replaceChildren(...[
      ...labels.slice(0, most).map(({ name, link }) => card("Class", name, link)),
      ...rest(labels, "classes"),
      ...explained.slice(0, most).map(explanation),
      ...rest(explained, "explanations"),
    ].map(line));
    const entry = (channel) => line(item(channel, words));
    hits.replaceChildren(...list.slice(0, MOST).map(entry));
    more.hidden = list.length <= MOST;
    more.onclick = () => {
      more.hidden = true;
      hits.append(...list.slice(MOST, 500).map(entry));
    };
    const counts = [
      [list.length, "channel", "channels"],
      [labels.length, "class", "classes"],
      [explained.length, "explanation", "explanations"],
    ].filter(([count, , many]) => count || many === (kind.value || "channels"));
    found.textContent = idle ? "" :
      counts.map(([count, one, many]) => `${count} ${count === 1 ? one : many}`).join(", ");
    form.classList.toggle("busy", !idle);
  };

  box.addEventListener("input", show);
  facets.addEventListener("change", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { direct, list } = search();
    const only = direct[0] ?? (list.length === 1 ? list[0] : null);
    if (only) location.href = only.link;
  });

  // Arrow keys walk from the box through what was found.
  form.addEventListener("keydown", (event) => {
    if (!["ArrowDown", "ArrowUp"].includes(event.key) || event.target.matches("select")) return;
    const stops = [box, ...form.querySelectorAll(".hits a")];
    const next = stops[stops.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });

  form.querySelector(".random").addEventListener("click", (event) => {
    event.preventDefault();
    location.href = channels[Math.floor(Math.random() * channels.length)].link;
  });

  box.value = new URLSearchParams(location.search).get("q") ?? "";
  if (box.value) show();
  if (form.closest(".searching")) box.focus();
})();
