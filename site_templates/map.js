// The map of all channels: drawn on a canvas, moved by mouse, touch and keyboard, filtered as the search
// finds. Its state is in the page's address.
"use strict";

(() => {
  const data = window.conceptAtlas;
  const places = window.conceptMap;
  const holder = document.querySelector(".channel-map");
  if (!data || !places || !holder) return;

  const FINE = 4095;
  const NEAR = 14; // pixels around the pointer in which a channel is found
  const CELL = 64; // pixels in which one channel at most is drawn as its best patch
  const form = document.querySelector(".map-controls");
  const up = form.dataset.root;
  const canvas = holder.querySelector("canvas");
  const card = holder.querySelector(".map-card");
  const key = document.querySelector(".map-key");
  const status = form.querySelector("output");
  const pen = canvas.getContext("2d");
  const { q, by, patches } = form.elements;
  let made;
  const finder = () => (made ??= new window.ConceptFinder(data));

  const channels = window.conceptChannels(data, up)
    .map((channel, at) => ({ ...channel, x: places[2 * at] / FINE, y: places[2 * at + 1] / FINE }));

  const style = (name) => getComputedStyle(document.querySelector(".atlas")).getPropertyValue(name).trim();
  const hue = (angle, chroma) => `oklch(${style("--lightness")} ${chroma ?? style("--chroma")} ${angle})`;
  const ofState = (state) => { // as on the other pages (trust.css)
    const sample = document.createElement("i");
    sample.dataset.state = state;
    holder.append(sample);
    const colour = getComputedStyle(sample).getPropertyValue("--state").trim();
    sample.remove();
    return colour;
  };
  const colours = {
    layer: ({ depth }) => hue(255 + 140 * depth),
    class: ({ at }) => (data.classes[at].length ? hue((137.5 * data.classes[at][0]) % 360) : hue(0, 0)),
    state: ({ at }) => ofState(data.states[data.state[at]]),
  };

  let view = { x: 0, y: 0, zoom: 1 };
  let found = null;
  let current = null;
  let painted = [];
  const pictures = new Map();

  let sides = [canvas.clientWidth, canvas.clientHeight];
  const size = () => sides; // asking the page for every channel would lay it out each time
  const onScreen = ({ x, y }) => {
    const [width, height] = size();
    return [(x - view.x) * view.zoom * (width - 24) + 12, (y - view.y) * view.zoom * (height - 24) + 12];
  };

  const paint = () => { // colours are asked for once, not for every frame
    const kinds = new Map();
    for (const channel of channels) {
      const kind = by.value === "layer" ? channel.depth
        : by.value === "class" ? data.classes[channel.at][0] : data.state[channel.at];
      if (!kinds.has(kind)) kinds.set(kind, { colour: colours[by.value](channel), own: [] });
      const { colour, own } = kinds.get(kind);
      channel.colour = colour;
      own.push(channel);
    }
    painted = [...kinds.values()];
    const entries = by.value === "layer" ? data.layers.map(([layer, , depth]) => [layer, hue(255 + 140 * depth)])
      : by.value === "state" ? [...new Set(data.state)].sort().map((n) => [data.states[n], ofState(data.states[n])])
        : [];
    const ends = entries.length <= 40 ? entries : [entries[0], entries[entries.length >> 1], entries.at(-1)];
    key.replaceChildren(...ends.map(([name, colour]) => {
      const item = document.createElement("li");
      const dot = document.createElement("i");
      dot.style.background = colour;
      item.append(dot, name);
      return item;
    }));
  };

  const picture = (channel) => {
    if (!channel.thumbnail) return null;
    if (!pictures.has(channel.thumbnail)) {
      const image = new Image();
      image.onload = () => draw();
      image.src = channel.thumbnail;
      pictures.set(channel.thumbnail, image);
    }
    const image = pictures.get(channel.thumbnail);
    return image.complete && image.naturalWidth ? image : null;
  };

  let asked = 0;
  const draw = () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => {
      const [width, height] = size();
      const scale = devicePixelRatio || 1;
      if (canvas.width !== Math.round(width * scale)) {
        canvas.width = Math.round(width * scale);
        canvas.height = Math.round(height * scale);
      }
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      pen.clearRect(0, 0, width, height);
      const radius = channels.length > 2000 ? 2.4 : 3.4;
      const [across, down] = [view.zoom * (width - 24), view.zoom * (height - 24)];
      const [left, top] = [view.x * across - 12, view.y * down - 12];
      const drawn = new Map();
      for (const hit of [false, true]) {
        const side = found && hit ? radius + 1.2 : radius;
        pen.globalAlpha = hit ? 0.85 : 0.13;
        for (const { colour, own } of painted) {
          pen.fillStyle = colour; // reading one takes longer than drawing a dot
          for (const channel of own) {
            if (hit === Boolean(found && !found.has(channel.at))) continue;
            const [x, y] = [channel.x * across - left, channel.y * down - top];
            if (x < -20 || y < -20 || x > width + 20 || y > height + 20) continue;
            pen.beginPath();
            pen.arc(x, y, side, 0, 7);
            pen.fill();
            if (!hit) continue;
            // Cells lie on the map, so that patches stay the same while it is moved.
            const [column, row] = [(x + left) / CELL, (y + top) / CELL];
            const cell = Math.floor(column) * 65536 + Math.floor(row);
            const off = Math.abs(column % 1 - 0.5) + Math.abs(row % 1 - 0.5);
            if (!(drawn.get(cell)?.off <= off)) drawn.set(cell, { channel, off, x, y });
          }
        }
      }
      pen.globalAlpha = 1;
      for (const { channel, x, y } of patches.checked ? drawn.values() : []) {
        const image = picture(channel);
        if (!image) continue;
        pen.fillStyle = channel.colour;
        pen.fillRect(x - 17, y - 17, 34, 34);
        pen.drawImage(image, 0, 0, image.naturalHeight, image.naturalHeight, x - 15, y - 15, 30, 30);
      }
      if (current) {
        const [x, y] = onScreen(current);
        pen.globalAlpha = 1;
        pen.strokeStyle = style("--ink");
        pen.lineWidth = 2;
        pen.beginPath();
        pen.arc(x, y, patches.checked ? 23 : 8, 0, 7);
        pen.stroke();
      }
    });
  };

  const choose = (channel) => {
    current = channel;
    card.hidden = !channel;
    if (channel) {
      const link = document.createElement("a");
      link.className = "channel-card";
      link.href = channel.link;
      link.style.setProperty("--d", channel.depth);
      if (channel.thumbnail) {
        const image = document.createElement("img");
        Object.assign(image, { src: channel.thumbnail, width: 256, height: 64, alt: "" });
        link.append(image);
      }
      for (const [text, name] of [[channel.name, "name"], [channel.address, ""]]) {
        if (!text) continue;
        const line = document.createElement("b");
        line.className = name;
        line.textContent = text;
        link.append(line);
      }
      const label = data.labels[data.classes[channel.at][0]];
      link.append(` ${data.states[data.state[channel.at]]}${label ? ` · ${label}` : ""}`);
      card.replaceChildren(link);
      status.textContent = `${channel.name || "no name"}, ${channel.address}`;
    } else status.textContent = found ? `${found.size} of ${channels.length} channels` : "";
    show();
  };

  const show = () => {
    if (current) {
      const [x, y] = onScreen(current);
      card.style.left = `${Math.max(0, Math.min(size()[0] - card.offsetWidth, x + 14))}px`;
      card.style.top = `${Math.max(0, y + (y > 120 ? -card.offsetHeight - 14 : 18))}px`;
    }
    draw();
  };

  const nearest = (x, y, most) => {
    let [least, best] = [most ** 2, null];
    for (const channel of channels) {
      if (found && !found.has(channel.at)) continue;
      const [left, top] = onScreen(channel);
      const distance = (left - x) ** 2 + (top - y) ** 2;
      if (distance < least) [least, best] = [distance, channel];
    }
    return best;
  };

  // The next channel in a direction: near, and not far off to the side.
  const beside = (dx, dy) => {
    const [x, y] = current ? onScreen(current) : size().map((side) => side / 2);
    let [least, best] = [Infinity, null];
    for (const channel of channels) {
      if (channel === current || (found && !found.has(channel.at))) continue;
      const [left, top] = onScreen(channel);
      const along = (left - x) * dx + (top - y) * dy;
      const across = Math.abs((left - x) * dy) + Math.abs((top - y) * dx);
      if (along <= 0.5 || across > 2 * along + 1) continue;
      if (along + 2 * across < least) [least, best] = [along + 2 * across, channel];
    }
    return best;
  };

  const move = (x, y, zoom) => {
    const bounded = Math.max(1, Math.min(60, zoom));
    const room = 1 - 1 / bounded;
    view = { x: Math.max(0, Math.min(room, x)), y: Math.max(0, Math.min(room, y)), zoom: bounded };
    show();
  };
  const zoom = (factor, left, top) => {
    const [width, height] = size();
    const [x, y] = [(left ?? width / 2) / width, (top ?? height / 2) / height];
    const next = Math.max(1, Math.min(60, view.zoom * factor));
    move(view.x + x / view.zoom - x / next, view.y + y / view.zoom - y / next, next);
  };
  const follow = () => {
    const [width, height] = size();
    const [x, y] = onScreen(current);
    if (x < 0 || y < 0 || x > width || y > height)
      move(current.x - 0.5 / view.zoom, current.y - 0.5 / view.zoom, view.zoom);
  };

  const remember = () => {
    const state = [["q", q.value.trim()], ["by", by.value === "layer" ? "" : by.value]];
    const query = new URLSearchParams(state.filter(([, value]) => value)).toString();
    try {
      history.replaceState(null, "", query ? `?${query}` : location.pathname);
    } catch {
      // some browsers refuse it for files
    }
  };
  const filter = () => {
    const query = q.value.trim();
    found = query ? new Set(finder().search(query).channels.map(({ at }) => at)) : null;
    choose(null);
  };

  form.addEventListener("input", () => {
    paint();
    filter();
    remember();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("click", ({ target }) => {
    if (target.name === "in") zoom(1.6);
    if (target.name === "out") zoom(1 / 1.6);
    if (target.name === "whole") move(0, 0, 1);
  });

  let held = null;
  const at = ({ clientX, clientY }) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [clientX - left, clientY - top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    held = { start: at(event), view: { ...view }, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!held) {
      choose(nearest(x, y, NEAR) ?? current);
      return;
    }
    const [width, height] = size();
    const [dx, dy] = [x - held.start[0], y - held.start[1]];
    held.moved ||= Math.hypot(dx, dy) > 5;
    if (held.moved) move(held.view.x - dx / width / view.zoom, held.view.y - dy / height / view.zoom, view.zoom);
  });
  canvas.addEventListener("pointerup", (event) => {
    const channel = held && !held.moved ? nearest(...at(event), NEAR) : null;
    held = null;
    if (!channel) return;
    if (event.pointerType === "mouse" && channel === current) location.href = channel.link;
    else choose(channel); // a finger chooses first, and opens by the card
  });
  canvas.addEventListener("pointercancel", () => { held = null; });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (directions[event.key]) {
      const next = beside(...directions[event.key]);
      if (next) {
        choose(next);
        follow();
      }
    } else if (event.key === "Enter" && current) location.href = current.link;
    else if (event.key === "+" || event.key === "=") zoom(1.6);
    else if (event.key === "-") zoom(1 / 1.6);
    else if (event.key === "0") move(0, 0, 1);
    else if (event.key === "Escape") choose(null);
    else return;
    event.preventDefault();
  });

  new ResizeObserver(() => {
    sides = [canvas.clientWidth, canvas.clientHeight];
    show();
  }).observe(canvas);
  new MutationObserver(() => {
    paint();
    draw();
  }).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });

  const wanted = new URLSearchParams(location.search);
  q.value = wanted.get("q") ?? "";
  by.value = wanted.get("by") ?? "layer";
  if (by.selectedIndex === -1) by.selectedIndex = 0;
  holder.classList.add("live");
  paint();
  filter();
})();
