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
  const text = button.dataset.copy;
  button.addEventListener("click", async () => {
    const status = button.nextElementSibling;
    try {
      await navigator.clipboard.writeText(text ?? entry.textContent);
      status.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(entry ?? button.previousElementSibling ?? button.closest(".called").querySelector("h1"));
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

// The row of layers may be wider than a phone: show the place of this page in it.
document.querySelector(".layer-nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
