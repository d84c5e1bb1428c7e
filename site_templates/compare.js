// Two channels side by side, each as its own page in a frame, and the channels that were kept. All of
// it is in the page's address: ?a=LAYER:CHANNEL&b=LAYER:CHANNEL&kept=LAYER:CHANNEL,…
"use strict";

(() => {
  const data = window.conceptAtlas;
  const form = document.querySelector("form.compare");
  if (!data || !form) return;
  const up = form.dataset.root;
  const frames = document.querySelector(".frames");
  const kept = document.querySelector(".kept");
  const said = document.querySelector("[role=status]");
  const finder = new window.ConceptFinder(data);

  const channels = window.conceptChannels(data, up);
  const byAddress = new Map(channels.map((channel) => [channel.address, channel]));

  // By its address, or the first that the search finds.
  const find = (text) => text.trim() &&
    (byAddress.get(text.trim()) ?? channels[finder.search(text).channels[0]?.at]);

  const asked = new URLSearchParams(location.search);
  const stars = (asked.get("kept") ?? stored("kept") ?? "").split(",").filter((one) => byAddress.has(one));

  const make = (tag, name, text = "") => {
    const element = document.createElement(tag);
    element.className = name;
    element.textContent = text;
    return element;
  };

  const show = () => {
    const chosen = ["a", "b"].map((side) => find(form.elements[side].value));
    frames.replaceChildren(...chosen.filter(Boolean).map((channel) => {
      const frame = make("iframe", "");
      frame.src = `${channel.link}?embed=1`;
      frame.title = `${channel.name} (${channel.address})`;
      return frame;
    }));
    const [one, other] = chosen;
    const missing = ["a", "b"].filter((side, n) => form.elements[side].value.trim() && !chosen[n]);
    const shared = one && other
      ? data.classes[one.at].filter((label) => data.classes[other.at].includes(label)) : [];
    said.textContent = missing.length
      ? `No channel is found for “${form.elements[missing[0]].value.trim()}”.`
      : one && other
        ? shared.length
          ? `Both matter most for ${shared.map((label) => data.labels[label]).join(", ")}.`
          : "They share none of the classes that either matters most for."
        : "Write an address, a name, or choose from the kept channels below.";
    const state = [...["a", "b"].map((side, n) => [side, chosen[n]?.address]), ["kept", stars.join(",")]];
    const query = new URLSearchParams(state.filter(([, value]) => value));
    try {
      history.replaceState(null, "", `?${query}`.replaceAll("%3A", ":").replaceAll("%2C", ","));
    } catch {
      // some browsers refuse it for files
    }
  };

  const card = (channel) => {
    const holder = make("li", "");
    const link = make("a", "channel-card");
    link.href = channel.link;
    link.style.setProperty("--d", channel.depth);
    if (channel.thumbnail) {
      const image = make("img", "");
      Object.assign(image, { src: channel.thumbnail, width: 256, height: 64, loading: "lazy", alt: "" });
      link.append(image);
    }
    if (channel.name) link.append(make("b", "name", channel.name));
    link.append(make("b", "", channel.address));
    holder.append(link, ...["a", "b"].map((side, n) => {
      const button = make("button", "more", ["left", "right"][n]);
      button.type = "button";
      button.addEventListener("click", () => {
        form.elements[side].value = channel.address;
        show();
      });
      return button;
    }));
    return holder;
  };

  for (const side of ["a", "b"]) form.elements[side].value = asked.get(side) ?? "";
  kept.hidden = !stars.length;
  kept.querySelector("ol").append(...stars.map((one) => card(byAddress.get(one))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  // Each page says how high it is.
  addEventListener("message", ({ data: height, source }) => {
    const frame = [...frames.children].find((one) => one.contentWindow === source);
    if (frame && Number.isFinite(height)) frame.style.height = `${Math.min(height, 5000)}px`;
  });
  show();
})();
