// What pages work without: remembered switches, keys, copying.
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

// Colours: as the system says, or as it was chosen; the page's head sets them before it is drawn.

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => {
  const chosen = stored("scheme");
  document.body.dataset.mdColorScheme = (chosen ? chosen === "dark" : dark.matches) ? "slate" : "default";
};
dark.addEventListener("change", paint);
document.querySelector(".scheme")?.addEventListener("click", () => {
  const next = document.body.dataset.mdColorScheme === "slate" ? "light" : "dark";
  stored("scheme", next === (dark.matches ? "dark" : "light") ? "" : next); // back to the system's
  paint();
});

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

// What is not needed at once is loaded when somebody turns to it.

const load = (name) => {
  const script = document.createElement("script");
  script.src = new URL(`assets/${name}`, root);
  script.async = false; // in this order
  const loaded = new Promise((done) => { script.onload = done; });
  document.head.append(script);
  return loaded;
};

// So does a search that is not the page's purpose.

const later = document.querySelector("form.search[data-later]");
if (later) {
  let loading;
  const begin = () => (loading ??= Promise.all(later.dataset.later.split(" ").map(load)));
  for (const event of ["focusin", "pointerenter", "input"]) later.addEventListener(event, begin, { once: true });
  const chance = later.querySelector(".random");
  chance.addEventListener("click", (event) => {
    event.preventDefault();
    begin().then(() => chance.click());
  }, { once: true });
}

// Citing: a button that copies, and a note on citations of another version.

for (const button of document.querySelectorAll(".copy")) {
  const entry = button.parentElement.querySelector("pre");
  button.hidden = false;
  const text = button.dataset.copy;
  button.addEventListener("click", async () => {
    const status = button.parentElement.querySelector("[role=status]");
    try {
      await navigator.clipboard.writeText(text ?? entry.textContent);
      status.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(entry ?? button.previousElementSibling ?? button.closest(".called").querySelector("h1"));
      status.textContent = document.execCommand("copy") ? "Copied." : "Selected: press Ctrl+C.";
    }
  });
}

// Channels that are kept for comparing, in this browser.

const kept = () => (stored("kept") ?? "").split(",").filter(Boolean);
for (const button of document.querySelectorAll("[data-keep]")) {
  const address = button.dataset.keep;
  const show = () => {
    const pressed = kept().includes(address);
    button.setAttribute("aria-pressed", pressed);
    button.textContent = pressed ? "★ kept" : "☆ keep";
  };
  button.addEventListener("click", () => {
    const others = kept().filter((one) => one !== address);
    stored("kept", (others.length < kept().length ? others : [...others, address]).join(","));
    show();
  });
  show();
}

// The pictures of a channel as a figure for articles.

const figure = document.querySelector("[data-terms]");
figure?.addEventListener("click", async () => {
  const head = figure.closest(".head");
  if (!window.conceptFigure) await load("figure.js");
  head.querySelector("[role=status]").textContent = await window.conceptFigure(head);
});

// A patch leads to its whole picture, with the other channels that respond to it.

for (const patch of document.querySelectorAll(".references li > b")) {
  const [, picture] = /\/i\/(\d+)\.webp$/.exec(patch.firstElementChild?.src ?? "") ?? [];
  if (!picture) continue;
  Object.assign(patch, { tabIndex: 0, role: "link", title: "The whole picture and its channels" });
  const open = () => { location.href = new URL(`picture.html?picture=${picture}`, root); };
  patch.addEventListener("click", open);
  patch.addEventListener("keydown", (event) => event.key === "Enter" && open());
}

// In a frame of another page: links open outside it, and the frame learns how high the page is.

if (document.documentElement.classList.contains("embed")) {
  const base = document.createElement("base");
  base.target = "_top";
  document.head.append(base);
  const said = () => parent.postMessage(document.querySelector(".atlas").offsetHeight + 40, "*");
  new ResizeObserver(said).observe(document.querySelector(".atlas"));
}

const cited = new URLSearchParams(location.search).get("v");
const page = document.querySelector(".atlas[data-version]");
if (cited && page && cited !== page.dataset.version) {
  const note = document.createElement("p");
  note.className = "other-version";
  note.textContent =
    `The citation that you follow is of version ${cited} of this atlas; ` +
    `this is version ${page.dataset.version}. ` +
    // What comes behind a hyphen says which factors: others can have these addresses.
    (page.dataset.version.includes("-")
      ? "Its factors need not be those that were cited: the same address may be another one."
      : "The channel is the same, its numbers may differ.");
  const older = (page.dataset.older ?? "").split(" ");
  const kept = cited.split("-").reverse().find((part) => older.includes(part));
  if (kept) {
    const link = document.createElement("a");
    const path = location.pathname.slice(new URL(root).pathname.length);
    link.href = new URL(`${kept}/${path}`, root);
    link.textContent = "The page as it was cited.";
    note.append(" ", link);
  }
  page.prepend(note);
}

// The row of layers may be wider than a phone: show the place of this page in it.
document.querySelector(".layer-nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
