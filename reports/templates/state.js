"use strict";
// What the other scripts share: the page's data, small helpers, and the view that the URL names.
const all = (query, root = document) => [...root.querySelectorAll(query)];
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children; strings become text, never markup.
const element = (name, attributes = {}, ...children) => {
  const svg = ["svg", "g", "line", "polyline", "text", "title"].includes(name);
  const made = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

// The view is in the hash as a query: #verdict=diverges&q=eps&cell=adam/...; a hash without "=" is
// a section of the page.
const state = {
  read: () => (location.hash.includes("=")
    ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : {}),
  text: (view) => {
    const named = Object.entries(view).filter(([, value]) => value);
    return new URLSearchParams(named).toString().replaceAll("%2F", "/").replaceAll("%3A", ":");
  },
  isSection: () => location.hash.length > 1 && !location.hash.includes("="),
};
