// What every other script uses: the page's elements, foreign text, embedded data.

const root = document.documentElement;
const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
const escaped = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
const embedded = (id) => JSON.parse(document.getElementById(id).textContent);
