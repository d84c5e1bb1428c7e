// All channels of the atlas, in their order: for pages that show channels as links with patches.
"use strict";

window.conceptChannels = (data, up) => {
  const channels = [];
  for (const [layer, slug, depth, count] of data.layers) {
    for (let n = 0; n < count; n++) {
      const at = channels.length;
      const folder = `${up}channels/${encodeURIComponent(slug)}/${data.numbers[at]}`;
      channels.push({
        at, layer, depth, name: data.names[at],
        address: `${layer}:${data.numbers[at]}`, link: `${folder}.html`,
        thumbnail: data.thumbnails[at] && `${folder}s-${data.thumbnails[at]}.webp`,
      });
    }
  }
  return channels;
};
