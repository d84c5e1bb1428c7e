// The heat map of a concept stands on the large picture while the mouse is on its name, or the
// keyboard has reached it.
"use strict";

const stage = document.querySelector(".atlas .stage");

if (stage) {
  const map = stage.querySelector(".overlay");
  const caption = stage.querySelector("figcaption");
  const usual = { map: map.src, caption: caption.textContent };
  const show = (id) => {
    const card = id && document.getElementById(id);
    map.src = card ? card.querySelector(".overlay").src : usual.map;
    caption.textContent = card ? card.querySelector("figcaption").textContent : usual.caption;
  };
  for (const concept of document.querySelectorAll(".atlas [data-map]")) {
    const id = concept.dataset.map;
    concept.addEventListener("pointerenter", () => show(id));
    concept.addEventListener("pointerleave", () => show(null));
    concept.addEventListener("focusin", () => show(id));
    concept.addEventListener("focusout", () => show(null));
  }
}
