// The page of the search: what find.js finds in window.conceptAtlas (search-data.js), which works
// without a server. Text reaches the page as text only.
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
  const CLIP = 40; // characters of a name in a list

  let made;
  const finder = () => (made ??= new window.ConceptFinder(data)); // takes longer than a page should
  const clip = (text) => {
    const letters = [...text];
    return letters.length > CLIP ? `${letters.slice(0, CLIP - 1).join("").trimEnd()}…` : text;
  };

  const channels = [];
  data.layers.forEach(([layer, slug, depth, count], position) => {
    for (let n = 0; n < count; n++) {
      const at = channels.length;
      const number = data.numbers[at];
      channels.push({
        position, slug, depth, number,
        address: `${clip(layer)}:${number}`,
        name: clip(data.names[at]),
        state: data.state[at],
        score: data.scores[at],
        thumbnail: data.thumbnails[at],
        sense: (data.senses[at] ?? []).map(clip).join(" · "),
        several: (data.senses[at] ?? []).length > 1, // one alone is the name of its other side
        label: data.labels[data.classes[at][0]] ?? "",
        link: `${up}channels/${encodeURIComponent(slug)}/${number}.html`,
      });
    }
  });
  const layers = data.layers.map(([name, slug]) => ({
    name: clip(name),
    link: `${up}layers/${encodeURIComponent(slug)}.html`,
  }));
  const classes = data.seen.map((label) => ({
    name: clip(data.labels[label]),
    link: `${up}classes/${label}.html`,
  }));
  const explanations = data.explanations.map(([id, target, picture]) => ({
    name: clip(target),
    picture,
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
    ["", "everything"], ["channels", "channels"], ["layers", "layers"], ["classes", "classes"],
    ...(explanations.length ? [["explanations", "explanations"]] : []),
  ]);
  const layer = select("Layer", [["", "all"], ...data.layers.map(([name]) => [name, clip(name)])]);
  const states = [...new Set(data.state)].sort();
  const state = states.length > 1
    ? select("Name", [["", "any"], ...states.map((s) => [s, data.states[s]])])
    : null;
  const several = channels.some((channel) => channel.several)
    ? select("Senses", [["", "any"], ["1", "several"]])
    : null;
  const least = data.scores.some((score) => score >= 0)
    ? select("Average precision", [["", "any"], [30, "0.3 or more"], [50, "0.5 or more"], [70, "0.7 or more"]])
    : null;

  const search = () => {
    const query = box.value.trim();
    const filtered = Boolean(layer.value || state?.value || several?.value || least?.value);
    const nothing = { channels: [], layers: [], classes: [], explained: [], nearest: new Map() };
    if (!query && !filtered && !kind.value) return { ...nothing, idle: true };
    const allowed = (at) => {
      const channel = channels[at];
      return (!layer.value || data.layers[channel.position][0] === layer.value) &&
        (!state?.value || channel.state === +state.value) &&
        (!several?.value || channel.several) &&
        (!least?.value || channel.score >= +least.value);
    };
    const every = (list) => [...list.keys()];
    const answer = query ? finder().search(query, allowed) : {
      ...nothing,
      channels: finder().best.filter(allowed).map((at) => ({ at, label: null, texts: [] })),
      layers: every(layers),
      classes: every(classes),
    };
    // Every other explanation speaks of a common concept: only who asks for them gets them all.
    const explained = query
      ? finder().searchExplanations(query, kind.value === "explanations")
      : every(explanations);
    const wanted = (name, list) =>
      (kind.value ? kind.value === name : name === "channels" || query) &&
      (name === "channels" || !filtered) ? list : [];
    return {
      ...answer,
      channels: wanted("channels", answer.channels),
      layers: wanted("layers", answer.layers).map((n) => layers[n]),
      classes: wanted("classes", answer.classes).map((n) => classes[n]),
      explained: wanted("explanations", explained).map((n) => explanations[n]),
    };
  };

  const item = (hit) => {
    const channel = channels[hit.at];
    const link = make("a", "channel-card");
    link.href = channel.link;
    link.style.setProperty("--d", channel.depth);
    if (channel.thumbnail) {
      const image = make("img");
      image.src = `${up}channels/${encodeURIComponent(channel.slug)}/${channel.number}s-${channel.thumbnail}.webp`;
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
      score.title = "average precision of its name";
      link.append(score, " ");
    }
    const about = finder().shows(hit) || channel.sense || channel.label;
    if (about) {
      const shown = make("bdi", "about", about);
      shown.title = about;
      link.append(shown);
    }
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
  const explanation = ({ name, picture, link, image }) => {
    const holder = card("Explanation", name, link);
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

  // Words that stand nowhere, and what was taken for them.
  const remarks = ({ channels: list, nearest, problem }) => [
    ...(problem ? [problem] : []),
    ...[...nearest].map(([word, near]) =>
      `nothing for “${word}”${near.length ? `; nearest: ${near.join(", ")}` : ""}`),
    ...(list[0]?.lacking ? ["no channel has all of these words"] : []),
  ];

  const show = () => {
    const answer = search();
    const { channels: list, layers: some, classes: labels, explained, idle } = answer;
    const most = kind.value ? 500 : 4;
    const cards = (what, each, name) => [
      ...what.slice(0, most).map(each),
      ...(what.length > most && !kind.value ? [all(what.length, name)] : []),
    ];
    pages.replaceChildren(...[
      ...cards(some, ({ name, link }) => card("Layer", name, link), "layers"),
      ...cards(labels, ({ name, link }) => card("Class", name, link), "classes"),
      ...cards(explained, explanation, "explanations"),
    ].map(line));
    const entry = (hit) => line(item(hit));
    hits.replaceChildren(...list.slice(0, MOST).map(entry));
    more.hidden = list.length <= MOST;
    more.onclick = () => {
      more.hidden = true;
      hits.append(...list.slice(MOST, 500).map(entry));
    };
    const counts = [
      [list.length, "channel", "channels"],
      [some.length, "layer", "layers"],
      [labels.length, "class", "classes"],
      [explained.length, "explanation", "explanations"],
    ].filter(([count, , many]) => count || many === (kind.value || "channels"));
    const counted = counts.map(([count, one, many]) => `${count} ${count === 1 ? one : many}`);
    found.textContent = idle ? "" : [...remarks(answer), counted.join(", ")].join(" · ");
    form.classList.toggle("busy", !idle);
    if (searching) remember();
  };

  // The page of the search has its state in its address, so that Back and links keep it.
  const searching = form.closest(".searching");
  const inputs = {
    q: box, find: kind, layer, name: state, senses: several, precision: least,
  };
  const remember = () => {
    const kept = Object.entries(inputs).filter(([, input]) => input?.value);
    const query = new URLSearchParams(kept.map(([name, input]) => [name, input.value])).toString();
    try {
      history.replaceState(null, "", query ? `?${query}` : location.pathname);
    } catch {
      // some browsers refuse it for files
    }
  };

  box.addEventListener("focus", finder, { once: true });
  box.addEventListener("input", show);
  facets.addEventListener("change", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { channels: list } = search();
    if (list.length === 1) location.href = channels[list[0].at].link;
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

  const asked = new URLSearchParams(location.search);
  for (const [name, input] of Object.entries(inputs)) {
    if (!input) continue;
    input.value = asked.get(name) ?? (name === "q" ? input.value : ""); // what is typed already
    if (input.selectedIndex === -1) input.value = ""; // an option that is not there
  }
  if (Object.values(inputs).some((input) => input?.value)) show();
  if (searching) box.focus();
})();
