// Concepts show their heat maps while the mouse is on them or the keyboard has reached them.
"use strict";

const maps = document.querySelector(".atlas .maps");

function highlight(id) {
  for (const shown of maps.querySelectorAll(".highlighted")) shown.classList.remove("highlighted");
  const input = id && maps.querySelector(`input[value="${CSS.escape(id)}"]`);
  const heatmap = input && input.nextElementSibling;
  maps.toggleAttribute("data-highlighted", Boolean(heatmap));
  if (heatmap) heatmap.classList.add("highlighted");
}

if (maps) {
  for (const concept of document.querySelectorAll(".atlas [data-map]")) {
    const id = concept.dataset.map;
    concept.addEventListener("pointerenter", () => highlight(id));
    concept.addEventListener("pointerleave", () => highlight(null));
    concept.addEventListener("focusin", () => highlight(id));
    concept.addEventListener("focusout", () => highlight(null));
  }
}
