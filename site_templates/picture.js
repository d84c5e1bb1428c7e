// One stored picture (?picture=N) with the channels that have it among their references. The data of
// some hundred pictures lies in a script, which also loads from the file system.
"use strict";

(() => {
  const data = window.conceptAtlas;
  const head = document.querySelector(".one-picture .head");
  const image = Number.parseInt(new URLSearchParams(location.search).get("picture"), 10);
  if (!data || !head) return;
  const { root: up, each, pictures, published } = head.dataset;
  const said = head.querySelector("[role=status]");
  if (!(image >= 0 && image < +pictures)) {
    if (!Number.isNaN(image)) said.textContent = `There is no picture ${image}: they go from 0 to ${pictures - 1}.`;
    return;
  }

  const channels = window.conceptChannels(data, up);
  const seen = new Set(data.seen);
  const make = (tag, name, text = "") => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.textContent = text;
    return element;
  };
  const called = (label) => {
    const link = make(seen.has(label) ? "a" : "bdi", "", data.labels[label] ?? `class ${label}`);
    if (seen.has(label)) link.href = `${up}classes/${label}.html`;
    return link;
  };

  const show = ([key, label, predicted, numbers]) => {
    head.querySelector(".kicker").textContent = `Picture ${image} of ${pictures}`;
    document.title = `Picture ${image}`;
    const words = [];
    if (label !== null) words.push("It shows ", called(label), ". ");
    if (predicted !== null) {
      words.push(label === predicted ? "The network says so, too." : "The network sees ");
      if (label !== predicted) words.push(called(predicted), ".");
    }
    head.querySelector("h1").textContent = key;
    said.replaceChildren(...words);
    const pager = head.querySelector(".pager");
    for (const [number, rel, arrow] of [[image - 1, "prev", "← "], [image + 1, "next", " →"]]) {
      if (number < 0 || number >= +pictures) continue;
      const link = make("a", "", rel === "prev" ? `${arrow}${number}` : `${number}${arrow}`);
      link.rel = rel;
      link.href = `?picture=${number}`;
      pager.append(link, " ");
    }
    const stage = document.querySelector(".stage");
    if (published) {
      const picture = make("img");
      picture.src = `${up}i/${image}.webp`;
      picture.alt = `picture ${image}`;
      stage.append(picture);
    }
    const box = make("i", "box");
    stage.append(box);
    const list = document.querySelector(".hits.channels");
    for (let n = 0; n < numbers.length; n += 6) {
      const [at, mode, left, top, width, height] = numbers.slice(n, n + 6);
      const channel = channels[at];
      const link = make("a", "channel-card");
      link.href = channel.link;
      link.style.setProperty("--d", channel.depth);
      if (channel.thumbnail) {
        const patches = make("img");
        Object.assign(patches, { src: channel.thumbnail, width: 256, height: 64, loading: "lazy", alt: "" });
        link.append(patches);
      }
      if (channel.name) link.append(make("b", "name", channel.name));
      link.append(make("b", "", channel.address), " ", make("span", "", ["relevance", "activation", "both"][mode]));
      const mark = () => {
        box.style.cssText = `--d:${channel.depth};left:${left}%;top:${top}%;width:${width}%;height:${height}%`;
      };
      link.addEventListener("pointerenter", mark);
      link.addEventListener("focus", mark);
      if (!n) mark();
      const holder = make("li");
      holder.append(link);
      list.append(holder);
    }
    if (!numbers.length) list.before(make("p", "", "No channel has it among its best references."));
  };

  const script = make("script");
  script.src = `${up}assets/pictures/${Math.floor(image / each)}.js`;
  script.onload = () => show(window.conceptPictures[image % each]);
  script.onerror = () => { said.textContent = "The data of this picture is missing."; };
  document.head.append(script);
})();
