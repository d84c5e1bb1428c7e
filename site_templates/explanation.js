// Concepts light their heat maps while the mouse is on them or the keyboard has reached them.
"use strict";

const maps = document.querySelector(".atlas .maps");

function light(id) {
  for (const lit of maps.querySelectorAll(".lit")) lit.classList.remove("lit");
  const input = id && maps.querySelector(`input[value="${CSS.escape(id)}"]`);
  const veil = input && input.nextElementSibling;
  maps.toggleAttribute("data-lit", Boolean(veil));
  if (veil) veil.classList.add("lit");
}

if (maps) {
  for (const concept of document.querySelectorAll(".atlas [data-map]")) {
    const id = concept.dataset.map;
    concept.addEventListener("pointerenter", () => light(id));
    concept.addEventListener("pointerleave", () => light(null));
    concept.addEventListener("focusin", () => light(id));
    concept.addEventListener("focusout", () => light(null));
  }
}
