// Finds words in the pages. The words lie in words.js, so that it works from a folder without any server.
"use strict";
(() => {
  const field = document.getElementById("words");
  const list = document.getElementById("found");
  const most = 40;

  const matching = (wanted) => JOBMETER_WORDS
    .map((place) => ({ place, above: `${place.title} ${place.heading}`.toLowerCase() }))
    .filter(({ place, above }) => wanted.every((word) => above.includes(word) || place.text.toLowerCase().includes(word)))
    .map((one) => ({ ...one, weight: wanted.filter((word) => one.above.includes(word)).length }))
    .sort((one, other) => other.weight - one.weight)
    .slice(0, most);

  const item = ({ place }, word) => {
    const line = document.createElement("li");
    const link = document.createElement("a");
    link.href = place.at;
    link.textContent = place.heading ? `${place.title}: ${place.heading}` : place.title;
    const words = document.createElement("p");
    words.className = "faint small";
    const from = Math.max(0, place.text.toLowerCase().indexOf(word) - 90);
    words.textContent = place.text.slice(from, from + 270);
    line.append(link, words);
    return line;
  };

  field.parentElement.hidden = false;
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    list.hidden = wanted.length === 0;
    list.replaceChildren(...(wanted.length ? matching(wanted).map((one) => item(one, wanted[0])) : []));
  });
})();
