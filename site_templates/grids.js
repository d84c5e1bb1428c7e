// The cards of a layer's channels, or of all classes: filtered by words as in the search, sorted, and
// kept in the page's address, so that links and Back bring the same view.
"use strict";

(() => {
  const form = document.querySelector(".grid-filter");
  const grid = document.querySelector(".filtered");
  const cards = [...grid.children].map((card, place) => ({
    card, place, ...card.dataset, name: card.querySelector(".name")?.textContent ?? "",
  }));
  const { word, score, sort, turn, group } = form.elements;
  const inputs = { word, score, sort, group };
  const status = form.querySelector("output");

  let made;
  const finder = () => (made ??= new window.ConceptFinder.List(
    window.conceptRules,
    cards.map(({ name, c }) => [name, c ? c.split(" · ") : []]),
  ));

  // By words, or by the number that a card has.
  const wanted = () => {
    const query = word.value.trim();
    const number = /^#?\s*(\d{1,9})$/.exec(query)?.[1];
    if (!query) return { places: cards.map(({ place }) => place), nearest: new Map() };
    if (number === undefined) return finder().search(query);
    const same = cards.filter(({ n }) => n === String(+number));
    return { places: same.map(({ place }) => place), nearest: new Map() };
  };

  // By likeness of patches: what that says of each card comes with the data of the map.
  let likenesses;
  const ask = () => {
    likenesses ??= load("map-data.js").then(() => {
      for (const card of cards) card.like = window.conceptLikeness[+form.dataset.likeness + card.place];
      show();
    });
  };

  const by = {
    like: (x, y) => x.like - y.like,
    name: (x, y) => (x.name === "") - (y.name === "") || x.name.localeCompare(y.name),
    place: (x, y) => x.place - y.place,
  };
  let order = "place";
  const arrange = () => {
    const chosen = sort.value + (turn.checked ? " turned" : "");
    if (chosen === order) return;
    if (sort.value === "like" && cards[0].like === undefined) {
      ask();
      return;
    }
    order = chosen;
    const compare = by[sort.value] ?? ((x, y) => y[sort.value] - x[sort.value]);
    const sorted = [...cards].sort((x, y) => compare(x, y) || by.place(x, y));
    grid.append(...(turn.checked ? sorted.reverse() : sorted).map(({ card }) => card));
  };

  const show = () => {
    arrange();
    const { places, nearest } = wanted();
    const kept = new Set(places);
    const least = +(score?.value ?? 0);
    let shown = 0;
    for (const each of cards) {
      const outside = group?.value && !each.c?.split(" · ").includes(group.value);
      each.card.hidden = !kept.has(each.place) || (least > 0 && !(each.d >= least)) || outside;
      shown += !each.card.hidden;
    }
    const taken = [...nearest].map(([text, near]) =>
      `nothing for “${text}”${near.length ? `; nearest: ${near.join(", ")}` : ""} · `);
    status.textContent = `${taken.join("")}${shown} of ${cards.length} ${form.dataset.of}`;
  };

  const remember = () => {
    const first = sort.options[0].value;
    const state = Object.entries(inputs)
      .filter(([name, input]) => input?.value && !(name === "sort" && input.value === first))
      .map(([name, input]) => [name, input.value]);
    if (turn.checked) state.push(["turn", "1"]);
    const query = new URLSearchParams(state).toString();
    try {
      history.replaceState(null, "", (query ? `?${query}` : location.pathname) + location.hash);
    } catch {
      // some browsers refuse it for files
    }
  };

  form.addEventListener("input", () => {
    show();
    remember();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector(".random")?.addEventListener("click", (event) => {
    event.preventDefault();
    const shown = cards.filter(({ card }) => !card.hidden);
    if (shown.length) shown[Math.floor(Math.random() * shown.length)].card.click();
  });

  const asked = new URLSearchParams(location.search);
  for (const [name, input] of Object.entries(inputs)) if (input) input.value = asked.get(name) ?? input.value;
  for (const list of [sort, group]) {
    if (list?.selectedIndex === -1) list.selectedIndex = 0; // an order or a kind that is not there
  }
  turn.checked = asked.has("turn");
  show();
})();
