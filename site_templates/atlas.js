// Comfort that pages do without: remembered switches, and arrow keys for previous and next.
"use strict";

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
  if (stored(input.name) === input.id) input.checked = true;
  input.addEventListener("change", () => stored(input.name, input.id));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  // Arrow keys move between radio buttons and scroll the row of layers.
  if (event.target.closest("input, textarea, select, [tabindex], [contenteditable]")) return;
  const direction = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const link = direction && document.querySelector(`.atlas a[rel=${direction}]`);
  if (link) link.click();
});
