'use strict';

// What all charts share: uPlot with our axes and colours, keyboard reach by a slider beside each, redrawn with the theme.

const charts = new Set();
const FONT = '12px system-ui, sans-serif';
const probe = document.documentElement.appendChild(html('span', { hidden: '' }));

// A canvas knows no variables of the style sheet; the browser resolves them here.
function colour(name, alpha = 1) {
  probe.style.color = `var(${name})`;
  const resolved = getComputedStyle(probe).color;
  return alpha === 1 ? resolved : resolved.replace(/rgba?\(([^)]*)\)/, (_, channels) => `rgba(${channels.split(',').slice(0, 3)},${alpha})`);
}

function makeChart(host, { height = 260, label, x, y, series, bands, data, hooks, cursor }) {
  const axes = [axisOf(x, true), axisOf(y, false)];
  const width = Math.max(200, Math.floor(host.clientWidth));
  const options = {
    width, height, bands, hooks, axes,
    scales: { x: scaleOf(x), y: scaleOf(y) },
    series: [{}, ...series],
    legend: { show: false },
    padding: [8, 22, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, ...cursor },
  };
  const plot = new uPlot(options, data, host);
  plot.root.setAttribute('role', 'img');
  plot.root.setAttribute('aria-label', label);
  charts.add(plot);
  return plot;
}

function clearCharts(host) {
  for (const plot of charts) {
    if (!host.contains(plot.root)) continue;
    plot.destroy();
    charts.delete(plot);
  }
  host.replaceChildren();
}

function resizeCharts() {
  for (const plot of charts) {
    const width = Math.max(200, Math.floor(plot.root.parentElement.clientWidth));
    if (width !== plot.width) plot.setSize({ width, height: plot.height });
  }
}

function scaleOf({ log, range }) {
  return { time: false, auto: false, distr: log ? 3 : 1, range: () => range };
}

function axisOf({ log, label, range, ticks }, horizontal) {
  const splits = ticks ? { splits: () => ticks, values: (_, list) => list.map(String) } : log ? { splits: () => powers(range), values: (_, list) => list.map(value => logText(value, range)) } : {};
  return {
    ...splits,
    ...(log ? { filter: (_, list) => list } : {}),
    label, labelFont: FONT, labelSize: 20, labelGap: 0, font: FONT, size: horizontal ? 30 : 52, gap: 4,
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { stroke: colour('--line'), width: 1, size: 4 },
  };
}

// All powers of ten of a range, thinned where they are many, with 2 and 5 where they are few.
function powers([low, high]) {
  const [first, last] = [Math.floor(Math.log10(low) + 1e-9), Math.ceil(Math.log10(high) - 1e-9)];
  const stride = Math.ceil((last - first + 1) / 8);
  const factors = last - first <= 1 ? [1, 2, 5] : [1];
  const all = Array.from({ length: Math.floor((last - first) / stride) + 1 }, (_, index) => first + index * stride);
  return all.flatMap(exponent => factors.map(factor => Number(`${factor}e${exponent}`))).filter(value => value >= low * 0.999 && value <= high * 1.001);
}

function logText(value, [low, high]) {
  const exponent = Math.floor(Math.log10(value) + 1e-9);
  const factor = Math.round(value / 10 ** exponent);
  if (low >= 1e-3 && high <= 1e4) return formatNumber(value, 1);
  return factor === 1 ? powerOfTen(exponent) : `${factor}·${powerOfTen(exponent)}`;
}

// The smallest range of half decades around positive values, null if there is none.
function logRange(values) {
  const logs = values.filter(isDrawable).map(Math.log10);
  if (!logs.length) return null;
  const [low, high] = [logs.reduce((a, b) => Math.min(a, b)), logs.reduce((a, b) => Math.max(a, b))];
  const margin = Math.max(0.08, (high - low) * 0.06);
  return [10 ** (Math.floor(2 * (low - margin)) / 2), 10 ** (Math.ceil(2 * (high + margin)) / 2)];
}

function linearRange(values) {
  const finite = values.filter(Number.isFinite);
  if (!finite.length) return null;
  const high = finite.reduce((a, b) => Math.max(a, b), 0);
  const low = finite.reduce((a, b) => Math.min(a, b), 0);
  return [low * 1.05, high * 1.05 || 1];
}

const positiveOrNull = value => (isDrawable(value) ? value : null);
const finiteOrNull = value => (Number.isFinite(value) ? value : null);
