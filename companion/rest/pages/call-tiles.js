// The others of a group's call, a tile each: their picture, their name, what they switched off.

import { h } from "./dom.js";

export class Tiles {
  #place;
  #tiles = new Map();

  constructor(place) {
    this.#place = place;
  }

  // Show a stream; null takes its tile away. Rejects where the browser wants a click first.
  async show(user, stream) {
    if (!stream) {
      this.#tiles.get(user)?.remove();
      this.#tiles.delete(user);
      return;
    }
    const tile = this.#tiles.get(user) ?? this.#make(user);
    const video = tile.querySelector("video");
    if (video.srcObject !== stream) video.srcObject = stream;
    await video.play();
  }

  async playAll() {
    await Promise.all([...this.#place.querySelectorAll("video")].map((video) => video.play()));
  }

  // `words` says of a user what is written on his tile.
  name(parties, words) {
    for (const party of parties) {
      const tile = this.#tiles.get(party.user);
      if (tile) tile.querySelector("figcaption").textContent = words(party);
    }
  }

  #make(user) {
    const video = h("video", { autoplay: true, playsInline: true });
    const tile = h("figure", {}, video, h("figcaption", {}));
    tile.dataset.user = user;
    this.#tiles.set(user, tile);
    this.#place.append(tile);
    return tile;
  }
}
