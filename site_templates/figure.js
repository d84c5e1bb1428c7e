// The pictures of a channel as a figure for articles: an SVG, 183 mm wide, of what the page shows by the
// switch that is on. Type stays type. Pages from the file system may not read pictures, not even their
// own: there the figure has links to them.
"use strict";

window.conceptFigure = async (head) => {
  const SVG = "http://www.w3.org/2000/svg";
  const ACROSS = 9; // as many as two columns of a journal have room for, in millimetres:
  const [WIDTH, GAP, LINE] = [183, 0.8, 3.2];
  const SIDE = (WIDTH - (ACROSS - 1) * GAP) / ACROSS;
  const [TYPE, SMALL] = [2.47, 1.76]; // 7 and 5 points

  const make = (name, attributes, text = "") => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const open = async (source) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    return image;
  };

  // A part of a picture as an image of its own, or the picture behind a window where that is refused.
  let linked = false;
  const part = (image, [x, y, width, height], place, kind) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(side)));
    canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, canvas.width, canvas.height);
    try {
      return make("image", { ...place, preserveAspectRatio: "none", href: canvas.toDataURL(kind, 0.92) });
    } catch {
      linked = true;
      const around = make("svg", { ...place, viewBox: [x, y, width, height].join(" "), preserveAspectRatio: "none" });
      around.append(make("image", { href: image.src, width: image.naturalWidth, height: image.naturalHeight }));
      return around;
    }
  };

  const view = document.querySelector("[name=view]:checked")?.id;
  const whole = view === "as-picture";
  const number = (patch, name) => +patch.style.getPropertyValue(`--${name}`);

  // What stands in the frame of one reference.
  const tile = async (section, patch, left, top) => {
    const list = section.querySelector("ol");
    const [masks, sheet] = [...list.style.backgroundImage.matchAll(/url\("(.*?)"\)/g)].map((found) => found[1]);
    const square = { x: left, y: top, width: SIDE, height: SIDE };
    const [x, y, w] = ["x", "y", "w"].map((name) => number(patch, name));
    const h = number(patch, "h") || w;
    const own = patch.querySelector("img");
    const drawn = [];
    if (own && (whole || !sheet)) {
      const image = await open(own.src);
      const [width, height] = [image.naturalWidth, image.naturalHeight];
      const scale = SIDE / Math.max(width, height);
      const box = whole ? [0, 0, width, height] : [x * width, y * height, w * width, h * height];
      const place = { x: left, y: top, width: width * scale, height: height * scale };
      drawn.push(part(image, box, whole ? place : square, "image/jpeg"));
    } else if (sheet && !whole) {
      const image = await open(sheet);
      const side = image.naturalWidth;
      drawn.push(part(image, [0, number(patch, "i") * side, side, side], square, "image/jpeg"));
    }
    if (!whole && (view === "as-concept" || section.classList.contains("shapes"))) {
      const image = await open(masks); // its tiles have a rim of one pixel in eighteen
      const pixel = image.naturalWidth / 18;
      const from = (number(patch, "i") + number(list, "o")) * image.naturalWidth + pixel;
      const mask = part(image, [pixel, from, 16 * pixel, 16 * pixel], square, "image/png");
      if (own) mask.setAttribute("filter", "url(#paper)");
      drawn.push(mask);
    }
    if (whole) {
      const { width, height } = own ? { width: own.width, height: own.height } : { width: 1, height: 1 };
      const scale = SIDE / Math.max(width, height);
      drawn.push(make("rect", {
        x: left + x * width * scale, y: top + y * height * scale, width: w * width * scale,
        height: h * height * scale, fill: "none", stroke: "#e07000", "stroke-width": 0.5,
      }));
    }
    if (section.classList.contains("shapes"))
      drawn.push(make("rect", { ...square, fill: "none", stroke: "#bbb", "stroke-width": 0.1 }));
    return drawn;
  };

  const said = (element) => element?.textContent.replace(/\s+/g, " ").trim() ?? "";
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const address = head.querySelector("[data-copy]").dataset.copy;
  const name = said(head.querySelector("h1.name"));
  const figure = make("svg", { xmlns: SVG, "font-family": "Helvetica, Arial, sans-serif", "font-size": TYPE });
  figure.append(make("title", {}, [address, name].filter(Boolean).join(" ")));
  const paper = make("filter", { id: "paper" }); // what hides is as white as the page
  paper.append(make("feColorMatrix", { values: "0 0 0 0 1 0 0 0 0 1 0 0 0 0 1 0 0 0 1 0" }));
  figure.append(paper);

  let top = LINE - 0.8;
  const write = (text, attributes = {}) => {
    figure.append(make("text", { x: 0, y: top, ...attributes }, text));
  };
  const state = said(head.querySelector(".state"));
  write(cut(`${address}${name ? ` “${name}”` : ""}  ·  ${state}`, 110), { "font-weight": "bold" });
  for (const section of document.querySelectorAll(".references")) {
    top += LINE + 1.2;
    write(`${said(section.querySelector("h2"))}  ·  ${said(section.querySelector(".note"))}`);
    top += 0.9;
    const shown = [...section.querySelectorAll("li")].filter((one) => getComputedStyle(one).display !== "none");
    for (const [place, one] of shown.slice(0, ACROSS).entries()) {
      const left = place * (SIDE + GAP);
      figure.append(...await tile(section, one.querySelector("b"), left, top));
      const below = [...one.childNodes].find((node) => node.nodeType === 3 && node.data.trim());
      for (const [line, text] of [said(below), said(one.querySelector("a, bdi"))].entries()) {
        figure.append(make("text", {
          x: left, y: top + SIDE + (line + 1) * 2 + 0.1, "font-size": SMALL, fill: line ? "#555" : "#000",
        }, cut(text, 21)));
      }
    }
    top += SIDE + 5;
  }
  top += 2.5;
  const id = document.querySelector("meta[name=citation_technical_report_number]")?.content ?? "";
  const cited = said(document.querySelector(".cite .note code"));
  const { terms } = head.querySelector("[data-terms]").dataset;
  write(`Concept Atlas ${id}  ·  ${cited}${terms ? `  ·  ${terms}` : ""}`, { "font-size": SMALL, fill: "#555" });
  const down = top + 1;
  for (const [key, value] of [["width", `${WIDTH}mm`], ["height", `${down}mm`], ["viewBox", `0 0 ${WIDTH} ${down}`]])
    figure.setAttribute(key, value);

  const link = document.createElement("a");
  const file = `${address.replace(/[^\w.-]+/g, "-")}.svg`;
  link.href = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(figure)], { type: "image/svg+xml" }));
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return linked
    ? `Saved as ${file}. Its pictures are links, since this page is a file: \`atlas figure\` puts them inside.`
    : `Saved as ${file}.`;
};
