// Pages that are kept up to date: not while nobody looks, and not while the reader has stopped it.
"use strict";
(() => {
  const live = () => document.getElementById("live");
  let stopped = false;

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt === live() && (stopped || document.hidden)) event.preventDefault();
  });

  // Moving the focus or the scroll bars of tables away under the reader's hands would be rude.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target === live() && live().contains(document.activeElement)) event.detail.shouldSwap = false;
  });

  const button = document.createElement("button");
  button.type = "button";
  button.className = "pause";
  const label = () => {
    button.textContent = stopped ? "Go on updating" : "Stop updating";
    button.setAttribute("aria-pressed", String(stopped));
  };
  button.addEventListener("click", () => {
    stopped = !stopped;
    label();
  });
  label();
  document.querySelector("h1")?.after(button);
})();
