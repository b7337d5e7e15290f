'use strict';

// Entries are untrusted: their strings reach the page only as text nodes, or as plain attributes through `attach`.

const MISSING = '–';

const byId = id => document.getElementById(id);
const isMissing = value => value === null || value === undefined || value === '' || Number.isNaN(value);
const isDrawable = value => Number.isFinite(value) && value > 0;
const listOf = value => (Array.isArray(value) ? value : []);
const formatCount = value => (Number.isFinite(value) ? value.toLocaleString('en') : MISSING);

function attach(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const html = (tag, attributes, ...children) => attach(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => attach(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

function button(text, action, attributes) {
  const node = html('button', { type: 'button', ...attributes }, text);
  node.addEventListener('click', action);
  return node;
}

function link(text, url) {
  const safe = typeof url === 'string' && url.startsWith('https://');
  return safe ? html('a', { class: 'name', href: url, rel: 'noopener noreferrer' }, text) : html('span', { class: 'name' }, text);
}

function fillSelect(select, options, chosen) {
  select.replaceChildren(...options.map(([value, label]) => html('option', { value }, label)));
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

function formatNumber(value, digits = 3) {
  if (!Number.isFinite(value)) return MISSING;
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 1e-3 || size >= 1e5) return value.toExponential(digits - 1).replace('e+', 'e');
  const text = value.toPrecision(digits);
  return text.includes('e') ? String(Number(text)) : text;
}

// The spread takes the decimals of its mean, so that the two can be compared at a glance.
function formatSpread(score) {
  const mean = formatNumber(score?.mean);
  if (!Number.isFinite(score?.mean) || !(score.std > 0)) return mean;
  const decimals = mean.split('.')[1]?.length ?? 0;
  return `${mean} ± ${mean.includes('e') ? formatNumber(score.std, 2) : score.std.toFixed(decimals)}`;
}

// With an interval beside it, the spread over seeds says nothing more.
function formatScore(score) {
  return formatInterval(score) ? formatNumber(score.mean) : formatSpread(score);
}

function formatInterval(score) {
  if (!Number.isFinite(score?.low) || !Number.isFinite(score?.high)) return '';
  return `${formatNumber(score.low)} to ${formatNumber(score.high)}`;
}

function powerOfTen(exponent) {
  return '10' + String(exponent).replace(/./g, sign => (sign === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[sign]));
}

function compare(x, y, descending = false) {
  if (isMissing(x) || isMissing(y)) return isMissing(x) - isMissing(y);
  const order = typeof x === 'string' || typeof y === 'string' ? String(x).localeCompare(String(y)) : x - y;
  return descending ? -order : order;
}

function table(head, rows) {
  const cells = (row, tag) => row.map((cell, index) => html(index ? tag : 'th', { scope: index ? null : 'row' }, ...[cell ?? MISSING].flat()));
  return html('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': String(head[0]) },
    html('table', {},
      html('thead', {}, html('tr', {}, ...head.map(text => html('th', { scope: 'col' }, text)))),
      html('tbody', {}, ...rows.map(row => html('tr', {}, ...cells(row, 'td'))))));
}
