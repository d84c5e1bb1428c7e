// What pages work without: remembered switches, keys, filters, copying, random channels.
"use strict";

const root = new URL("..", document.currentScript.src);
const remember = "concept-atlas:";

// Storage is refused in private windows and for some local files.
function stored(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(remember + key);
    localStorage.setItem(remember + key, value);
  } catch {
    return null;
  }
}

for (const input of document.querySelectorAll(".switches input")) {
  if (input.name === "sense") continue; // another channel has other senses
  if (stored(input.name) === input.id) input.checked = true;
  input.addEventListener("change", () => stored(input.name, input.id));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // Arrow keys move between radio buttons and scroll the row of layers.
  if (event.target.closest("input, textarea, select, [tabindex], [contenteditable]")) return;
  if (event.key === "/") {
    event.preventDefault();
    const box = document.getElementById("q");
    if (box) box.focus();
    else location.href = new URL("search.html", root);
  }
  if (event.shiftKey) return;
  const direction = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const link = direction && document.querySelector(`.atlas a[rel=${direction}]`);
  if (link) link.click();
});

// Citing: a button that copies, and a note on citations of another version.

for (const button of document.querySelectorAll(".copy")) {
  const entry = button.parentElement.querySelector("pre");
  button.hidden = false;
  button.addEventListener("click", async () => {
    const status = button.nextElementSibling;
    try {
      await navigator.clipboard.writeText(entry.textContent);
      status.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(entry);
      status.textContent = document.execCommand("copy") ? "Copied." : "Selected: press Ctrl+C.";
    }
  });
}

const cited = new URLSearchParams(location.search).get("v");
const page = document.querySelector(".atlas[data-version]");
if (cited && page && cited !== page.dataset.version) {
  const note = document.createElement("p");
  note.className = "other-version";
  note.textContent =
    `The citation that you follow is of version ${cited} of this atlas; ` +
    `this is version ${page.dataset.version}. The channel is the same, its numbers may differ.`;
  if ((page.dataset.older ?? "").split(" ").includes(cited)) {
    const link = document.createElement("a");
    const path = location.pathname.slice(new URL(root).pathname.length);
    link.href = new URL(`${cited}/${path}`, root);
    link.textContent = "The page as it was cited.";
    note.append(" ", link);
  }
  page.prepend(note);
}

// Layer pages: filter and order of the channel grid.

const filter = document.querySelector(".channel-filter");
if (filter) {
  const grid = document.querySelector(".channel-grid");
  const cards = [...grid.children].map((card, place) => ({
    card,
    place,
    text: `${card.textContent} ${card.dataset.c}`.toLowerCase(),
    name: card.querySelector(".name")?.textContent ?? "\uffff",
    values: { r: +card.dataset.r, d: +card.dataset.d, s: +card.dataset.s },
  }));
  const { word, score, sort } = filter.elements;
  const orders = { a: (x, y) => x.place - y.place, n: (x, y) => x.name.localeCompare(y.name) };
  let order = "a";

  const apply = () => {
    const words = word.value.toLowerCase().split(/\s+/).filter(Boolean);
    const least = +(score?.value ?? 0);
    if (sort.value !== order) {
      order = sort.value;
      const by = orders[order] ?? ((x, y) => y.values[order] - x.values[order]);
      grid.append(...[...cards].sort((x, y) => by(x, y) || x.place - y.place).map(({ card }) => card));
    }
    let shown = 0;
    for (const { card, text, values } of cards) {
      card.hidden = values.s < least || !words.every((w) => text.includes(w));
      shown += !card.hidden;
    }
    filter.querySelector("output").textContent = `${shown} of ${cards.length} ${filter.dataset.unit}`;
  };

  filter.hidden = false;
  filter.addEventListener("input", apply);
  filter.addEventListener("submit", (event) => event.preventDefault());
  filter.querySelector(".random").addEventListener("click", (event) => {
    event.preventDefault();
    const shown = cards.filter(({ card }) => !card.hidden);
    if (shown.length) shown[Math.floor(Math.random() * shown.length)].card.click();
  });
  apply();
}
